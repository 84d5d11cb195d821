'use strict';
// A program that loses objects: it makes vectors of field elements in the prover's module and frees none of them, as
// happens to a program on glue without finalizers.
//
// TEST_LOSE is the glue; without it nothing is lost. TEST_LOSE_KIB is lost in pieces of 64 KiB, before each call of
// TEST_LOSE_BEFORE, a function of the glue.

const path = require('node:path');

const PIECE_KIB = 64;
const { TEST_LOSE: file, TEST_LOSE_KIB: lostKib, TEST_LOSE_BEFORE: name } = process.env;

function lose(glue) {
  for (let kib = 0; kib < lostKib; kib += PIECE_KIB) {
    // Zeros are field elements.
    new glue.WasmVecVecFp(1).push(new Uint8Array(PIECE_KIB * 1024));
  }
}

if (file) {
  const glue = require(path.resolve(file));
  const real = glue[name];
  glue[name] = (...given) => {
    lose(glue);
    return real(...given);
  };
}
