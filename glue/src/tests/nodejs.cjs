let imports = {};
imports['__wbindgen_placeholder__'] = module.exports;
let wasm;
const { TextDecoder } = require(String.raw`util`);

const heap = new Array(32).fill(undefined);

/**
* @param {BigNum} tx
* @returns {BigNum}
*/
module.exports.min_fee = function(tx) {
    _assertClass(tx, BigNum);
    var ret = wasm.min_fee(tx.ptr);
    return BigNum.__wrap(ret);
};

module.exports.eight = function() {
    var ret = wasm.eight(8);
    return ret;
};

const u32CvtShim = new Uint32Array(2);

const uint64CvtShim = new BigUint64Array(u32CvtShim.buffer);

class BigNum {

    static __wrap(ptr) {
        const obj = Object.create(BigNum.prototype);
        obj.ptr = ptr;

        return obj;
    }

    free() {
        const ptr = this.ptr;
        this.ptr = 0;

        wasm.__wbg_bignum_free(ptr);
    }
    to_bytes() {
        wasm.bignum_to_bytes(8, this.ptr);
        var r0 = getInt32Memory0()[8 / 4 + 0];
        var r1 = getInt32Memory0()[8 / 4 + 1];
        var v0 = getArrayU8FromWasm0(r0, r1).slice();
        wasm.__wbindgen_free(r0, r1 * 1);
        return v0;
    }
    to_bech32(prefix) {
        try {
            var ptr0 = isLikeNone(prefix) ? 0 : passStringToWasm0(prefix, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            var len0 = WASM_VECTOR_LEN;
            wasm.bignum_to_bech32(8, this.ptr, ptr0, len0);
            var r0 = getInt32Memory0()[8 / 4 + 0];
            var r1 = getInt32Memory0()[8 / 4 + 1];
            return getStringFromWasm0(r0, r1);
        } finally {
            wasm.__wbindgen_free(r0, r1);
        }
    }
    static new(value) {
        uint64CvtShim[0] = value;
        const low0 = u32CvtShim[0];
        const high0 = u32CvtShim[1];
        var ret = wasm.bignum_new(low0, high0);
        return BigNum.__wrap(ret);
    }
    unwrap() {
        wasm.bignum_unwrap(8, this.ptr);
        var r0 = getInt32Memory0()[8 / 4 + 0];
        var r1 = getInt32Memory0()[8 / 4 + 1];
        u32CvtShim[0] = r0;
        u32CvtShim[1] = r1;
        const n0 = uint64CvtShim[0];
        return n0;
    }
    set_fee(fee) {
        _assertClass(fee, Fee);
        var ptr0 = fee.ptr;
        fee.ptr = 0;
        wasm.bignum_set_fee(this.ptr, ptr0);
    }
}
module.exports.BigNum = BigNum;
