'use strict';
// Writes digits into a document for ever, and says how many it has after each call: `node counting.cjs FOLDER MODE [LAST]`.
// With LAST it ends there by itself.

const { writeSync } = require('node:fs');
const { proxyOf, wrap } = require('wasm-proxy');

const [folder, journalMode, last = Infinity] = process.argv.slice(2);
const ywasm = wrap('ywasm', { journal: folder, journalMode });
const { YDoc } = ywasm;
const proxy = proxyOf(ywasm);
const doc = proxy.kept('doc') ?? proxy.keep('doc', new YDoc({ clientID: 1, guid: '3ac5a6c8-8d0b-4d6d-9f3a-0d5f1f2b7a11' }));
const text = doc.getText('digits');
const found = text.toString();
const expected = Array.from({ length: found.length }, (_, at) => at % 10).join('');
writeSync(1, `${found === expected ? found.length : `garbled: ${found}`}\n`);
for (let count = found.length; count < Number(last); count++) {
  text.insert(count, String(count % 10));
  writeSync(1, `${count + 1}\n`);
}
text.free();
