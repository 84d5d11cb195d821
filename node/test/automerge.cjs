'use strict';
// A document that stays, and copies of it that come and go.

const { createHash } = require('node:crypto');
const { setImmediate: turn } = require('node:timers/promises');
const { create, load } = require('@automerge/automerge-wasm');

async function main() {
  const hash = createHash('sha256');
  const kept = create({ actor: '11'.repeat(16) });
  for (let round = 0; round < 40; round++) {
    kept.put('_root', `key${round % 9}`, round);
    const list = kept.putObject('_root', `list${round % 3}`, ['a', round, true]);
    kept.push(list, 'pushed');
    kept.commit(`round ${round}`, 1000 * round);
    const saved = kept.save();
    const copies = [];
    for (let more = 0; more <= round % 4; more++) {
      const copy = load(saved, { actor: '22'.repeat(16) });
      copy.putObject('_root', 'text', 'x'.repeat(60_000));
      copy.commit('copy', 7);
      hash.update(copy.getHeads().join());
      copies.push(copy);
    }
    for (const copy of copies) copy.free();
    hash.update(saved);
    await turn();
  }
  hash.update(JSON.stringify(kept.materialize('/')));
  console.log(hash.digest('hex'));
  try {
    kept.put('none', 'x', 1);
  } catch (error) {
    console.log(error.message);
  }
}

main();
