'use strict';
// Arrays of values, given to packages and returned by them.

const ywasm = require('ywasm');

const ITEMS = [
  1, 'two', null, undefined, true, -0.5, { three: [3, { four: 4 }] }, [5, [6]], Uint8Array.of(7, 8), {}, [], 'n\u{1F642}',
];
const doc = new ywasm.YDoc({ clientID: 1, guid: '3ac5a6c8-8d0b-4d6d-9f3a-0d5f1f2b7a11' });
const list = doc.getArray('list');
const show = (what) => console.log(what, JSON.stringify(list.toJson()), list.length());
list.push(ITEMS);
show('pushed');
list.push([]);
list.insert(1, [{ inserted: { deep: [1, 2] } }, 'plain']);
show('inserted');
list.push(Array.from({ length: 5000 }, (_, at) => ({ at })));
console.log(JSON.stringify(list.get(4999)), list.length());
console.log(Buffer.from(ywasm.encodeStateAsUpdate(doc)).length);
// The elements may be left out.
console.log(JSON.stringify(new ywasm.YArray(['prelim', { a: 1 }]).toJson()), JSON.stringify(new ywasm.YArray().toJson()));
for (const file of ['./realm_old.js', './realm_new.js']) {
  const realm = require(file);
  for (let round = 0; round < 3; round++) {
    const words = realm.split('eins zwei \u{1F642}', ' ');
    console.log(file, JSON.stringify(words), realm.join(words, '+'), realm.join([], '+'));
  }
  const many = realm.split('x,'.repeat(40_000), ',');
  console.log(many.length, realm.join(many, '').length);
}
