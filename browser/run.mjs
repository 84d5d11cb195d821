// Runs the spike in headless Chromium and prints what happened: `node run.mjs CHROMIUM FOLDER [TURNS]`, where FOLDER
// has the spike's module. Chromium is driven through a pipe, and its memory is read from /proc.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const [chromium, folder, turnsText] = process.argv.slice(2);
const turns = Number(turnsText ?? 200);
const web = fileURLToPath(new URL('web/', import.meta.url));
const guests = fileURLToPath(new URL('../guests/', import.meta.url));
const MIB = 1 << 20;
const mib = (bytes) => (bytes / MIB).toFixed(1);

const failures = [];
function check(what, holds) {
    if (!holds) {
        failures.push(what);
    }
    console.log(`${holds ? 'ok    ' : 'FAILED'} ${what}`);
}

/** Serves the page, isolated, so that it may measure its memory. */
async function serve() {
    const types = { '.html': 'text/html', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };
    const server = createServer((request, response) => {
        const path = normalize(new URL(request.url, 'http://localhost').pathname);
        const file = path.startsWith('/guests/')
            ? join(guests, path.slice('/guests/'.length))
            : path === '/spike.wasm'
              ? join(folder, 'spike.wasm')
              : join(web, path === '/' ? 'index.html' : path);
        if (!existsSync(file)) {
            response.writeHead(404).end();
            return;
        }
        response.writeHead(200, {
            'content-type': types[extname(file)] ?? 'application/octet-stream',
            'cross-origin-opener-policy': 'same-origin',
            'cross-origin-embedder-policy': 'require-corp',
        });
        response.end(readFileSync(file));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
}

/** Chromium, by its protocol for developers. */
class Browser {
    #waiting = new Map();
    #last = 0;
    #rest = '';
    workers = new Set();

    constructor() {
        this.profile = mkdtempSync(join(tmpdir(), 'wasm-proxy-browser-'));
        const flags = [
            '--headless=new',
            '--remote-debugging-pipe',
            '--no-first-run',
            '--disable-gpu',
            '--disable-dev-shm-usage',
            `--user-data-dir=${this.profile}`,
        ];
        // Its sandbox refuses to start for this user.
        if (process.getuid() === 0) {
            flags.push('--no-sandbox');
        }
        this.process = spawn(chromium, [...flags, 'about:blank'], {
            stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
        });
        this.process.stdio[4].setEncoding('utf8').on('data', (data) => this.#read(data));
        this.closed = new Promise((resolve) => this.process.on('exit', resolve));
    }

    #read(data) {
        const messages = (this.#rest + data).split('\0');
        this.#rest = messages.pop();
        for (const text of messages) {
            const message = JSON.parse(text);
            if (message.method === 'Target.attachedToTarget' && message.params.targetInfo.type === 'worker') {
                this.workers.add(message.params.sessionId);
            }
            if (message.method === 'Target.detachedFromTarget') {
                this.workers.delete(message.params.sessionId);
            }
            const waits = this.#waiting.get(message.id);
            this.#waiting.delete(message.id);
            if (message.error) {
                waits?.reject(new Error(`${message.error.message}`));
            } else {
                waits?.resolve(message.result);
            }
        }
    }

    send(method, params = {}, sessionId = undefined) {
        this.#last += 1;
        const id = this.#last;
        return new Promise((resolve, reject) => {
            this.#waiting.set(id, { resolve, reject });
            this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        });
    }

    async open(url) {
        const { targetId } = await this.send('Target.createTarget', { url });
        const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
        this.page = sessionId;
        const follow = { autoAttach: true, waitForDebuggerOnStart: false, flatten: true };
        await this.send('Target.setAutoAttach', follow, this.page);
        await this.send('Runtime.enable', {}, this.page);
        // At first there may be nothing to evaluate in.
        while (!(await this.evaluate('typeof spike === "object"').catch(() => false))) {
            await sleep(50);
        }
        const { processInfo } = await this.send('SystemInfo.getProcessInfo');
        this.renderers = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
    }

    async evaluate(expression) {
        const asked = { expression, awaitPromise: true, returnByValue: true };
        const { result, exceptionDetails } = await this.send('Runtime.evaluate', asked, this.page);
        if (exceptionDetails !== undefined) {
            throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        }
        return result.value;
    }

    ask(what, task = null) {
        return this.evaluate(`spike.ask(${JSON.stringify(what)}, ${JSON.stringify(task)})`);
    }

    /** The memory of all processes that run pages and workers, and that they share with no other, in bytes. */
    resident() {
        const parts = this.renderers.flatMap((pid) => {
            const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
            return [...text.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)];
        });
        return parts.reduce((sum, [, kib]) => sum + Number(kib) * 1024, 0);
    }

    async collect() {
        for (const session of [this.page, ...this.workers]) {
            await this.send('HeapProfiler.collectGarbage', {}, session);
        }
    }

    async close() {
        this.send('Browser.close').catch(() => {});
        await Promise.race([this.closed, sleep(5000)]);
        this.process.kill('SIGKILL');
        rmSync(this.profile, { recursive: true, force: true });
    }
}

const files = (guest, workload = guest) => ({
    spike: '/spike.wasm',
    guest: `/guests/prebuilt/${guest}.wasm`,
    policy: `/guests/policies/${guest}.toml`,
    workload: `/guests/workloads/${workload}.jsonl`,
});

/** Runs a case in a worker of its own. The worker stays. */
async function run(browser, guest, settings, more = {}) {
    await browser.evaluate('spike.end()');
    const samples = [];
    let ended = false;
    const sampling = (async () => {
        while (!ended) {
            samples.push(browser.resident());
            await sleep(100);
        }
    })();
    const result = await browser.ask('run', { files: files(guest), settings, ...more });
    ended = true;
    await sampling;
    return { ...result, peak: Math.max(...samples) };
}

function printRun(name, result) {
    console.log(`\n${name}: ${result.calls} calls in ${result.seconds.toFixed(1)} s`);
    const { made, used, collected } = result.instances;
    console.log(`  instances: ${made} made, ${used} in use, ${collected} collected by the browser so far`);
    console.log(`  guest's memory ${mib(result.memory)} MiB; the proxy's own ${mib(result.proxyOwnBytes)} MiB`);
    console.log(`  process, private, at most ${mib(result.peak)} MiB`);
    if (result.swaps === undefined) {
        return;
    }
    console.log(`  swaps ${result.swaps} (emergencies ${result.emergencies}), entries verified ${result.entriesVerified}`);
    console.log(`  journal ${result.journalEntries} entries, ${result.journalBytes} bytes`);
    const obstacles = result.obstacles.length > 0 ? result.obstacles.join('; ') : 'none';
    console.log(`  obstacles to checkpoints: ${obstacles}; checkpoint ${mib(result.checkpointBytes ?? 0)} MiB`);
    for (const swap of result.list.slice(0, 6)) {
        const sizes = `${mib(swap.before)} -> ${mib(swap.after)} MiB`;
        console.log(`    swap to ${swap.to}, ${swap.reason}: ${sizes}, prepared in ${swap.prepare} µs, pause ${swap.pause} µs`);
    }
}

function printVerified({ verified: { entries, memory, microseconds } }) {
    console.log(`  verified once more: ${entries} entries, ${mib(memory)} MiB, ${microseconds} µs`);
}

async function proxied(browser) {
    const settings = { limitMiB: 64, turns };
    const bare = await run(browser, 'prover', { ...settings, bare: true });
    printRun('prover, bare, 64 MiB', bare);
    check(`the bare instance dies: ${bare.died}`, bare.died !== null);

    const result = await run(browser, 'prover', settings, { verify: true });
    printRun('prover, proxy, 64 MiB', result);
    printVerified(result);
    check('no call failed', result.failures.length === 0);
    check('several swaps', result.swaps >= 3);
    check('no divergence', result.divergences === 0 && result.verified.entries > 0);
    await afterwards(browser);

    const large = await run(browser, 'kv', { bare: true, limitMiB: 256 }, { steps: 2000 });
    printRun('kv, bare, 256 MiB', large);
    const small = await run(browser, 'kv', { limitMiB: 20 }, { steps: 500, verify: true });
    printRun('kv, proxy, 20 MiB', small);
    printVerified(small);
    check('no call failed', small.failures.length === 0 && large.failures.length === 0);
    check('the results are those of the bare instance', small.digest === large.digest);
    check('swaps', small.swaps >= 3 && small.divergences === 0);
}

/** Host functions are asked once for each call, and not in replays. */
async function hosted(browser) {
    const settings = { limitMiB: 8, hosted: true };
    const result = await run(browser, 'kv', settings, { verify: true });
    printRun('a guest that calls the host, 8 MiB', result);
    printVerified(result);
    check('the sum is right after the swaps', result.failures.length === 0 && result.swaps >= 3);
    check('the host was asked 300 times', result.hostCalls === 300 && result.verified.entries > 0);
    const deep = await run(browser, 'kv', { hosted: true, deep: true }, { verify: true });
    const isNamed = deep.failures.length === 1 && deep.failures[0].includes('call stack exhausted');
    check(`a guest that dies has its reason, and its state: ${deep.failures}`, isNamed && deep.verified.entries === 1);
}

/** A worker is ended in the middle. Another one makes its state again from the journal in a file. */
async function killed(browser) {
    const settings = { limitMiB: 20, journal: true };
    const before = await run(browser, 'kv', settings, { steps: 500, stop: 20_000, verify: true });
    printRun('kv, 20 MiB, a journal in a file', before);
    check('no call failed', before.failures.length === 0);
    console.log(`  process, private, before its worker is ended: ${mib(browser.resident())} MiB`);
    await withoutWorker(browser);
    const after = await run(browser, 'kv', settings, { stop: 0, verify: true });
    const { entries, objects, memory, microseconds } = after.recovered;
    console.log(`  recovered in a fresh worker: ${entries} entries compared, ${objects} objects, in ${microseconds} µs`);
    console.log(`  guest's memory ${mib(before.memory)} -> ${mib(memory)} MiB, process, private, ${mib(browser.resident())} MiB`);
    // The first one kept some more entries, to compare its checkpoint with.
    const known = new Set(before.verified.journal);
    const made = after.verified.journal;
    const isSame = made.length === entries && made.every((digest) => known.has(digest));
    check('the same objects, made by the same entries', isSame && objects === before.objects);
}

/** What the process has after a run: at once, idle, collected, and without the worker. */
async function afterwards(browser) {
    const line = async (when) => {
        const shown = await browser.ask('shown');
        const { made, collected } = shown.instances;
        console.log(`    ${when.padEnd(34)} ${mib(browser.resident()).padStart(7)} MiB, ${collected} of ${made} collected`);
    };
    console.log('  process, private, after the run:');
    await line('at once');
    await sleep(10_000);
    await line('after 10 s idle');
    await browser.collect();
    await sleep(1000);
    await line('after a collection (protocol)');
    await withoutWorker(browser);
}

async function withoutWorker(browser) {
    await browser.evaluate('spike.end()');
    await sleep(1000);
    console.log(`    ${'without the worker'.padEnd(34)} ${mib(browser.resident()).padStart(7)} MiB`);
}

/** What a browser gives back by itself. */
async function memories(browser) {
    const size = 64;
    const line = (when) => console.log(`    ${when.padEnd(34)} ${mib(browser.resident()).padStart(7)} MiB`);
    console.log('\nmemories of 64 MiB without a proxy, process, private:');
    line('before');
    await browser.ask('memories', { mib: size, count: 8, drop: false });
    line('8 are held');
    const told = await browser.evaluate('spike.memory()');
    console.log(`    the browser says ${mib(told.bytes)} MiB: ${JSON.stringify(told.parts)}`);
    await browser.ask('let_go');
    line('8 are let go of');
    for (const seconds of [1, 10, 30]) {
        await sleep(1000 * (seconds === 1 ? 1 : seconds - (seconds === 10 ? 1 : 10)));
        line(`after ${seconds} s idle`);
    }
    await browser.collect();
    await sleep(500);
    line('after a collection (protocol)');
    await browser.ask('memories', { mib: size, count: 8, drop: false });
    line('8 are held again');
    await browser.ask('let_go');
    const began = performance.now();
    await browser.evaluate('spike.memory()');
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    line(`let go of, and measured (${seconds} s)`);
    await withoutWorker(browser);
    await browser.ask('memories', { mib: size, count: 64, drop: true });
    line('64 made, each lets go of the last');
    await withoutWorker(browser);
}

/** What else a browser allows, asked on the page's own thread. */
async function limits(browser) {
    const asked = {
        'a module of 9 MiB, compiled at once': `(() => {
            // A custom section: its length takes four bytes.
            const length = (9 << 20) - 13;
            const bytes = new Uint8Array(13 + length);
            const parts = [0, 7, 14, 21].map((at) => ((length >> at) & 127) | (at < 21 ? 128 : 0));
            bytes.set([0, 97, 115, 109, 1, 0, 0, 0, 0, ...parts, 1, 97]);
            return new WebAssembly.Module(bytes).constructor.name;
        })()`,
        'memories of one page at a time': `(() => {
            const held = [];
            try {
                for (;;) held.push(new WebAssembly.Memory({ initial: 1 }));
            } catch (error) {
                return held.length + ', then ' + error.message;
            }
        })()`,
        'memories of one page, each dropped at once': `(() => {
            let made = 0;
            for (; made < 3000; made += 1) new WebAssembly.Memory({ initial: 1 });
            return made;
        })()`,
    };
    console.log('\nlimits:');
    for (const [what, expression] of Object.entries(asked)) {
        const answer = await browser.evaluate(expression).catch((error) => error.message.split('\n')[0]);
        console.log(`    ${what}: ${answer}`);
    }
}

const server = await serve();
const browser = new Browser();
try {
    const { product } = await browser.send('Browser.getVersion');
    await browser.open(`http://127.0.0.1:${server.address().port}/`);
    console.log(`${product}; isolated: ${await browser.evaluate('spike.isolated()')}`);
    console.log(`process, private, before: ${mib(browser.resident())} MiB`);
    await proxied(browser);
    await hosted(browser);
    await killed(browser);
    await memories(browser);
    await limits(browser);
} catch (error) {
    failures.push(String(error?.stack ?? error));
    console.error(error);
} finally {
    await browser.close();
    server.close();
}
console.log(failures.length === 0 ? '\npassed' : `\nFAILED: ${failures.join('; ')}`);
process.exit(failures.length === 0 ? 0 : 1);
