'use strict';
// Streams that come and go, of many window sizes.

const { createHash } = require('node:crypto');
const { setImmediate: turn } = require('node:timers/promises');
const brotli = require('brotli-wasm');

async function main() {
  const hash = createHash('sha256');
  const lasting = new brotli.DecompressStream();
  const packed = brotli.compress(Buffer.from('what lasts over all swaps '.repeat(4000)));
  let at = 0;
  for (let round = 0; round < 40; round++) {
    const content = Buffer.from(`round ${round} `.repeat(20_000));
    const streams = [];
    for (let more = 0; more <= round % 4; more++) {
      const stream = new brotli.CompressStream(5 + more);
      const first = stream.compress(content, 1 << 20);
      const last = stream.compress(undefined, 1 << 20);
      hash.update(first.buf).update(last.buf);
      first.free();
      last.free();
      streams.push(stream);
    }
    for (const stream of streams) stream.free();
    const part = packed.subarray(at, (at += 2));
    if (part.length > 0) {
      const given = lasting.decompress(part, 1 << 20);
      hash.update(given.buf);
      given.free();
    }
    await turn();
  }
  hash.update(String(lasting.total_out()));
  console.log(hash.digest('hex'));
}

main();
