/* @ts-self-types="./web.d.ts" */

export class Store {
    static __wrap(ptr) {
        const obj = Object.create(Store.prototype);
        obj.__wbg_ptr = ptr;
        return obj;
    }
    __destroy_into_raw() {
        const ptr = this.__wbg_ptr;
        this.__wbg_ptr = 0;
        return ptr;
    }
    free() {
        const ptr = this.__destroy_into_raw();
        wasm.__wbg_store_free(ptr, 0);
    }
    /**
     * @param {any} quads
     */
    constructor(quads) {
        const ret = wasm.store_new(quads);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        this.__wbg_ptr = ret[0];
        StoreFinalization.register(this, this.__wbg_ptr, this);
        return this;
    }
    dump(options) {
        let deferred2_0;
        let deferred2_1;
        try {
            const ret = wasm.store_dump(this.__wbg_ptr, options);
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
    query(query) {
        const ptr0 = passStringToWasm0(query, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.store_query(this.__wbg_ptr, ptr0, len0);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        return takeFromExternrefTable0(ret[0]);
    }
    match(subject) {
        const ret = wasm.store_match(this.__wbg_ptr, subject);
        var v1 = getArrayJsValueFromWasm0(ret[0], ret[1]).slice();
        wasm.__wbindgen_free(ret[0], ret[1] * 4, 4);
        return v1;
    }
    get size() {
        const ret = wasm.store_size(this.__wbg_ptr);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        return ret[0] >>> 0;
    }
    get limit() {
        const ret = wasm.store_limit(this.__wbg_ptr);
        return ret[0] === 0 ? undefined : ret[1];
    }
    /**
     * @param {Index | null} [index]
     */
    set index(index) {
        let ptr0 = 0;
        if (!isLikeNone(index)) {
            _assertClass(index, Index);
            ptr0 = index.__destroy_into_raw();
        }
        wasm.store_set_index(this.__wbg_ptr, ptr0);
    }
    /**
     * @returns {Promise<number>}
     */
    wait(time, how) {
        const ret = wasm.store_wait(this.__wbg_ptr, !isLikeNone(time), isLikeNone(time) ? 0 : time, isLikeNone(how) ? 0xFFFFFF : how ? 1 : 0);
        return ret;
    }
}
if (Symbol.dispose) Store.prototype[Symbol.dispose] = Store.prototype.free;

function __wbg_get_imports() {
    const import0 = {
        __proto__: null,
        __wbindgen_cast_0000000000000001: function(arg0, arg1) {
            // Cast intrinsic for `Closure(Closure { owned: true }) -> Externref`.
            const ret = makeMutClosure(arg0, arg1, wasm_bindgen_0123___convert__closures_____invoke___JsValue__true_);
            return ret;
        },
        __wbindgen_cast_0000000000000002: function(arg0, arg1) {
            // Cast intrinsic for `Ref(String) -> Externref`.
            const ret = getStringFromWasm0(arg0, arg1);
            return ret;
        },
    };
    return { __proto__: null, "./web_bg.js": import0 };
}

function wasm_bindgen_0123___convert__closures_____invoke___JsValue__true_(arg0, arg1, arg2) {
    const ret = wasm.wasm_bindgen_0123___convert__closures_____invoke___JsValue__true_(arg0, arg1, arg2);
    if (ret[1]) {
        throw takeFromExternrefTable0(ret[0]);
    }
}

let wasmModule, wasm;
async function __wbg_init(module_or_path) {
    const { instance, module } = await __wbg_load(await module_or_path, imports);
    return __wbg_finalize_init(instance, module);
}

export { initSync, __wbg_init as default };
