'use strict';

/** What this package throws. `code` says what to do next; docs/node.md has the list. */
class WasmProxyError extends Error {
  constructor(code, message) {
    super(`wasm-proxy: ${message}`);
    this.name = 'WasmProxyError';
    this.code = code;
  }
}

/** Runs a function of the addon, whose errors become errors of this package. */
function own(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof WasmProxyError || !String(error?.code).startsWith('WASM_PROXY_')) throw error;
    throw new WasmProxyError(error.code, error.message);
  }
}

module.exports = { WasmProxyError, own };
