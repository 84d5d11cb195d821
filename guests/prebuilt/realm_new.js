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
        wasm.__wbg_account_free(ptr, 0);
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
     * Closes the account, which is consumed whether or not it works.
     *
     * # Errors
     *
     * There is money left.
     */
    close() {
        const ptr = this.__destroy_into_raw();
        const ret = wasm.account_close(ptr);
        if (ret[1]) {
            throw takeFromExternrefTable0(ret[0]);
        }
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
        const ret = wasm.account_new(opening);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        this.__wbg_ptr = ret[0];
        AccountFinalization.register(this, this.__wbg_ptr, this);
        return this;
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
        const ret = wasm.account_withdraw(this.__wbg_ptr, amount);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        return ret[0];
    }
}
if (Symbol.dispose) Account.prototype[Symbol.dispose] = Account.prototype.free;
exports.Account = Account;

/**
 * Counts up.
 */
class Counter {
    static __wrap(ptr) {
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
        wasm.__wbg_counter_free(ptr, 0);
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
     * Reads text.
     * @returns {string}
     */
    get label() {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.counter_label(this.__wbg_ptr);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * Consumes two counters and gives one.
     * @param {Counter} other
     * @returns {Counter}
     */
    merge(other) {
        let ptr, ptr0;
        try {
            ptr = this.__destroy_into_raw();
            _assertClass(other, Counter);
            ptr0 = other.__destroy_into_raw();
        } catch (e) {
            if (ptr0) wasm.__wbg_counter_free(ptr0, 1);
            if (ptr) wasm.__wbg_counter_free(ptr, 1);
            throw e;
        }
        const ret = wasm.counter_merge(ptr, ptr0);
        return Counter.__wrap(ret);
    }
    /**
     * Starts at `value`, in steps of one.
     * @param {number} value
     */
    constructor(value) {
        const ret = wasm.counter_new(value);
        this.__wbg_ptr = ret;
        CounterFinalization.register(this, this.__wbg_ptr, this);
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
     * Writes the value as a property.
     * @param {number} value
     */
    set value(value) {
        wasm.counter_set_value(this.__wbg_ptr, value);
    }
    /**
     * Reads the value as a property.
     * @returns {number}
     */
    get value() {
        const ret = wasm.counter_value(this.__wbg_ptr);
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
}
if (Symbol.dispose) Counter.prototype[Symbol.dispose] = Counter.prototype.free;
exports.Counter = Counter;

/**
 * An enumeration crosses as its number.
 * @enum {0 | 1 | 2 | 3}
 */
const Direction = Object.freeze({
    /**
     * Number 0.
     */
    North: 0, "0": "North",
    /**
     * Number 1.
     */
    East: 1, "1": "East",
    /**
     * Number 2.
     */
    South: 2, "2": "South",
    /**
     * Number 3.
     */
    West: 3, "3": "West",
});
exports.Direction = Direction;

/**
 * Names and their bytes.
 */
class Registry {
    static __wrap(ptr) {
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
        wasm.__wbg_registry_free(ptr, 0);
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
     * A registry of its own with the same entries.
     * @returns {Registry}
     */
    copy() {
        const ret = wasm.registry_copy(this.__wbg_ptr);
        return Registry.__wrap(ret);
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
     * Reads an entry.
     * @param {string} name
     * @returns {Uint8Array | undefined}
     */
    get(name) {
        const ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.registry_get(this.__wbg_ptr, ptr0, len0);
        let v2;
        if (ret[0] !== 0) {
            v2 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
            wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
        }
        return v2;
    }
    /**
     * An empty one.
     */
    constructor() {
        const ret = wasm.registry_new();
        this.__wbg_ptr = ret;
        RegistryFinalization.register(this, this.__wbg_ptr, this);
        return this;
    }
    /**
     * Writes an entry; says whether the name is new.
     * @param {string} name
     * @param {Uint8Array | number[]} bytes
     * @returns {boolean}
     */
    put(name, bytes) {
        let ptr0, len0, ptr1, len1;
        try {
            ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            len0 = WASM_VECTOR_LEN;
            ptr1 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
            len1 = WASM_VECTOR_LEN;
        } catch (e) {
            if (ptr1) { wasm.__wbindgen_free(ptr1, len1 * 1, 1); }
            if (ptr0) { wasm.__wbindgen_free(ptr0, len0 * 1, 1); }
            throw e;
        }
        const ret = wasm.registry_put(this.__wbg_ptr, ptr0, len0, ptr1, len1);
        return ret !== 0;
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
    /**
     * How many entries there are.
     * @returns {number}
     */
    get size() {
        const ret = wasm.registry_size(this.__wbg_ptr);
        return ret >>> 0;
    }
}
if (Symbol.dispose) Registry.prototype[Symbol.dispose] = Registry.prototype.free;
exports.Registry = Registry;

/**
 * Adds, and wraps around.
 * @param {number} left
 * @param {number} right
 * @returns {number}
 */
function add(left, right) {
    const ret = wasm.add(left, right);
    return ret >>> 0;
}
exports.add = add;

/**
 * Calls what no host but a browser implements.
 * @param {string} message
 */
function alert(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.alert(ptr0, len0);
}
exports.alert = alert;

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
function apply(_function, argument) {
    const ret = wasm.apply(_function, argument);
    if (ret[2]) {
        throw takeFromExternrefTable0(ret[1]);
    }
    return takeFromExternrefTable0(ret[0]);
}
exports.apply = apply;

/**
 * Adds up the numbers of an array, one `get` after the other.
 * @param {Array<any>} array
 * @returns {number}
 */
function array_sum(array) {
    const ret = wasm.array_sum(array);
    return ret;
}
exports.array_sum = array_sum;

/**
 * Makes bytes of the host, fills them, copies a part of them back and adds it up.
 * @param {number} length
 * @param {number} from
 * @param {number} to
 * @returns {number}
 */
function byte_sum(length, from, to) {
    const ret = wasm.byte_sum(length, from, to);
    return ret >>> 0;
}
exports.byte_sum = byte_sum;

/**
 * Makes bytes of the host from bytes of the module.
 * @param {Uint8Array | number[]} bytes
 * @returns {Uint8Array}
 */
function bytes_as_value(bytes) {
    const ptr0 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.bytes_as_value(ptr0, len0);
    return ret;
}
exports.bytes_as_value = bytes_as_value;

/**
 * Hands a closure to the host and has the host call it with 1, 2, ... `times`; gives the last result.
 *
 * # Errors
 *
 * What the host throws.
 * @param {number} times
 * @returns {any}
 */
function call_back(times) {
    const ret = wasm.call_back(times);
    if (ret[2]) {
        throw takeFromExternrefTable0(ret[1]);
    }
    return takeFromExternrefTable0(ret[0]);
}
exports.call_back = call_back;

/**
 * Takes `text` into a hash over all calls so far, and gives it.
 * @param {string} text
 * @returns {bigint}
 */
function chain_step(text) {
    const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.chain_step(ptr0, len0);
    return BigInt.asUintN(64, ret);
}
exports.chain_step = chain_step;

/**
 * The hash over all calls so far.
 * @returns {bigint}
 */
function chain_value() {
    const ret = wasm.chain_value();
    return BigInt.asUintN(64, ret);
}
exports.chain_value = chain_value;

/**
 * Succeeds with nothing.
 *
 * # Errors
 *
 * `fine` is false.
 * @param {boolean} fine
 */
function check(fine) {
    const ret = wasm.check(fine);
    if (ret[1]) {
        throw takeFromExternrefTable0(ret[0]);
    }
}
exports.check = check;

/**
 * An object of the module as a value of the host: the module asks the host for a wrapper.
 * @param {number} value
 * @returns {any}
 */
function counter_as_value(value) {
    const ret = wasm.counter_as_value(value);
    return ret;
}
exports.counter_as_value = counter_as_value;

/**
 * What the host prints for debugging.
 * @param {any} value
 * @returns {string}
 */
function debug(value) {
    let deferred1_0;
    let deferred1_1;
    try {
        const ret = wasm.debug(value);
        deferred1_0 = ret[0];
        deferred1_1 = ret[1];
        return getStringFromWasm0(ret[0], ret[1]);
    } finally {
        wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
    }
}
exports.debug = debug;

/**
 * Says what a value is, with every check that the module can ask the host for.
 * @param {any} value
 * @returns {string}
 */
function describe(value) {
    let deferred1_0;
    let deferred1_1;
    try {
        const ret = wasm.describe(value);
        deferred1_0 = ret[0];
        deferred1_1 = ret[1];
        return getStringFromWasm0(ret[0], ret[1]);
    } finally {
        wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
    }
}
exports.describe = describe;

/**
 * An unsigned number of 64 bits: the same wasm type, read differently.
 * @param {bigint} value
 * @returns {bigint}
 */
function double(value) {
    const ret = wasm.double(value);
    return BigInt.asUintN(64, ret);
}
exports.double = double;

/**
 * Drops the closure: the host's function may not be called any more. Says whether there was one.
 * @returns {boolean}
 */
function drop_closure() {
    const ret = wasm.drop_closure();
    return ret !== 0;
}
exports.drop_closure = drop_closure;

/**
 * Lends the host a closure that lives on the stack while the host walks through the array.
 * @param {Array<any>} array
 * @returns {number}
 */
function each_sum(array) {
    const ret = wasm.each_sum(array);
    return ret;
}
exports.each_sum = each_sum;

/**
 * Gives back what it was given.
 * @param {any} value
 * @returns {any}
 */
function echo(value) {
    const ret = wasm.echo(value);
    return ret;
}
exports.echo = echo;

/**
 * Allocates until there is no memory left, which aborts.
 */
function exhaust() {
    wasm.exhaust();
}
exports.exhaust = exhaust;

/**
 * Writes to a buffer of the host, which gets the bytes back when the call ends.
 * @param {Uint8Array} buffer
 * @param {number} _with
 */
function fill(buffer, _with) {
    const val2 = +_with;
    var ptr0 = passArray8ToWasm0(buffer, wasm.__wbindgen_malloc);
    var len0 = WASM_VECTOR_LEN;
    wasm.fill(ptr0, len0, buffer, val2);
}
exports.fill = fill;

/**
 * Borrows text and gives text of its own.
 * @param {string} name
 * @returns {string}
 */
function greet(name) {
    let deferred2_0;
    let deferred2_1;
    try {
        const ptr0 = passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.greet(ptr0, len0);
        deferred2_0 = ret[0];
        deferred2_1 = ret[1];
        return getStringFromWasm0(ret[0], ret[1]);
    } finally {
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
}
exports.greet = greet;

/**
 * The smaller of the two floating-point widths.
 * @param {number} value
 * @returns {number}
 */
function halve(value) {
    const ret = wasm.halve(value);
    return ret;
}
exports.halve = halve;

/**
 * Takes a list of texts apart again.
 * @param {string[]} words
 * @param {string} separator
 * @returns {string}
 */
function join(words, separator) {
    let deferred3_0;
    let deferred3_1;
    try {
        let ptr0, len0, ptr1, len1;
        try {
            ptr0 = passArrayJsValueToWasm0(words, wasm.__wbindgen_malloc);
            len0 = WASM_VECTOR_LEN;
            ptr1 = passStringToWasm0(separator, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            len1 = WASM_VECTOR_LEN;
        } catch (e) {
            if (ptr1) { wasm.__wbindgen_free(ptr1, len1 * 1, 1); }
            if (ptr0) { wasm.__externref_drop_slice(ptr0, len0); wasm.__wbindgen_free(ptr0, len0 * 4, 4); }
            throw e;
        }
        const ret = wasm.join(ptr0, len0, ptr1, len1);
        deferred3_0 = ret[0];
        deferred3_1 = ret[1];
        return getStringFromWasm0(ret[0], ret[1]);
    } finally {
        wasm.__wbindgen_free(deferred3_0, deferred3_1, 1);
    }
}
exports.join = join;

/**
 * Gives the host a closure that it may call between calls, until [`drop_closure`].
 * @param {number} start
 * @returns {any}
 */
function keep_closure(start) {
    const ret = wasm.keep_closure(start);
    return ret;
}
exports.keep_closure = keep_closure;

/**
 * Loses `bytes` bytes, every one of them written to. Aborts when there is no memory left.
 * @param {number} bytes
 */
function leak(bytes) {
    wasm.leak(bytes);
}
exports.leak = leak;

/**
 * Makes a value of the kind that is named, or `undefined`.
 * @param {string} kind
 * @returns {any}
 */
function make(kind) {
    const ptr0 = passStringToWasm0(kind, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.make(ptr0, len0);
    return ret;
}
exports.make = make;

/**
 * Makes an error, without failing.
 * @param {string} message
 * @returns {Error}
 */
function make_error(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.make_error(ptr0, len0);
    return ret;
}
exports.make_error = make_error;

/**
 * A counter that may be absent, in and out: absent when the sum would overflow.
 * @param {Counter | null | undefined} counter
 * @param {number} by
 * @returns {Counter | undefined}
 */
function maybe_advance(counter, by) {
    const val2 = +by;
    let ptr0 = 0;
    if (!isLikeNone(counter)) {
        _assertClass(counter, Counter);
        ptr0 = counter.__destroy_into_raw();
    }
    const ret = wasm.maybe_advance(ptr0, val2);
    return ret === 0 ? undefined : Counter.__wrap(ret);
}
exports.maybe_advance = maybe_advance;

/**
 * Text that may be absent, in and out.
 * @param {string | null} [name]
 * @returns {string | undefined}
 */
function maybe_greet(name) {
    var ptr0 = isLikeNone(name) ? 0 : passStringToWasm0(name, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    var len0 = WASM_VECTOR_LEN;
    const ret = wasm.maybe_greet(ptr0, len0);
    let v2;
    if (ret[0] !== 0) {
        v2 = getStringFromWasm0(ret[0], ret[1]);
        wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
    }
    return v2;
}
exports.maybe_greet = maybe_greet;

/**
 * A number that may be absent, in and out.
 * @param {number | null} [value]
 * @returns {number | undefined}
 */
function maybe_increment(value) {
    const ret = wasm.maybe_increment(isLikeNone(value) ? Number.MAX_SAFE_INTEGER : (value) >>> 0);
    return ret === Number.MAX_SAFE_INTEGER ? undefined : ret;
}
exports.maybe_increment = maybe_increment;

/**
 * The other encodings of what may be absent: a flag beside the value, and a value out of range.
 * @param {number | null} [value]
 * @param {boolean | null} [invert]
 * @returns {number | undefined}
 */
function maybe_ratio(value, invert) {
    const ret = wasm.maybe_ratio(!isLikeNone(value), isLikeNone(value) ? 0 : value, isLikeNone(invert) ? 0xFFFFFF : invert ? 1 : 0);
    return ret[0] === 0 ? undefined : ret[1];
}
exports.maybe_ratio = maybe_ratio;

/**
 * The size of the linear memory in MiB. It never shrinks.
 * @returns {number}
 */
function memory_usage_mb() {
    const ret = wasm.memory_usage_mb();
    return ret;
}
exports.memory_usage_mb = memory_usage_mb;

/**
 * A number below 32 bits, sign-extended at the boundary.
 * @param {number} value
 * @returns {number}
 */
function narrow(value) {
    const ret = wasm.narrow(value);
    return ret;
}
exports.narrow = narrow;

/**
 * A signed number of 64 bits, which JavaScript only has as a `BigInt`.
 * @param {bigint} value
 * @returns {bigint}
 */
function negate(value) {
    const ret = wasm.negate(value);
    return ret;
}
exports.negate = negate;

/**
 * One Unicode scalar value.
 * @param {string} value
 * @returns {string}
 */
function next_char(value) {
    const char0 = value.codePointAt(0);
    _assertChar(char0);
    const ret = wasm.next_char(char0);
    return String.fromCodePoint(ret);
}
exports.next_char = next_char;

/**
 * A truth value, 0 or 1 at the boundary.
 * @param {boolean} value
 * @returns {boolean}
 */
function not(value) {
    const ret = wasm.not(value);
    return ret !== 0;
}
exports.not = not;

/**
 * Milliseconds since 1970.
 * @returns {number}
 */
function now_ms() {
    const ret = wasm.now_ms();
    return ret;
}
exports.now_ms = now_ms;

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
function object_with(key, value) {
    const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.object_with(ptr0, len0, value);
    if (ret[2]) {
        throw takeFromExternrefTable0(ret[1]);
    }
    return takeFromExternrefTable0(ret[0]);
}
exports.object_with = object_with;

/**
 * Gives the host a closure that may be called once, with any value, and then frees itself.
 * @param {string} prefix
 * @returns {any}
 */
function once(prefix) {
    const ptr0 = passStringToWasm0(prefix, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.once(ptr0, len0);
    return ret;
}
exports.once = once;

/**
 * Panics: the hook reports to the console, then the module traps.
 *
 * # Panics
 *
 * Always.
 * @param {string} message
 */
function panic_with(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.panic_with(ptr0, len0);
}
exports.panic_with = panic_with;

/**
 * Fails with a value that is not an `Error`: the text itself.
 *
 * # Errors
 *
 * The text is not a number.
 * @param {string} text
 * @returns {string}
 */
function parse(text) {
    let deferred3_0;
    let deferred3_1;
    try {
        const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.parse(ptr0, len0);
        var ptr2 = ret[0];
        var len2 = ret[1];
        if (ret[3]) {
            ptr2 = 0; len2 = 0;
            throw takeFromExternrefTable0(ret[2]);
        }
        deferred3_0 = ptr2;
        deferred3_1 = len2;
        return getStringFromWasm0(ptr2, len2);
    } finally {
        wasm.__wbindgen_free(deferred3_0, deferred3_1, 1);
    }
}
exports.parse = parse;

/**
 * Prints one line.
 * @param {string} message
 */
function print(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.print(ptr0, len0);
}
exports.print = print;

/**
 * Prints a line and a value.
 * @param {string} message
 * @param {any} detail
 */
function print_detail(message, detail) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.print_detail(ptr0, len0, detail);
}
exports.print_detail = print_detail;

/**
 * Prints one line as an error.
 * @param {string} message
 */
function print_error(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.print_error(ptr0, len0);
}
exports.print_error = print_error;

/**
 * Prints a value as a warning.
 * @param {any} message
 */
function print_warning(message) {
    wasm.print_warning(message);
}
exports.print_warning = print_warning;

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
function property(target, key) {
    const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.property(target, ptr0, len0);
    if (ret[2]) {
        throw takeFromExternrefTable0(ret[1]);
    }
    return takeFromExternrefTable0(ret[0]);
}
exports.property = property;

/**
 * Draws 32 bytes the way that most modules in use do, through an object `crypto` that is looked for.
 *
 * # Errors
 *
 * The host has no randomness.
 * @returns {string}
 */
function random_hex() {
    let deferred2_0;
    let deferred2_1;
    try {
        const ret = wasm.random_hex();
        var ptr1 = ret[0];
        var len1 = ret[1];
        if (ret[3]) {
            ptr1 = 0; len1 = 0;
            throw takeFromExternrefTable0(ret[2]);
        }
        deferred2_0 = ptr1;
        deferred2_1 = len1;
        return getStringFromWasm0(ptr1, len1);
    } finally {
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
}
exports.random_hex = random_hex;

/**
 * Draws 32 bytes the way that current releases of `getrandom` do, from `globalThis.crypto`.
 *
 * # Errors
 *
 * The host has no randomness.
 * @returns {string}
 */
function random_hex_direct() {
    let deferred2_0;
    let deferred2_1;
    try {
        const ret = wasm.random_hex_direct();
        var ptr1 = ret[0];
        var len1 = ret[1];
        if (ret[3]) {
            ptr1 = 0; len1 = 0;
            throw takeFromExternrefTable0(ret[2]);
        }
        deferred2_0 = ptr1;
        deferred2_1 = len1;
        return getStringFromWasm0(ptr1, len1);
    } finally {
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
}
exports.random_hex_direct = random_hex_direct;

/**
 * Makes an array of the first numbers.
 * @param {number} length
 * @returns {Array<any>}
 */
function range(length) {
    const ret = wasm.range(length);
    return ret;
}
exports.range = range;

/**
 * Borrows bytes and gives bytes of its own.
 * @param {Uint8Array | number[]} bytes
 * @returns {Uint8Array}
 */
function reverse_bytes(bytes) {
    const ptr0 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.reverse_bytes(ptr0, len0);
    var v2 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
    wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
    return v2;
}
exports.reverse_bytes = reverse_bytes;

/**
 * A list whose elements are 8 bytes.
 * @param {Float64Array | number[]} values
 * @returns {Float64Array}
 */
function running_total(values) {
    const ptr0 = passArrayF64ToWasm0(values, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.running_total(ptr0, len0);
    var v2 = getArrayF64FromWasm0(ret[0], ret[1]).slice();
    wasm.__wbindgen_free(ret[0], ret[1] * 8, 8);
    return v2;
}
exports.running_total = running_total;

/**
 * Whether two values are the same one.
 * @param {any} left
 * @param {any} right
 * @returns {boolean}
 */
function same(left, right) {
    const ret = wasm.same(left, right);
    return ret !== 0;
}
exports.same = same;

/**
 * Multiplies floating-point numbers.
 * @param {number} value
 * @param {number} by
 * @returns {number}
 */
function scale(value, by) {
    const ret = wasm.scale(value, by);
    return ret;
}
exports.scale = scale;

/**
 * Takes ownership of text, which the module frees.
 * @param {string} text
 * @returns {string}
 */
function shout(text) {
    let deferred2_0;
    let deferred2_1;
    try {
        const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.shout(ptr0, len0);
        deferred2_0 = ret[0];
        deferred2_1 = ret[1];
        return getStringFromWasm0(ret[0], ret[1]);
    } finally {
        wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
    }
}
exports.shout = shout;

/**
 * Keeps busy for ever.
 */
function spin() {
    wasm.spin();
}
exports.spin = spin;

/**
 * A list of texts: each element is an object of the host.
 * @param {string} text
 * @param {string} separator
 * @returns {string[]}
 */
function split(text, separator) {
    let ptr0, len0, ptr1, len1;
    try {
        ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        len0 = WASM_VECTOR_LEN;
        ptr1 = passStringToWasm0(separator, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        len1 = WASM_VECTOR_LEN;
    } catch (e) {
        if (ptr1) { wasm.__wbindgen_free(ptr1, len1 * 1, 1); }
        if (ptr0) { wasm.__wbindgen_free(ptr0, len0 * 1, 1); }
        throw e;
    }
    const ret = wasm.split(ptr0, len0, ptr1, len1);
    var v3 = getArrayJsValueFromWasm0(ret[0], ret[1]);
    wasm.__wbindgen_free(ret[0], ret[1] * 4, 4);
    return v3;
}
exports.split = split;

/**
 * A list of numbers; lengths at the boundary count elements.
 * @param {Uint32Array | number[]} values
 * @returns {Uint32Array}
 */
function squares(values) {
    const ptr0 = passArray32ToWasm0(values, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.squares(ptr0, len0);
    var v2 = getArrayU32FromWasm0(ret[0], ret[1]).slice();
    wasm.__wbindgen_free(ret[0], ret[1] * 4, 4);
    return v2;
}
exports.squares = squares;

/**
 * Runs when the module is started: panics go to the console, as in most modules in use.
 */
function start() {
    wasm.start();
}
exports.start = start;

/**
 * Throws past the frames of the module, which are not unwound.
 * @param {string} message
 */
function throw_text(message) {
    const ptr0 = passStringToWasm0(message, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
    const len0 = WASM_VECTOR_LEN;
    wasm.throw_text(ptr0, len0);
}
exports.throw_text = throw_text;

/**
 * Fails with whatever value it is given.
 *
 * # Errors
 *
 * Always.
 * @param {any} value
 * @returns {number}
 */
function throw_value(value) {
    const ret = wasm.throw_value(value);
    if (ret[2]) {
        throw takeFromExternrefTable0(ret[1]);
    }
    return ret[0] >>> 0;
}
exports.throw_value = throw_value;

/**
 * A list of objects, which the module takes out of the host's wrappers.
 * @param {Counter[]} counters
 * @returns {number}
 */
function total(counters) {
    const ptr0 = passArrayJsValueToWasm0(counters, wasm.__wbindgen_malloc);
    const len0 = WASM_VECTOR_LEN;
    const ret = wasm.total(ptr0, len0);
    return ret >>> 0;
}
exports.total = total;

/**
 * Traps without a word.
 */
function trap() {
    wasm.trap();
}
exports.trap = trap;

/**
 * Turns right.
 * @param {Direction} direction
 * @returns {Direction}
 */
function turn(direction) {
    const ret = wasm.turn(direction);
    return ret;
}
exports.turn = turn;

/**
 * Copies the whole of a host's bytes.
 * @param {Uint8Array} value
 * @returns {Uint8Array}
 */
function value_as_bytes(value) {
    const ret = wasm.value_as_bytes(value);
    var v1 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
    wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
    return v1;
}
exports.value_as_bytes = value_as_bytes;
function __wbg_get_imports() {
    const import0 = {
        __proto__: null,
        __wbg_Error_208446807d0d1e30: function(arg0, arg1) {
            const ret = Error(getStringFromWasm0(arg0, arg1));
            return ret;
        },
        __wbg_Symbol_4b0347ddd8e032de: function(arg0, arg1) {
            const ret = Symbol(arg0 === 0 ? undefined : getStringFromWasm0(arg0, arg1));
            return ret;
        },
        __wbg___wbindgen_boolean_get_4f1baf9a00be3c74: function(arg0) {
            const v = arg0;
            const ret = typeof(v) === 'boolean' ? v : undefined;
            return isLikeNone(ret) ? 0xFFFFFF : ret ? 1 : 0;
        },
        __wbg___wbindgen_copy_to_typed_array_680b191e71920dc1: function(arg0, arg1, arg2) {
            new Uint8Array(arg2.buffer, arg2.byteOffset, arg2.byteLength).set(getArrayU8FromWasm0(arg0, arg1));
        },
        __wbg___wbindgen_debug_string_f249a2a76caa9a55: function(arg0, arg1) {
            const ret = debugString(arg1);
            const ptr1 = passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            const len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
        },
        __wbg___wbindgen_is_bigint_5fa10641e039d3ef: function(arg0) {
            const ret = typeof(arg0) === 'bigint';
            return ret;
        },
        __wbg___wbindgen_is_function_741ff2bb612836f5: function(arg0) {
            const ret = typeof(arg0) === 'function';
            return ret;
        },
        __wbg___wbindgen_is_null_c22311b1cc228e3a: function(arg0) {
            const ret = arg0 === null;
            return ret;
        },
        __wbg___wbindgen_is_object_8b968c3ab8e96595: function(arg0) {
            const val = arg0;
            const ret = typeof(val) === 'object' && val !== null;
            return ret;
        },
        __wbg___wbindgen_is_string_fc456fee5d3317de: function(arg0) {
            const ret = typeof(arg0) === 'string';
            return ret;
        },
        __wbg___wbindgen_is_symbol_f846131a047725ea: function(arg0) {
            const ret = typeof(arg0) === 'symbol';
            return ret;
        },
        __wbg___wbindgen_is_undefined_be5b34249ff1fc15: function(arg0) {
            const ret = arg0 === undefined;
            return ret;
        },
        __wbg___wbindgen_jsval_eq_38d7bfbe4cc84039: function(arg0, arg1) {
            const ret = arg0 === arg1;
            return ret;
        },
        __wbg___wbindgen_number_get_934b640d0889af78: function(arg0, arg1) {
            const obj = arg1;
            const ret = typeof(obj) === 'number' ? obj : undefined;
            getDataViewMemory0().setFloat64((arg0 >>> 0) + 8 * 1, isLikeNone(ret) ? 0 : ret, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, !isLikeNone(ret), true);
        },
        __wbg___wbindgen_string_get_7ce8eee7fd327545: function(arg0, arg1) {
            const obj = arg1;
            const ret = typeof(obj) === 'string' ? obj : undefined;
            var ptr1 = isLikeNone(ret) ? 0 : passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            var len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
        },
        __wbg___wbindgen_throw_4c88d8bf264fd984: function(arg0, arg1) {
            throw new Error(getStringFromWasm0(arg0, arg1));
        },
        __wbg__wbg_cb_unref_09736879a3f67559: function(arg0) {
            arg0._wbg_cb_unref();
        },
        __wbg_alert_a804ef2b5e67ab3b: function(arg0, arg1) {
            window.alert(getStringFromWasm0(arg0, arg1));
        },
        __wbg_call_a410eb4b59ed5965: function() { return handleError(function (arg0, arg1, arg2) {
            const ret = arg0.call(arg1, arg2);
            return ret;
        }, arguments); },
        __wbg_counter_new: function(arg0) {
            const ret = Counter.__wrap(arg0);
            return ret;
        },
        __wbg_counter_unwrap: function(arg0) {
            const ret = Counter.__unwrap(arg0);
            return ret;
        },
        __wbg_crypto_23f565a907d30078: function(arg0) {
            const ret = arg0.crypto;
            return ret;
        },
        __wbg_debug_5376f403efb4bd00: function(arg0, arg1, arg2) {
            console.debug(getStringFromWasm0(arg0, arg1), arg2);
        },
        __wbg_error_e8c5eecbc80c977a: function(arg0, arg1) {
            let deferred0_0;
            let deferred0_1;
            try {
                deferred0_0 = arg0;
                deferred0_1 = arg1;
                console.error(getStringFromWasm0(arg0, arg1));
            } finally {
                wasm.__wbindgen_free(deferred0_0, deferred0_1, 1);
            }
        },
        __wbg_forEach_fb24ab6301b250ee: function(arg0, arg1, arg2) {
            try {
                var state0 = {a: arg1, b: arg2};
                var cb0 = (arg0, arg1, arg2) => {
                    const a = state0.a;
                    state0.a = 0;
                    try {
                        return wasm_bindgen_10e7acd674adc2ee___convert__closures_____invoke___wasm_bindgen_10e7acd674adc2ee___JsValue__u32__js_sys_c5bf60056d562db6___Array______true_(a, state0.b, arg0, arg1, arg2);
                    } finally {
                        state0.a = a;
                    }
                };
                arg0.forEach(cb0);
            } finally {
                state0.a = 0;
            }
        },
        __wbg_from_eac91875c8a5ffa4: function(arg0) {
            const ret = Array.from(arg0);
            return ret;
        },
        __wbg_getRandomValues_8b6f1f663e6f188d: function() { return handleError(function (arg0, arg1) {
            globalThis.crypto.getRandomValues(getArrayU8FromWasm0(arg0, arg1));
        }, arguments); },
        __wbg_getRandomValues_d2908e0b99612b91: function() { return handleError(function (arg0, arg1) {
            arg0.getRandomValues(arg1);
        }, arguments); },
        __wbg_get_2080c49015e35254: function() { return handleError(function (arg0, arg1) {
            const ret = Reflect.get(arg0, arg1);
            return ret;
        }, arguments); },
        __wbg_get_d7176cfb76d71114: function(arg0, arg1) {
            const ret = arg0[arg1 >>> 0];
            return ret;
        },
        __wbg_instanceof_Error_74e3cca0c4a69161: function(arg0) {
            let result;
            try {
                result = arg0 instanceof Error;
            } catch (_) {
                result = false;
            }
            const ret = result;
            return ret;
        },
        __wbg_instanceof_Uint8Array_d7aeb0dcb3108fea: function(arg0) {
            let result;
            try {
                result = arg0 instanceof Uint8Array;
            } catch (_) {
                result = false;
            }
            const ret = result;
            return ret;
        },
        __wbg_isArray_bcf1376d0d732d08: function(arg0) {
            const ret = Array.isArray(arg0);
            return ret;
        },
        __wbg_length_186163212ffe79c3: function(arg0) {
            const ret = arg0.length;
            return ret;
        },
        __wbg_length_b03a0fabb109b1e9: function(arg0) {
            const ret = arg0.length;
            return ret;
        },
        __wbg_log_b3a87f0c53334652: function(arg0, arg1) {
            console.log(getStringFromWasm0(arg0, arg1));
        },
        __wbg_message_43d8c8f1d543a349: function(arg0) {
            const ret = arg0.message;
            return ret;
        },
        __wbg_msCrypto_d5f06fad6bf1409b: function(arg0) {
            const ret = arg0.msCrypto;
            return ret;
        },
        __wbg_new_37eb45aaf5eeb820: function() {
            const ret = new Array();
            return ret;
        },
        __wbg_new_787b9fb330d55d78: function(arg0, arg1) {
            const ret = new Error(getStringFromWasm0(arg0, arg1));
            return ret;
        },
        __wbg_new_9c3f879055c9fce5: function() {
            const ret = new Error();
            return ret;
        },
        __wbg_new_cd4348290afae586: function() {
            const ret = new Object();
            return ret;
        },
        __wbg_new_from_slice_b8daf545a41c6aa0: function(arg0, arg1) {
            const ret = new Uint8Array(getArrayU8FromWasm0(arg0, arg1));
            return ret;
        },
        __wbg_new_no_args_7dba612d766302e4: function(arg0, arg1) {
            const ret = new Function(getStringFromWasm0(arg0, arg1));
            return ret;
        },
        __wbg_new_with_length_01b143a7e5dd5a3e: function(arg0) {
            const ret = new Uint8Array(arg0 >>> 0);
            return ret;
        },
        __wbg_node_86166ff8ce1f2002: function(arg0) {
            const ret = arg0.node;
            return ret;
        },
        __wbg_now_463ac581d2fc7ea3: function() {
            const ret = Date.now();
            return ret;
        },
        __wbg_of_e7ea0fcd535c1444: function(arg0, arg1) {
            const ret = Array.of(arg0, arg1);
            return ret;
        },
        __wbg_process_91f425a63f58e399: function(arg0) {
            const ret = arg0.process;
            return ret;
        },
        __wbg_prototypesetcall_13162965d1fe7aa3: function(arg0, arg1, arg2) {
            Uint8Array.prototype.set.call(getArrayU8FromWasm0(arg0, arg1), arg2);
        },
        __wbg_push_c9f4893fc209f768: function(arg0, arg1) {
            const ret = arg0.push(arg1);
            return ret;
        },
        __wbg_randomFillSync_34b023059e3363de: function() { return handleError(function (arg0, arg1) {
            arg0.randomFillSync(arg1);
        }, arguments); },
        __wbg_require_9a7d8cc2e1d275c0: function() { return handleError(function () {
            const ret = module.require;
            return ret;
        }, arguments); },
        __wbg_set_2793479888329cb6: function() { return handleError(function (arg0, arg1, arg2) {
            const ret = Reflect.set(arg0, arg1, arg2);
            return ret;
        }, arguments); },
        __wbg_set_feb3714f475485ba: function(arg0, arg1, arg2) {
            arg0.set(getArrayU8FromWasm0(arg1, arg2));
        },
        __wbg_set_index_04ad4507ce7e44a9: function(arg0, arg1, arg2) {
            arg0[arg1 >>> 0] = arg2;
        },
        __wbg_stack_8956bb2cf645a386: function(arg0, arg1) {
            const ret = arg1.stack;
            const ptr1 = passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            const len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
        },
        __wbg_static_accessor_GLOBAL_THIS_003ee833af9699fc: function() {
            const ret = typeof globalThis === 'undefined' ? undefined : globalThis;
            return isLikeNone(ret) ? 0 : addToExternrefTable0(ret);
        },
        __wbg_static_accessor_GLOBAL_e4293fb22cbe77da: function() {
            const ret = typeof global === 'undefined' ? undefined : global;
            return isLikeNone(ret) ? 0 : addToExternrefTable0(ret);
        },
        __wbg_static_accessor_SELF_53bb20457401453d: function() {
            const ret = typeof self === 'undefined' ? undefined : self;
            return isLikeNone(ret) ? 0 : addToExternrefTable0(ret);
        },
        __wbg_static_accessor_WINDOW_b5e0810bfecb7feb: function() {
            const ret = typeof window === 'undefined' ? undefined : window;
            return isLikeNone(ret) ? 0 : addToExternrefTable0(ret);
        },
        __wbg_subarray_58f388a9247ac0bb: function(arg0, arg1, arg2) {
            const ret = arg0.subarray(arg1 >>> 0, arg2 >>> 0);
            return ret;
        },
        __wbg_versions_6e128a981b0df859: function(arg0) {
            const ret = arg0.versions;
            return ret;
        },
        __wbg_warn_c0f936753d4cebfb: function(arg0) {
            console.warn(arg0);
        },
        __wbindgen_generic_0000000000000001: function(arg0, arg1) {
            // Cast intrinsic for `Closure(Closure { owned: true, function: Function { arguments: [Externref], shim_idx: 1, ret: String, inner_ret: Some(String) }, mutable: true }) -> Externref`.
            const ret = makeMutClosure(arg0, arg1, wasm_bindgen__convert__closures_____invoke__h12cbb27bdee84451);
            return ret;
        },
        __wbindgen_generic_0000000000000002: function(arg0, arg1) {
            // Cast intrinsic for `Closure(Closure { owned: true, function: Function { arguments: [U32], shim_idx: 3, ret: U32, inner_ret: Some(U32) }, mutable: true }) -> Externref`.
            const ret = makeMutClosure(arg0, arg1, wasm_bindgen__convert__closures_____invoke__hc4a952f6442eb94a);
            return ret;
        },
        __wbindgen_generic_0000000000000003: function(arg0) {
            // Cast intrinsic for `F64 -> Externref`.
            const ret = arg0;
            return ret;
        },
        __wbindgen_generic_0000000000000004: function(arg0, arg1) {
            // Cast intrinsic for `Ref(Slice(U8)) -> NamedExternref("Uint8Array")`.
            const ret = getArrayU8FromWasm0(arg0, arg1);
            return ret;
        },
        __wbindgen_generic_0000000000000005: function(arg0, arg1) {
            // Cast intrinsic for `Ref(String) -> Externref`.
            const ret = getStringFromWasm0(arg0, arg1);
            return ret;
        },
        __wbindgen_generic_0000000000000006: function(arg0) {
            // Cast intrinsic for `U64 -> Externref`.
            const ret = BigInt.asUintN(64, arg0);
            return ret;
        },
        __wbindgen_init_externref_table: function() {
            const table = wasm.__wbindgen_externrefs;
            table.set(0, undefined);
            table.set(1024, undefined);
            table.set(1025, null);
            table.set(1026, true);
            table.set(1027, false);
        },
    };
    return {
        __proto__: null,
        "./realm_new_bg.js": import0,
    };
}

function wasm_bindgen__convert__closures_____invoke__h12cbb27bdee84451(arg0, arg1, arg2) {
    let deferred1_0;
    let deferred1_1;
    try {
        const ret = wasm.wasm_bindgen__convert__closures_____invoke__h12cbb27bdee84451(arg0, arg1, arg2);
        deferred1_0 = ret[0];
        deferred1_1 = ret[1];
        return getStringFromWasm0(ret[0], ret[1]);
    } finally {
        wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
    }
}

function wasm_bindgen_10e7acd674adc2ee___convert__closures_____invoke___wasm_bindgen_10e7acd674adc2ee___JsValue__u32__js_sys_c5bf60056d562db6___Array______true_(arg0, arg1, arg2, arg3, arg4) {
    wasm.wasm_bindgen_10e7acd674adc2ee___convert__closures_____invoke___wasm_bindgen_10e7acd674adc2ee___JsValue__u32__js_sys_c5bf60056d562db6___Array______true_(arg0, arg1, arg2, arg3, arg4);
}

function wasm_bindgen__convert__closures_____invoke__hc4a952f6442eb94a(arg0, arg1, arg2) {
    const ret = wasm.wasm_bindgen__convert__closures_____invoke__hc4a952f6442eb94a(arg0, arg1, arg2);
    return ret >>> 0;
}

const AccountFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_account_free(ptr, 1));
const CounterFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_counter_free(ptr, 1));
const RegistryFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_registry_free(ptr, 1));

function addToExternrefTable0(obj) {
    const idx = wasm.__externref_table_alloc();
    wasm.__wbindgen_externrefs.set(idx, obj);
    return idx;
}

function _assertChar(c) {
    if (typeof(c) === 'number' && (c >= 0x110000 || (c >= 0xD800 && c < 0xE000))) throw new Error(`expected a valid Unicode scalar value, found ${c}`);
}

function _assertClass(instance, klass) {
    if (!(instance instanceof klass)) {
        throw new Error(`expected instance of ${klass.name}`);
    }
}

const CLOSURE_DTORS = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(state => wasm.__wbindgen_destroy_closure(state.a, state.b));

function debugString(val) {
    switch (typeof val) {
        // primitive types
        case 'number':
        case 'boolean':
        case 'undefined':
        return `${val}`;
        case 'string':
        return JSON.stringify(val);
        case 'bigint':
        return `${val}n`;
        case 'symbol':
        return val.description !== undefined
            ? `Symbol(${val.description})`
            : 'Symbol';
        case 'function':
        return typeof val.name === 'string' && val.name !== ''
            ? `Function(${val.name})`
            : 'Function';
        case 'object': {
            if (val === null) {
                return 'null';
            }
            // objects
            if (Array.isArray(val)) {
                return '[' + Array.from(val, debugString).join(', ') + ']';
            }
            // errors
            if (val instanceof Error) {
                return `${val.name}: ${val.message}\n${val.stack}`;
            }

            const toStringOutput = toString.call(val);
            // Test for built-in
            const className = /\[object ([^\]]+)\]/.exec(toStringOutput)?.[1];

            // Failed to match the standard '[object ClassName]'
            if (className === undefined) {
                return toStringOutput;
            }
            if (className === 'Object') {
                // we're a user defined class or Object
                // JSON.stringify avoids problems with cycles, and is generally much
                // easier than looping through ownProperties of `val`.
                try {
                    return 'Object(' + JSON.stringify(val) + ')';
                } catch (_) {
                    return 'Object';
                }
            }
            // TODO we could test for more things here, like `Set`s and `Map`s.
            return className;
        }
        // Per MDN: 'This list of values is exhaustive.'
        // https://developer.mozilla.org/en-US/docs/Web/JavaScript/Reference/Operators/typeof#description
    }
}

function getArrayF64FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getFloat64ArrayMemory0().subarray(ptr / 8, ptr / 8 + len);
}

function getArrayJsValueFromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    const mem = getDataViewMemory0();
    const result = [];
    for (let i = ptr; i < ptr + 4 * len; i += 4) {
        result.push(wasm.__wbindgen_externrefs.get(mem.getUint32(i, true)));
    }
    wasm.__externref_drop_slice(ptr, len);
    return result;
}

function getArrayU32FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getUint32ArrayMemory0().subarray(ptr / 4, ptr / 4 + len);
}

function getArrayU8FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getUint8ArrayMemory0().subarray(ptr / 1, ptr / 1 + len);
}

let cachedDataViewMemory0 = null;
function getDataViewMemory0() {
    if (cachedDataViewMemory0 === null || cachedDataViewMemory0.buffer.detached === true || (cachedDataViewMemory0.buffer.detached === undefined && cachedDataViewMemory0.buffer !== wasm.memory.buffer)) {
        cachedDataViewMemory0 = new DataView(wasm.memory.buffer);
    }
    return cachedDataViewMemory0;
}

let cachedFloat64ArrayMemory0 = null;
function getFloat64ArrayMemory0() {
    if (cachedFloat64ArrayMemory0 === null || cachedFloat64ArrayMemory0.byteLength === 0) {
        cachedFloat64ArrayMemory0 = new Float64Array(wasm.memory.buffer);
    }
    return cachedFloat64ArrayMemory0;
}

function getStringFromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));
}

let cachedUint32ArrayMemory0 = null;
function getUint32ArrayMemory0() {
    if (cachedUint32ArrayMemory0 === null || cachedUint32ArrayMemory0.byteLength === 0) {
        cachedUint32ArrayMemory0 = new Uint32Array(wasm.memory.buffer);
    }
    return cachedUint32ArrayMemory0;
}

let cachedUint8ArrayMemory0 = null;
function getUint8ArrayMemory0() {
    if (cachedUint8ArrayMemory0 === null || cachedUint8ArrayMemory0.byteLength === 0) {
        cachedUint8ArrayMemory0 = new Uint8Array(wasm.memory.buffer);
    }
    return cachedUint8ArrayMemory0;
}

function handleError(f, args) {
    try {
        return f.apply(this, args);
    } catch (e) {
        const idx = addToExternrefTable0(e);
        wasm.__wbindgen_exn_store(idx);
    }
}

function isLikeNone(x) {
    return x === undefined || x === null;
}

function makeMutClosure(arg0, arg1, f) {
    const state = { a: arg0, b: arg1, cnt: 1 };
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
            state.a = a;
            real._wbg_cb_unref();
        }
    };
    real._wbg_cb_unref = () => {
        if (--state.cnt === 0) {
            wasm.__wbindgen_destroy_closure(state.a, state.b);
            state.a = 0;
            CLOSURE_DTORS.unregister(state);
        }
    };
    CLOSURE_DTORS.register(real, state, state);
    return real;
}

function passArray32ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 4, 4) >>> 0;
    getUint32ArrayMemory0().set(arg, ptr / 4);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function passArray8ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 1, 1) >>> 0;
    getUint8ArrayMemory0().set(arg, ptr / 1);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function passArrayF64ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 8, 8) >>> 0;
    getFloat64ArrayMemory0().set(arg, ptr / 8);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function passArrayJsValueToWasm0(array, malloc) {
    const ptr = malloc(array.length * 4, 4) >>> 0;
    for (let i = 0; i < array.length; i++) {
        const add = addToExternrefTable0(array[i]);
        getDataViewMemory0().setUint32(ptr + 4 * i, add, true);
    }
    WASM_VECTOR_LEN = array.length;
    return ptr;
}

function passStringToWasm0(arg, malloc, realloc) {
    if (realloc === undefined) {
        const buf = cachedTextEncoder.encode(arg);
        const ptr = malloc(buf.length, 1) >>> 0;
        getUint8ArrayMemory0().subarray(ptr, ptr + buf.length).set(buf);
        WASM_VECTOR_LEN = buf.length;
        return ptr;
    }

    let len = arg.length;
    let ptr = malloc(len, 1) >>> 0;

    const mem = getUint8ArrayMemory0();

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
        const view = getUint8ArrayMemory0().subarray(ptr + offset, ptr + len);
        const ret = cachedTextEncoder.encodeInto(arg, view);

        offset += ret.written;
        ptr = realloc(ptr, len, offset, 1) >>> 0;
    }

    WASM_VECTOR_LEN = offset;
    return ptr;
}

function takeFromExternrefTable0(idx) {
    const value = wasm.__wbindgen_externrefs.get(idx);
    wasm.__externref_table_dealloc(idx);
    return value;
}

let cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
cachedTextDecoder.decode();
function decodeText(bytes) {
    return cachedTextDecoder.decode(bytes);
}

const cachedTextEncoder = new TextEncoder();

if (!('encodeInto' in cachedTextEncoder)) {
    cachedTextEncoder.encodeInto = function (arg, view) {
        const buf = cachedTextEncoder.encode(arg);
        view.set(buf);
        return {
            read: arg.length,
            written: buf.length
        };
    };
}

let WASM_VECTOR_LEN = 0;

const wasmPath = `${__dirname}/realm_new.wasm`;
const wasmBytes = require('fs').readFileSync(wasmPath);
const wasmModule = new WebAssembly.Module(wasmBytes);
let wasmInstance = new WebAssembly.Instance(wasmModule, __wbg_get_imports());
let wasm = wasmInstance.exports;
wasm.__wbindgen_start();
