'use strict';
// Images of many sizes, which come and go: the memory grows to the largest ones.

const { createHash } = require('node:crypto');
const { setImmediate: turn } = require('node:timers/promises');
const photon = require('@silvia-odwyer/photon-node');

const pixels = (size, seed) => Uint8Array.from({ length: size * size * 4 }, (_, at) => (at * seed + (at >> 3)) & 255);

async function main() {
  const hash = createHash('sha256');
  const kept = new photon.PhotonImage(pixels(24, 7), 24, 24);
  for (let round = 0; round < 30; round++) {
    const size = 64 + 128 * (round % 6);
    const image = new photon.PhotonImage(pixels(size, 3 + round), size, size);
    photon.grayscale(image);
    photon.inc_brightness(image, round);
    photon.filter(image, 'oceanic');
    const small = photon.resize(image, 48, 48, 1);
    hash.update(small.get_raw_pixels()).update(image.get_raw_pixels()).update(String(small.get_width()));
    small.free();
    image.free();
    photon.fliph(kept);
    hash.update(kept.get_raw_pixels());
    await turn();
  }
  console.log(hash.digest('hex'));
}

main();
