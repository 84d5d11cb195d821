import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const { PACKAGES } = createRequire(import.meta.url)('./lasting.cjs');
const TIMEOUT = 60_000;

/** Runs a test with a folder of its own. */
async function inFolder(work) {
  const place = mkdtempSync(path.join(tmpdir(), 'wasm-proxy-journal-'));
  try {
    await work(place);
  } finally {
    rmSync(place, { recursive: true });
  }
}

const run = (args, options) => execFileSync(process.execPath, args, { cwd: here, encoding: 'utf8', timeout: TIMEOUT, ...options });

/** What a script prints that has the functions of the package, and the folder as `folder`. */
function script(folder, text, env = {}) {
  const head = `const { events, proxies, proxyOf, wrap } = require('wasm-proxy'); const folder = ${JSON.stringify(folder)};`;
  return run(['-e', head + text], { env: { ...process.env, ...env } });
}

/** The error that a script ends with, as `code message`. */
function refusal(folder, text, env) {
  return script(folder, `(async () => { ${text} })().then(() => console.log('none'), (e) => console.log(e.code, e.message));`, env);
}

/** Starts the program that counts; gives what it had at its beginning, and the last number that it said before it was killed. */
async function killedAfter(more, args) {
  const child = spawn(process.execPath, ['counting.cjs', ...args], { cwd: here, stdio: ['ignore', 'pipe', 'inherit'] });
  const numbers = [];
  for await (const line of createInterface({ input: child.stdout })) {
    numbers.push(line);
    if (numbers.length === more) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  assert.equal(child.signalCode, 'SIGKILL');
  assert.ok(numbers.every((number) => /^\d+$/.test(number)), numbers.at(0));
  return { begin: Number(numbers[0]), said: Number(numbers.at(-1)) };
}

test('a process that is killed and started again has every acknowledged call', () => inFolder(async (folder) => {
  let before = 0;
  for (let time = 0; time < 3; time++) {
    const { begin, said } = await killedAfter(80, [folder, 'durable']);
    // The last call may have been kept and not been said.
    assert.ok(begin === before || begin === before + 1, `${begin} after ${before}`);
    before = said;
  }
  assert.ok(before >= 230, String(before));
}));

test('a relaxed journal loses no more than its last calls, and nothing at a regular end', () => inFolder(async (folder) => {
  const { said } = await killedAfter(400, [folder, 'relaxed']);
  const began = Number(run(['counting.cjs', folder, 'relaxed', '600']).split('\n')[0]);
  assert.ok(began <= said + 1, `${began} after ${said}`);
  assert.equal(run(['counting.cjs', folder, 'relaxed', '600']), '600\n');
}));

for (const name of PACKAGES) {
  test(`objects of ${name} go on in a later process, as in plain Node in one`, () => inFolder((folder) => {
    const plain = run(['lasting.cjs', name]);
    const begun = spawnSync(process.execPath, ['lasting.cjs', name, folder, 'begin'], { cwd: here, encoding: 'utf8', timeout: TIMEOUT });
    assert.equal(begun.signal, 'SIGKILL', begun.stderr);
    assert.equal(run(['lasting.cjs', name, folder, 'end']), plain);
  }));
}

test('objects without a key come back by their class, in order, and are freed for good', () => inFolder((folder) => {
  const begin = `
    const { YDoc } = wrap('ywasm', { journal: folder });
    const docs = ['one', 'two', 'three'].map((word, at) => {
      const doc = new YDoc({ clientID: at + 1 });
      const text = doc.getText('t');
      text.insert(0, word);
      text.free();
      return doc;
    });
    docs[1].free();
    console.log(JSON.stringify(proxies()[0].restored()));
    process.kill(process.pid, 'SIGKILL');`;
  assert.throws(() => script(folder, begin), (error) => error.signal === 'SIGKILL' && error.stdout === '{}\n');
  const later = `
    const ywasm = wrap('ywasm', { journal: folder });
    const proxy = proxyOf(ywasm);
    const { YDoc: docs } = proxy.restored();
    const words = docs.map((doc) => { const text = doc.getText('t'); const word = text.toString(); text.free(); return word; });
    console.log(words.join(), docs.every((doc) => doc instanceof ywasm.YDoc), Object.keys(proxy.restored()).join());
    // Looking at them again gives the same, and no collection takes them away.
    gc();
    setImmediate(() => {
      console.log(proxy.restored().YDoc[0] === docs[0]);
      docs[0].free();
      console.log(proxy.restored().YDoc.length, proxy.getDebugInfo().names);
    });`;
  assert.equal(run(['--expose-gc', '-e', `const { proxyOf, wrap } = require('wasm-proxy'); const folder = ${JSON.stringify(folder)};${later}`]),
    'one,three true YDoc\ntrue\n1 1\n');
  const last = `
    const proxy = proxyOf(wrap('ywasm', { journal: folder }));
    const [doc] = proxy.restored().YDoc;
    console.log(doc.getText('t').toString(), proxy.restored().YDoc.length);
    events.on('recovered', ({ entries, entry, duration }) => { clearTimeout(alive); console.log(entries > 0, entry > 0, duration > 0); });
    const alive = setTimeout(() => {}, 30_000);`;
  assert.equal(script(folder, last), 'three 1\ntrue true true\n');
}));

test('a key is of one object at a time, ends with it, and is of a live object of the package', () => inFolder((folder) => {
  const begin = `
    const ywasm = wrap('ywasm', { journal: folder });
    const brotli = wrap('brotli-wasm');
    const proxy = proxyOf(ywasm);
    const [a, b, c, d] = [1, 2, 3, 4].map((clientID) => new ywasm.YDoc({ clientID }));
    proxy.keep('moved', a); proxy.keep('moved', b); proxy.keep('freed', c); proxy.keep('forgotten', d);
    proxy.forget('forgotten');
    c.free();
    console.log(proxy.kept('moved') === b, proxy.kept('freed'), proxy.kept('forgotten'), proxy.kept('none'));
    const refused = (work) => { try { work(); console.log('none'); } catch (e) { console.log(e.code); } };
    refused(() => proxy.keep('k', c));
    refused(() => proxy.keep('k', {}));
    refused(() => proxy.keep('k', { __wbg_ptr: 1 }));
    refused(() => proxy.keep('k', new brotli.CompressStream(5)));
    refused(() => proxy.keep('', a));
    refused(() => proxy.keep('k'.repeat(129), a));
    refused(() => proxy.keep(5, a));
    refused(() => proxyOf(brotli).keep('k', new brotli.CompressStream(5)));`;
  const value = 'WASM_PROXY_VALUE\n';
  assert.equal(script(folder, begin), `true undefined undefined undefined\n${value.repeat(7)}WASM_PROXY_OPTION\n`);
  const later = `
    const proxy = proxyOf(wrap('ywasm', { journal: folder }));
    const doc = proxy.kept('moved');
    console.log(proxy.kept('freed'), proxy.kept('forgotten'), doc.id === undefined, proxy.restored().YDoc.indexOf(doc));`;
  // The object that had the key first is the older one, and the key is the second one's.
  assert.match(script(folder, later), /^undefined undefined (true|false) 1\n$/);
  const file = path.join(folder, 'ywasm', 'keys.json');
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(file, 'utf8')).keys), ['moved']);
  writeFileSync(file, '{');
  assert.match(refusal(folder, "wrap('ywasm', { journal: folder })"), /^WASM_PROXY_JOURNAL .*keys\.json.*backup/);
}));

