import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';

// What docs/node.md shows.
const THREE_LINES = `
const { wrap } = require('wasm-proxy');
const { get_encoding } = wrap('tiktoken', { memoryLimitMiB: 256 });
console.log(get_encoding('cl100k_base').encode('hello world').join(' '));
`;

const run = (args, env = {}) =>
  execFileSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 60_000 });

test('three lines serve tiktoken from the installed file', () => {
  const plain = run(['-e', THREE_LINES.replace(/wrap\('tiktoken'.*\)/, "require('tiktoken')")]);
  assert.equal(run(['-e', THREE_LINES]), plain);
  assert.match(plain, /^\d+ \d+\n$/);
});

test('the flag of o1js switches the preload off, and nothing is loaded then', () => {
  const program = "console.log(WebAssembly.Module.toString().includes('native'), process.report.getReport().sharedObjects"
    + ".some((file) => file.includes('wasm-proxy')))";
  const args = ['-r', 'wasm-proxy/register', '-e', program];
  assert.equal(run(args, { O1JS_ENABLE_WASM_PROXY: 'false' }), 'true false\n');
  assert.equal(run(args, { O1JS_ENABLE_WASM_PROXY: 'true' }), 'true true\n');
});
