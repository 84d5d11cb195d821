import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';

const require = createRequire(import.meta.url);
const { WasmProxyError, engines, events, metrics, proxies, proxyOf, wrap } = require('wasm-proxy');

/** Loads a package anew. */
function fresh(name, options) {
  for (const file of Object.keys(require.cache)) {
    if (file.includes(`${path.sep}node_modules${path.sep}${name}${path.sep}`)) delete require.cache[file];
  }
  return wrap(() => require(name), options);
}

const refused = (code, words) => (error) => {
  assert.ok(error instanceof WasmProxyError, error.stack);
  assert.equal(error.code, code);
  assert.match(error.message, words);
  return true;
};

test('wrong options name themselves and what they may be', () => {
  for (const [options, words] of [
    [{ memory: 5 }, /no option `memory`; there are .*memoryLimitMiB/],
    [{ memoryLimitMiB: '64' }, /`memoryLimitMiB` must be a finite number, got '64'/],
    [{ memoryLimitMiB: -Infinity }, /`memoryLimitMiB` must be a finite number, got -Infinity/],
    [{ memoryLimitMiB: 1n }, /`memoryLimitMiB` must be a finite number, got 1n/],
    [{ warn: NaN }, /`warn` must be a finite number, got NaN/],
    [{ journal: '' }, /`journal` must be a string that is not empty, got ''/],
    [{ history: 'short' }, /`history` is `short`; it is `full` or `checkpoint`/],
    [{ memoryLimitMiB: 0 }, /`memoryLimitMiB` is 0; it must be above 0/],
    [{ engine: 'v8' }, /`engine`: .*wasmer\.cranelift/],
    [{ warn: 0.9, critical: 0.5 }, /`warn` and `critical` are 0\.9 and 0\.5/],
    [{ policy: '/nowhere.toml' }, /`policy`: cannot read `\/nowhere\.toml`/],
    [{ policy: 'a', preset: 'o1js' }, /exclude each other/],
    [{ prepareTimeout: 0 }, /`prepareTimeout` is 0/],
    [{ swapCalls: 2.5 }, /`swapCalls` is 2\.5; it is a whole number of calls from 1/],
    [{ swapCalls: '100' }, /`swapCalls` must be a finite number/],
    [{ swapAge: 0 }, /`swapAge` is 0; it is a number of seconds above 0/],
    [null, /must be an object/],
  ]) {
    assert.throws(() => fresh('brotli-wasm', options), refused('WASM_PROXY_OPTION', words), String(words));
  }
  assert.throws(() => wrap(5), refused('WASM_PROXY_OPTION', /name of a package, or a function/));
});

test('an option in the environment is checked as well', () => {
  for (const [name, value, words] of [
    ['WASM_PROXY_MEMORY_LIMIT_MIB', 'much', /WASM_PROXY_MEMORY_LIMIT_MIB in the environment must be a finite number, got 'much'/],
    ['WASM_PROXY_MEMORY_LIMIT_MIB', 'Infinity', /got 'Infinity'/],
    ['WASM_PROXY_JOURNAL', '', /WASM_PROXY_JOURNAL in the environment must be a string that is not empty/],
  ]) {
    process.env[name] = value;
    try {
      assert.throws(() => fresh('brotli-wasm'), refused('WASM_PROXY_OPTION', words));
    } finally {
      delete process.env[name];
    }
  }
});

test('a variable that is none of ours is warned of once', async () => {
  const warnings = [];
  const listen = (warning) => warnings.push(warning.message);
  process.on('warning', listen);
  process.env.WASM_PROXY_MEMORY_LIMIT = '64';
  try {
    fresh('brotli-wasm');
    fresh('brotli-wasm');
    await turn();
  } finally {
    delete process.env.WASM_PROXY_MEMORY_LIMIT;
    process.off('warning', listen);
  }
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^WASM_PROXY_MEMORY_LIMIT in the environment .*WASM_PROXY_MEMORY_LIMIT_MIB/);
});

test('a package that was loaded before is not wrapped in silence', () => {
  require('ywasm');
  assert.throws(() => wrap('ywasm'), refused('WASM_PROXY_NOTHING_WRAPPED', /wrap it first/));
});

test('the file of a policy takes the place of the draft', () => {
  const place = mkdtempSync(path.join(tmpdir(), 'wasm-proxy-'));
  try {
    const drafted = fresh('brotli-wasm');
    const file = path.join(place, 'brotli.toml');
    writeFileSync(file, proxyOf(drafted).policy);
    const brotli = fresh('brotli-wasm', { policy: file });
    const packed = brotli.compress(Buffer.from('by a file'));
    assert.equal(Buffer.from(brotli.decompress(packed)).toString(), 'by a file');
    writeFileSync(file, 'export = [{ match = "none", role = "odd" }]');
    assert.throws(() => fresh('brotli-wasm', { policy: file }), refused('WASM_PROXY_POLICY', /brotli\.toml/));
  } finally {
    rmSync(place, { recursive: true });
  }
});

