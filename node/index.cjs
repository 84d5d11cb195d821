'use strict';

const { createRequire } = require('node:module');
const addon = require('./lib/addon.cjs');
const { WasmProxyError, own } = require('./lib/errors.cjs');
const { callers } = require('./lib/glue.cjs');
const { during } = require('./lib/intercept.cjs');
const { WasmProxy, events, proxies } = require('./lib/proxy.cjs');

const ofPackage = new WeakMap();

function remember({ given, made }) {
  if (given !== null && ['object', 'function'].includes(typeof given)) ofPackage.set(given, made);
  return given;
}

/**
 * Loads a package with its WebAssembly behind a proxy. `glue` is its name, as for `require`, or a function that loads
 * it (and initialises it, if it has to be), which may give a promise.
 */
function wrap(glue, options) {
  let load = glue;
  if (typeof glue === 'string') {
    const from = callers()[0] ?? `${process.cwd()}/`;
    load = () => createRequire(from)(glue);
  } else if (typeof glue !== 'function') {
    const what = 'the first argument of `wrap` is the name of a package, or a function that loads it';
    throw new WasmProxyError('WASM_PROXY_OPTION', what);
  }
  const loaded = during(load, options);
  return typeof loaded.then === 'function' ? loaded.then(remember) : remember(loaded);
}

/** The proxy of what `wrap` gave. */
function proxyOf(wrapped) {
  return ofPackage.get(wrapped)?.[0];
}

module.exports = {
  wrap,
  proxyOf,
  proxies: () => [...proxies],
  events,
  metrics: () => own(() => addon.metrics()),
  engines: () => own(() => addon.engines()).split(' '),
  WasmProxy,
  WasmProxyError,
};
