import { createRequire } from 'node:module';
import { Recorder, handle, js, text, words } from './recorder.mjs';

const { create, load } = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

const actor = (digit) => String(digit).repeat(32);
recorder.call('create', [js({ actor: actor(1) })], { as: 'kept' });
const kept = create({ actor: actor(1) });
const written = (as, doc, turn) => {
    recorder.call('automerge_put', [handle(as), js('_root'), js(`key${turn % 5}`), js(turn), js(undefined)]);
    doc.put('_root', `key${turn % 5}`, turn);
    recorder.call('automerge_get', [handle(as), js('_root'), js(`key${turn % 5}`), js(undefined)], {
        expect: js(doc.get('_root', `key${turn % 5}`)),
    });
    recorder.call('automerge_commit', [handle(as), text(`turn ${turn}`), 1000 * turn], {});
    recorder.lines.at(-1).expect = js(doc.commit(`turn ${turn}`, 1000 * turn));
};
for (let turn = 0; turn < 20; turn++) {
    written('kept', kept, turn);
    recorder.call('automerge_materialize', [handle('kept'), js('/'), js(undefined), js(undefined)], {
        expect: js(kept.materialize('/')),
    });
    if (turn % 5 === 4) {
        const saved = kept.save();
        recorder.call('automerge_save', [handle('kept')], { expect: js(saved) });
        recorder.call('load', [js(saved), js({ actor: actor(2) })], { as: 'copy' });
        const copy = load(saved, { actor: actor(2) });
        written('copy', copy, turn + 100);
        recorder.call('automerge_getHeads', [handle('copy')], { expect: js(copy.getHeads()) });
        recorder.call('__wbg_automerge_free', [handle('copy')]);
    }
}
recorder.call('automerge_getHeads', [handle('kept')], { expect: js(kept.getHeads()) });
recorder.print();
