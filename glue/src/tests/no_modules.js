let wasm_bindgen;
(function() {
    const __exports = {};
    let wasm;

    const heap = new Array(32).fill(undefined);

    function __wbg_adapter_24(arg0, arg1, arg2) {
        wasm._dyn_core__ops__function__FnMut__A____Output___R_as_wasm_bindgen__closure(arg0, arg1, addHeapObject(arg2));
    }

    class Driver {

        static new(init, format) {
            try {
                var ret = wasm.driver_new(addHeapObject(init), addBorrowedObject(format));
                return Driver.__wrap(ret);
            } finally {
                heap[stack_pointer++] = undefined;
            }
        }
        /**
        * @returns {number | undefined}
        */
        level() {
            try {
                const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
                wasm.driver_level(retptr, this.ptr);
                var r0 = getInt32Memory0()[retptr / 4 + 0];
                var r1 = getFloat64Memory0()[retptr / 8 + 1];
                return r0 === 0 ? undefined : r1;
            } finally {
                wasm.__wbindgen_add_to_stack_pointer(16);
            }
        }
    }
    __exports.Driver = Driver;

    __exports.sort = function(numbers) {
        try {
            var ptr0 = passArray32ToWasm0(numbers, wasm.__wbindgen_malloc);
            var len0 = WASM_VECTOR_LEN;
            wasm.sort(ptr0, len0);
        } finally {
            numbers.set(getUint32Memory0().subarray(ptr0 / 4, ptr0 / 4 + len0));
            wasm.__wbindgen_free(ptr0, len0 * 4);
        }
    };

    async function init(input) {
        const imports = {};
        imports.wbg = {};
        imports.wbg.__wbindgen_closure_wrapper950 = function(arg0, arg1, arg2) {
            var ret = makeMutClosure(arg0, arg1, 232, __wbg_adapter_24);
            return addHeapObject(ret);
        };
        const { instance, module } = await load(await input, imports);
        wasm = instance.exports;
        return wasm;
    }

    wasm_bindgen = Object.assign(init, __exports);

})();
