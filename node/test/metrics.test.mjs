import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);

test('the server of docs/node.md gives the metrics of all proxies', () => {
  const blocks = readFileSync(path.join(here, 'node.md'), 'utf8').match(/```js\n[^]*?```/g);
  const server = blocks.find((block) => block.includes('createServer')).replace(/```(js\n)?/g, '');
  assert.equal(server.trim().split('\n').length, 3);
  // Any port that is free, and one look.
  const program = `${server.replace(/\.listen\(\d+\)/, '.listen(0)').replace('\ncreateServer(', '\nconst server = createServer(')}
    const brotli = require('wasm-proxy').wrap('brotli-wasm', { name: 'served' });
    new brotli.CompressStream(5).free();
    server.on('listening', async () => {
      const answer = await fetch('http://localhost:' + server.address().port);
      console.log(answer.headers.get('content-type'), await answer.text());
      server.close();
    });`;
  const said = execFileSync(process.execPath, ['-e', program], { cwd: here, encoding: 'utf8', timeout: 60_000 });
  assert.match(said, /^text\/plain; version=0\.0\.4 # HELP /);
  assert.match(said, /wasm_proxy_\w+\{[^}]*"served"[^}]*\} \d/);
});
