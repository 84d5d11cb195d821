let imports = {};
imports['__wbindgen_placeholder__'] = module.exports;
let wasm;
const { TextEncoder, TextDecoder } = require(`util`);

const heap = new Array(128).fill(undefined);

heap.push(undefined, null, true, false);

function getObject(idx) { return heap[idx]; }

function isLikeNone(x) {
    return x === undefined || x === null;
}

let cachedFloat64Memory0 = null;

function getFloat64Memory0() {
    if (cachedFloat64Memory0 === null || cachedFloat64Memory0.byteLength === 0) {
        cachedFloat64Memory0 = new Float64Array(wasm.memory.buffer);
    }
    return cachedFloat64Memory0;
}

let cachedInt32Memory0 = null;

function getInt32Memory0() {
    if (cachedInt32Memory0 === null || cachedInt32Memory0.byteLength === 0) {
        cachedInt32Memory0 = new Int32Array(wasm.memory.buffer);
    }
    return cachedInt32Memory0;
}

let heap_next = heap.length;

function dropObject(idx) {
    if (idx < 132) return;
    heap[idx] = heap_next;
    heap_next = idx;
}

function takeObject(idx) {
    const ret = getObject(idx);
    dropObject(idx);
    return ret;
}

let WASM_VECTOR_LEN = 0;

let cachedUint8Memory0 = null;

function getUint8Memory0() {
    if (cachedUint8Memory0 === null || cachedUint8Memory0.byteLength === 0) {
        cachedUint8Memory0 = new Uint8Array(wasm.memory.buffer);
    }
    return cachedUint8Memory0;
}

let cachedTextEncoder = new TextEncoder('utf-8');

const encodeString = (typeof cachedTextEncoder.encodeInto === 'function'
    ? function (arg, view) {
    return cachedTextEncoder.encodeInto(arg, view);
}
    : function (arg, view) {
    const buf = cachedTextEncoder.encode(arg);
    view.set(buf);
    return {
        read: arg.length,
        written: buf.length
    };
});

function passStringToWasm0(arg, malloc, realloc) {

    if (realloc === undefined) {
        const buf = cachedTextEncoder.encode(arg);
        const ptr = malloc(buf.length, 1) >>> 0;
        getUint8Memory0().subarray(ptr, ptr + buf.length).set(buf);
        WASM_VECTOR_LEN = buf.length;
        return ptr;
    }

    let len = arg.length;
    let ptr = malloc(len, 1) >>> 0;

    const mem = getUint8Memory0();

    let offset = 0;

    for (; offset < len; offset++) {
        const code = arg.charCodeAt(offset);
        if (code > 0x7F) break;
        mem[ptr + offset] = code;
    }

    if (offset !== len) {
        if (offset !== 0) {
            arg = arg.slice(offset);
        }
        ptr = realloc(ptr, len, len = offset + arg.length * 3, 1) >>> 0;
        const view = getUint8Memory0().subarray(ptr + offset, ptr + len);
        const ret = encodeString(arg, view);

        offset += ret.written;
        ptr = realloc(ptr, len, offset, 1) >>> 0;
    }

    WASM_VECTOR_LEN = offset;
    return ptr;
}

let cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

cachedTextDecoder.decode();

function getStringFromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return cachedTextDecoder.decode(getUint8Memory0().subarray(ptr, ptr + len));
}

function addHeapObject(obj) {
    if (heap_next === heap.length) heap.push(heap.length + 1);
    const idx = heap_next;
    heap_next = heap[idx];

    heap[idx] = obj;
    return idx;
}

function getArrayU8FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getUint8Memory0().subarray(ptr / 1, ptr / 1 + len);
}

function debugString(val) {
    // primitive types
    const type = typeof val;
    if (type == 'number' || type == 'boolean' || val == null) {
        return  `${val}`;
    }
    if (type == 'string') {
        return `"${val}"`;
    }
    if (type == 'symbol') {
        const description = val.description;
        if (description == null) {
            return 'Symbol';
        } else {
            return `Symbol(${description})`;
        }
    }
    if (type == 'function') {
        const name = val.name;
        if (typeof name == 'string' && name.length > 0) {
            return `Function(${name})`;
        } else {
            return 'Function';
        }
    }
    // objects
    if (Array.isArray(val)) {
        const length = val.length;
        let debug = '[';
        if (length > 0) {
            debug += debugString(val[0]);
        }
        for(let i = 1; i < length; i++) {
            debug += ', ' + debugString(val[i]);
        }
        debug += ']';
        return debug;
    }
    // Test for built-in
    const builtInMatches = /\[object ([^\]]+)\]/.exec(toString.call(val));
    let className;
    if (builtInMatches.length > 1) {
        className = builtInMatches[1];
    } else {
        // Failed to match the standard '[object ClassName]'
        return toString.call(val);
    }
    if (className == 'Object') {
        // we're a user defined class or Object
        // JSON.stringify avoids problems with cycles, and is generally much
        // easier than looping through ownProperties of `val`.
        try {
            return 'Object(' + JSON.stringify(val) + ')';
        } catch (_) {
            return 'Object';
        }
    }
    // errors
    if (val instanceof Error) {
        return `${val.name}: ${val.message}\n${val.stack}`;
    }
    // TODO we could test for more things here, like `Set`s and `Map`s.
    return className;
}

const CLOSURE_DTORS = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(state => {
    wasm.__wbindgen_export_2.get(state.dtor)(state.a, state.b)
});

function makeMutClosure(arg0, arg1, dtor, f) {
    const state = { a: arg0, b: arg1, cnt: 1, dtor };
    const real = (...args) => {
        // First up with a closure we increment the internal reference
        // count. This ensures that the Rust closure environment won't
        // be deallocated while we're invoking it.
        state.cnt++;
        const a = state.a;
        state.a = 0;
        try {
            return f(a, state.b, ...args);
        } finally {
            if (--state.cnt === 0) {
                wasm.__wbindgen_export_2.get(state.dtor)(a, state.b);
                CLOSURE_DTORS.unregister(state);
            } else {
                state.a = a;
            }
        }
    };
    real.original = state;
    CLOSURE_DTORS.register(real, state, state);
    return real;
}
function __wbg_adapter_48(arg0, arg1, arg2) {
    let deferred1_0;
    let deferred1_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm._dyn_core__ops__function__FnMut__A____Output___R_as_wasm_bindgen__closure__WasmClosure___describe__invoke__h2f35fe7466c761b5(retptr, arg0, arg1, addHeapObject(arg2));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        deferred1_0 = r0;
        deferred1_1 = r1;
        return getStringFromWasm0(r0, r1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
    }
}

