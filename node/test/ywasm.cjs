'use strict';
// A document that stays, and others that catch up with it and go.

const { createHash } = require('node:crypto');
const { setImmediate: turn } = require('node:timers/promises');
const { YDoc, applyUpdate, encodeStateAsUpdate, encodeStateVector } = require('ywasm');

const options = { clientID: 1, guid: '3ac5a6c8-8d0b-4d6d-9f3a-0d5f1f2b7a11' };

async function main() {
  const hash = createHash('sha256');
  const doc = new YDoc(options);
  const text = doc.getText('t');
  const map = doc.getMap('m');
  for (let round = 0; round < 60; round++) {
    text.insert(0, `round ${round} `);
    if (round % 4 === 3) text.delete(2, 5);
    map.set(`k${round % 7}`, [round, 'two', null, { three: true }]);
    const others = [];
    for (let more = 0; more <= round % 5; more++) {
      const other = new YDoc({ ...options, clientID: 2 + more });
      applyUpdate(other, encodeStateAsUpdate(doc));
      const big = other.getText('big');
      big.insert(0, 'x'.repeat(400_000));
      big.free();
      hash.update(encodeStateVector(other));
      others.push(other);
    }
    for (const other of others) other.free();
    hash.update(JSON.stringify([text.toString(), text.length(), map.get('k0')]));
    await turn();
  }
  hash.update(encodeStateAsUpdate(doc));
  console.log(hash.digest('hex'));
}

main();
