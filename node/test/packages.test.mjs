import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import test from 'node:test';

const { twice } = createRequire(import.meta.url)('./behind.cjs');

// Each program makes objects that come and go beside some that stay, on the package as npm has it.
for (const [program, swapsMin] of [['tiktoken', 2], ['ywasm', 6], ['automerge', 4], ['brotli', 4], ['photon', 3]]) {
  test(`${program} gives the same behind the preload, swapped every eight turns`, () => {
    const { plain, behind, report } = twice(`${program}.cjs`, { TEST_SWAP_EVERY: program === 'tiktoken' ? '4' : '8' });
    assert.equal(behind, plain);
    const [info, ...others] = report.info;
    assert.equal(others.length, 0);
    assert.ok(info.swaps >= swapsMin, `${info.swaps} swaps`);
    assert.equal(info.divergences, 0);
    assert.equal(info.emergencies, 0);
    assert.ok(info.entriesVerified > 0);
  });
}

test('a memory that is nearly full is swapped by itself, and the program sees nothing', () => {
  const { plain, behind, report } = twice('brotli.cjs', { WASM_PROXY_MEMORY_LIMIT_MIB: '76' });
  assert.equal(behind, plain);
  const [info] = report.info;
  assert.ok(info.swaps >= 1, JSON.stringify(report));
  assert.equal(info.memoryLimit, 76 * 2 ** 20);
  assert.ok(report.seen['standby-prepare-start'] >= 1, JSON.stringify(report.seen));
  assert.ok(report.seen['swap-complete'] >= 1, JSON.stringify(report.seen));
});

for (const [program, what] of [
  ['thrown', 'what packages throw keeps its class, and texts stay texts'],
  ['lists', 'arrays of values cross in both directions'],
]) {
  test(what, () => {
    const { plain, behind, report } = twice(`${program}.cjs`, {});
    assert.equal(behind, plain);
    assert.ok(report.info.length >= 3 && report.info.every((info) => info.divergences === 0), JSON.stringify(report.info));
    assert.ok(plain.split('\n').length > 10, plain);
  });
}

test('objects that a program forgets to free are collected before they fill the memory', () => {
  const env = { ...process.env, WASM_PROXY_MEMORY_LIMIT_MIB: '64' };
  const said = execFileSync(process.execPath, ['-r', 'wasm-proxy/register', 'growth.cjs', 'automerge', '250'], { encoding: 'utf8', env });
  const { rounds, died } = JSON.parse(said);
  assert.deepEqual([rounds, died], [250, null]);
});
