import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Recorder, bytes, handle, js, text, u32s, words } from './recorder.mjs';

const tiktoken = createRequire(import.meta.url)(join(dirname(process.argv[2]), 'tiktoken.cjs'));
const recorder = new Recorder();

const made = (as, encoder, seed, count) => {
    const content = words(count, seed);
    const tokens = encoder.encode_ordinary(content);
    recorder.call('tiktoken_encode_ordinary', [handle(as), text(content)], { expect: u32s(tokens) });
    recorder.call('tiktoken_encode', [handle(as), text(content), js(undefined), js(undefined)], {
        expect: u32s(encoder.encode(content)),
    });
    recorder.call('tiktoken_decode', [handle(as), u32s(tokens)], { expect: bytes(encoder.decode(tokens)) });
    recorder.call('tiktoken_encode_single_token', [handle(as), bytes(Buffer.from(' a'))], {
        expect: encoder.encode_single_token(Buffer.from(' a')),
    });
    recorder.call('tiktoken_decode_single_token_bytes', [handle(as), tokens[0]], {
        expect: bytes(encoder.decode_single_token_bytes(tokens[0])),
    });
};
recorder.call('get_encoding', [text('gpt2'), js(undefined)], { as: 'kept' });
const kept = tiktoken.get_encoding('gpt2');
for (let turn = 0; turn < 12; turn++) made('kept', kept, turn, 40 + turn);
// An encoder with tokens of its own.
const special = { '<|one|>': 60001, '<|two|>': 60002 };
recorder.call('get_encoding', [text('gpt2'), js(special)], { as: 'own' });
const own = tiktoken.get_encoding('gpt2', special);
const content = `${words(5)}<|two|>${words(3)}`;
recorder.call('tiktoken_encode', [handle('own'), text(content), js('all'), js([])], {
    expect: u32s(own.encode(content, 'all', [])),
});
recorder.call('tiktoken_name', [handle('own')], { expect: own.name });
recorder.call('__wbg_tiktoken_free', [handle('own')]);
for (let turn = 0; turn < 12; turn++) made('kept', kept, turn + 50, 20);
recorder.call('get_encoding_name_for_model', [text('gpt-4')], {
    expect: tiktoken.get_encoding_name_for_model('gpt-4'),
});
recorder.print();
