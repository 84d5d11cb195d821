'use strict';
// node -r wasm-proxy/register app.mjs

const { WasmProxyError } = require('./lib/errors.cjs');

const flag = process.env.O1JS_ENABLE_WASM_PROXY;
if (flag !== undefined && flag !== 'true' && flag !== 'false') {
  throw new WasmProxyError('WASM_PROXY_OPTION', `O1JS_ENABLE_WASM_PROXY is \`${flag}\`; it is \`true\` or \`false\``);
}
// Switched off, the process is as it would be without this file.
if (flag !== 'false') {
  const { packagesOf } = require('./lib/options.cjs');
  require('./lib/intercept.cjs').always({}, packagesOf());
}
