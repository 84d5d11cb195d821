'use strict';
// The last line of a program behind the proxy: what the proxy did.

const fs = require('node:fs');
const { events, proxies } = require('wasm-proxy');

const seen = {};
const emit = events.emit.bind(events);
events.emit = (name, told) => {
  seen[name] = (seen[name] ?? 0) + 1;
  return emit(name, told);
};
const swaps = [];
events.on('swap-complete', (told) => swaps.push(told));

// What has to have happened, by its count.
const { TEST_SWAPS_MIN: swapsMin = 0, TEST_EMERGENCIES_MIN: emergenciesMin = 0 } = process.env;
process.on('exit', () => {
  const info = proxies().map((proxy) => proxy.getDebugInfo());
  process.stdout.write(`${JSON.stringify({ info, seen, swaps })}\n`);
  const missed = (name, min) => info.some((one) => one[name] < min);
  if (missed('swaps', swapsMin) || missed('emergencies', emergenciesMin)) process.exitCode = 1;
});

// A process that will be killed tells in a file what it is asked for.
const file = process.env.TEST_EVENTS;
for (const name of file ? ['swap-complete', 'generation-tainted', 'call-retried', 'turn-repeated'] : []) {
  events.on(name, (told) => fs.appendFileSync(file, `${JSON.stringify({ event: name, ...told })}\n`));
}

// A swap after every so many turns of the event loop.
const every = Number(process.env.TEST_SWAP_EVERY ?? 0);
let turns = 0;
function tick() {
  turns += 1;
  if (turns % every === 0) for (const proxy of proxies()) proxy.swap();
  setImmediate(tick).unref();
}
if (every > 0) tick();

// A swap once, in the turn after the first proof that a program tells of.
if (process.env.TEST_SWAP_ON === 'proved') {
  process.once('proved', () => setImmediate(() => { for (const proxy of proxies()) proxy.swap(); }));
}
