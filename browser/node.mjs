// The spike in Node, whose WebAssembly is V8's too: `node node.mjs FOLDER`, where FOLDER has the spike's module.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { run } from './web/worker.mjs';

const folder = process.argv[2];
if (!folder) {
    console.error('node.mjs: give the folder with spike.wasm, which build.sh makes');
    process.exit(3);
}
const guests = new URL('../guests/', import.meta.url);
const file = (path) => readFileSync(fileURLToPath(new URL(path, guests)));
const files = (guest, workload = guest) => ({
    spike: readFileSync(`${folder}/spike.wasm`),
    guest: file(`prebuilt/${guest}.wasm`),
    policy: file(`policies/${guest}.toml`),
    workload: file(`workloads/${workload}.jsonl`),
});

const turns = Number(process.argv[3] ?? 60);
const cases = [
    ['prover, bare, 64 MiB', { files: files('prover'), settings: { bare: true, limitMiB: 64, turns } }],
    ['prover, proxy, 64 MiB', { files: files('prover'), settings: { limitMiB: 64, turns }, verify: true }],
];
for (const settings of [{ hosted: true, limitMiB: 8 }, { hosted: true, deep: true }]) {
    cases.push(['a guest that calls the host', { files: files('kv'), settings, verify: true }]);
}
for (const [name, task] of cases) {
    const { result } = await run(task, (told) => told.says && process.stderr.write(told.says));
    console.log(`${name}: ${JSON.stringify(result, (key, value) => (key === 'journal' ? undefined : value), 1)}`);
}