function __wbg_adapter_51(arg0, arg1, arg2) {
    const ret = wasm._dyn_core__ops__function__FnMut__A____Output___R_as_wasm_bindgen__closure__WasmClosure___describe__invoke__hfbaa7b4a5a246072(arg0, arg1, arg2);
    return ret >>> 0;
}

let stack_pointer = 128;

function addBorrowedObject(obj) {
    if (stack_pointer == 1) throw new Error('out of js stack');
    heap[--stack_pointer] = obj;
    return stack_pointer;
}
/**
* Prints a value as a warning.
* @param {any} message
*/
module.exports.print_warning = function(message) {
    try {
        wasm.print_warning(addBorrowedObject(message));
    } finally {
        heap[stack_pointer++] = undefined;
    }
};

/**
* Calls what no host but a browser implements.
* @param {string} message
*/
module.exports.alert = function(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.alert(ptr0, len0);
};

/**
* Prints one line as an error.
* @param {string} message
*/
module.exports.print_error = function(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.print_error(ptr0, len0);
};

/**
* Prints a line and a value.
* @param {string} message
* @param {any} detail
*/
module.exports.print_detail = function(message, detail) {
    try {
        const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.print_detail(ptr0, len0, addBorrowedObject(detail));
    } finally {
        heap[stack_pointer++] = undefined;
    }
};

/**
* Milliseconds since 1970.
* @returns {number}
*/
module.exports.now_ms = function() {
    const ret = wasm.now_ms();
    return ret;
};

/**
* Prints one line.
* @param {string} message
*/
module.exports.print = function(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.print(ptr0, len0);
};

/**
* Draws 32 bytes the way that most modules in use do, through an object `crypto` that is looked for.
*
* # Errors
*
* The host has no randomness.
* @returns {string}
*/
module.exports.random_hex = function() {
    let deferred2_0;
    let deferred2_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.random_hex(retptr);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        var r3 = getInt32Memory0()[retptr / 4 + 3];
        var ptr1 = r0;
        var len1 = r1;
        if (r3) {
            ptr1 = 0; len1 = 0;
            throw takeObject(r2);
        }
        deferred2_0 = ptr1;
        deferred2_1 = len1;
        return getStringFromWasm0(ptr1, len1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
};

/**
* The hash over all calls so far.
* @returns {bigint}
*/
module.exports.chain_value = function() {
    const ret = wasm.chain_value();
    return BigInt.asUintN(64, ret);
};

/**
* Takes `text` into a hash over all calls so far, and gives it.
* @param {string} text
* @returns {bigint}
*/
module.exports.chain_step = function(text) {
    const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.chain_step(ptr0, len0);
    return BigInt.asUintN(64, ret);
};

function passArray8ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 1, 1) >>> 0;
    getUint8Memory0().set(arg, ptr / 1);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function _assertClass(instance, klass) {
    if (!(instance instanceof klass)) {
        throw new Error(`expected instance of ${klass.name}`);
    }
    return instance.ptr;
}
/**
* Fails with a value that is not an `Error`: the text itself.
*
* # Errors
*
* The text is not a number.
* @param {string} text
* @returns {string}
*/
module.exports.parse = function(text) {
    let deferred3_0;
    let deferred3_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.parse(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        var r3 = getInt32Memory0()[retptr / 4 + 3];
        var ptr2 = r0;
        var len2 = r1;
        if (r3) {
            ptr2 = 0; len2 = 0;
            throw takeObject(r2);
        }
        deferred3_0 = ptr2;
        deferred3_1 = len2;
        return getStringFromWasm0(ptr2, len2);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred3_0, deferred3_1, 1);
    }
};

/**
* Fails with whatever value it is given.
*
* # Errors
*
* Always.
* @param {any} value
* @returns {number}
*/
module.exports.throw_value = function(value) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.throw_value(retptr, addHeapObject(value));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        if (r2) {
            throw takeObject(r1);
        }
        return r0 >>> 0;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* Throws past the frames of the module, which are not unwound.
* @param {string} message
*/
module.exports.throw_text = function(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.throw_text(ptr0, len0);
};

/**
* Succeeds with nothing.
*
* # Errors
*
* `fine` is false.
* @param {boolean} fine
*/
module.exports.check = function(fine) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.check(retptr, fine);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        if (r1) {
            throw takeObject(r0);
        }
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

let cachedBigInt64Memory0 = null;

function getBigInt64Memory0() {
    if (cachedBigInt64Memory0 === null || cachedBigInt64Memory0.byteLength === 0) {
        cachedBigInt64Memory0 = new BigInt64Array(wasm.memory.buffer);
    }
    return cachedBigInt64Memory0;
}
/**
* Keeps busy for ever.
*/
module.exports.spin = function() {
    wasm.spin();
};

/**
* Allocates until there is no memory left, which aborts.
*/
module.exports.exhaust = function() {
    wasm.exhaust();
};

/**
* Loses `bytes` bytes, every one of them written to. Aborts when there is no memory left.
* @param {number} bytes
*/
module.exports.leak = function(bytes) {
    wasm.leak(bytes);
};

/**
* The size of the linear memory in MiB. It never shrinks.
* @returns {number}
*/
module.exports.memory_usage_mb = function() {
    const ret = wasm.memory_usage_mb();
    return ret;
};

/**
* Traps without a word.
*/
module.exports.trap = function() {
    wasm.trap();
};

/**
* Panics: the hook reports to the console, then the module traps.
*
* # Panics
*
* Always.
* @param {string} message
*/
module.exports.panic_with = function(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.panic_with(ptr0, len0);
};

/**
* Runs when the module is started: panics go to the console, as in most modules in use.
*/
module.exports.start = function() {
    wasm.start();
};

/**
* Lends the host a closure that lives on the stack while the host walks through the array.
* @param {Array<any>} array
* @returns {number}
*/
module.exports.each_sum = function(array) {
    try {
        const ret = wasm.each_sum(addBorrowedObject(array));
        return ret;
    } finally {
        heap[stack_pointer++] = undefined;
    }
};

