import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';

const require = createRequire(import.meta.url);
const { proxyOf, wrap } = require('wasm-proxy');

/** Loads a package anew, behind a proxy of its own. */
function fresh(name, options) {
  for (const file of Object.keys(require.cache)) if (file.includes(`/${name}/`)) delete require.cache[file];
  return wrap(() => require(name), options);
}

// The same package with V8 is what decides.
const plain = require('ywasm');
const behind = fresh('ywasm');

/** What a program gives with each of the two. */
function both(program) {
  const [expected, got] = [plain, behind].map((ywasm) => program(ywasm));
  assert.deepEqual(got, expected);
  return got;
}

test('a getter may call the package, before the call that its value is for', () => {
  const calls = {
    'another map': ({ other }) => other.getMap('zzzz') && 1,
    'a text': ({ text }) => text.toString(),
    'a length': ({ text }) => text.length(),
    'a change': ({ text }) => text.insert(0, 'changed') ?? 1,
    'an object that comes and goes': ({ ywasm }) => new ywasm.YDoc({}).free() ?? 1,
    'a value of a value': ({ ywasm, text }) => {
      const deep = new ywasm.YDoc({ clientID: 3 }).getMap('deep');
      deep.set('inner', { get b() { return text.length(); }, c: 'd'.repeat(5_000) });
      return deep.toJson().inner;
    },
  };
  for (const [name, call] of Object.entries(calls)) {
    const seen = both((ywasm) => {
      const [doc, other] = [new ywasm.YDoc({ clientID: 1 }), new ywasm.YDoc({ clientID: 2 })];
      const [map, text] = [doc.getMap('m'), other.getText('t')];
      text.insert(0, 'there');
      const given = { before: 'x', get a() { return call({ ywasm, other, text }); }, after: [1, 'y'] };
      map.set('a key of some length', given);
      map.set('by a trap', new Proxy({ p: 1 }, {
        get(target, key) {
          if (key === 'p') text.insert(0, 'p');
          return target[key];
        },
      }));
      return [map.get('a key of some length'), map.get('by a trap'), map.length(), text.toString(), other.getMap('m').length()];
    });
    assert.equal(seen[0].after[1], 'y', name);
  }
});

test('a getter may swap', () => {
  const ywasm = fresh('ywasm');
  const proxy = proxyOf(ywasm);
  const map = new ywasm.YDoc({ clientID: 1 }).getMap('m');
  for (let round = 1; round < 5; round++) {
    map.set(`key ${round}`, { get a() { return proxy.swap() ?? round; } });
    assert.deepEqual(map.get(`key ${round}`), { a: round });
  }
  assert.equal(proxy.getDebugInfo().swaps, 4);
});

test('a getter that throws leaves the package as it was', () => {
  both((ywasm) => {
    const map = new ywasm.YDoc({ clientID: 1 }).getMap('m');
    for (let round = 0; round < 100; round++) {
      const thrown = { get a() { map.toJson(); throw new RangeError('from a getter'); } };
      // What plain Node leaves behind here is a transaction that never ends, so there it is not tried.
      if (ywasm === behind) assert.throws(() => map.set('k', thrown), /from a getter/);
      map.set('k', round);
    }
    return map.toJson();
  });
});

test('texts, lists and objects arrive as in plain Node', () => {
  const values = [
    '\ud800', 'cut \ud83d', '\udc00 in front', { '\ud800': 1 }, ['\ud83d\ude00', '\ufeffmarked'],
    [1, , 3], [, ], [undefined, null], [[, 1], { a: [, ] }],
  ];
  for (const value of values) {
    both((ywasm) => {
      const map = new ywasm.YDoc({ clientID: 1 }).getMap('m');
      map.set('k', value);
      return [map.get('k'), map.toJson()];
    });
  }
});

test('what is no text and no list counts as plain Node counts it', () => {
  const brotli = [require('brotli-wasm'), fresh('brotli-wasm')];
  for (const given of [5, {}, new Map(), new ArrayBuffer(4)]) {
    const [expected, got] = brotli.map(({ compress }) => [...compress(given)]);
    assert.deepEqual(got, expected);
  }
});

test('a value that is nested too deeply is named, and not by all of its path', () => {
  let value = [];
  for (let depth = 0; depth < 120; depth++) value = [value];
  const map = new behind.YDoc({}).getMap('m');
  assert.throws(() => map.set('k', value), (error) => {
    assert.equal(error.code, 'WASM_PROXY_VALUE');
    assert.match(error.message, /nested deeper than 100/);
    return error.message.length < 200;
  });
});

test('a history that a checkpoint ends does not grow with objects that are gone', () => {
  const ywasm = fresh('ywasm', { history: 'checkpoint' });
  for (let round = 0; round < 12_000; round++) {
    const doc = new ywasm.YDoc({ clientID: 1 });
    const text = doc.getText('t');
    text.insert(0, 'abc');
    assert.equal(text.length(), 3);
    text.free();
    doc.free();
  }
  const { journalEntries, divergences } = proxyOf(ywasm).getDebugInfo();
  assert.ok(journalEntries < 25_000, `${journalEntries} entries`);
  assert.equal(divergences, 0);
});
