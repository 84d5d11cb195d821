'use strict';
// What packages throw, by its class.

const automerge = require('@automerge/automerge-wasm');
const brotli = require('brotli-wasm');
const tiktoken = require('tiktoken');
const ywasm = require('ywasm');

function thrown(what, work) {
  try {
    work();
    console.log(what, 'returned');
  } catch (error) {
    console.log(what, typeof error, error?.constructor?.name, error instanceof Error, error?.name, JSON.stringify(error), String(error));
  }
}

const bytes = (...numbers) => Uint8Array.from(numbers);
const doc = automerge.create({ actor: '11'.repeat(16) });
const encoder = tiktoken.get_encoding('gpt2');
const list = new ywasm.YDoc({ clientID: 1, guid: '3ac5a6c8-8d0b-4d6d-9f3a-0d5f1f2b7a11' }).getArray('list');

thrown('automerge put', () => doc.put('none', 'x', 1));
thrown('automerge load', () => automerge.load(bytes(1, 2, 3)));
thrown('automerge create', () => automerge.create({ actor: 'zz' }));
thrown('automerge datatype', () => doc.put('_root', 'a', 1, 'weird'));
thrown('automerge sync', () => doc.receiveSyncMessage({}, bytes(1)));
thrown('brotli decompress', () => brotli.decompress(Buffer.from('zzzzz not brotli')));
thrown('brotli options', () => brotli.compress(Buffer.from('x'), 5));
thrown('brotli stream', () => new brotli.DecompressStream().decompress(Buffer.from('zzzzz not brotli'), 100));
thrown('tiktoken encoding', () => tiktoken.get_encoding('none'));
thrown('tiktoken special', () => encoder.encode('<|endoftext|>'));
thrown('tiktoken token', () => encoder.encode_single_token('hello world foo'));
thrown('ywasm update', () => ywasm.applyUpdate(new ywasm.YDoc({}), bytes(1, 2, 3, 255)));
thrown('ywasm options', () => new ywasm.YDoc(5));
thrown('ywasm outside', () => list.get(5));
thrown('ywasm freed', () => { list.free(); list.get(0); });
// Both ABIs of wasm-bindgen, and values of every kind.
for (const file of ['./realm_old.js', './realm_new.js']) {
  const realm = require(file);
  for (const value of [
    new TypeError('of a type'), new RangeError('of a range'), new SyntaxError(''), 'a text', '', 5, -0, null, undefined,
    true, 7n, [1, 'two'], { three: [3] }, new Date(0), bytes(1, 2),
  ]) {
    thrown(`${file} value`, () => realm.throw_value(typeof value === 'bigint' ? String(value) : value));
  }
  thrown(`${file} past frames`, () => realm.throw_text('past frames'));
  thrown(`${file} check`, () => realm.check(false));
  thrown(`${file} parse`, () => realm.parse('two'));
}
