#!/usr/bin/env bash
# Packs the npm package with addons for Linux on x86-64, arm64 or both, and prints the file's path. The package is put
# together in a folder of its own, so several can be packed at once.
#
#     node/pack.sh ADDON...
set -euo pipefail
fail() {
    echo "pack.sh: $1" >&2
    exit 2
}
[ $# -gt 0 ] || fail 'give the addon to pack, or one for each processor'
addons=()
for given; do
    addon=$(realpath -m "$given")
    [ -f "$addon" ] || fail "there is no addon at $addon; \`cargo build --workspace --lib --bins\` makes it"
    addons+=("$addon")
done
cd "$(dirname "$0")"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/prebuilt"
for addon in "${addons[@]}"; do
    # The first bytes of an ELF file, and its field for the processor.
    case $(od -An -t x1 -N 4 "$addon" | tr -d ' ')$(od -An -t u2 -j 18 -N 2 "$addon" | tr -d ' ') in
    7f454c4662) processor=x64 gnu=x86_64 ;;
    7f454c46183) processor=arm64 gnu=aarch64 ;;
    *) fail "$addon is no library for Linux on x86-64 or arm64" ;;
    esac
    packed=$stage/prebuilt/wasm-proxy.linux-$processor.node
    [ ! -e "$packed" ] || fail "$addon is a second addon for $processor"
    # Without what only a debugger reads, which is a third of it. A machine has the tool for its own processor.
    strip=$(command -v "$gnu-linux-gnu-strip" || echo strip)
    "$strip" --strip-debug -o "$packed" "$addon"
done
cp -r index.cjs index.d.ts register.cjs lib package.json ../LICENSE-MIT ../LICENSE-APACHE "$stage"
out=$(mktemp -d)
cd "$stage"
printf '%s/%s\n' "$out" "$(npm pack --silent --pack-destination "$out")"
