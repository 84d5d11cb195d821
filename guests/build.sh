#!/bin/sh
# Builds the guests to prebuilt/, or to the folder given, and writes down the compiler that did it.
#
# The same compiler gives the same bytes, wherever the checkout and the home directory are. Debian's
# compiler (packages rustc-web, cargo-web, rust-web-src, lld-19) is taken where it is installed; else the
# `rustc` and `cargo` of the path, with rustup's wasm32-unknown-unknown target.
set -eu

guests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
out=${1:-$guests/prebuilt}
built=${GUESTS_TARGET_DIR:-$guests/target}
target=wasm32-unknown-unknown
debian='rustc-web cargo-web rust-web-src lld-19'

missing() {
    echo "build.sh: $1" >&2
    echo "  on Debian: apt-get install $debian" >&2
    echo "  elsewhere: rustup target add $target" >&2
    exit 3
}

if dpkg-query --status rustc-web >/dev/null 2>&1; then
    [ -x /usr/bin/cargo ] || missing 'cargo-web is not installed'
    [ -x /usr/bin/wasm-ld-19 ] || missing 'lld-19 is not installed'
    [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ] ||
        missing 'rust-web-src is not installed'
    cargo=/usr/bin/cargo
    RUSTC=/usr/bin/rustc
    # Debian has no standard library for this target: building one is an unstable feature.
    export RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld-19
    set -- -Zbuild-std=std,panic_abort
else
    cargo=$(command -v cargo) || missing 'there is no cargo'
    RUSTC=$(command -v rustc) || missing 'there is no rustc'
    # This folder's own choice of toolchain must hold wherever the script is called from.
    cd "$guests"
    [ -d "$("$RUSTC" --print sysroot)/lib/rustlib/$target" ] ||
        missing "the target $target is not installed"
    set --
fi
export RUSTC

# Panic messages name source files: every path that differs between machines gets a fixed name. These
# flags also keep any that the caller's environment or configuration has out of the build.
unit=$(printf '\037')
CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$unit--remap-path-prefix=$("$RUSTC" --print sysroot)=/rust"
CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$unit--remap-path-prefix=$guests=/guests"
export CARGO_ENCODED_RUSTFLAGS
unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER

cd "$guests"
"$cargo" build --locked --release --target "$target" --target-dir "$built" "$@"

mkdir -p "$out"
for guest in chain kv prover; do
    install -m 644 "$built/$target/release/$guest.wasm" "$out/$guest.wasm"
done
{
    echo "# The compiler, then the sha256 of what it made. Written by build.sh."
    "$RUSTC" --version
    "$RUSTC" --version --verbose | grep '^LLVM version'
    # Debian may patch a compiler or a linker without changing what these call themselves.
    if [ "$cargo" = /usr/bin/cargo ]; then
        # shellcheck disable=SC2086 # A list of words.
        dpkg-query --show --showformat '${Package} ${Version}\n' $debian
    fi
    echo
    (cd "$out" && sha256sum chain.wasm kv.wasm prover.wasm)
} >"$out/TOOLCHAIN"
