// The worker of the spike: it has the proxy, and the guests beside it. `run` is also what Node calls.

import { Engine } from './engine.mjs';
import { wasi } from './wasi.mjs';

/** Lets the event loop go on, as a worker has to that takes messages. */
const turn = () => new Promise((resolve) => setTimeout(resolve));

/**
 * Runs a workload. `files` are the bytes of the spike's module, of the guest, its policy and its workload;
 * `settings` go to the spike, which makes so many `steps` before the event loop goes on, and no more than about
 * `stop`. `file` is where the journal is. `tell` gets each swap.
 */
export async function run({ files, settings, steps = 8, stop = Infinity, verify = false, file }, tell = () => {}) {
    const engine = new Engine(file);
    let exports;
    const module = new WebAssembly.Module(files.spike);
    const instance = new WebAssembly.Instance(module, {
        'wasm-proxy-engine': engine.imports(),
        wasi_snapshot_preview1: wasi(() => exports.memory, (message) => tell({ says: message })),
    });
    exports = instance.exports;
    engine.attach(exports);
    exports._initialize();

    const give = (bytes) => {
        const at = exports.spike_buffer(bytes.byteLength) >>> 0;
        new Uint8Array(exports.memory.buffer, at, bytes.byteLength).set(new Uint8Array(bytes));
    };
    const read = (len) => {
        const bytes = new Uint8Array(exports.memory.buffer, exports.spike_output() >>> 0, len).slice();
        return JSON.parse(new TextDecoder().decode(bytes));
    };
    const shown = () => ({
        ...read(exports.spike_report()),
        instances: { made: engine.made, used: engine.used, collected: engine.collected },
    });

    for (const name of ['guest', 'policy', 'workload']) {
        give(files[name]);
    }
    give(new TextEncoder().encode(JSON.stringify(settings)));
    const began = performance.now();
    if (exports.spike_open() === 0) {
        throw new Error(read(exports.spike_report()).error);
    }
    let told = 0;
    for (let made = 0; made < stop && exports.spike_advance(steps) === 1; made += steps) {
        const { list } = shown();
        for (const swap of (list ?? []).slice(told)) {
            tell({ swap, instances: shown().instances });
        }
        told = list?.length ?? 0;
        await turn();
    }
    const seconds = (performance.now() - began) / 1000;
    const verified = verify ? read(exports.spike_verify()) : undefined;
    return { result: { ...shown(), seconds, verified }, shown };
}

/** Takes memories, without a proxy: what a browser gives back, and when. `drop` keeps the last one alone. */
function memories({ mib, count, drop }) {
    const held = [];
    for (let made = 0; made < count; made += 1) {
        if (drop) {
            held.length = 0;
        }
        const memory = new WebAssembly.Memory({ initial: mib * 16 });
        new Uint8Array(memory.buffer).fill(1);
        held.push(memory);
    }
    return held;
}

/** The file of the journal. A worker that was just ended may have it open for a moment yet. */
async function opened() {
    const folder = await navigator.storage.getDirectory();
    const handle = await folder.getFileHandle('journal', { create: true });
    for (;;) {
        try {
            return await handle.createSyncAccessHandle();
        } catch (error) {
            if (error.name !== 'NoModificationAllowedError') {
                throw error;
            }
            await turn();
        }
    }
}

if (typeof WorkerGlobalScope !== 'undefined') {
    let current;
    const answer = {
        async run(task) {
            const file = task.settings.journal ? await opened() : undefined;
            current = await run({ ...task, file }, (told) => postMessage({ told }));
            return current.result;
        },
        shown: async () => current.shown(),
        async memories(task) {
            current = memories(task);
            return current.length;
        },
        async let_go() {
            current = undefined;
        },
    };
    onmessage = async ({ data: { what, task } }) => {
        try {
            postMessage({ answer: (await answer[what](task)) ?? null });
        } catch (error) {
            postMessage({ error: String(error?.stack ?? error) });
        }
    };
}
