// The same circuit under Node, with the glue that the package itself ships, for comparison:
//
//     node prove.cjs MODULE.cjs CIRCUIT.json [--workers 2] [--proofs 20] [--cycle] [--memory-mib N] [--silence-s 600]
//
// Prints one line of JSON. Exits with 1 where a proof was not made or did not verify, with 2 on wrong usage.
//
// Workers live for the whole run. With --cycle the pool is restarted around the set-up and around every proof,
// and workers are ended by force, as o1js up to 2.14 does: nobody calls `__wbindgen_thread_destroy`, so the stack
// and the thread-local block of every worker stay allocated. --memory-mib caps the shared memory, so that the
// end comes soon.
//
// The prover runs in a child process. A worker that traps leaves the prover waiting for ever, inside wasm, where
// no timer and no event reaches it: only another process can tell, and end it.
"use strict";

const fs = require("fs");
const path = require("path");
const { spawn } = require("child_process");
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const { parseArgs } = require("util");

const MODULUS_FP = 0x40000000000000000000000000000000224698fc094cf91b992d30ed00000001n;
const FIELD_BYTES = 32;
const GATE_GENERIC = 1;
const COEFFICIENTS = 10;
const COLUMNS = 15;
const COLUMNS_GIVEN = 6;
const WIRES = 7;
const PAGES_PER_MIB = 16;
const RSS_EVERY = 10;
// The pipe on which the prover reports: written synchronously, and from workers too, which have no `process.send`.
const REPORT_FD = 3;
// Tells the child that it is the child.
const CHILD = "O1JS_PROVE_CHILD";

function report(message) {
  fs.writeSync(REPORT_FD, `${JSON.stringify(message)}\n`);
}

// --- The circuit ---------------------------------------------------------------------------------------------

function check(holds, what) {
  if (!holds) {
    throw new Error(`the circuit is not understood: ${what}`);
  }
}

function readCircuit(file) {
  const circuit = JSON.parse(fs.readFileSync(file, "utf8"));
  const natural = (value) => Number.isSafeInteger(value) && value > 0;
  const integers = (list, length) =>
    Array.isArray(list) && list.length === length && list.every(Number.isSafeInteger);
  check(
    natural(circuit.srs_size) && Number.isInteger(Math.log2(circuit.srs_size)),
    "srs_size must be a power of two",
  );
  check(Array.isArray(circuit.gates) && circuit.gates.length > 0, "gates must be a list");
  for (const { times, coefficients, witness } of circuit.gates) {
    check(natural(times), "times must be a positive integer");
    check(integers(coefficients, COEFFICIENTS), `coefficients must be ${COEFFICIENTS} integers`);
    check(integers(witness, COLUMNS_GIVEN), `witness must be ${COLUMNS_GIVEN} integers`);
  }
  const rows = circuit.gates.reduce((sum, { times }) => sum + times, 0);
  check(rows < circuit.srs_size, "there must be fewer rows than srs_size");
  return circuit;
}

// The canonical form: little endian, and never negative.
function fieldBytes(integers) {
  const bytes = Buffer.alloc(integers.length * FIELD_BYTES);
  integers.forEach((integer, i) => {
    let rest = ((BigInt(integer) % MODULUS_FP) + MODULUS_FP) % MODULUS_FP;
    for (let at = i * FIELD_BYTES; rest > 0n; at += 1, rest >>= 8n) {
      bytes[at] = Number(rest & 0xffn);
    }
  });
  return bytes;
}

// One entry a row.
function rowsOf(circuit) {
  return circuit.gates.flatMap((gate) => Array(gate.times).fill(gate));
}

function gateVector(glue, rows) {
  const gates = glue.caml_pasta_fp_plonk_gate_vector_create();
  rows.forEach(({ coefficients }, row) => {
    // Every cell is wired to itself: there are no copy constraints.
    const wires = Array.from({ length: WIRES }, (_, column) => glue.Wire.create(row, column));
    const gate = new glue.WasmFpGate(GATE_GENERIC, new glue.WasmGateWires(...wires), fieldBytes(coefficients));
    glue.caml_pasta_fp_plonk_gate_vector_add(gates, gate);
  });
  return gates;
}

function witnessColumns(rows) {
  return Array.from({ length: COLUMNS }, (_, column) =>
    fieldBytes(rows.map(({ witness }) => witness[column] ?? 0)),
  );
}

// --- The pool ------------------------------------------------------------------------------------------------

// The glue creates its memory while it is loaded, and asks nobody about the size.
function loadWithMemoryCap(module, mebibytes) {
  if (mebibytes === undefined) {
    return require(module);
  }
  const original = WebAssembly.Memory;
  WebAssembly.Memory = new Proxy(original, {
    construct: (Memory, [type]) => new Memory({ ...type, maximum: mebibytes * PAGES_PER_MIB }),
  });
  try {
    return require(module);
  } finally {
    WebAssembly.Memory = original;
  }
}

