import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { Recorder, bytes, handle, js, text } from './recorder.mjs';

const { Resvg, initWasm } = await import(pathToFileURL(process.argv[2]));
await initWasm(readFileSync(process.argv[3]));
const recorder = new Recorder();

const drawing = (turn) => `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="32">
  <rect x="${turn % 7}" y="2" width="20" height="20" fill="#${(turn * 1234567).toString(16).slice(-3).padStart(3, '0')}"/>
  <circle cx="30" cy="16" r="${3 + (turn % 9)}" fill="teal" stroke="black"/>
  <path d="M2 30 L46 ${turn % 30} Z" stroke="red"/>
</svg>`;
const opened = (as, svg, options) => {
    // The package's own constructor gives the options as text.
    const given = options === undefined ? null : text(JSON.stringify(options));
    recorder.call('resvg_new', [js(svg), given, null], { as });
    return new Resvg(svg, options);
};
const rendered = (as, own) => {
    recorder.call('resvg_width', [handle(as)], { expect: own.width });
    recorder.call('resvg_height', [handle(as)], { expect: own.height });
    const image = own.render();
    recorder.call('resvg_render', [handle(as)], { as: 'image' });
    recorder.call('renderedimage_width', [handle('image')], { expect: image.width });
    recorder.call('renderedimage_pixels', [handle('image')], { expect: js(image.pixels) });
    recorder.call('renderedimage_asPng', [handle('image')], { expect: js(image.asPng()) });
    recorder.call('__wbg_renderedimage_free', [handle('image')]);
};
const kept = opened('kept', drawing(3), { fitTo: { mode: 'width', value: 96 }, background: 'wheat' });
for (let turn = 0; turn < 16; turn++) {
    // As text, as bytes, and with options.
    const svg = turn % 2 ? drawing(turn) : new TextEncoder().encode(drawing(turn));
    const own = opened('own', svg, turn % 3 ? undefined : { fitTo: { mode: 'zoom', value: 2 } });
    rendered('own', own);
    recorder.call('resvg_toString', [handle('own')], { expect: own.toString() });
    const box = own.getBBox();
    recorder.call('resvg_getBBox', [handle('own')], { as: 'box' });
    recorder.call('__wbg_get_bbox_width', [handle('box')], { expect: box.width });
    recorder.call('resvg_imagesToResolve', [handle('own')], { expect: js(own.imagesToResolve()) });
    recorder.call('resvg_cropByBBox', [handle('own'), handle('box')]);
    own.cropByBBox(box);
    rendered('own', own);
    recorder.call('__wbg_bbox_free', [handle('box')]);
    recorder.call('__wbg_resvg_free', [handle('own')]);
}
rendered('kept', kept);
recorder.print();
