// What the engine asks of JavaScript: `src/js.rs` declares the same functions. Modules and instances are kept under
// numbers until the engine releases them. Then nothing here refers to them, and the browser may collect them.

/** An error of a host function, which the engine has. */
class HostFailed extends Error {}

const SLOT_BYTES = 16;

const READ = {
    i: (view, at) => view.getInt32(at, true),
    I: (view, at) => view.getBigInt64(at, true),
    f: (view, at) => view.getFloat32(at, true),
    F: (view, at) => view.getFloat64(at, true),
};
const WRITE = {
    i: (view, at, value) => view.setInt32(at, value, true),
    I: (view, at, value) => view.setBigInt64(at, value, true),
    f: (view, at, value) => view.setFloat32(at, value, true),
    F: (view, at, value) => view.setFloat64(at, value, true),
};

export class Engine {
    /** Instances that were made, and those of them that the browser has collected. */
    made = 0;
    collected = 0;
    #objects = new Map();
    #last = 0;
    #message = '';
    #host;
    #file;
    /** Whether an exception went through the engine's own frames: then its state is half done, and its worker ends. */
    #broken = false;
    #seen = new FinalizationRegistry(() => (this.collected += 1));

    /** `file` is where a journal is: a `FileSystemSyncAccessHandle`. */
    constructor(file = undefined) {
        this.#file = file;
    }

    /** The exports of the engine's own module, which has to be given before anything is called. */
    attach(host) {
        this.#host = host;
    }

    /** Instances that are in use. */
    get used() {
        return [...this.#objects.values()].filter((object) => !(object instanceof WebAssembly.Module)).length;
    }

    imports() {
        return {
            compile: (at, len) => this.#keep(() => new WebAssembly.Module(this.#bytes(at, len).slice())),
            instantiate: (module, at, len) => {
                const spec = JSON.parse(new TextDecoder().decode(this.#bytes(at, len)));
                return this.#keep(() => this.#instance(this.#objects.get(module), spec));
            },
            call: (instance, func, slots, after) => this.#call(this.#objects.get(instance), func, slots, after),
            size: (instance, memory) => this.#objects.get(instance).memories[memory].buffer.byteLength,
            grow: (instance, memory, pages) => {
                try {
                    this.#objects.get(instance).memories[memory].grow(pages);
                    return 1;
                } catch {
                    return 0;
                }
            },
            read: (instance, memory, offset, to, len) => {
                this.#bytes(to, len).set(this.#guestBytes(instance, memory, offset, len));
            },
            write: (instance, memory, offset, from, len) => {
                this.#guestBytes(instance, memory, offset, len).set(this.#bytes(from, len));
            },
            global: (instance, place, slot) => {
                const { global, type } = this.#objects.get(instance).globals[place];
                WRITE[type](this.#view(), slot, global.value);
            },
            set_global: (instance, place, slot) => {
                const { global, type } = this.#objects.get(instance).globals[place];
                global.value = READ[type](this.#view(), slot);
            },
            message: (to, len) => {
                const { written } = new TextEncoder().encodeInto(this.#message, this.#bytes(to, len));
                return written;
            },
            release: (object) => void this.#objects.delete(object),
            journal_size: () => this.#file?.getSize() ?? 0,
            journal_read: (at, to, len) => void this.#file.read(this.#bytes(to, len), { at }),
            journal_write: (at, from, len) => {
                try {
                    if (this.#file.write(this.#bytes(from, len), { at }) !== len) {
                        throw new Error('the file has not taken all of it');
                    }
                    this.#file.flush();
                    return 0;
                } catch (error) {
                    this.#message = text(error);
                    return 1;
                }
            },
            journal_cut: (size) => {
                this.#file?.truncate(size);
                this.#file?.flush();
            },
        };
    }

    #view() {
        return new DataView(this.#host.memory.buffer);
    }

    #bytes(at, len) {
        return new Uint8Array(this.#host.memory.buffer, at >>> 0, len >>> 0);
    }

    #guestBytes(instance, memory, offset, len) {
        return new Uint8Array(this.#objects.get(instance).memories[memory].buffer, offset >>> 0, len >>> 0);
    }

    #keep(make) {
        try {
            this.#objects.set((this.#last += 1), make());
            return this.#last;
        } catch (error) {
            this.#message = text(error);
            return -1;
        }
    }

    #instance(module, spec) {
        // A module names what it imports as it likes, `__proto__` too.
        const imports = Object.create(null);
        spec.imports.forEach(([from, name, params, results], index) => {
            (imports[from] ??= Object.create(null))[name] = (...args) => this.#hostCall(spec.key, index, args, params, results);
        });
        const { exports } = new WebAssembly.Instance(module, imports);
        if (spec.limit !== null) {
            exports[spec.limit].value = Math.min(spec.pagesMax, 65536);
        }
        this.made += 1;
        const memories = spec.memories.map((name) => exports[name]);
        for (const memory of memories) {
            this.#seen.register(memory);
        }
        return {
            functions: spec.functions.map(([name, params, results]) => ({ func: exports[name], params, results })),
            globals: spec.globals.map(([name, type]) => ({ global: exports[name], type })),
            refused: spec.refused === null ? { value: 0 } : exports[spec.refused],
            memories,
        };
    }

    #call(instance, index, slots, after) {
        const { func, params, results } = instance.functions[index];
        let status = 0;
        try {
            const view = this.#view();
            const args = [];
            for (let at = 0; at < params.length; at += 1) {
                args.push(READ[params[at]](view, slots + at * SLOT_BYTES));
            }
            this.#put(slots, results, func(...args));
        } catch (error) {
            if (this.#broken) {
                throw error;
            }
            this.#message = text(error);
            status = error instanceof HostFailed ? 2 : 1;
        }
        const view = this.#view();
        const bytes = instance.memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
        view.setFloat64(after, bytes, true);
        view.setFloat64(after + 8, instance.refused.value, true);
        instance.refused.value = 0;
        return status;
    }

    /** Writes what a function returned: nothing, a number, or a list of them. */
    #put(slots, types, returned) {
        const values = types.length > 1 ? [...returned] : [returned];
        const view = this.#view();
        for (let at = 0; at < types.length; at += 1) {
            WRITE[types[at]](view, slots + at * SLOT_BYTES, values[at]);
        }
    }

    #hostCall(key, index, args, params, results) {
        const count = Math.max(params.length, results.length);
        try {
            const slots = this.#host.spike_slots(count) >>> 0;
            this.#put(slots, params, params.length > 1 ? args : args[0]);
            const status = this.#host.wasm_proxy_host_call(key, index, slots, count);
            const view = this.#view();
            const values = [...results].map((type, at) => READ[type](view, slots + at * SLOT_BYTES));
            this.#host.spike_free_slots(slots, count);
            if (status !== 0) {
                throw new HostFailed('a host function failed');
            }
            return values.length > 1 ? values : values[0];
        } catch (error) {
            // The stack has ended in the engine, or the engine has panicked.
            this.#broken ||= !(error instanceof HostFailed);
            throw error;
        }
    }
}

function text(error) {
    return error instanceof Error ? `${error.constructor.name}: ${error.message}` : String(error);
}