// The module imports these two by their global names.
function installPool(glue, module) {
  let running = [];
  globalThis.startWorkers = async (_source, _memory, builder) => {
    // The glue takes the memory from `workerData` in a worker.
    const memory = glue.__wasm.memory;
    running = Array.from(
      { length: builder.numThreads() },
      () => new Worker(__filename, { workerData: { module, memory, receiver: builder.receiver() } }),
    );
    const arrivals = running.map(
      (worker) =>
        new Promise((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        }),
    );
    await Promise.all(arrivals);
    builder.build();
  };
  globalThis.terminateWorkers = () => Promise.all(running.map((worker) => worker.terminate()));
}

function runWorker() {
  let stage = "while a worker started";
  try {
    const glue = require(workerData.module);
    stage = "in a worker";
    parentPort.postMessage("ready");
    glue.wbg_rayon_start_worker(workerData.receiver);
  } catch (error) {
    report({ trap: `${stage}: ${error.message}` });
    throw error;
  }
}

// --- The prover ----------------------------------------------------------------------------------------------

async function timed(run) {
  const start = performance.now();
  const value = await run();
  return [value, performance.now() - start];
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Least squares over the later half of the samples, because a process grows while it is new.
function slope(samples, step) {
  const later = samples.slice(samples.length >> 1);
  if (later.length < 2) {
    return null;
  }
  const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / later.length;
  const middle = (later.length - 1) / 2;
  const height = mean(later);
  const rise = mean(later.map((sample, at) => (at - middle) * (sample - height)));
  return rise / mean(later.map((_, at) => (at - middle) ** 2)) / step;
}

async function setUp(glue, circuit, rows) {
  const [srs, srsMs] = await timed(() => glue.caml_fp_srs_create_parallel(circuit.srs_size));
  const none = new Uint32Array();
  const [[index, verifierIndex], indexMs] = await timed(() => {
    const gates = gateVector(glue, rows);
    // 2.2.0 has no last parameter (lazy mode), and its glue drops the argument.
    const index = glue.caml_pasta_fp_plonk_index_create(gates, 0, none, none, 0, srs, false);
    gates.free();
    return [index, glue.caml_pasta_fp_plonk_verifier_index_create(index)];
  });
  return { index, verifierIndex, srsMs, indexMs };
}

function prove(glue, index, columns) {
  const witness = new glue.WasmVecVecFp(COLUMNS);
  columns.forEach((column) => witness.push(column));
  return glue.caml_pasta_fp_plonk_proof_create(
    index,
    witness,
    new Uint32Array(),
    new Uint8Array(),
    new Uint32Array(),
  );
}

async function runProver({ module, circuit: file, workers, proofs, cycle, memoryMib }) {
  const circuit = readCircuit(file);
  const rows = rowsOf(circuit);
  const columns = witnessColumns(rows);
  const [glue, loadMs] = await timed(() => loadWithMemoryCap(module, memoryMib));
  installPool(glue, module);

  const poolMs = [];
  const startPool = async () => poolMs.push((await timed(() => glue.initThreadPool(workers, "")))[1]);
  await startPool();
  const { index, verifierIndex, srsMs, indexMs } = await setUp(glue, circuit, rows);
  const proofMs = [];
  const verifyMs = [];
  const roundMs = [];
  const roundCpuMs = [];
  const rssKib = [];
  let verified = true;
  for (let number = 1; number <= proofs; number += 1) {
    report({ proof: number });
    const start = performance.now();
    const startCpu = process.cpuUsage();
    if (cycle) {
      await glue.exitThreadPool();
      await startPool();
    }
    const [proof, proofTook] = await timed(() => prove(glue, index, columns));
    // Verification consumes both of its arguments.
    const copy = glue.caml_pasta_fp_plonk_verifier_index_deep_copy(verifierIndex);
    const [holds, verifyTook] = await timed(() => glue.caml_pasta_fp_plonk_proof_verify(copy, proof));
    proofMs.push(proofTook);
    verifyMs.push(verifyTook);
    roundMs.push(performance.now() - start);
    // Microseconds of the whole process, its workers and V8's own threads included.
    const { user, system } = process.cpuUsage(startCpu);
    roundCpuMs.push((user + system) / 1000);
    verified &&= holds;
    if (number % RSS_EVERY === 0) {
      rssKib.push(Math.round(process.memoryUsage.rss() / 1024));
    }
  }

  const ms = (number) => Math.round(number * 10) / 10;
  return {
    srs_ms: ms(srsMs),
    index_ms: ms(indexMs),
    proof_ms: proofMs.map(ms),
    proof_ms_median: ms(median(proofMs)),
    verify_ms_median: ms(median(verifyMs)),
    verified,
    // All that a proof takes: the pool's restart, if there is one, the proof, and its verification.
    round_ms_median: ms(median(roundMs)),
    // The same in the processor's time, of all threads together.
    round_cpu_ms: roundCpuMs.map(ms),
    round_cpu_ms_median: ms(median(roundCpuMs)),
    load_ms: ms(loadMs),
    pool_start_ms_median: ms(median(poolMs)),
    rows: rows.length,
    domain: glue.caml_pasta_fp_plonk_index_domain_d1_size(index),
    // Resident memory after every tenth proof, and how it grows.
    rss_kib: rssKib,
    rss_kib_per_proof: ((kib) => kib && ms(kib))(slope(rssKib, RSS_EVERY)),
    memory_bytes: glue.__wasm.memory.buffer.byteLength,
    workers,
    cycle,
    node: process.version,
  };
}

async function runChild(options) {
  try {
    const result = await runProver(options);
    report({ result });
  } catch (error) {
    // What the prover refuses comes as a string from some versions of the glue, as an Error from others.
    const message = error?.message ?? String(error);
    report(error instanceof WebAssembly.RuntimeError ? { trap: message } : { error: message });
  }
  // Idle workers would keep the process alive. What a preload listens to arrives in one more turn.
  setImmediate(() => process.exit());
}

// --- The watching process ------------------------------------------------------------------------------------

function usage(why) {
  console.error(`prove.cjs: ${why}`);
  console.error(
    "usage: node prove.cjs MODULE.cjs CIRCUIT.json [--workers N] [--proofs N] [--cycle] [--memory-mib N] [--silence-s N]",
  );
  process.exit(2);
}

function readOptions() {
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: {
        workers: { type: "string", default: "2" },
        proofs: { type: "string", default: "20" },
        cycle: { type: "boolean", default: false },
        "memory-mib": { type: "string" },
        "silence-s": { type: "string", default: "600" },
      },
    });
  } catch (error) {
    usage(error.message);
  }
  const { values, positionals } = parsed;
  if (positionals.length !== 2) {
    usage("give the glue of a module, and a circuit");
  }
  const [module, circuit] = positionals.map((file) => path.resolve(file));
  for (const file of [module, circuit]) {
    if (!fs.existsSync(file)) {
      usage(`there is no ${file}`);
    }
  }
  const natural = (name) => {
    if (!/^[1-9][0-9]{0,5}$/.test(values[name])) {
      usage(`--${name} must be a positive integer`);
    }
    return Number(values[name]);
  };
  return {
    module,
    circuit,
    workers: natural("workers"),
    proofs: natural("proofs"),
    cycle: values.cycle,
    memoryMib: values["memory-mib"] === undefined ? undefined : natural("memory-mib"),
    silenceS: natural("silence-s"),
  };
}

