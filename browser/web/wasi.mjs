// What Rust's standard library asks of WASI: a clock, randomness, and where messages go. There are no files, no
// arguments and no variables.

const SUCCESS = 0;
const BAD_DESCRIPTOR = 8;
const NOT_SUPPORTED = 58;

export function wasi(memory, print) {
    const view = () => new DataView(memory().buffer);
    const supported = {
        clock_time_get(clock, _precision, at) {
            const milliseconds = clock === 0 ? performance.timeOrigin + performance.now() : performance.now();
            view().setBigUint64(at, BigInt(Math.round(milliseconds * 1e6)), true);
            return SUCCESS;
        },
        random_get(at, len) {
            for (let done = 0; done < len; done += 65536) {
                const part = new Uint8Array(Math.min(65536, len - done));
                new Uint8Array(memory().buffer, at + done, part.length).set(crypto.getRandomValues(part));
            }
            return SUCCESS;
        },
        fd_write(_fd, list, count, written) {
            let total = 0;
            for (let index = 0; index < count; index += 1) {
                const at = view().getUint32(list + 8 * index, true);
                const len = view().getUint32(list + 8 * index + 4, true);
                print(new TextDecoder().decode(new Uint8Array(memory().buffer, at, len).slice()));
                total += len;
            }
            view().setUint32(written, total, true);
            return SUCCESS;
        },
        environ_sizes_get(count, size) {
            view().setUint32(count, 0, true);
            view().setUint32(size, 0, true);
            return SUCCESS;
        },
        environ_get: () => SUCCESS,
        fd_prestat_get: () => BAD_DESCRIPTOR,
        sched_yield: () => SUCCESS,
        proc_exit(code) {
            throw new Error(`the proxy exited with ${code}`);
        },
    };
    return new Proxy(supported, { get: (all, name) => all[name] ?? (() => NOT_SUPPORTED) });
}
