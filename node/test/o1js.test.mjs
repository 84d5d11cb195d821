import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const glue = 'node_modules/o1js/dist/node/bindings/compiled/node_bindings/plonk_wasm.cjs';
const MEMORY_MIB = 64;
/** More than plain Node makes in this memory. */
const PROOFS = 34;

/** What the example of o1js's prover in Node reports. */
function prove(node, args, env) {
  const given = [...node, 'prove.cjs', glue, 'twenty.json', ...args.map(String)];
  const options = { cwd: here, encoding: 'utf8', env: { ...process.env, ...env } };
  const { stdout, stderr } = spawnSync(process.execPath, given, options);
  const line = stdout.split('\n').find((text) => text.startsWith('{"srs_ms"') || text.startsWith('{"died'));
  assert.ok(line, stdout + stderr);
  return JSON.parse(line);
}

/** The same behind the proxy, and the events of the proxy's. */
function proveBehind(args, env) {
  const place = mkdtempSync(path.join(tmpdir(), 'wasm-proxy-'));
  try {
    const file = path.join(place, 'events');
    const preloads = ['wasm-proxy/register', './report.cjs', './lose.cjs'].flatMap((name) => ['-r', name]);
    const said = prove(preloads, args, { ...env, TEST_EVENTS: file });
    assert.equal(said.verified, true, JSON.stringify(said));
    return { said, told: readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line)) };
  } finally {
    rmSync(place, { recursive: true });
  }
}

// o1js 2.14 ends the workers of its pool by force around each proof, and their stacks stay allocated.
test('the prover of o1js 2.14 proves where plain Node runs out of memory, swapped on its way', () => {
  const args = ['--cycle', '--memory-mib', MEMORY_MIB, '--proofs', PROOFS];
  const plain = prove([], args, {});
  assert.ok(plain.died_at_proof < PROOFS, JSON.stringify(plain));

  const { said, told } = proveBehind(args, { WASM_PROXY_MEMORY_LIMIT_MIB: String(MEMORY_MIB), TEST_SWAP_EVERY: '8' });
  assert.equal(said.proof_ms.length, PROOFS);
  assert.ok(told.length >= 3, JSON.stringify(told));
  for (const { event, memoryAfter } of told) {
    assert.equal(event, 'swap-complete');
    assert.ok(memoryAfter < MEMORY_MIB * 2 ** 20, JSON.stringify(told));
  }
});

// Without --cycle all proofs are made in one turn of the event loop. An earlier turn has left so much that the index
// fits beside it, and a proof does not: of 128 pages 64 are lost, 60 are the index's, and a proof takes 15.
test('an instance that dies in the middle of a proof is replaced, and the program sees nothing of it', () => {
  const { said, told } = proveBehind(['--proofs', 3], {
    WASM_PROXY_MEMORY_LIMIT_MIB: '8',
    TEST_LOSE: glue,
    TEST_LOSE_KIB: '4096',
    TEST_LOSE_BEFORE: 'initThreadPool',
  });
  assert.equal(said.proof_ms.length, 3);
  const [tainted, retried, swapped, repeated, ...more] = told;
  assert.match(tainted.cause, /out of memory in `caml_pasta_fp_plonk_proof_create`/);
  assert.deepEqual([retried.event, retried.export], ['call-retried', 'caml_pasta_fp_plonk_proof_create']);
  assert.deepEqual([swapped.event, swapped.reason], ['swap-complete', 'emergency']);
  // The witness: a vector, and one column after the other.
  assert.deepEqual([repeated.event, repeated.generation, repeated.calls], ['turn-repeated', 2, 16]);
  assert.deepEqual(more, []);
});
