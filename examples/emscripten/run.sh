#!/usr/bin/env bash
# Fetches packages of npm, lets Node answer a workload with each, and runs the same workload on the
# module behind the proxy, where every answer is compared:
#   examples/emscripten/run.sh PROGRAM [FOLDER]
# PROGRAM is wasm-proxy, FOLDER keeps the packages (a temporary one without it).
set -euo pipefail
program=$(realpath "$1")
folder=$(realpath "${2:-$(mktemp -d)}")
here=$(cd "$(dirname "$0")" && pwd)
engines=${ENGINES:-wasmtime.cranelift wasmer.cranelift}

fetch() { # PACKAGE VERSION: the folder of the package
    local to=$folder/${1//\//_}-$2
    if [ ! -d "$to" ]; then
        mkdir -p "$to"
        (cd "$to" && npm pack --silent "$1@$2" >/dev/null && tar xzf ./*.tgz --strip-components=1)
    fi
    echo "$to"
}

names() { # NAME GLUE LINE..: the file of names, and exports that the glue has in other places
    local name=$1 glue=$2
    shift 2
    {
        cat "$here/${name}_imports.toml"
        echo
        node "$here/names.mjs" "$glue"
        printf '%s\n' "$@"
    } >"$folder/${name}_names.toml"
}

run() { # NAME OPTIONS
    local name=$1 engine
    shift
    for engine in $engines; do
        echo "== $name on $engine"
        "$program" run "$@" --engine "$engine"
    done
}

sql_js=$(fetch sql.js 1.16.0)
node "$here/sql_js.mjs" "$sql_js" "${ROUNDS:-1000}" >"$folder/sql_js.jsonl"
names sql_js "$sql_js/dist/sql-wasm.js" 'P = "_initialize"' 'O = "memory"'
run sql.js "$sql_js/dist/sql-wasm.wasm" --names "$folder/sql_js_names.toml" \
    --policy "$here/sql_js.toml" --workload "$folder/sql_js.jsonl" --memory-limit 40MiB \
    --stub-imports 'env.warnLegacyFunction=0'

quickjs=$(fetch @jitl/quickjs-wasmfile-release-sync 0.32.0)
node "$here/quickjs.mjs" "$quickjs" "${ROUNDS:-1000}" >"$folder/quickjs.jsonl"
names quickjs "$quickjs/dist/emscripten-module.cjs" 'u = "_initialize"'
run quickjs "$quickjs/dist/emscripten-module.wasm" --names "$folder/quickjs_names.toml" \
    --policy "$here/quickjs.toml" --workload "$folder/quickjs.jsonl" --memory-limit 22MiB \
    --stub-imports 'env.qts_host_interrupt_handler=0' --stub-imports

tree_sitter=$(fetch web-tree-sitter 0.27.2)
json=$(fetch tree-sitter-json 0.24.8)/tree-sitter-json.wasm
binaryen=$(fetch binaryen 132.0.0)
"$here/tree_sitter_link.sh" "$binaryen/bin" "$tree_sitter/web-tree-sitter.wasm" "$json" \
    "$folder/tree_sitter_json.wasm"
node "$here/tree_sitter.mjs" "$tree_sitter" "$json" "${ROUNDS:-1000}" >"$folder/tree_sitter.jsonl"
run web-tree-sitter "$folder/tree_sitter_json.wasm" --policy "$here/tree_sitter.toml" \
    --workload "$folder/tree_sitter.jsonl" --memory-limit 48MiB

lua=$(fetch wasmoon 1.16.0)
node "$here/lua.mjs" "$lua" "${ROUNDS:-1000}" >"$folder/lua.jsonl"
run lua "$lua/dist/glue.wasm" --names "$here/lua_names.toml" --policy "$here/lua.toml" \
    --workload "$folder/lua.jsonl" --memory-limit 24MiB --stub-imports

# TinyGo's: three functions for one call, which a fourth one makes.
gofmt=$(fetch @wasm-fmt/gofmt 0.7.3)
features=(--enable-bulk-memory --enable-bulk-memory-opt --enable-mutable-globals --enable-sign-ext
    --enable-nontrapping-float-to-int --enable-multivalue --enable-reference-types)
node "$binaryen/bin/wasm-as" "${features[@]}" "$here/gofmt_link.wat" -o "$folder/gofmt_link.wasm"
node "$binaryen/bin/wasm-merge" "${features[@]}" "$gofmt/gofmt.wasm" gofmt \
    "$folder/gofmt_link.wasm" link -o "$folder/gofmt.wasm"
node "$here/gofmt.mjs" "$gofmt" "${ROUNDS:-1000}" >"$folder/gofmt.jsonl"
run gofmt "$folder/gofmt.wasm" --policy "$here/gofmt.toml" --workload "$folder/gofmt.jsonl" \
    --swap-calls 200
