'use strict';
// How long swaps delay the turns of an event loop:
//
//     node -r wasm-proxy/register delay.cjs GLUE [TURNS]
//
// A program with small turns, a millisecond apart, each of which loses 64 KiB in the prover's module, beside 2,000 gates
// that each standby makes again. Prints one line of JSON, in milliseconds: the pause of each swap; how long the turns
// took that met one, which is what they waited, and their work; and the same of all others.

const path = require('node:path');
const { monitorEventLoopDelay, performance } = require('node:perf_hooks');
const { events, proxies } = require('wasm-proxy');

const [, , file, turns = '20000'] = process.argv;
const GATES = 2000;
const WIRES = 7;
const FIELD_BYTES = 32;
const LOST_BYTES = 1 << 16;

const glue = require(path.resolve(file));
const [proxy] = proxies();

/** What outlasts all turns. */
function gates() {
  const vector = glue.caml_pasta_fp_plonk_gate_vector_create();
  for (let row = 0; row < GATES; row++) {
    const wires = Array.from({ length: WIRES }, (_, column) => glue.Wire.create(row, column));
    const gate = new glue.WasmFpGate(1, new glue.WasmGateWires(...wires), new Uint8Array(10 * FIELD_BYTES));
    glue.caml_pasta_fp_plonk_gate_vector_add(vector, gate);
  }
  return vector;
}

const vector = gates();
const lost = new Uint8Array(LOST_BYTES);
const swaps = [];
events.on('swap-complete', ({ reason, pause, memoryBefore, memoryAfter }) => {
  swaps.push({ reason, pause, memoryBefore, memoryAfter });
});
const loop = monitorEventLoopDelay({ resolution: 1 });
const usual = [];
const met = [];
let { generation } = proxy.getDebugInfo();

function turn(number) {
  const began = performance.now();
  new glue.WasmVecVecFp(1).push(lost);
  if (glue.caml_pasta_fp_plonk_gate_vector_len(vector) !== GATES) throw new Error('gates are missing');
  const took = performance.now() - began;
  const served = proxy.getDebugInfo().generation;
  if (number > 0) (served === generation ? usual : met).push(took);
  generation = served;
  setTimeout(() => (number < Number(turns) ? turn(number + 1) : end()), 1);
}

function end() {
  loop.disable();
  const ms = (number) => Math.round(number * 1000) / 1000;
  usual.sort((a, b) => a - b);
  const at = (share) => ms(usual[Math.floor(share * (usual.length - 1))]);
  console.log(JSON.stringify({
    swaps: swaps.length,
    reasons: [...new Set(swaps.map(({ reason }) => reason))],
    pauses: swaps.map(({ pause }) => ms(pause)),
    turns_that_met_a_swap: met.map(ms),
    other_turns: { count: usual.length, median: at(0.5), p99: at(0.99), max: at(1) },
    event_loop_delay_max: ms(loop.max / 1e6),
  }));
}

setImmediate(() => {
  loop.enable();
  turn(0);
});
