'use strict';
// Runs a program twice, plainly and behind the preload with a small memory, and compares what it prints.

const { execFileSync } = require('node:child_process');
const path = require('node:path');

function run(file, args, env) {
  return execFileSync(process.execPath, [...args, path.join(__dirname, file)], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 120_000,
    maxBuffer: 1 << 26,
  });
}

/** What a program prints plainly, and behind the proxy with what the proxy did, which the last line says. */
function twice(file, env) {
  const plain = run(file, [], {});
  const lines = run(file, ['-r', 'wasm-proxy/register', '-r', path.join(__dirname, 'report.cjs')], env).split('\n');
  return { plain, behind: `${lines.slice(0, -2).join('\n')}\n`, report: JSON.parse(lines.at(-2)) };
}

module.exports = { twice };
