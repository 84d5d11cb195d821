import { Recorder, bundled, bytes, handle, text } from './recorder.mjs';

const photon = await bundled(process.argv[2], process.argv[3]);
const recorder = new Recorder();

const size = 24;
const pixels = (seed) => Uint8Array.from({ length: size * size * 4 }, (_, at) => (at * seed + (at >> 3)) & 255);
const made = (as, seed) => {
    recorder.call('photonimage_new', [bytes(pixels(seed)), size, size], { as });
    return new photon.PhotonImage(pixels(seed), size, size);
};
const kept = made('kept', 7);
for (let turn = 0; turn < 25; turn++) {
    const image = made('image', 3 + turn);
    recorder.call('grayscale', [handle('image')]);
    photon.grayscale(image);
    recorder.call('inc_brightness', [handle('image'), turn]);
    photon.inc_brightness(image, turn);
    recorder.call('filter', [handle('image'), text('oceanic')]);
    photon.filter(image, 'oceanic');
    recorder.call('resize', [handle('image'), 12, 12, 1], { as: 'small' });
    const small = photon.resize(image, 12, 12, 1);
    recorder.call('photonimage_get_raw_pixels', [handle('small')], { expect: bytes(small.get_raw_pixels()) });
    recorder.call('photonimage_get_width', [handle('small')], { expect: small.get_width() });
    recorder.call('__wbg_photonimage_free', [handle('small')]);
    recorder.call('photonimage_get_raw_pixels', [handle('image')], { expect: bytes(image.get_raw_pixels()) });
    recorder.call('__wbg_photonimage_free', [handle('image')]);
    recorder.call('fliph', [handle('kept')]);
    photon.fliph(kept);
    recorder.call('alter_red_channel', [handle('kept'), 1 + turn]);
    photon.alter_red_channel(kept, 1 + turn);
}
recorder.call('photonimage_get_raw_pixels', [handle('kept')], { expect: bytes(kept.get_raw_pixels()) });
recorder.print();
