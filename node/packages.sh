#!/usr/bin/env bash
# Loops that fill the memory of packages, in plain Node and behind the proxy with a limit: how far each came, and what
# it had in memory at most. `died` says where plain Node ended; where it did not, its memory grew past the limit. It
# needs node, npm and the network.
#
#     node/packages.sh [ADDON]
#
# ADDON is the built library; by default the one of the target folder's debug build.
set -euo pipefail
addon=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/debug/libwasm_proxy_node.so}")
cd "$(dirname "$0")"

packed=$(./pack.sh "$addon")
place=$(mktemp -d)
trap 'rm -rf "$place" "$packed"' EXIT
cp test/growth.cjs "$place"
cd "$place"
printf '{ "name": "empty", "private": true }\n' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "$packed" \
    tiktoken@1.0.22 ywasm@0.18.3 @automerge/automerge-wasm@0.17.0
export WASM_PROXY_COMPILE_CACHE=$place/compiled

# A row of a table: what a run reports, in MiB.
row() {
    node -p 'const [what, limit, said] = process.argv.slice(1), { rounds, linear, rss, swaps, emergencies, died } = JSON.parse(said);
        const mib = (bytes) => (bytes / 2 ** 20).toFixed(0);
        `| ${what} | ${limit} | ${rounds} | ${mib(linear)} | ${mib(rss)} | ${swaps} | ${emergencies} | ${died ?? ""} |`' "$@"
}

echo '| loop | limit | rounds | linear memory | resident | swaps | of these after a death | died |'
echo '|---|--:|--:|--:|--:|--:|--:|---|'
while read -r loop rounds limit; do
    row "$loop, plain" '' "$(node growth.cjs "$loop" "$rounds" 2>>log)"
    row "$loop, behind" "$limit" \
        "$(WASM_PROXY_MEMORY_LIMIT_MIB=$limit node -r wasm-proxy/register growth.cjs "$loop" "$rounds" 2>>log)"
done <<'LOOPS'
tiktoken-errors 40000 64
ywasm-panics 1800 64
tiktoken 100 64
automerge 800 64
LOOPS
