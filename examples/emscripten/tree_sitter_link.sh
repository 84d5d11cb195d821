#!/usr/bin/env bash
# Links web-tree-sitter and a grammar, a side module, into one module, with binaryen's tools:
#   tree_sitter_link.sh BINARYEN/bin web-tree-sitter.wasm tree-sitter-json.wasm LINKED.wasm
set -euo pipefail
bin=$1 main=$2 grammar=$3 linked=$4
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
features=(--enable-bulk-memory --enable-mutable-globals --enable-sign-ext --enable-multivalue
    --enable-nontrapping-float-to-int --enable-reference-types --enable-extended-const --enable-gc)
tool() { local name=$1; shift; node "$bin/$name" "${features[@]}" "$@"; }

# Both ask for their addresses by the same names.
tool wasm-dis "$main" | sed 's/"GOT.mem"/"env"/' >"$scratch/main.wat"
tool wasm-dis "$grammar" |
    sed -E 's/"env" "__(memory|table)_base"/"env" "grammar_\1_base"/
        s/\(export "__wasm_apply_data_relocs"/(export "grammar_relocs"/
        s/\(export "__wasm_call_ctors"/(export "grammar_ctors"/' >"$scratch/grammar.wat"
cp "$here/tree_sitter_link.wat" "$scratch/env.wat"
for part in main grammar env; do
    tool wasm-as "$scratch/$part.wat" -o "$scratch/$part.wasm"
done
tool wasm-merge "$scratch/env.wasm" env "$scratch/main.wasm" main "$scratch/grammar.wasm" grammar \
    -o "$scratch/merged.wasm"
# Addresses become constants, which engines without garbage collection take.
tool wasm-opt --simplify-globals --remove-unused-module-elements "$scratch/merged.wasm" -o "$linked"
