'use strict';
// The thread pool of wasm-bindgen-rayon: its workers are native threads of the addon's.

/** A builder as the guest's, which asks for no worker in JavaScript. */
const NO_WORKERS = { numThreads: () => 0, receiver: () => 0, build() {} };

/** The exports that start and end a pool, for a module that has one. */
function poolOf({ exports, memory, isHeap, slots }) {
  const given = (value) => (isHeap ? slots.add(value) : value);
  const taken = (value) => (isHeap ? slots.take(value) : value);
  let pool = 0;

  async function start(threads, source) {
    // As with workers in JavaScript, which arrive in a later turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    pool = exports.thread_pool_start(threads);
    // o1js waits for a promise that its own function settles.
    return globalThis.startWorkers?.(source, memory, NO_WORKERS);
  }

  async function stop() {
    exports.thread_pool_stop(pool);
    return globalThis.terminateWorkers?.();
  }

  return {
    initThreadPool: (threads, source) => given(start(threads, taken(source))),
    exitThreadPool: () => given(stop()),
    get_memory: () => given(memory),
    wbg_rayon_start_worker() {
      throw new WebAssembly.RuntimeError('wasm-proxy: workers of this module are native threads');
    },
  };
}

module.exports = { poolOf };
