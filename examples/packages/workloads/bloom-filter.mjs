import { createRequire } from 'node:module';
import { Recorder, handle, text, words } from './recorder.mjs';

const { BloomFilter } = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

const made = (as, filter) => {
    for (let at = 0; at < 20; at++) {
        const value = words(1 + (at % 3), at + as.length);
        recorder.call('bloomfilter_contains', [handle(as), text(value)], { expect: Number(filter.contains(value)) });
        recorder.call('bloomfilter_add', [handle(as), text(value)], { expect: Number(filter.add(value)) });
        recorder.call('bloomfilter_contains', [handle(as), text(value)], { expect: Number(filter.contains(value)) });
    }
};
recorder.call('bloomfilter_new', [0.01, 2000], { as: 'kept' });
const kept = new BloomFilter(0.01, 2000);
made('kept', kept);
for (let turn = 0; turn < 30; turn++) {
    const as = `filter${turn}`;
    recorder.call('bloomfilter_new', [0.001, 500 + turn], { as });
    const filter = new BloomFilter(0.001, 500 + turn);
    made(as, filter);
    const written = filter.toString();
    recorder.call('bloomfilter_toString', [handle(as)], { expect: written });
    recorder.call('bloomfilter_fromString', [text(written)], { as: 'copy' });
    recorder.call('bloomfilter_contains', [handle('copy'), text('guest')], {
        expect: Number(BloomFilter.fromString(written).contains('guest')),
    });
    recorder.call('__wbg_bloomfilter_free', [handle('copy')]);
    recorder.call('__wbg_bloomfilter_free', [handle(as)]);
}
recorder.call('bloomfilter_toString', [handle('kept')], { expect: kept.toString() });
recorder.print();
