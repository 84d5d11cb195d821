'use strict';
// Stands between packages and `WebAssembly`: instances of wasm-bindgen's modules become wrapped ones.

const { AsyncLocalStorage } = require('node:async_hooks');
const { WasmProxyError } = require('./errors.cjs');
const { Surface } = require('./exports.cjs');
const { callers, glueOf, packageOf } = require('./glue.cjs');
const { complete, withPolicyOf } = require('./options.cjs');
const { WasmProxy } = require('./proxy.cjs');

const real = {
  Module: WebAssembly.Module,
  Instance: WebAssembly.Instance,
  Memory: WebAssembly.Memory,
  instantiate: WebAssembly.instantiate,
  compile: WebAssembly.compile,
  instantiateStreaming: WebAssembly.instantiateStreaming,
  compileStreaming: WebAssembly.compileStreaming,
};

/** What `wrap` asked for around the work that loads a package. */
const asked = new AsyncLocalStorage();
/** What the preload asked for: options, and the names of packages or `null` for all. */
let everywhere = null;
let installed = false;

/** The bytes of modules that are not compiled by V8 unless somebody looks into them. */
const kept = new WeakMap();
const proxyOfInstance = new WeakMap();

function bytesOf(source) {
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const isBuffer = source instanceof ArrayBuffer || source instanceof SharedArrayBuffer;
  return isBuffer ? new Uint8Array(source) : null;
}

const isBindgen = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes('__wbindgen_');

/** A module that stands for bytes, or `null` if these are none of wasm-bindgen's. */
function keep(source) {
  const bytes = bytesOf(source);
  if (!bytes || !isBindgen(bytes) || !(asked.getStore() ?? everywhere)) return null;
  const module = Object.create(real.Module.prototype);
  // A copy: the package may reuse its buffer.
  kept.set(module, { bytes: bytes.slice(), compiled: null });
  return module;
}

/** The module as V8 has it. */
function compiled(module) {
  const found = kept.get(module);
  if (!found) return module;
  found.compiled ??= new real.Module(found.bytes);
  return found.compiled;
}

/** The wrapped instance of a module that was kept, or `null` if V8 has to make it. */
function wrapped(module, imports) {
  const found = kept.get(module);
  const wanted = found && (asked.getStore() ?? everywhere);
  if (!wanted) return null;
  const files = callers();
  const name = files.length > 0 ? packageOf(files[0]) : 'module';
  const isNamed = wanted.packages ? wanted.packages.includes(name) : wanted !== everywhere;
  if (wanted.packages && !isNamed) return null;
  try {
    return open(found.bytes, imports, name, files, wanted);
  } catch (error) {
    const goesOn = ['WASM_PROXY_GLUE', 'WASM_PROXY_POLICY', 'WASM_PROXY_MODULE'].includes(error?.code);
    if (isNamed || !goesOn) throw error;
    process.emitWarning(`package \`${name}\` runs without the proxy: ${error.message}`, { code: error.code });
    return null;
  }
}

function open(bytes, imports, name, files, wanted) {
  const { source, variables, lookUp } = glueOf(imports, files);
  const proxy = new WasmProxy(wanted.options.name ?? name);
  const { session, description } = proxy.open(bytes, { source, lookUp }, withPolicyOf(name, wanted.options));
  const surface = new Surface(session, description, variables, { Memory: real.Memory, look: () => proxy.look() });
  const instance = Object.create(real.Instance.prototype, {
    exports: { value: Object.freeze(surface.exports), enumerable: true },
  });
  proxyOfInstance.set(instance, proxy);
  wanted.made?.push(proxy);
  return instance;
}

const instance = (module, imports) => wrapped(module, imports) ?? new real.Instance(compiled(module), imports);

async function instantiate(source, imports) {
  if (source instanceof real.Module) {
    return wrapped(source, imports) ?? real.instantiate.call(WebAssembly, compiled(source), imports);
  }
  const module = keep(source);
  const made = module && wrapped(module, imports);
  return made ? { module, instance: made } : real.instantiate.call(WebAssembly, source, imports);
}

async function bytesOfResponse(source) {
  const response = await source;
  return { response, bytes: await response.clone().arrayBuffer() };
}

async function instantiateStreaming(source, imports) {
  const { response, bytes } = await bytesOfResponse(source);
  const module = keep(bytes);
  const made = module && wrapped(module, imports);
  return made ? { module, instance: made } : real.instantiateStreaming.call(WebAssembly, response, imports);
}

async function compileStreaming(source) {
  const { response, bytes } = await bytesOfResponse(source);
  return keep(bytes) ?? real.compileStreaming.call(WebAssembly, response);
}

function install() {
  if (installed) return;
  installed = true;
  WebAssembly.Module = new Proxy(real.Module, {
    construct: (target, given, to) => keep(given[0]) ?? Reflect.construct(target, given, to),
    get(target, key, receiver) {
      const found = Reflect.get(target, key, receiver);
      const looks = ['exports', 'imports', 'customSections'].includes(key);
      return looks ? (module, ...more) => found(compiled(module), ...more) : found;
    },
  });
  WebAssembly.Instance = new Proxy(real.Instance, {
    construct: (_, [module, imports]) => instance(module, imports),
  });
  WebAssembly.instantiate = instantiate;
  WebAssembly.compile = async (source) => keep(source) ?? real.compile.call(WebAssembly, source);
  if (real.instantiateStreaming) Object.assign(WebAssembly, { instantiateStreaming, compileStreaming });
}

/** Wraps what `load` instantiates, and gives what it gives. */
function during(load, options) {
  install();
  const wanted = { options: complete(options), packages: null, made: [] };
  const loaded = asked.run(wanted, load);
  const done = (given) => {
    if (wanted.made.length > 0) return { given, made: wanted.made };
    throw new WasmProxyError(
      'WASM_PROXY_NOTHING_WRAPPED',
      'no module of wasm-bindgen\'s was instantiated: the package was loaded before, or it instantiates later; ' +
        'wrap it first, and give a function that also initialises it',
    );
  };
  return typeof loaded?.then === 'function' ? loaded.then(done) : done(loaded);
}

/** Wraps what any package instantiates from now on. */
function always(options, packages) {
  install();
  everywhere = { options: complete(options), packages };
}

module.exports = { during, always };
