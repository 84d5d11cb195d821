'use strict';
// What only the inspector of this process can do: what the module of a function has in its scope, its source, and a
// collection of garbage.
//
// Older releases of wasm-bindgen name JavaScript values by slots of an array inside of the glue, which exports neither
// the array nor what adds to it. The inspector sees both, however the glue was loaded. No source is changed.

const { WasmProxyError } = require('./errors.cjs');

const KEY = Symbol.for('wasm-proxy.scope');
const AT = `globalThis[Symbol.for('wasm-proxy.scope')]`;

/** A session of the inspector whose answers come at once. */
function connect() {
  let inspector;
  try {
    inspector = require('node:inspector');
  } catch (error) {
    throw new WasmProxyError('WASM_PROXY_INSPECTOR', `this Node has no inspector: ${error.message}; take one that has`);
  }
  const session = new inspector.Session();
  session.connect();
  const post = (method, params) => {
    let answer;
    session.post(method, params, (error, result) => { answer = { error, result }; });
    if (!answer || answer.error) {
      const reason = answer ? answer.error.message : 'no answer';
      throw new WasmProxyError('WASM_PROXY_INSPECTOR', `Node's inspector refused ${method}: ${reason}`);
    }
    return answer.result;
  };
  return { session, post, end: () => session.disconnect() };
}

function variables(post, scopes, names) {
  const found = {};
  for (const { value: scope } of post('Runtime.getProperties', { objectId: scopes, ownProperties: true }).result) {
    if (!scope?.objectId || /^Global/.test(scope.description)) continue;
    const { result } = post('Runtime.getProperties', { objectId: scope.objectId, ownProperties: true });
    for (const { name, value } of result) {
      if (!names.includes(name) || name in found || !value?.objectId) continue;
      globalThis[KEY] = found;
      post('Runtime.callFunctionOn', {
        objectId: value.objectId,
        functionDeclaration: `function () { ${AT}[${JSON.stringify(name)}] = this; }`,
      });
    }
  }
  return found;
}

/** The source of the script that a function is from, and the variables with these names that it sees. */
function scopeOf(fn, names) {
  const { post, end } = connect();
  try {
    post('Debugger.enable', {});
    globalThis[KEY] = fn;
    const { result: found } = post('Runtime.evaluate', { expression: AT });
    const asked = { objectId: found.objectId, ownProperties: true };
    const { internalProperties = [] } = post('Runtime.getProperties', asked);
    const internal = (name) => internalProperties.find((property) => property.name === name)?.value;
    const place = internal('[[FunctionLocation]]')?.value;
    if (!place) return null;
    const { scriptSource: source } = post('Debugger.getScriptSource', { scriptId: place.scriptId });
    const scopes = internal('[[Scopes]]')?.objectId;
    return { source, variables: scopes ? variables(post, scopes, names) : {} };
  } finally {
    delete globalThis[KEY];
    end();
  }
}

/** Lets Node collect what JavaScript lost. That and the finalizers follow in later turns of the event loop. */
function collectGarbage() {
  const { session, end } = connect();
  // Node hangs if the session ends inside of its own answer.
  session.post('HeapProfiler.collectGarbage', () => setImmediate(end));
}

module.exports = { scopeOf, collectGarbage };
