'use strict';
// Loops that fill a package's memory: `node growth.cjs LOOP ROUNDS`. Prints, as JSON, how far it came and what it had in
// memory at most: plainly, or behind the preload.

const { setImmediate: turn } = require('node:timers/promises');

const memories = [];
const isBehind = process.execArgv.some((given) => given.includes('wasm-proxy'));
if (!isBehind) {
  const { Instance } = WebAssembly;
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, given) {
      const instance = Reflect.construct(target, given);
      memories.push(...Object.values(instance.exports).filter((item) => item instanceof WebAssembly.Memory));
      return instance;
    },
  });
}

const LOOPS = {
  // An error is thrown past the guest's frames, which keeps what they had on its stack.
  'tiktoken-errors'() {
    const encoder = require('tiktoken').get_encoding('gpt2');
    return () => {
      try {
        encoder.encode_single_token('no single token');
      } catch (error) {
        if (!(error instanceof Error) || error instanceof WebAssembly.RuntimeError) throw error;
      }
    };
  },
  // A panic, which the program catches, keeps what its frames had; what they had borrowed cannot be freed any more.
  'ywasm-panics'() {
    const { YDoc } = require('ywasm');
    return () => {
      const doc = new YDoc({});
      const text = doc.getText('t');
      text.insert(0, 'x'.repeat(20_000));
      for (const work of [() => text.delete(0, 30_000), () => text.free(), () => doc.free()]) {
        try {
          work();
        } catch (error) {
          if (/out of bounds|call stack/.test(error.message)) throw error;
        }
      }
    };
  },
  // The others forget `free()`.
  tiktoken() {
    const { get_encoding } = require('tiktoken');
    return () => { get_encoding('gpt2').encode('an encoder for each request'); };
  },
  ywasm() {
    const { YDoc } = require('ywasm');
    return () => { new YDoc({}).getText('t').insert(0, 'x'.repeat(20_000)); };
  },
  automerge() {
    const { create, load } = require('@automerge/automerge-wasm');
    const doc = create({ actor: '11'.repeat(16) });
    doc.putObject('_root', 'text', 'x'.repeat(2000));
    const saved = doc.save();
    return () => { load(saved, { actor: '22'.repeat(16) }).getHeads(); };
  },
};

async function main(name, rounds) {
  const round = LOOPS[name]();
  const proxies = isBehind ? require('wasm-proxy').proxies() : [];
  const linear = () => (proxies.length > 0 ? proxies[0].getDebugInfo().memory : memories[0].buffer.byteLength);
  const report = { rounds: 0, linear: 0, rss: 0, swaps: 0, emergencies: 0, died: null };
  const look = () => {
    report.linear = Math.max(report.linear, linear());
    report.rss = Math.max(report.rss, process.memoryUsage().rss);
    if (proxies.length > 0) Object.assign(report, (({ swaps, emergencies }) => ({ swaps, emergencies }))(proxies[0].getDebugInfo()));
  };
  try {
    while (report.rounds < rounds) {
      round();
      report.rounds += 1;
      if (report.rounds % 16 === 0) look();
      await turn();
    }
  } catch (error) {
    report.died = error.message;
  }
  look();
  console.log(JSON.stringify(report));
}

main(process.argv[2], Number(process.argv[3]));
