// Makes a workload of calls that Node has made: each line has what the package gave there.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/// An earlier result by its name.
export const handle = (name) => ({ handle: name });

/// Text.
export const text = (value) => ({ text: value });

/// Bytes.
export const bytes = (value) => ({ bytes: Buffer.from(value).toString('base64') });

/// Numbers of four bytes.
export const u32s = (value) => ({ u32s: Array.from(value) });

/// The calls of a workload, in order.
export class Recorder {
    lines = [];

    /// Notes a call of an export: its arguments, and its result under Node. `as` names the result.
    call(name, args, { as, expect } = {}) {
        const line = { call: name, args };
        if (as !== undefined) line.as = as;
        if (expect !== undefined) line.expect = expect;
        this.lines.push(line);
    }

    print() {
        for (const line of this.lines) console.log(JSON.stringify(line));
    }
}

/// The same texts each time, of so many words.
export function words(count, seed = 1) {
    const of = ['leak', 'page', 'swap', 'guest', 'naïve', 'swap', 'ключ', '🦀', 'journal', 'x'];
    let state = seed;
    const all = [];
    for (let at = 0; at < count; at++) {
        state = (state * 1103515245 + 12345) % 2147483648;
        all.push(of[state % of.length]);
    }
    return all.join(' ');
}

/// A package for bundlers, which import the module themselves.
export async function bundled(glue, wasm) {
    const folder = mkdtempSync(join(tmpdir(), 'glue-'));
    const copy = join(folder, 'glue.mjs');
    const source = readFileSync(glue, 'utf8');
    const whole = source.replace(/^import \* as wasm from .*$/m, 'let wasm; export const __set = (exports) => { wasm = exports; };');
    writeFileSync(copy, whole);
    const module = await import(copy);
    rmSync(folder, { recursive: true });
    const compiled = await WebAssembly.compile(readFileSync(wasm));
    const imports = {};
    for (const { module: name } of WebAssembly.Module.imports(compiled)) imports[name] = module;
    module.__set((await WebAssembly.instantiate(compiled, imports)).exports);
    return module;
}

/// A value of JavaScript, as a workload writes it.
export const js = (value) => ({ js: tagged(value) });

function tagged(value) {
    if (value === undefined) return { $undefined: true };
    if (typeof value === 'bigint') return { $bigint: String(value) };
    if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) {
        return { $number: Object.is(value, -0) ? '-0' : String(value) };
    }
    if (value === null || typeof value !== 'object') return value;
    if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') };
    if (value instanceof Date) return { $date: value.getTime() };
    if (value instanceof Map) return { $map: [...value].map((pair) => pair.map(tagged)) };
    if (value instanceof Set) return { $set: [...value].map(tagged) };
    if (Array.isArray(value)) return value.map(tagged);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, tagged(one)]));
}
