'use strict';
// Encoders that come and go, of two sizes, beside one that stays.

const { createHash } = require('node:crypto');
const { setImmediate: turn } = require('node:timers/promises');
const { get_encoding } = require('tiktoken');

async function main() {
  const hash = createHash('sha256');
  const kept = get_encoding('gpt2');
  for (let round = 0; round < 12; round++) {
    const others = [];
    for (let more = 0; more <= round % 3; more++) others.push(get_encoding('r50k_base', { [`<|${round}|>`]: 60_000 + more }));
    const text = `round ${round}: ${'the quick brown fox <|endoftext|> '.repeat(20 * (round + 1))}`;
    for (const encoder of [kept, ...others]) {
      const tokens = encoder.encode(text, 'all');
      hash.update(Buffer.from(tokens.buffer));
      hash.update(encoder.decode(tokens));
      hash.update(JSON.stringify([...encoder.encode_ordinary(text)]));
    }
    for (const encoder of others) encoder.free();
    await turn();
  }
  hash.update(String(kept.name));
  console.log(hash.digest('hex'));
  try {
    get_encoding('none');
  } catch (error) {
    console.log(error.message);
  }
}

main();
