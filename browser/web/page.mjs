// The page of the spike: it starts workers, and measures. `run.mjs` calls what is on `spike`.

let worker;
let waiting;
const told = [];

function start() {
    worker = new Worker('worker.mjs', { type: 'module' });
    worker.onmessage = ({ data }) => {
        if (data.told) {
            told.push(data.told);
        } else if (data.error) {
            waiting.reject(new Error(data.error));
        } else {
            waiting.resolve(data.answer);
        }
    };
    worker.onerror = (event) => waiting?.reject(new Error(`the worker failed: ${event.message}`));
}

async function fetched(paths) {
    const files = {};
    for (const [name, path] of Object.entries(paths)) {
        const response = await fetch(path);
        if (!response.ok) {
            throw new Error(`${path}: ${response.status}`);
        }
        files[name] = await response.arrayBuffer();
    }
    return files;
}

globalThis.spike = {
    told,
    async ask(what, task) {
        if (!worker) {
            start();
        }
        const given = task?.files ? { ...task, files: await fetched(task.files) } : task;
        return new Promise((resolve, reject) => {
            waiting = { resolve, reject };
            worker.postMessage({ what, task: given });
        });
    },
    end() {
        worker?.terminate();
        worker = undefined;
    },
    isolated: () => crossOriginIsolated,
    /** What the browser says of the memory of this page and its workers, in bytes. */
    async memory() {
        const { bytes, breakdown } = await performance.measureUserAgentSpecificMemory();
        const parts = breakdown.filter((part) => part.bytes > 0);
        return { bytes, parts: parts.map((part) => [part.types.join('+') || 'other', part.bytes]) };
    },
};
