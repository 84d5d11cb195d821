#!/bin/sh
# Builds the spike's module to the folder given, for wasm32-wasip1: its standard library asks WASI for clock and
# randomness, which `web/wasi.mjs` gives.
#
# Debian's compiler is taken where it is installed (rustc-web cargo-web rust-web-src lld-19 clang-19 wasi-libc
# libclang-rt-19-dev-wasm32); else the `cargo` of the path, with rustup's target wasm32-wasip1.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
out=${1:?give the folder to build to}
target=wasm32-wasip1

unit=$(printf '\037')
flags=
if dpkg-query --status rustc-web >/dev/null 2>&1; then
    for file in /usr/bin/cargo /usr/bin/wasm-ld-19 /usr/bin/clang-19 /usr/lib/wasm32-wasi/libc.a \
        /usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a; do
        [ -e "$file" ] || {
            echo "build.sh: $file is missing" >&2
            echo "  apt-get install cargo-web rust-web-src lld-19 clang-19 libclang-rt-19-dev-wasm32 wasi-libc" >&2
            exit 3
        }
    done
    cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc
    # Debian has no standard library for this target: building one is an unstable feature. The linker is
    # clang, with its own wasi-libc.
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP1_LINKER=/usr/bin/clang-19
    flags="-Clink-self-contained=no$unit-Clinker-flavor=gcc$unit-Clink-arg=--target=wasm32-wasi"
    set -- -Zbuild-std=std,panic_abort
    mkdir -p "$out"
    /usr/bin/clang-19 --target=wasm32-wasi -Os -c -o "$out/no_threads.o" "$here/src/no_threads.c"
    linked="-Clink-arg=-mexec-model=reactor -Clink-arg=$(CDPATH='' cd -- "$out" && pwd -P)/no_threads.o"
    export_flag='-Clink-arg=-Wl,--export='
else
    cargo=$(command -v cargo) && [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || {
        echo "build.sh: there is no compiler for $target" >&2
        echo "  on Debian: apt-get install rustc-web cargo-web rust-web-src lld-19 clang-19" >&2
        echo "    libclang-rt-19-dev-wasm32 wasi-libc; elsewhere: rustup target add $target" >&2
        exit 3
    }
    export RUSTC_BOOTSTRAP=1
    set --
    linked='-Zwasi-exec-model=reactor'
    export_flag='-Clink-arg=--export='
fi

for export in buffer open advance report verify output slots free_slots; do
    linked="$linked ${export_flag}spike_$export"
done
unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
# shellcheck disable=SC2086 # A list of words.
CARGO_ENCODED_RUSTFLAGS=$flags "$cargo" rustc --locked --release --manifest-path "$here/Cargo.toml" \
    --bin spike --target "$target" "$@" -- $linked "${export_flag}wasm_proxy_host_call"
mkdir -p "$out"
install -m 644 "${CARGO_TARGET_DIR:-$here/target}/$target/release/spike.wasm" "$out/spike.wasm"