const HOLD = `
  const ywasm = wrap('ywasm', { journal: folder });
  new ywasm.YDoc({ clientID: 1 });
`;

test('one owner at a time has a journal: a second process, a thread and a second `wrap` are refused', () => inFolder(async (folder) => {
  const inUse = /^WASM_PROXY_JOURNAL_IN_USE wasm-proxy: the journal in .*ywasm` is in use by another process, another thread/;
  const holder = spawn(process.execPath, ['-e', `const { wrap } = require('wasm-proxy'); const folder = ${JSON.stringify(folder)};${HOLD}
    console.log('open'); process.stdin.resume();`], { cwd: here, stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  assert.match(refusal(folder, "wrap('ywasm', { journal: folder })"), inUse);
  holder.stdin.end();
  await once(holder, 'exit');

  const again = `${HOLD} for (const file of Object.keys(require.cache)) if (file.includes('ywasm')) delete require.cache[file];
    wrap('ywasm', { journal: folder });`;
  assert.match(refusal(folder, again), inUse);

  const thread = `${HOLD}
    const { Worker } = require('node:worker_threads');
    const text = "const { wrap } = require('wasm-proxy'); try { wrap('ywasm'); } catch (e) { console.log(e.code + ' ' + e.message); }";
    await new Promise((resolve) => new Worker(text, { eval: true }).on('exit', resolve));`;
  assert.match(refusal(folder, thread, { WASM_PROXY_JOURNAL: folder }), inUse);
}));

test('a journal of other bytes or of another policy is refused with both hashes', () => inFolder((folder) => {
  script(folder, HOLD);
  const other = refusal(folder, "wrap('brotli-wasm', { journal: folder, name: 'ywasm' })");
  assert.match(other, /^WASM_PROXY_JOURNAL_OTHER .*of module [0-9a-f]{64}, and this is module [0-9a-f]{64}/);
  const [one, two] = other.match(/[0-9a-f]{64}/g);
  assert.notEqual(one, two);
  const policy = `
    const { policy } = proxyOf(wrap('ywasm'));
    require('node:fs').writeFileSync(folder + '/policy.toml', policy.replace('role = "mutate"', 'role = "pure"'));
    for (const file of Object.keys(require.cache)) if (file.includes('ywasm')) delete require.cache[file];
    wrap('ywasm', { journal: folder, policy: folder + '/policy.toml' });`;
  assert.match(refusal(folder, policy), /^WASM_PROXY_JOURNAL_OTHER .*policy of hash [0-9a-f]{64}, and this policy has [0-9a-f]{64}/);
  // Nothing was changed, and the draft in a file is the same policy.
  const file = `
    const { policy } = proxyOf(wrap('ywasm', { journal: folder }));
    require('node:fs').writeFileSync(folder + '/policy.toml', policy);`;
  script(folder, file);
  const count = "console.log(proxyOf(wrap('ywasm', { journal: folder, policy: folder + '/policy.toml' })).restored().YDoc.length)";
  assert.equal(script(folder, count), '1\n');
}));

test('what no later process can have is refused before a journal is made', () => inFolder((folder) => {
  const glue = 'node_modules/o1js/dist/node/bindings/compiled/node_bindings/plonk_wasm.cjs';
  const o1js = `wrap(() => require(${JSON.stringify(path.join(here, glue))}), { journal: folder })`;
  assert.match(refusal(folder, o1js), /^WASM_PROXY_OPTION .*option `journal`: objects of this package last no longer than a turn/);
  const untyped = `
    const { policy } = proxyOf(wrap('ywasm'));
    require('node:fs').writeFileSync(folder + '/policy.toml', policy.replaceAll('handle:YDoc', 'handle'));
    for (const file of Object.keys(require.cache)) if (file.includes('ywasm')) delete require.cache[file];
    wrap('ywasm', { journal: folder, policy: folder + '/policy.toml' });`;
  assert.match(refusal(folder, untyped), /^WASM_PROXY_POLICY .*gives an object without a class/);
  assert.deepEqual(readdirSync(folder), ['policy.toml']);
}));

test('wrong options of a journal name themselves', () => inFolder((folder) => {
  for (const [options, words] of [
    ["journal: folder, journalMode: 'fast'", /`journalMode` is `fast`; it is `durable` or `relaxed`/],
    ['journal: folder, journalFlushMs: 5', /`journalFlushMs` is for `journalMode: 'relaxed'`/],
    ["journal: folder, journalMode: 'relaxed', journalFlushMs: 0", /`journalFlushMs` is 0/],
    ["journal: folder, name: '/'.repeat(100)", /`name` is to be the name of the journal's folder/],
    ["journalMode: 'relaxed'", /`journalMode` is for a journal; give its folder with option `journal`/],
  ]) {
    const said = refusal(folder, `wrap('brotli-wasm', { ${options} })`);
    assert.match(said, /^WASM_PROXY_OPTION /);
    assert.match(said, words);
  }
}));

test('the preload keeps journals by the environment, each package in its own folder', () => inFolder((folder) => {
  const program = `
    const { YDoc } = require('ywasm');
    const { CompressStream } = require('brotli-wasm');
    new YDoc({ clientID: 1 });
    new CompressStream(5);
    const { proxies } = require('wasm-proxy');
    const found = proxies().map((proxy) => [proxy.name, Object.values(proxy.restored()).flat().length]);
    const { journal } = proxies()[0].getDebugInfo();
    console.log(JSON.stringify(found), journal.durable, require('node:path').basename(journal.folder));`;
  const env = { ...process.env, WASM_PROXY_JOURNAL: folder, WASM_PROXY_JOURNAL_MODE: 'relaxed', WASM_PROXY_JOURNAL_FLUSH_MS: '20' };
  for (const count of [0, 1, 2]) {
    const said = run(['-r', 'wasm-proxy/register', '-e', program], { env });
    assert.equal(said, `[["ywasm",${count}],["brotli-wasm",${count}]] false ywasm\n`);
  }
  assert.deepEqual(readdirSync(folder).sort(), ['brotli-wasm', 'ywasm']);
}));