function watch(options) {
  const child = spawn(process.execPath, [...process.execArgv, __filename, ...process.argv.slice(2)], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
    env: { ...process.env, [CHILD]: "1" },
  });
  // The set-up counts as proof 0.
  let proof = 0;
  let outcome;
  let silence;
  const end = (result) => {
    outcome ??= result;
    clearTimeout(silence);
    child.kill("SIGKILL");
  };
  const died = (why) => ({ died_at_proof: proof, why, verified: false });
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => end(died(`silent for ${options.silenceS} s`)), options.silenceS * 1000);
  };
  listen();
  const lines = require("readline").createInterface({ input: child.stdio[REPORT_FD] });
  lines.on("line", (line) => {
    const message = JSON.parse(line);
    if (message.proof !== undefined) {
      proof = message.proof;
      listen();
    } else if (message.trap !== undefined) {
      end(died(message.trap));
    } else if (message.result !== undefined) {
      // The child ends by itself, and what it prints on its way is not lost.
      outcome ??= message.result;
    } else {
      end({ error: message.error, verified: false });
    }
  });
  // A prover that waits for ever would outlive this process.
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) {
    process.once(signal, () => end({ error: `ended by ${signal}`, verified: false }));
  }
  child.once("close", (code, signal) => {
    clearTimeout(silence);
    outcome ??= died(`the process ended with ${signal ?? code}`);
    console.log(JSON.stringify(outcome));
    process.exitCode = outcome.verified ? 0 : 1;
  });
}

if (!isMainThread) {
  runWorker();
} else if (process.env[CHILD]) {
  runChild(readOptions());
} else {
  watch(readOptions());
}
