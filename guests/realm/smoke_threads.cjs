// Runs the threaded guests under Node with the glue that wasm-bindgen generated for them:
//
//     node smoke_threads.cjs [FOLDER]
//
// The folder is guests/prebuilt unless another is given. Ends with an error where a guest misbehaves.
"use strict";

const assert = require("assert");
const fs = require("fs");
const Module = require("module");
const path = require("path");
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");

const WORKERS = 2;

// Loads a guest; a memory is given only in workers.
function load(folder, name, memory) {
  const glue = path.join(folder, `${name}.js`);
  if (!name.endsWith("_old")) {
    const guest = require(glue);
    if (memory) {
      guest.initSync({ module: fs.readFileSync(path.join(folder, `${name}.wasm`)), memory });
    }
    return [guest, guest.__wbg_memory];
  }
  // The older glue takes the memory from a module called `env`, which its user has to come up with.
  const shared = memory ?? new WebAssembly.Memory({ initial: 18, maximum: 16384, shared: true });
  const original = Module._load;
  Module._load = (request, ...rest) =>
    request === "env" ? { memory: shared } : original(request, ...rest);
  try {
    return [require(glue), shared];
  } finally {
    Module._load = original;
  }
}

async function check(folder, name) {
  const [guest, memory] = load(folder, name);
  let running = [];
  globalThis.startWorkers = async (_source, _memory, builder) => {
    const receiver = builder.receiver();
    await Promise.all(
      Array.from({ length: builder.numThreads() }, () => {
        const worker = new Worker(__filename, { workerData: { folder, name, memory, receiver } });
        running.push(worker);
        return new Promise((resolve) => worker.once("message", resolve));
      }),
    );
    builder.build();
  };
  // The pool is dropped by now: every worker returns, destroys its thread and ends.
  globalThis.terminateWorkers = () =>
    Promise.all(running.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));

  const used = [];
  for (let round = 0; round < 20; round += 1) {
    running = [];
    await guest.initThreadPool(WORKERS, "");
    assert.strictEqual(guest.workers(), WORKERS);
    assert.strictEqual(guest.parallel_sum(1_000_000), 499_999_500_000n);
    assert.match(guest.random_in_workers(50), /^[0-9a-f]{64}$/);
    assert.notStrictEqual(guest.random_in_workers(1), guest.random_in_workers(1));
    await guest.exitThreadPool();
    used.push(guest.memory_usage_mb());
  }
  console.log(`${name}: MiB after each pool: ${used.join(" ")}`);
  assert.ok(used.at(-1) - used[1] < 0.5, "threads that were destroyed give their memory back");
}

async function main() {
  const folder = path.resolve(process.argv[2] ?? path.join(__dirname, "..", "prebuilt"));
  for (const name of ["realm_threads", "realm_threads_old"]) {
    await check(folder, name);
  }
}

if (isMainThread) {
  main().catch((error) => {
    console.error(error);
    process.exit(1);
  });
} else {
  const { folder, name, memory, receiver } = workerData;
  const [guest] = load(folder, name, memory);
  parentPort.postMessage("ready");
  guest.wbg_rayon_start_worker(receiver);
  guest.__wasm.__wbindgen_thread_destroy(0, 0, 0);
}