/**
* Gives the host a closure that may be called once, with any value, and then frees itself.
* @param {string} prefix
* @returns {any}
*/
module.exports.once = function(prefix) {
    const ptr0 = passStringToWasm0(prefix, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.once(ptr0, len0);
    return takeObject(ret);
};

/**
* Hands a closure to the host and has the host call it with 1, 2, ... `times`; gives the last result.
*
* # Errors
*
* What the host throws.
* @param {number} times
* @returns {any}
*/
module.exports.call_back = function(times) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.call_back(retptr, times);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        if (r2) {
            throw takeObject(r1);
        }
        return takeObject(r0);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* Drops the closure: the host's function may not be called any more. Says whether there was one.
* @returns {boolean}
*/
module.exports.drop_closure = function() {
    const ret = wasm.drop_closure();
    return ret !== 0;
};

/**
* Whether two values are the same one.
* @param {any} left
* @param {any} right
* @returns {boolean}
*/
module.exports.same = function(left, right) {
    try {
        const ret = wasm.same(addBorrowedObject(left), addBorrowedObject(right));
        return ret !== 0;
    } finally {
        heap[stack_pointer++] = undefined;
        heap[stack_pointer++] = undefined;
    }
};

/**
* Says what a value is, with every check that the module can ask the host for.
* @param {any} value
* @returns {string}
*/
module.exports.describe = function(value) {
    let deferred1_0;
    let deferred1_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.describe(retptr, addBorrowedObject(value));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        deferred1_0 = r0;
        deferred1_1 = r1;
        return getStringFromWasm0(r0, r1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        heap[stack_pointer++] = undefined;
        wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
    }
};

/**
* Makes bytes of the host from bytes of the module.
* @param {Uint8Array} bytes
* @returns {Uint8Array}
*/
module.exports.bytes_as_value = function(bytes) {
    const ptr0 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.bytes_as_value(ptr0, len0);
    return takeObject(ret);
};

/**
* Makes an error, without failing.
* @param {string} message
* @returns {Error}
*/
module.exports.make_error = function(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.make_error(ptr0, len0);
    return takeObject(ret);
};

/**
* Makes an object with one property.
*
* # Errors
*
* The host refuses.
* @param {string} key
* @param {any} value
* @returns {any}
*/
module.exports.object_with = function(key, value) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.object_with(retptr, ptr0, len0, addBorrowedObject(value));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        if (r2) {
            throw takeObject(r1);
        }
        return takeObject(r0);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        heap[stack_pointer++] = undefined;
    }
};

/**
* Reads a property.
*
* # Errors
*
* `target` is not an object.
* @param {any} target
* @param {string} key
* @returns {any}
*/
module.exports.property = function(target, key) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.property(retptr, addBorrowedObject(target), ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        if (r2) {
            throw takeObject(r1);
        }
        return takeObject(r0);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        heap[stack_pointer++] = undefined;
    }
};

/**
* What the host prints for debugging.
* @param {any} value
* @returns {string}
*/
module.exports.debug = function(value) {
    let deferred1_0;
    let deferred1_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.debug(retptr, addHeapObject(value));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        deferred1_0 = r0;
        deferred1_1 = r1;
        return getStringFromWasm0(r0, r1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
    }
};

/**
* Calls a function of the host with one argument.
*
* # Errors
*
* What the function throws.
* @param {Function} _function
* @param {any} argument
* @returns {any}
*/
module.exports.apply = function(_function, argument) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.apply(retptr, addBorrowedObject(_function), addBorrowedObject(argument));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var r2 = getInt32Memory0()[retptr / 4 + 2];
        if (r2) {
            throw takeObject(r1);
        }
        return takeObject(r0);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        heap[stack_pointer++] = undefined;
        heap[stack_pointer++] = undefined;
    }
};

/**
* Gives the host a closure that it may call between calls, until [`drop_closure`].
* @param {number} start
* @returns {any}
*/
module.exports.keep_closure = function(start) {
    const ret = wasm.keep_closure(start);
    return takeObject(ret);
};

/**
* Copies the whole of a host's bytes.
* @param {Uint8Array} value
* @returns {Uint8Array}
*/
module.exports.value_as_bytes = function(value) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.value_as_bytes(retptr, addBorrowedObject(value));
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var v1 = getArrayU8FromWasm0(r0, r1).slice();
        wasm.__wbindgen_free(r0, r1 * 1, 1);
        return v1;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        heap[stack_pointer++] = undefined;
    }
};

/**
* Gives back what it was given.
* @param {any} value
* @returns {any}
*/
module.exports.echo = function(value) {
    const ret = wasm.echo(addHeapObject(value));
    return takeObject(ret);
};

/**
* Makes bytes of the host, fills them, copies a part of them back and adds it up.
* @param {number} length
* @param {number} from
* @param {number} to
* @returns {number}
*/
module.exports.byte_sum = function(length, from, to) {
    const ret = wasm.byte_sum(length, from, to);
    return ret >>> 0;
};

