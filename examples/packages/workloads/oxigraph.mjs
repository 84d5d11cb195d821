import { createRequire } from 'node:module';
import { Recorder, handle, js, text } from './recorder.mjs';

const oxigraph = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

const named = (value) => ({ termType: 'NamedNode', value: `http://example.com/${value}` });
const quad = (subject, object) => ({
    termType: 'Quad',
    value: '',
    subject: named(subject),
    predicate: named('knows'),
    object: named(object),
    graph: { termType: 'DefaultGraph', value: '' },
});
const ask = 'ASK { <http://example.com/s3> <http://example.com/knows> ?who }';
const json = { results_format: 'application/sparql-results+json' };
const all = 'SELECT ?s ?o WHERE { ?s <http://example.com/knows> ?o } ORDER BY ?s ?o';

const filled = (as, count) => {
    recorder.call('store_new', [js(undefined)], { as });
    const store = new oxigraph.Store();
    for (let at = 0; at < count; at++) {
        recorder.call('store_add', [handle(as), js(quad(`s${at}`, `o${at % 3}`))]);
        store.add(quad(`s${at}`, `o${at % 3}`));
    }
    recorder.call('store_size', [handle(as)], { expect: store.size });
    return store;
};
const asked = (as, store) => {
    recorder.call('store_has', [handle(as), js(quad('s1', 'o1'))], { expect: Number(store.has(quad('s1', 'o1'))) });
    recorder.call('store_query', [handle(as), text(ask), js({})], { expect: js(store.query(ask, {})) });
    recorder.call('store_query', [handle(as), text(all), js(json)], { expect: js(store.query(all, json)) });
};
const kept = filled('kept', 12);
for (let turn = 0; turn < 8; turn++) {
    const store = filled('store', 5 + turn);
    asked('store', store);
    recorder.call('__wbg_store_free', [handle('store')]);
    const insert = `INSERT DATA { <http://example.com/t${turn}> <http://example.com/knows> "${turn}" }`;
    recorder.call('store_update', [handle('kept'), text(insert), js({})]);
    kept.update(insert, {});
    recorder.call('store_delete', [handle('kept'), js(quad(`s${turn}`, `o${turn % 3}`))]);
    kept.delete(quad(`s${turn}`, `o${turn % 3}`));
    asked('kept', kept);
}
const turtle = '<http://example.com/a> <http://example.com/knows> <http://example.com/b> .';
recorder.call('store_load', [handle('kept'), js(turtle), js({ format: 'text/turtle' }), js(undefined), js(undefined)]);
kept.load(turtle, { format: 'text/turtle' });
asked('kept', kept);
recorder.print();