test('compiled code is kept in the folder that is named', () => {
  const place = mkdtempSync(path.join(tmpdir(), 'wasm-proxy-'));
  try {
    for (let time = 0; time < 2; time++) {
      fresh('brotli-wasm', { compileCache: place });
      assert.equal(readdirSync(place).filter((file) => file.endsWith('.wpx')).length, 1);
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});

test('events, debug information, health and metrics tell of a swap', async () => {
  const tiktoken = fresh('tiktoken', { name: 'told', memoryLimitMiB: 256 });
  const proxy = proxyOf(tiktoken);
  assert.ok(proxies().includes(proxy));
  const told = [];
  proxy.on('standby-prepare-start', () => told.push('start'));
  const swapped = new Promise((resolve) => events.once('swap-complete', resolve));
  const encoder = tiktoken.get_encoding('gpt2');
  const before = [...encoder.encode('before and after')];
  proxy.swap();
  assert.deepEqual([...encoder.encode('before and after')], before);
  // An event keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  const event = await swapped;
  clearInterval(alive);
  assert.equal(event.package, 'told');
  assert.deepEqual([event.from, event.to, event.reason], [1, 2, 'manual']);
  assert.ok(event.memoryAfter > 0 && event.pause >= 0);
  assert.deepEqual(told, ['start']);
  const info = proxy.getDebugInfo();
  assert.deepEqual([info.generation, info.swaps, info.names, info.memoryLimit], [2, 1, 1, 256 * 2 ** 20]);
  const health = proxy.healthCheck();
  assert.deepEqual([health.healthy, health.problems, health.swaps], [true, [], 1]);
  assert.match(metrics(), /^wasm_proxy_swaps_total\{.*proxy="told".*\} 1$/m);
  assert.match(metrics(), /^# TYPE wasm_swap_duration_seconds histogram$/m);
  assert.throws(() => proxy.setEnabled('false'), refused('WASM_PROXY_OPTION', /takes a boolean/));
  proxy.setEnabled(false);
  assert.equal(proxy.getDebugInfo().enabled, false);
  assert.throws(() => proxy.swap(), refused('WASM_PROXY_REFUSED', /switched off/));
});

for (const [reason, options] of [
  ['calls', { swapCalls: 200 }],
  ['age', { swapAge: 0.3 }],
]) {
  test(`an instance that leaks too slowly for its memory is replaced by its ${reason}`, async () => {
    const ywasm = fresh('ywasm', options);
    const proxy = proxyOf(ywasm);
    const reasons = new Set();
    proxy.on('swap-complete', (event) => reasons.add(event.reason));
    const text = new ywasm.YDoc({ clientID: 1 }).getText('t');
    const began = performance.now();
    let expected = '';
    while (proxy.getDebugInfo().swaps < 3 && performance.now() - began < 60_000) {
      for (let at = 0; at < 20; at++) {
        text.insert(expected.length, String(expected.length % 10));
        expected += expected.length % 10;
      }
      await wait(5);
    }
    assert.equal(text.toString(), expected);
    await wait(20);
    assert.deepEqual([...reasons], [reason]);
    assert.ok(proxy.getDebugInfo().swaps >= 3);
    assert.equal(proxy.getDebugInfo().divergences, 0);
  });
}

test('an object that was freed is answered as the guest answers', () => {
  const tiktoken = fresh('tiktoken');
  const encoder = tiktoken.get_encoding('gpt2');
  encoder.free();
  assert.throws(() => encoder.encode('gone'), /null pointer passed to rust/);
  assert.equal(proxyOf(tiktoken).getDebugInfo().names, 0);
});

test('what no policy describes is refused by name, and data that cannot cross as well', () => {
  const { YDoc } = fresh('ywasm');
  const doc = new YDoc({ clientID: 1 });
  const list = doc.getArray('a');
  assert.throws(() => list.push([1, () => {}]), refused('WASM_PROXY_VALUE', /a function cannot cross .*1/));
  assert.throws(() => list.push([{ inner: doc }]), refused('WASM_PROXY_VALUE', /own classes/));
  assert.equal(list.length(), 0);
  assert.throws(() => doc.getMap('m').set('k', () => {}), refused('WASM_PROXY_VALUE', /a function cannot cross/));
  assert.throws(() => doc.getMap('m').set('k', doc), refused('WASM_PROXY_VALUE', /own classes/));
  const own = {};
  own.own = own;
  assert.throws(() => doc.getMap('m').set('k', own), refused('WASM_PROXY_VALUE', /contains itself/));
  assert.equal(doc.getMap('m').length(), 0);
});

test('objects of one turn of the event loop are gone after it, and a swap waits for its end', async () => {
  const place = mkdtempSync(path.join(tmpdir(), 'wasm-proxy-'));
  try {
    const name = '@silvia-odwyer/photon-node';
    const entries = proxyOf(fresh(name)).policy.match(/^\{ match[^]*? \},$/gm);
    const passing = entries
      .filter((entry) => entry.includes('handle:PhotonImage') && !/handle:(?!PhotonImage)/.test(entry))
      .map((entry) => entry.replaceAll('handle:PhotonImage', 'pointer').replace(/role = "\w+"/, 'role = "pure"'))
      .map((entry) => entry.replace(/, (mutates|consumes) = \[[^\]]*\]/g, ''));
    const file = path.join(place, 'photon.toml');
    writeFileSync(file, `export = [\n${passing.join('\n')}\n]\n`);
    const photon = fresh(name, { policy: file });
    const proxy = proxyOf(photon);
    const pixels = Uint8Array.from({ length: 16 * 16 * 4 }, (_, at) => at & 255);
    const made = () => {
      const image = new photon.PhotonImage(pixels, 16, 16);
      photon.grayscale(image);
      return [image, [...photon.resize(image, 4, 4, 1).get_raw_pixels()]];
    };
    const [image, small] = made();
    assert.equal(image.get_width(), 16);
    assert.equal(proxy.getDebugInfo().journalEntries, 0);
    assert.equal(proxy.getDebugInfo().names, 2);
    await turn();
    await turn();
    assert.throws(() => image.get_width(), refused('WASM_PROXY_REFUSED', /earlier turn of the event loop/));
    image.free();
    assert.equal(proxy.getDebugInfo().names, 0);
    proxy.swap();
    assert.deepEqual(made()[1], small);
  } finally {
    rmSync(place, { recursive: true });
  }
});

test('an object that JavaScript lost is freed by its finalizer', async () => {
  const script = `
    const { wrap, proxyOf } = require('wasm-proxy');
    const tiktoken = wrap('tiktoken');
    const kept = tiktoken.get_encoding('gpt2');
    (() => { for (let made = 0; made < 3; made++) tiktoken.get_encoding('gpt2'); })();
    const names = () => proxyOf(tiktoken).getDebugInfo().names;
    console.log(names());
    const look = () => { gc(); if (names() > 1) setImmediate(look); else console.log(names(), kept.encode('kept').length); };
    look();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '-e', script], { timeout: 60_000 });
  assert.equal(stdout, '4\n1 1\n');
});

test('every engine that is compiled in serves', () => {
  assert.ok(engines().length > 0);
  for (const engine of engines()) {
    const brotli = fresh('brotli-wasm', { engine });
    assert.equal(proxyOf(brotli).getDebugInfo().engine, engine);
    assert.equal(Buffer.from(brotli.decompress(brotli.compress(Buffer.from(engine)))).toString(), engine);
  }
});

test('WebAssembly that is none of wasm-bindgen\'s is left to V8', async () => {
  const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0]);
  assert.equal(WebAssembly.Module.exports(new WebAssembly.Module(bytes)).length, 0);
  const { module, instance } = await WebAssembly.instantiate(bytes);
  assert.ok(module instanceof WebAssembly.Module && instance instanceof WebAssembly.Instance);
  assert.ok(await WebAssembly.instantiate(module) instanceof WebAssembly.Instance);
});

const PROGRAM = `
const { Worker, isMainThread } = require('node:worker_threads');
const { get_encoding } = require('tiktoken');
const encoder = get_encoding('gpt2');
console.log(isMainThread, encoder.encode('in a thread').length);
if (isMainThread) {
  const worker = new Worker(__filename);
  worker.on('exit', (code) => console.log('worker', code));
}
`;

test('a process with workers ends by itself, and so does one that is told to', async () => {
  const place = mkdtempSync(path.join(process.cwd(), 'program-'));
  try {
    const file = path.join(place, 'program.cjs');
    writeFileSync(file, PROGRAM);
    const run = (args) => promisify(execFile)(process.execPath, ['-r', 'wasm-proxy/register', ...args], { timeout: 60_000 });
    const { stdout, stderr } = await run([file]);
    assert.deepEqual(stdout.split('\n').sort(), ['', 'false 3', 'true 3', 'worker 0']);
    assert.equal(stderr, '');
    writeFileSync(file, `${PROGRAM}setTimeout(() => process.exit(7), 50);`);
    await assert.rejects(run([file]), (error) => error.code === 7 && error.signal === null);
  } finally {
    rmSync(place, { recursive: true });
  }
});

test('a listener that throws is an uncaught exception and no crash', async () => {
  const script = `
    const { wrap, proxyOf } = require('wasm-proxy');
    const brotli = wrap('brotli-wasm');
    proxyOf(brotli).on('swap-complete', () => { throw new Error('of the listener'); });
    process.on('uncaughtException', (error) => { console.log(error.message); });
    proxyOf(brotli).swap();
    setTimeout(() => console.log('goes on'), 200);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { timeout: 60_000 });
  assert.equal(stdout, 'of the listener\ngoes on\n');
  await wait(0);
});
