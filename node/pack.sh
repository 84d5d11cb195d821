#!/usr/bin/env bash
# Packs the npm package with an addon for this machine, and prints the file's path. The package is put together
# in a folder of its own, so several can be packed at once.
#
#     node/pack.sh ADDON
set -euo pipefail
addon=$(realpath -m "${1:?give the addon to pack}")
[ -f "$addon" ] || {
    echo "pack.sh: there is no addon at $addon; \`cargo build --workspace --lib --bins\` makes it" >&2
    exit 2
}
cd "$(dirname "$0")"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/prebuilt"
name=wasm-proxy.$(node -p '`${process.platform}-${process.arch}`').node
# Without what only a debugger reads, which is a third of it.
strip --strip-debug -o "$stage/prebuilt/$name" "$addon"
cp -r index.cjs index.d.ts register.cjs lib package.json ../LICENSE-MIT ../LICENSE-APACHE "$stage"
out=$(mktemp -d)
cd "$stage"
printf '%s/%s\n' "$out" "$(npm pack --silent --pack-destination "$out")"
