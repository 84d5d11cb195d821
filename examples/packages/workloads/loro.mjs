import { createRequire } from 'node:module';
import { Recorder, bytes, handle, js, text, words } from './recorder.mjs';

const { LoroDoc } = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

const opened = (as, peer) => {
    recorder.call('lorodoc_new', [], { as });
    // Without an id of its own a document draws one.
    recorder.call('lorodoc_setPeerId', [handle(as), js(peer)]);
    const doc = new LoroDoc();
    doc.setPeerId(peer);
    return doc;
};
const kept = opened('kept', '1');
recorder.call('lorodoc_getText', [handle('kept'), js('text')], { as: 'text' });
const own = kept.getText('text');
recorder.call('lorodoc_getMap', [handle('kept'), js('map')], { as: 'map' });
const map = kept.getMap('map');
recorder.call('lorodoc_getList', [handle('kept'), js('list')], { as: 'list' });
const list = kept.getList('list');
for (let turn = 0; turn < 20; turn++) {
    const part = words(2, turn + 1);
    recorder.call('lorotext_insert', [handle('text'), 0, text(part)]);
    own.insert(0, part);
    recorder.call('loromap_set', [handle('map'), text(`k${turn % 5}`), js({ turn })]);
    map.set(`k${turn % 5}`, { turn });
    recorder.call('lorolist_insert', [handle('list'), 0, js(part)]);
    list.insert(0, part);
    recorder.call('lorodoc_commit', [handle('kept'), js({ message: part })]);
    kept.commit({ message: part });
    recorder.call('lorotext_toString', [handle('text')], { expect: own.toString() });
    recorder.call('loromap_get', [handle('map'), text('k0')], { expect: js(map.get('k0')) });
    recorder.call('lorolist_toArray', [handle('list')], { expect: js(list.toArray()) });
    recorder.call('lorodoc_frontiers', [handle('kept')], { expect: js(kept.frontiers()) });
    if (turn % 4 === 3) {
        // Another document that catches up, looks at the past and goes away.
        const update = kept.export({ mode: 'update' });
        recorder.call('lorodoc_export', [handle('kept'), js({ mode: 'update' })], { expect: bytes(update) });
        const other = opened('other', '2');
        recorder.call('lorodoc_import', [handle('other'), bytes(update)], { expect: js(other.import(update)) });
        const past = [{ peer: '1', counter: turn }];
        recorder.call('lorodoc_checkout', [handle('other'), js(past)]);
        other.checkout(past);
        recorder.call('lorodoc_toJSON', [handle('other')], { expect: js(other.toJSON()) });
        recorder.call('__wbg_lorodoc_free', [handle('other')]);
    }
}
recorder.call('lorodoc_toJSON', [handle('kept')], { expect: js(kept.toJSON()) });
recorder.print();
