#!/usr/bin/env bash
# Packs the npm package with the addon of a build of this workspace, installs the file into an empty folder beside a
# few packages of wasm-bindgen's, and runs the tests there. It needs node, npm and the network.
#
#     node/test.sh [ADDON]
#
# ADDON is the built library; by default the one of the target folder's debug build.
set -euo pipefail
addon=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/debug/libwasm_proxy_node.so}")
cd "$(dirname "$0")"

packed=$(./pack.sh "$addon")
place=$(mktemp -d)
trap 'rm -rf "$place" "$packed"' EXIT
cp test/*.mjs test/*.cjs test/*.mts ../guests/prebuilt/realm_{old,new}.{js,wasm} ../docs/node.md ../examples/o1js/node/prove.cjs ../examples/o1js/circuits/twenty.json "$place"
cd "$place"
printf '{ "name": "empty", "private": true }\n' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "$packed" \
    tiktoken@1.0.22 ywasm@0.18.3 @automerge/automerge-wasm@0.17.0 brotli-wasm@3.0.1 \
    @silvia-odwyer/photon-node@0.3.4 o1js@2.14.0 typescript@5.9.3 @types/node@20.19.43
# The declarations, by a program that uses all of them.
node_modules/.bin/tsc --noEmit --strict --module nodenext --types node types.mts
# Compiled once for all processes. Each file is a process of its own; two at a time fill the machine that checks
# every change.
WASM_PROXY_COMPILE_CACHE=$place/compiled node --test --test-concurrency=2 .