/**
* Makes a value of the kind that is named, or `undefined`.
* @param {string} kind
* @returns {any}
*/
module.exports.make = function(kind) {
    const ptr0 = passStringToWasm0(kind, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.make(ptr0, len0);
    return takeObject(ret);
};

/**
* Adds up the numbers of an array, one `get` after the other.
* @param {Array<any>} array
* @returns {number}
*/
module.exports.array_sum = function(array) {
    try {
        const ret = wasm.array_sum(addBorrowedObject(array));
        return ret;
    } finally {
        heap[stack_pointer++] = undefined;
    }
};

/**
* Makes an array of the first numbers.
* @param {number} length
* @returns {Array<any>}
*/
module.exports.range = function(length) {
    const ret = wasm.range(length);
    return takeObject(ret);
};

function passArrayF64ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 8, 8) >>> 0;
    getFloat64Memory0().set(arg, ptr / 8);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function getArrayF64FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getFloat64Memory0().subarray(ptr / 8, ptr / 8 + len);
}
/**
* A list whose elements are 8 bytes.
* @param {Float64Array} values
* @returns {Float64Array}
*/
module.exports.running_total = function(values) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passArrayF64ToWasm0(values, wasm.__wbindgen_malloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.running_total(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var v2 = getArrayF64FromWasm0(r0, r1).slice();
        wasm.__wbindgen_free(r0, r1 * 8, 8);
        return v2;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* Borrows bytes and gives bytes of its own.
* @param {Uint8Array} bytes
* @returns {Uint8Array}
*/
module.exports.reverse_bytes = function(bytes) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.reverse_bytes(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var v2 = getArrayU8FromWasm0(r0, r1).slice();
        wasm.__wbindgen_free(r0, r1 * 1, 1);
        return v2;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* The smaller of the two floating-point widths.
* @param {number} value
* @returns {number}
*/
module.exports.halve = function(value) {
    const ret = wasm.halve(value);
    return ret;
};

/**
* Text that may be absent, in and out.
* @param {string | undefined} [name]
* @returns {string | undefined}
*/
module.exports.maybe_greet = function(name) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        var ptr0 = isLikeNone(name) ? 0 : passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        var len0 = WASM_VECTOR_LEN;
        wasm.maybe_greet(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        let v2;
        if (r0 !== 0) {
            v2 = getStringFromWasm0(r0, r1).slice();
            wasm.__wbindgen_free(r0, r1 * 1, 1);
        }
        return v2;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* Takes ownership of text, which the module frees.
* @param {string} text
* @returns {string}
*/
module.exports.shout = function(text) {
    let deferred2_0;
    let deferred2_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.shout(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        deferred2_0 = r0;
        deferred2_1 = r1;
        return getStringFromWasm0(r0, r1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
};

function _assertChar(c) {
    if (typeof(c) === 'number' && (c >= 0x110000 || (c >= 0xD800 && c < 0xE000))) throw new Error(`expected a valid Unicode scalar value, found ${c}`);
}
/**
* One Unicode scalar value.
* @param {string} value
* @returns {string}
*/
module.exports.next_char = function(value) {
    const char0 = value.codePointAt(0);
    _assertChar(char0);
    const ret = wasm.next_char(char0);
    return String.fromCodePoint(ret);
};

/**
* The other encodings of what may be absent: a flag beside the value, and a value out of range.
* @param {number | undefined} [value]
* @param {boolean | undefined} [invert]
* @returns {number | undefined}
*/
module.exports.maybe_ratio = function(value, invert) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.maybe_ratio(retptr, !isLikeNone(value), isLikeNone(value) ? 0 : value, isLikeNone(invert) ? 0xFFFFFF : invert ? 1 : 0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r2 = getFloat64Memory0()[retptr / 8 + 1];
        return r0 === 0 ? undefined : r2;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

let cachedUint32Memory0 = null;

function getUint32Memory0() {
    if (cachedUint32Memory0 === null || cachedUint32Memory0.byteLength === 0) {
        cachedUint32Memory0 = new Uint32Array(wasm.memory.buffer);
    }
    return cachedUint32Memory0;
}

function passArrayJsValueToWasm0(array, malloc) {
    const ptr = malloc(array.length * 4, 4) >>> 0;
    const mem = getUint32Memory0();
    for (let i = 0; i < array.length; i++) {
        mem[ptr / 4 + i] = addHeapObject(array[i]);
    }
    WASM_VECTOR_LEN = array.length;
    return ptr;
}
/**
* Takes a list of texts apart again.
* @param {(string)[]} words
* @param {string} separator
* @returns {string}
*/
module.exports.join = function(words, separator) {
    let deferred3_0;
    let deferred3_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passArrayJsValueToWasm0(words, wasm.__wbindgen_malloc);
        const len0 = WASM_VECTOR_LEN;
        const ptr1 = passStringToWasm0(separator, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len1 = WASM_VECTOR_LEN;
        wasm.join(retptr, ptr0, len0, ptr1, len1);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        deferred3_0 = r0;
        deferred3_1 = r1;
        return getStringFromWasm0(r0, r1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred3_0, deferred3_1, 1);
    }
};

/**
* Multiplies floating-point numbers.
* @param {number} value
* @param {number} by
* @returns {number}
*/
module.exports.scale = function(value, by) {
    const ret = wasm.scale(value, by);
    return ret;
};

function getArrayJsValueFromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    const mem = getUint32Memory0();
    const slice = mem.subarray(ptr / 4, ptr / 4 + len);
    const result = [];
    for (let i = 0; i < slice.length; i++) {
        result.push(takeObject(slice[i]));
    }
    return result;
}
/**
* A list of texts: each element is an object of the host.
* @param {string} text
* @param {string} separator
* @returns {(string)[]}
*/
module.exports.split = function(text, separator) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ptr1 = passStringToWasm0(separator, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len1 = WASM_VECTOR_LEN;
        wasm.split(retptr, ptr0, len0, ptr1, len1);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var v3 = getArrayJsValueFromWasm0(r0, r1).slice();
        wasm.__wbindgen_free(r0, r1 * 4, 4);
        return v3;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* Writes to a buffer of the host, which gets the bytes back when the call ends.
* @param {Uint8Array} buffer
* @param {number} _with
*/
module.exports.fill = function(buffer, _with) {
    var ptr0 = passArray8ToWasm0(buffer, wasm.__wbindgen_malloc);
    var len0 = WASM_VECTOR_LEN;
    wasm.fill(ptr0, len0, addHeapObject(buffer), _with);
};

/**
* A number that may be absent, in and out.
* @param {number | undefined} [value]
* @returns {number | undefined}
*/
module.exports.maybe_increment = function(value) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        wasm.maybe_increment(retptr, !isLikeNone(value), isLikeNone(value) ? 0 : value);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        return r0 === 0 ? undefined : r1 >>> 0;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* Turns right.
* @param {Direction} direction
* @returns {Direction}
*/
module.exports.turn = function(direction) {
    const ret = wasm.turn(direction);
    return ret;
};

/**
* A signed number of 64 bits, which JavaScript only has as a `BigInt`.
* @param {bigint} value
* @returns {bigint}
*/
module.exports.negate = function(value) {
    const ret = wasm.negate(value);
    return ret;
};

/**
* Borrows text and gives text of its own.
* @param {string} name
* @returns {string}
*/
module.exports.greet = function(name) {
    let deferred2_0;
    let deferred2_1;
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.greet(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        deferred2_0 = r0;
        deferred2_1 = r1;
        return getStringFromWasm0(r0, r1);
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
};

/**
* An unsigned number of 64 bits: the same wasm type, read differently.
* @param {bigint} value
* @returns {bigint}
*/
module.exports.double = function(value) {
    const ret = wasm.double(value);
    return BigInt.asUintN(64, ret);
};

function passArray32ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 4, 4) >>> 0;
    getUint32Memory0().set(arg, ptr / 4);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function getArrayU32FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getUint32Memory0().subarray(ptr / 4, ptr / 4 + len);
}
/**
* A list of numbers; lengths at the boundary count elements.
* @param {Uint32Array} values
* @returns {Uint32Array}
*/
module.exports.squares = function(values) {
    try {
        const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
        const ptr0 = passArray32ToWasm0(values, wasm.__wbindgen_malloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.squares(retptr, ptr0, len0);
        var r0 = getInt32Memory0()[retptr / 4 + 0];
        var r1 = getInt32Memory0()[retptr / 4 + 1];
        var v2 = getArrayU32FromWasm0(r0, r1).slice();
        wasm.__wbindgen_free(r0, r1 * 4, 4);
        return v2;
    } finally {
        wasm.__wbindgen_add_to_stack_pointer(16);
    }
};

/**
* A number below 32 bits, sign-extended at the boundary.
* @param {number} value
* @returns {number}
*/
module.exports.narrow = function(value) {
    const ret = wasm.narrow(value);
    return ret;
};

/**
* Adds, and wraps around.
* @param {number} left
* @param {number} right
* @returns {number}
*/
module.exports.add = function(left, right) {
    const ret = wasm.add(left, right);
    return ret >>> 0;
};

/**
* A truth value, 0 or 1 at the boundary.
* @param {boolean} value
* @returns {boolean}
*/
module.exports.not = function(value) {
    const ret = wasm.not(value);
    return ret !== 0;
};

/**
* A counter that may be absent, in and out: absent when the sum would overflow.
* @param {Counter | undefined} counter
* @param {number} by
* @returns {Counter | undefined}
*/
module.exports.maybe_advance = function(counter, by) {
    let ptr0 = 0;
    if (!isLikeNone(counter)) {
        _assertClass(counter, Counter);
        ptr0 = counter.__destroy_into_raw();
    }
    const ret = wasm.maybe_advance(ptr0, by);
    return ret === 0 ? undefined : Counter.__wrap(ret);
};

/**
* An object of the module as a value of the host: the module asks the host for a wrapper.
* @param {number} value
* @returns {any}
*/
module.exports.counter_as_value = function(value) {
    const ret = wasm.counter_as_value(value);
    return takeObject(ret);
};

/**
* A list of objects, which the module takes out of the host's wrappers.
* @param {(Counter)[]} counters
* @returns {number}
*/
module.exports.total = function(counters) {
    const ptr0 = passArrayJsValueToWasm0(counters, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.total(ptr0, len0);
    return ret >>> 0;
};

function handleError(f, args) {
    try {
        return f.apply(this, args);
    } catch (e) {
        wasm.__wbindgen_exn_store(addHeapObject(e));
    }
}
function __wbg_adapter_210(arg0, arg1, arg2, arg3, arg4) {
    wasm.wasm_bindgen_737ba9dddce2081___convert__closures__invoke3_mut___wasm_bindgen_737ba9dddce2081___JsValue__wasm_bindgen_737ba9dddce2081___JsValue__js_sys_ec3bc1913bdce522___Set_____(arg0, arg1, addHeapObject(arg2), arg3, addHeapObject(arg4));
}

/**
* An enumeration crosses as its number.
*/
module.exports.Direction = Object.freeze({
/**
* Number 0.
*/
North:0,"0":"North",
/**
* Number 1.
*/
East:1,"1":"East",
/**
* Number 2.
*/
South:2,"2":"South",
/**
* Number 3.
*/
West:3,"3":"West", });

const AccountFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_account_free(ptr >>> 0));
/**
* Money, whose constructor may fail.
*/
class Account {

    __destroy_into_raw() {
        const ptr = this.__wbg_ptr;
        this.__wbg_ptr = 0;
        AccountFinalization.unregister(this);
        return ptr;
    }

    free() {
        const ptr = this.__destroy_into_raw();
        wasm.__wbg_account_free(ptr);
    }
    /**
    * Opens an account.
    *
    * # Errors
    *
    * The opening balance is negative.
    * @param {bigint} opening
    */
    constructor(opening) {
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            wasm.account_new(retptr, opening);
            var r0 = getInt32Memory0()[retptr / 4 + 0];
            var r1 = getInt32Memory0()[retptr / 4 + 1];
            var r2 = getInt32Memory0()[retptr / 4 + 2];
            if (r2) {
                throw takeObject(r1);
            }
            this.__wbg_ptr = r0 >>> 0;
            return this;
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
        }
    }
    /**
    * Closes the account, which is consumed whether or not it works.
    *
    * # Errors
    *
    * There is money left.
    */
    close() {
        try {
            const ptr = this.__destroy_into_raw();
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            wasm.account_close(retptr, ptr);
            var r0 = getInt32Memory0()[retptr / 4 + 0];
            var r1 = getInt32Memory0()[retptr / 4 + 1];
            if (r1) {
                throw takeObject(r0);
            }
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
        }
    }
    /**
    * What is left.
    * @returns {bigint}
    */
    balance() {
        const ret = wasm.account_balance(this.__wbg_ptr);
        return ret;
    }
    /**
    * Takes money out.
    *
    * # Errors
    *
    * There is less than that; the account stays as it is.
    * @param {bigint} amount
    * @returns {bigint}
    */
    withdraw(amount) {
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            wasm.account_withdraw(retptr, this.__wbg_ptr, amount);
            var r0 = getBigInt64Memory0()[retptr / 8 + 0];
            var r2 = getInt32Memory0()[retptr / 4 + 2];
            var r3 = getInt32Memory0()[retptr / 4 + 3];
            if (r3) {
                throw takeObject(r2);
            }
            return r0;
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
        }
    }
}
module.exports.Account = Account;

const CounterFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_counter_free(ptr >>> 0));
/**
* Counts up.
*/
class Counter {

    static __wrap(ptr) {
        ptr = ptr >>> 0;
        const obj = Object.create(Counter.prototype);
        obj.__wbg_ptr = ptr;
        CounterFinalization.register(obj, obj.__wbg_ptr, obj);
        return obj;
    }

    static __unwrap(jsValue) {
        if (!(jsValue instanceof Counter)) {
            return 0;
        }
        return jsValue.__destroy_into_raw();
    }

    __destroy_into_raw() {
        const ptr = this.__wbg_ptr;
        this.__wbg_ptr = 0;
        CounterFinalization.unregister(this);
        return ptr;
    }

    free() {
        const ptr = this.__destroy_into_raw();
        wasm.__wbg_counter_free(ptr);
    }
    /**
    * A public field gets a getter and a setter.
    * @returns {number}
    */
    get step() {
        const ret = wasm.__wbg_get_counter_step(this.__wbg_ptr);
        return ret >>> 0;
    }
    /**
    * A public field gets a getter and a setter.
    * @param {number} arg0
    */
    set step(arg0) {
        wasm.__wbg_set_counter_step(this.__wbg_ptr, arg0);
    }
    /**
    * Takes another counter by reference.
    * @param {Counter} other
    */
    add(other) {
        _assertClass(other, Counter);
        wasm.counter_add(this.__wbg_ptr, other.__wbg_ptr);
    }
    /**
    * Starts at `value`, in steps of one.
    * @param {number} value
    */
    constructor(value) {
        const ret = wasm.counter_new(value);
        this.__wbg_ptr = ret >>> 0;
        return this;
    }
    /**
    * Borrows the counter.
    * @returns {number}
    */
    peek() {
        const ret = wasm.counter_peek(this.__wbg_ptr);
        return ret >>> 0;
    }
    /**
    * A function of the class, not of an object.
    * @returns {Counter}
    */
    static zero() {
        const ret = wasm.counter_zero();
        return Counter.__wrap(ret);
    }
    /**
    * Reads text.
    * @returns {string}
    */
    get label() {
        let deferred1_0;
        let deferred1_1;
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            wasm.counter_label(retptr, this.__wbg_ptr);
            var r0 = getInt32Memory0()[retptr / 4 + 0];
            var r1 = getInt32Memory0()[retptr / 4 + 1];
            deferred1_0 = r0;
            deferred1_1 = r1;
            return getStringFromWasm0(r0, r1);
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
    * Consumes two counters and gives one.
    * @param {Counter} other
    * @returns {Counter}
    */
    merge(other) {
        const ptr = this.__destroy_into_raw();
        _assertClass(other, Counter);
        var ptr0 = other.__destroy_into_raw();
        const ret = wasm.counter_merge(ptr, ptr0);
        return Counter.__wrap(ret);
    }
    /**
    * Reads the value as a property.
    * @returns {number}
    */
    get value() {
        const ret = wasm.counter_peek(this.__wbg_ptr);
        return ret >>> 0;
    }
    /**
    * Consumes the counter: its address is dead afterwards.
    * @returns {number}
    */
    finish() {
        const ptr = this.__destroy_into_raw();
        const ret = wasm.counter_finish(ptr);
        return ret >>> 0;
    }
    /**
    * Changes the counter and gives its new value.
    * @returns {number}
    */
    increment() {
        const ret = wasm.counter_increment(this.__wbg_ptr);
        return ret >>> 0;
    }
    /**
    * Writes the value as a property.
    * @param {number} value
    */
    set value(value) {
        wasm.counter_set_value(this.__wbg_ptr, value);
    }
}
module.exports.Counter = Counter;

const RegistryFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_registry_free(ptr >>> 0));
/**
* Names and their bytes.
*/
class Registry {

    static __wrap(ptr) {
        ptr = ptr >>> 0;
        const obj = Object.create(Registry.prototype);
        obj.__wbg_ptr = ptr;
        RegistryFinalization.register(obj, obj.__wbg_ptr, obj);
        return obj;
    }

    __destroy_into_raw() {
        const ptr = this.__wbg_ptr;
        this.__wbg_ptr = 0;
        RegistryFinalization.unregister(this);
        return ptr;
    }

    free() {
        const ptr = this.__destroy_into_raw();
        wasm.__wbg_registry_free(ptr);
    }
    /**
    * Reads an entry.
    * @param {string} name
    * @returns {Uint8Array | undefined}
    */
    get(name) {
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            const ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            const len0 = WASM_VECTOR_LEN;
            wasm.registry_get(retptr, this.__wbg_ptr, ptr0, len0);
            var r0 = getInt32Memory0()[retptr / 4 + 0];
            var r1 = getInt32Memory0()[retptr / 4 + 1];
            let v2;
            if (r0 !== 0) {
                v2 = getArrayU8FromWasm0(r0, r1).slice();
                wasm.__wbindgen_free(r0, r1 * 1, 1);
            }
            return v2;
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
        }
    }
    /**
    * An empty one.
    */
    constructor() {
        const ret = wasm.registry_new();
        this.__wbg_ptr = ret >>> 0;
        return this;
    }
    /**
    * Writes an entry; says whether the name is new.
    * @param {string} name
    * @param {Uint8Array} bytes
    * @returns {boolean}
    */
    put(name, bytes) {
        const ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ptr1 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
        const len1 = WASM_VECTOR_LEN;
        const ret = wasm.registry_put(this.__wbg_ptr, ptr0, len0, ptr1, len1);
        return ret !== 0;
    }
    /**
    * A registry of its own with the same entries.
    * @returns {Registry}
    */
    copy() {
        const ret = wasm.registry_copy(this.__wbg_ptr);
        return Registry.__wrap(ret);
    }
    /**
    * How many entries there are.
    * @returns {number}
    */
    get size() {
        const ret = wasm.registry_size(this.__wbg_ptr);
        return ret >>> 0;
    }
    /**
    * Takes in the entries of another registry, which is consumed.
    * @param {Registry} other
    */
    absorb(other) {
        _assertClass(other, Registry);
        var ptr0 = other.__destroy_into_raw();
        wasm.registry_absorb(this.__wbg_ptr, ptr0);
    }
    /**
    * Equal for equal entries.
    * @returns {bigint}
    */
    digest() {
        const ret = wasm.registry_digest(this.__wbg_ptr);
        return BigInt.asUintN(64, ret);
    }
    /**
    * Removes an entry; says whether there was one.
    * @param {string} name
    * @returns {boolean}
    */
    remove(name) {
        const ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.registry_remove(this.__wbg_ptr, ptr0, len0);
        return ret !== 0;
    }
}
module.exports.Registry = Registry;

module.exports.__wbindgen_number_get = function(arg0, arg1) {
    const obj = getObject(arg1);
    const ret = typeof(obj) === 'number' ? obj : undefined;
    getFloat64Memory0()[arg0 / 8 + 1] = isLikeNone(ret) ? 0 : ret;
    getInt32Memory0()[arg0 / 4 + 0] = !isLikeNone(ret);
};

module.exports.__wbindgen_object_drop_ref = function(arg0) {
    takeObject(arg0);
};

module.exports.__wbindgen_cb_drop = function(arg0) {
    const obj = takeObject(arg0).original;
    if (obj.cnt-- == 1) {
        obj.a = 0;
        return true;
    }
    const ret = false;
    return ret;
};

module.exports.__wbindgen_string_get = function(arg0, arg1) {
    const obj = getObject(arg1);
    const ret = typeof(obj) === 'string' ? obj : undefined;
    var ptr1 = isLikeNone(ret) ? 0 : passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    var len1 = WASM_VECTOR_LEN;
    getInt32Memory0()[arg0 / 4 + 1] = len1;
    getInt32Memory0()[arg0 / 4 + 0] = ptr1;
};

module.exports.__wbg_new_aebd8426dadab6e3 = function() {
    const ret = new Error();
    return addHeapObject(ret);
};

module.exports.__wbg_stack_7e9b3ab8cb48be76 = function(arg0, arg1) {
    const ret = getObject(arg1).stack;
    const ptr1 = passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len1 = WASM_VECTOR_LEN;
    getInt32Memory0()[arg0 / 4 + 1] = len1;
    getInt32Memory0()[arg0 / 4 + 0] = ptr1;
};

module.exports.__wbg_error_a578aaba35927df2 = function(arg0, arg1) {
    let deferred0_0;
    let deferred0_1;
    try {
        deferred0_0 = arg0;
        deferred0_1 = arg1;
        console.error(getStringFromWasm0(arg0, arg1));
    } finally {
        wasm.__wbindgen_free(deferred0_0, deferred0_1, 1);
    }
};

module.exports.__wbindgen_error_new = function(arg0, arg1) {
    const ret = new Error(getStringFromWasm0(arg0, arg1));
    return addHeapObject(ret);
};

module.exports.__wbg_alert_b22487713bade000 = function(arg0, arg1) {
    window.alert(getStringFromWasm0(arg0, arg1));
};

module.exports.__wbg_call_b3ca7c6051f9bec1 = function() { return handleError(function (arg0, arg1, arg2) {
    const ret = getObject(arg0).call(getObject(arg1), getObject(arg2));
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbg_length_cd7af8117672b8b8 = function(arg0) {
    const ret = getObject(arg0).length;
    return ret;
};

module.exports.__wbg_get_bd8e338fbd5f5cc8 = function(arg0, arg1) {
    const ret = getObject(arg0)[arg1 >>> 0];
    return addHeapObject(ret);
};

module.exports.__wbg_newwithlength_e9b4878cebadb3d3 = function(arg0) {
    const ret = new Uint8Array(arg0 >>> 0);
    return addHeapObject(ret);
};

module.exports.__wbg_setindex_0b7ede192dc5eca8 = function(arg0, arg1, arg2) {
    getObject(arg0)[arg1 >>> 0] = arg2;
};

module.exports.__wbg_subarray_a1f73cd4b5b42fe1 = function(arg0, arg1, arg2) {
    const ret = getObject(arg0).subarray(arg1 >>> 0, arg2 >>> 0);
    return addHeapObject(ret);
};

module.exports.__wbg_length_c20a40f15020d68a = function(arg0) {
    const ret = getObject(arg0).length;
    return ret;
};

module.exports.__wbg_set_a47bac70306a19a7 = function(arg0, arg1, arg2) {
    getObject(arg0).set(getObject(arg1), arg2 >>> 0);
};

module.exports.__wbindgen_number_new = function(arg0) {
    const ret = arg0;
    return addHeapObject(ret);
};

module.exports.__wbg_counter_new = function(arg0) {
    const ret = Counter.__wrap(arg0);
    return addHeapObject(ret);
};

module.exports.__wbindgen_is_undefined = function(arg0) {
    const ret = getObject(arg0) === undefined;
    return ret;
};

module.exports.__wbindgen_is_null = function(arg0) {
    const ret = getObject(arg0) === null;
    return ret;
};

module.exports.__wbindgen_boolean_get = function(arg0) {
    const v = getObject(arg0);
    const ret = typeof(v) === 'boolean' ? (v ? 1 : 0) : 2;
    return ret;
};

module.exports.__wbindgen_is_string = function(arg0) {
    const ret = typeof(getObject(arg0)) === 'string';
    return ret;
};

module.exports.__wbindgen_is_bigint = function(arg0) {
    const ret = typeof(getObject(arg0)) === 'bigint';
    return ret;
};

module.exports.__wbindgen_is_symbol = function(arg0) {
    const ret = typeof(getObject(arg0)) === 'symbol';
    return ret;
};

module.exports.__wbindgen_is_function = function(arg0) {
    const ret = typeof(getObject(arg0)) === 'function';
    return ret;
};

module.exports.__wbg_instanceof_Error_e20bb56fd5591a93 = function(arg0) {
    let result;
    try {
        result = getObject(arg0) instanceof Error;
    } catch (_) {
        result = false;
    }
    const ret = result;
    return ret;
};

module.exports.__wbg_message_5bf28016c2b49cfb = function(arg0) {
    const ret = getObject(arg0).message;
    return addHeapObject(ret);
};

module.exports.__wbg_instanceof_Uint8Array_2b3bbecd033d19f6 = function(arg0) {
    let result;
    try {
        result = getObject(arg0) instanceof Uint8Array;
    } catch (_) {
        result = false;
    }
    const ret = result;
    return ret;
};

module.exports.__wbg_isArray_2ab64d95e09ea0ae = function(arg0) {
    const ret = Array.isArray(getObject(arg0));
    return ret;
};

module.exports.__wbindgen_is_object = function(arg0) {
    const val = getObject(arg0);
    const ret = typeof(val) === 'object' && val !== null;
    return ret;
};

module.exports.__wbg_from_89e3fc3ba5e6fb48 = function(arg0) {
    const ret = Array.from(getObject(arg0));
    return addHeapObject(ret);
};

module.exports.__wbg_forEach_2be8de7347d63332 = function(arg0, arg1, arg2) {
    try {
        var state0 = {a: arg1, b: arg2};
        var cb0 = (arg0, arg1, arg2) => {
            const a = state0.a;
            state0.a = 0;
            try {
                return __wbg_adapter_210(a, state0.b, arg0, arg1, arg2);
            } finally {
                state0.a = a;
            }
        };
        getObject(arg0).forEach(cb0);
    } finally {
        state0.a = state0.b = 0;
    }
};

module.exports.__wbindgen_copy_to_typed_array = function(arg0, arg1, arg2) {
    new Uint8Array(getObject(arg2).buffer, getObject(arg2).byteOffset, getObject(arg2).byteLength).set(getArrayU8FromWasm0(arg0, arg1));
};

module.exports.__wbindgen_object_clone_ref = function(arg0) {
    const ret = getObject(arg0);
    return addHeapObject(ret);
};

module.exports.__wbindgen_symbol_named_new = function(arg0, arg1) {
    const ret = Symbol(getStringFromWasm0(arg0, arg1));
    return addHeapObject(ret);
};

module.exports.__wbindgen_bigint_from_u64 = function(arg0) {
    const ret = BigInt.asUintN(64, arg0);
    return addHeapObject(ret);
};

module.exports.__wbindgen_string_new = function(arg0, arg1) {
    const ret = getStringFromWasm0(arg0, arg1);
    return addHeapObject(ret);
};

module.exports.__wbg_of_647f9238b4d5407a = function(arg0, arg1) {
    const ret = Array.of(getObject(arg0), getObject(arg1));
    return addHeapObject(ret);
};

module.exports.__wbg_new_63b92bc8671ed464 = function(arg0) {
    const ret = new Uint8Array(getObject(arg0));
    return addHeapObject(ret);
};

module.exports.__wbg_new_72fb9a18b5ae2624 = function() {
    const ret = new Object();
    return addHeapObject(ret);
};

module.exports.__wbg_new_28c511d9baebfa89 = function(arg0, arg1) {
    const ret = new Error(getStringFromWasm0(arg0, arg1));
    return addHeapObject(ret);
};

module.exports.__wbg_newnoargs_e258087cd0daa0ea = function(arg0, arg1) {
    const ret = new Function(getStringFromWasm0(arg0, arg1));
    return addHeapObject(ret);
};

module.exports.__wbg_now_3014639a94423537 = function() {
    const ret = Date.now();
    return ret;
};

module.exports.__wbg_set_1f9b04f170055d33 = function() { return handleError(function (arg0, arg1, arg2) {
    const ret = Reflect.set(getObject(arg0), getObject(arg1), getObject(arg2));
    return ret;
}, arguments) };

module.exports.__wbg_log_dc90671a0c0717f3 = function(arg0, arg1) {
    console.log(getStringFromWasm0(arg0, arg1));
};

module.exports.__wbg_debug_a8aa7512d2cbca9c = function(arg0, arg1, arg2) {
    console.debug(getStringFromWasm0(arg0, arg1), getObject(arg2));
};

module.exports.__wbg_warn_3e481939c45fa61f = function(arg0) {
    console.warn(getObject(arg0));
};

module.exports.__wbg_get_e3c254076557e348 = function() { return handleError(function (arg0, arg1) {
    const ret = Reflect.get(getObject(arg0), getObject(arg1));
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbindgen_memory = function() {
    const ret = wasm.memory;
    return addHeapObject(ret);
};

module.exports.__wbg_buffer_12d079cc21e14bdb = function(arg0) {
    const ret = getObject(arg0).buffer;
    return addHeapObject(ret);
};

module.exports.__wbg_newwithbyteoffsetandlength_aa4a17c33a06e5cb = function(arg0, arg1, arg2) {
    const ret = new Uint8Array(getObject(arg0), arg1 >>> 0, arg2 >>> 0);
    return addHeapObject(ret);
};

module.exports.__wbg_randomFillSync_bf004fc1e39ad54a = function() { return handleError(function (arg0, arg1) {
    getObject(arg0).randomFillSync(takeObject(arg1));
}, arguments) };

module.exports.__wbg_getRandomValues_47a210009a601d67 = function() { return handleError(function (arg0, arg1) {
    getObject(arg0).getRandomValues(getObject(arg1));
}, arguments) };

module.exports.__wbg_new_16b304a2cfa7ff4a = function() {
    const ret = new Array();
    return addHeapObject(ret);
};

module.exports.__wbg_push_a5b05aedc7234f9f = function(arg0, arg1) {
    const ret = getObject(arg0).push(getObject(arg1));
    return ret;
};

module.exports.__wbindgen_jsval_eq = function(arg0, arg1) {
    const ret = getObject(arg0) === getObject(arg1);
    return ret;
};

module.exports.__wbg_counter_unwrap = function(arg0) {
    const ret = Counter.__unwrap(takeObject(arg0));
    return ret;
};

module.exports.__wbg_crypto_8f90fdde9566e2ad = function(arg0) {
    const ret = getObject(arg0).crypto;
    return addHeapObject(ret);
};

module.exports.__wbg_process_8eb2777bc1b6b0fa = function(arg0) {
    const ret = getObject(arg0).process;
    return addHeapObject(ret);
};

module.exports.__wbg_versions_50a627196d924b94 = function(arg0) {
    const ret = getObject(arg0).versions;
    return addHeapObject(ret);
};

module.exports.__wbg_node_fe444c3146177840 = function(arg0) {
    const ret = getObject(arg0).node;
    return addHeapObject(ret);
};

module.exports.__wbg_require_118cb4d5bf61ca1d = function() { return handleError(function () {
    const ret = module.require;
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbg_msCrypto_31602000d4eb6ef9 = function(arg0) {
    const ret = getObject(arg0).msCrypto;
    return addHeapObject(ret);
};

module.exports.__wbg_self_ce0dbfc45cf2f5be = function() { return handleError(function () {
    const ret = self.self;
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbg_window_c6fb939a7f436783 = function() { return handleError(function () {
    const ret = window.window;
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbg_globalThis_d1e6af4856ba331b = function() { return handleError(function () {
    const ret = globalThis.globalThis;
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbg_global_207b558942527489 = function() { return handleError(function () {
    const ret = global.global;
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbg_call_27c0f87801dedf93 = function() { return handleError(function (arg0, arg1) {
    const ret = getObject(arg0).call(getObject(arg1));
    return addHeapObject(ret);
}, arguments) };

module.exports.__wbindgen_throw = function(arg0, arg1) {
    throw new Error(getStringFromWasm0(arg0, arg1));
};

module.exports.__wbindgen_debug_string = function(arg0, arg1) {
    const ret = debugString(getObject(arg1));
    const ptr1 = passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len1 = WASM_VECTOR_LEN;
    getInt32Memory0()[arg0 / 4 + 1] = len1;
    getInt32Memory0()[arg0 / 4 + 0] = ptr1;
};

module.exports.__wbindgen_closure_wrapper92 = function(arg0, arg1, arg2) {
    const ret = makeMutClosure(arg0, arg1, 3, __wbg_adapter_48);
    return addHeapObject(ret);
};

module.exports.__wbindgen_closure_wrapper94 = function(arg0, arg1, arg2) {
    const ret = makeMutClosure(arg0, arg1, 3, __wbg_adapter_51);
    return addHeapObject(ret);
};

const path = require('path').join(__dirname, 'realm_old.wasm');
const bytes = require('fs').readFileSync(path);

const wasmModule = new WebAssembly.Module(bytes);
const wasmInstance = new WebAssembly.Instance(wasmModule, imports);
wasm = wasmInstance.exports;
module.exports.__wasm = wasm;

wasm.__wbindgen_start();

