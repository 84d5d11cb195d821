#!/usr/bin/env bash
# Builds the guests of docs/toolchains.md into prebuilt/toolchains/, each with its own compiler:
#
#   EMCC   Emscripten's emcc (Debian's `emscripten`)          [emcc]
#   CLANG  clang with wasi-libc (Debian's `clang-19 wasi-libc libclang-rt-19-dev-wasm32`) [clang-19]
#   ZIG    Zig 0.16 or later (`pip install ziglang`; then ZIG="python3 -m ziglang")  [zig]
#   ASC    AssemblyScript's asc (`npm install assemblyscript`; then ASC="npx asc")   [asc]
#
# A compiler that is missing leaves the committed module as it is. Emscripten's short names come out
# of its JavaScript, which is not kept.
set -euo pipefail
cd "$(dirname "$0")"
out=$PWD/../prebuilt/toolchains
mkdir -p "$out"

has() { command -v "${1%% *}" >/dev/null || { echo "no $1: left as it is" >&2; return 1; }; }

clang=${CLANG:-clang-19}
if has "$clang"; then
    $clang --target=wasm32-wasi -mexec-model=reactor -Os -s words.c -o "$out/clang_wasi.wasm"
fi

zig=${ZIG:-zig}
if has "$zig"; then
    $zig build-exe words.zig -target wasm32-freestanding -fno-entry -rdynamic -OReleaseSmall -fstrip \
        -femit-bin="$out/zig.wasm"
    $zig cc -target wasm32-wasi -mexec-model=reactor -Os -s words.c -o "$out/zig_cc.wasm"
fi

asc=${ASC:-asc}
if has "$asc"; then
    $asc "$PWD/words.ts" -O3 --runtime minimal -o "$out/assemblyscript.wasm"
fi

emcc=${EMCC:-emcc}
if has "$emcc"; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    emscripten="$emcc words.c --no-entry -sALLOW_MEMORY_GROWTH"
    $emscripten -Os -sSTANDALONE_WASM -o "$out/emscripten_standalone.wasm"
    $emscripten -O1 -o "$scratch/glue.js"
    $emscripten -Os -o "$scratch/short.js"
    cp "$scratch/glue.wasm" "$out/emscripten_glue.wasm"
    cp "$scratch/short.wasm" "$out/emscripten_short.wasm"
    {
        echo "# The names of emscripten_short.wasm, as examples/emscripten/names.mjs reads them."
        echo
        node ../../examples/emscripten/names.mjs "$scratch/short.js"
    } >"$out/emscripten_short.toml"
fi
