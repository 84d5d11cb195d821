import { createRequire } from 'node:module';
import { Recorder, handle, js, text, words } from './recorder.mjs';

const { YDoc, applyUpdate, encodeStateAsUpdate, encodeStateVector } = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

// An id of its own makes updates that are the same each time.
const options = { clientID: 1, guid: '3ac5a6c8-8d0b-4d6d-9f3a-0d5f1f2b7a11' };
recorder.call('ydoc_new', [js(options)], { as: 'doc' });
const doc = new YDoc(options);
recorder.call('ydoc_getText', [handle('doc'), text('t')], { as: 'text' });
const t = doc.getText('t');
recorder.call('ydoc_getMap', [handle('doc'), text('m')], { as: 'map' });
const m = doc.getMap('m');
for (let turn = 0; turn < 40; turn++) {
    const part = words(3, turn);
    recorder.call('ytext_insert', [handle('text'), 0, text(part), js(undefined), js(undefined)]);
    t.insert(0, part);
    if (turn % 4 === 3) {
        recorder.call('ytext_delete', [handle('text'), 2, 5, js(undefined)]);
        t.delete(2, 5);
    }
    recorder.call('ytext_toString', [handle('text'), js(undefined)], { expect: t.toString() });
    recorder.call('ytext_length', [handle('text'), js(undefined)], { expect: t.length() });
    // An object of several keys would be written in an order that depends on addresses.
    recorder.call('ymap_set', [handle('map'), text(`k${turn % 7}`), js({ list: [turn, part] }), js(undefined)]);
    m.set(`k${turn % 7}`, { list: [turn, part] });
    recorder.call('ymap_get', [handle('map'), text('k0'), js(undefined)], { expect: js(m.get('k0')) });
    if (turn % 8 === 7) {
        // Another document that catches up and goes away.
        const update = encodeStateAsUpdate(doc);
        recorder.call('encodeStateAsUpdate', [handle('doc'), null], { expect: js(update) });
        recorder.call('ydoc_new', [js({ ...options, clientID: 2 })], { as: 'other' });
        const other = new YDoc({ ...options, clientID: 2 });
        recorder.call('applyUpdate', [handle('other'), js(update), js(undefined)]);
        applyUpdate(other, update);
        recorder.call('encodeStateVector', [handle('other')], { expect: js(encodeStateVector(other)) });
        recorder.call('__wbg_ydoc_free', [handle('other')]);
    }
}
recorder.call('ytext_toString', [handle('text'), js(undefined)], { expect: t.toString() });
recorder.print();
