'use strict';
// The compiled part, for this machine.

const path = require('node:path');
const { WasmProxyError } = require('./errors.cjs');

const file = path.join(__dirname, '..', 'prebuilt', `wasm-proxy.${process.platform}-${process.arch}.node`);

try {
  module.exports = require(file);
} catch (error) {
  throw new WasmProxyError(
    'WASM_PROXY_ADDON',
    `the addon for ${process.platform} on ${process.arch} cannot be loaded from ${file}: ${error.message}; ` +
      'docs/node.md says how to build one',
  );
}
