'use strict';
// What a process leaves to the next one: `node lasting.cjs PACKAGE FOLDER PART`. Without a folder all is done by plain
// Node in one process.

const { createHash } = require('node:crypto');

const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
const pixels = Uint8Array.from({ length: 16 * 16 * 4 }, (_, at) => (at * 7) & 255);
const packed = (brotli) => brotli.compress(Buffer.from('what outlasts a process '.repeat(4000)));

/** For each package: what is made, as objects by keys, and what is done with it later. */
const PROGRAMS = {
  ywasm: {
    begin({ YDoc }) {
      const doc = new YDoc({ clientID: 1, guid: '3ac5a6c8-8d0b-4d6d-9f3a-0d5f1f2b7a11' });
      const text = doc.getText('t');
      for (let at = 0; at < 50; at++) text.insert(at, String(at % 10));
      new YDoc({ clientID: 2 }).free();
      return { doc, text };
    },
    end({ encodeStateAsUpdate }, { doc, text }) {
      text.insert(0, 'later ');
      return [text.toString(), hash(encodeStateAsUpdate(doc)), doc.getText('t').length()];
    },
  },
  '@automerge/automerge-wasm': {
    begin({ create }) {
      const doc = create({ actor: '11'.repeat(16) });
      const list = doc.putObject('_root', 'list', ['a', 1, true]);
      doc.push(list, 'pushed');
      doc.commit('first', 1000);
      return { doc };
    },
    end(_, { doc }) {
      doc.put('_root', 'later', 7);
      doc.commit('second', 2000);
      return [hash(doc.save()), JSON.stringify(doc.materialize('/'))];
    },
  },
  tiktoken: {
    begin({ get_encoding }) {
      const encoder = get_encoding('gpt2', { '<|mine|>': 60_000 });
      return { encoder };
    },
    end(_, { encoder }) {
      return [[...encoder.encode('what lasts <|mine|>', 'all')].join(), encoder.name ?? null];
    },
  },
  // In the middle of a stream.
  'brotli-wasm': {
    begin(brotli) {
      const stream = new brotli.DecompressStream();
      const part = stream.decompress(packed(brotli).subarray(0, 20), 1 << 20);
      const { length } = part.buf;
      part.free();
      return { stream, length };
    },
    end(brotli, { stream }) {
      const bytes = packed(brotli).subarray(stream.total_out() >= 0 ? 20 : 0);
      const { buf } = stream.decompress(bytes, 1 << 20);
      return [buf.length, stream.total_out()];
    },
  },
  '@silvia-odwyer/photon-node': {
    begin({ PhotonImage, grayscale }) {
      const image = new PhotonImage(pixels, 16, 16);
      grayscale(image);
      return { image };
    },
    end({ resize }, { image }) {
      return [hash(image.get_raw_pixels()), hash(resize(image, 4, 4, 1).get_raw_pixels())];
    },
  },
};

function main([name, folder, part]) {
  const { begin, end } = PROGRAMS[name];
  if (folder === undefined) {
    const package_ = require(name);
    return console.log(JSON.stringify(end(package_, begin(package_))));
  }
  const { proxyOf, wrap } = require('wasm-proxy');
  const package_ = wrap(name, { journal: folder });
  const proxy = proxyOf(package_);
  if (part === 'begin') {
    for (const [key, object] of Object.entries(begin(package_))) if (typeof object === 'object') proxy.keep(key, object);
    return process.kill(process.pid, 'SIGKILL');
  }
  const objects = new Proxy({}, { get: (_, key) => proxy.kept(key) });
  // Before a swap and after it, the objects of the earlier process are the same.
  proxy.swap();
  return console.log(JSON.stringify(end(package_, objects)));
}

if (require.main === module) main(process.argv.slice(2));
module.exports = { PACKAGES: Object.keys(PROGRAMS) };
