'use strict';
// node summary.cjs REPORT: what report.cjs wrote, in one line for people.

const { info: [info], seen, swaps } = JSON.parse(process.argv[2]);
const mib = (bytes) => `${bytes >> 20} MiB`;
const said = [
  `${info.swaps} swaps (${info.emergencies} of them emergencies)`,
  `${info.entriesVerified} entries verified, ${info.divergences} divergences`,
  mib(info.memory),
];
for (const swap of swaps) {
  const pause = `a pause of ${Math.round(1000 * swap.pause)} us`;
  said.push(`${swap.reason}: ${mib(swap.memoryBefore)} to ${mib(swap.memoryAfter)}, ${pause}`);
}
for (const name of ['call-retried', 'turn-repeated']) if (seen[name]) said.push(`${name}: ${seen[name]}`);
if (info.lastError) said.push(info.lastError);
console.log(said.join('; '));
