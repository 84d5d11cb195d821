import { createRequire } from 'node:module';
import { Recorder, bytes, handle, words } from './recorder.mjs';

const brotli = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

/// Reads what a call gave, and frees it.
const result = (given) => {
    const out = given.buf;
    recorder.call('__wbg_get_brotlistreamresult_code', [handle('given')], { expect: given.code });
    recorder.call('__wbg_get_brotlistreamresult_input_offset', [handle('given')], { expect: given.input_offset });
    recorder.call('__wbg_get_brotlistreamresult_buf', [handle('given')], { expect: bytes(out) });
    recorder.call('__wbg_brotlistreamresult_free', [handle('given')]);
    return out;
};

recorder.call('decompressstream_new', [], { as: 'lasting' });
const lasting = new brotli.DecompressStream();
const whole = Buffer.from(words(400));
for (let turn = 0; turn < 8; turn++) {
    const content = Buffer.from(words(200 + turn, turn));
    recorder.call('compressstream_new', [5], { as: 'stream' });
    const stream = new brotli.CompressStream(5);
    recorder.call('compressstream_compress', [handle('stream'), bytes(content), 4096], { as: 'given' });
    result(stream.compress(content, 4096));
    recorder.call('compressstream_compress', [handle('stream'), null, 65536], { as: 'given' });
    const packed = result(stream.compress(undefined, 65536));
    recorder.call('compressstream_total_out', [handle('stream')], { expect: stream.total_out() });
    recorder.call('__wbg_compressstream_free', [handle('stream')]);
    recorder.call('decompressstream_new', [], { as: 'back' });
    const back = new brotli.DecompressStream();
    recorder.call('decompressstream_decompress', [handle('back'), bytes(packed), 65536], { as: 'given' });
    result(back.decompress(packed, 65536));
    recorder.call('__wbg_decompressstream_free', [handle('back')]);
    recorder.call('decompress', [bytes(packed)], { expect: bytes(brotli.decompress(packed)) });
}
// A stream that lasts over all swaps.
const packed = brotli.compress(whole);
for (let at = 0; at < packed.length; at += 16) {
    const part = packed.subarray(at, at + 16);
    recorder.call('decompressstream_decompress', [handle('lasting'), bytes(part), 65536], { as: 'given' });
    result(lasting.decompress(part, 65536));
}
recorder.call('decompressstream_total_out', [handle('lasting')], { expect: lasting.total_out() });
recorder.print();
