'use strict';
// One wrapped module, as an operator sees it.

const { EventEmitter } = require('node:events');
const addon = require('./addon.cjs');
const { WasmProxyError, own } = require('./errors.cjs');
const { Objects } = require('./objects.cjs');
const { collectGarbage } = require('./scope.cjs');

/** All wrapped modules of this thread, and their events together. */
const events = new EventEmitter();
const proxies = [];

/** So many objects are worth no collection. */
const OBJECTS_FEW = 4;
/** The part of the way to a standby at which there is a collection. */
const COLLECT_AT = 0.7;

class WasmProxy extends EventEmitter {
  #session;
  #objects;
  /** How many objects the last collection left, at most. */
  #left = OBJECTS_FEW;
  /** The share of the memory limit from which on there is a collection. */
  #collectAt;

  constructor(name) {
    super();
    this.name = name;
  }

  /** Opens the module, whose glue is a source and a way to its variables. */
  open(wasm, { source, lookUp }, options) {
    const listener = (text) => this.#tell(text);
    this.#session = own(() => addon.open(wasm, source, JSON.stringify({ ...options, name: this.name }), listener));
    const description = JSON.parse(own(() => addon.describe(this.#session)));
    this.policy = description.policy;
    this.engine = description.engine;
    this.refused = description.leftOut;
    this.#objects = new Objects(this.#session, description.restored, lookUp);
    this.#collectAt = COLLECT_AT * (options.warn ?? 0.7);
    proxies.push(this);
    return { session: this.#session, description };
  }

  #tell(text) {
    const { event, ...said } = JSON.parse(text);
    const told = { ...said, package: this.name };
    try {
      this.emit(event, told);
      events.emit(event, told);
    } catch (error) {
      // Node takes no notice of what is thrown in a call from another thread.
      process.nextTick(() => { throw error; });
    }
  }

  /**
   * Objects that JavaScript lost without `free()` fill the guest, and nothing tells Node to collect them. It is told
   * before a standby is made, where there are twice as many objects as the last collection left.
   */
  look() {
    if (addon.usage(this.#session) < this.#collectAt) return;
    const { names } = this.getDebugInfo();
    this.#left = Math.max(OBJECTS_FEW, Math.min(this.#left, names));
    if (names < 2 * this.#left) return;
    this.#left = names;
    collectGarbage();
  }

  getDebugInfo() {
    return JSON.parse(own(() => addon.debugInfo(this.#session)));
  }

  /** Whether it serves as it should, and if not, why. */
  healthCheck() {
    const info = this.getDebugInfo();
    const problems = [];
    if (info.tainted) problems.push(`the instance died and the next call rebuilds it: ${info.tainted}`);
    if (info.divergence) problems.push(`no standby can be made: entry ${info.divergence.entry} diverged`);
    if (info.stateExceedsBudget) {
      problems.push('the live state alone exceeds the threshold: free objects or raise memoryLimitMiB');
    }
    if (info.failures > 0) problems.push(`${info.failures} standbys failed in a row: ${info.lastError}`);
    return {
      healthy: problems.length === 0,
      problems,
      memory: info.memory,
      memoryLimit: info.memoryLimit,
      usage: info.memoryLimit > 0 ? info.memory / info.memoryLimit : 0,
      standby: info.standbyMemory !== null,
      swaps: info.swaps,
    };
  }

  /** The objects of earlier processes that are alive, by class, in the order of their creation. */
  restored(classes) {
    return this.#objects.restored(classes);
  }

  /** Gives an object a key, by which later processes find it. It is on the disk when this returns. */
  keep(key, object) {
    return this.#objects.keep(key, object);
  }

  /** The object with a key, of this process or an earlier one. `undefined` if there is none that is alive. */
  kept(key, classes) {
    return this.#objects.kept(key, classes);
  }

  /** Takes a key away. The object stays until it is freed. */
  forget(key) {
    this.#objects.forget(key);
  }

  setEnabled(enabled) {
    if (typeof enabled !== 'boolean') throw new WasmProxyError('WASM_PROXY_OPTION', 'setEnabled takes a boolean');
    own(() => addon.setEnabled(this.#session, enabled ? 1 : 0));
  }

  /** Makes a standby and swaps to it, now. Objects of this turn of the event loop end. */
  swap() {
    own(() => addon.swap(this.#session));
  }
}

module.exports = { WasmProxy, events, proxies };
