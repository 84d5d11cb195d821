#!/bin/sh
# Builds the guests to prebuilt/, or to the folder given, and writes down the compiler that did it.
#
# The same compiler gives the same bytes, wherever the checkout and the home directory are. Debian's
# compiler (packages rustc-web, cargo-web, rust-web-src, lld-19) is taken where it is installed; else the
# `rustc` and `cargo` of the path, with rustup's wasm32-unknown-unknown target and rust-src component.
# SQLite and the WASI guests need a C compiler too: Debian's (clang-19, libclang-rt-19-dev-wasm32, wasi-libc),
# or the wasi-sdk in the folder WASI_SDK_PATH.
set -eu

guests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
out=$(realpath -m "${1:-$guests/prebuilt}")
built=$(realpath -m "${GUESTS_TARGET_DIR:-$guests/target}")
target=wasm32-unknown-unknown
debian='rustc-web cargo-web rust-web-src lld-19 clang-19 libclang-rt-19-dev-wasm32 wasi-libc'

missing() {
    echo "build.sh: $1" >&2
    echo "  on Debian: apt-get install $debian" >&2
    echo "  elsewhere: rustup target add $target wasm32-wasip1; rustup component add rust-src;" >&2
    echo "    for C, set WASI_SDK_PATH to the folder of a wasi-sdk" >&2
    exit 3
}

if dpkg-query --status rustc-web >/dev/null 2>&1; then
    [ -x /usr/bin/cargo ] || missing 'cargo-web is not installed'
    [ -x /usr/bin/wasm-ld-19 ] || missing 'lld-19 is not installed'
    [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ] ||
        missing 'rust-web-src is not installed'
    [ -x /usr/bin/clang-19 ] || missing 'clang-19 is not installed'
    [ -f /usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a ] ||
        missing 'libclang-rt-19-dev-wasm32 is not installed'
    [ -f /usr/lib/wasm32-wasi/libc.a ] || missing 'wasi-libc is not installed'
    cargo=/usr/bin/cargo
    clang=/usr/bin/clang-19
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
    [ -d "$("$RUSTC" --print sysroot)/lib/rustlib/wasm32-wasip1" ] ||
        missing 'the target wasm32-wasip1 is not installed'
    [ -d "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust/library" ] ||
        missing 'the sources of the standard library are not installed'
    clang=${WASI_SDK_PATH:-}/bin/clang
    [ -x "$clang" ] || missing 'WASI_SDK_PATH is not the folder of a wasi-sdk'
    set --
fi
export RUSTC

# Panic messages name source files: every path that differs between machines gets a fixed name. These
# flags also keep any that the caller's environment or configuration has out of the build.
unit=$(printf '\037')
fixed_paths="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
fixed_paths="$fixed_paths$unit--remap-path-prefix=$("$RUSTC" --print sysroot)=/rust"
fixed_paths="$fixed_paths$unit--remap-path-prefix=$guests=/guests"
unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER

cd "$guests"
CARGO_ENCODED_RUSTFLAGS=$fixed_paths \
    "$cargo" build --locked --release --target "$target" --target-dir "$built" "$@"

mkdir -p "$out"
for guest in chain kv prover; do
    install -m 644 "$built/$target/release/$guest.wasm" "$out/$guest.wasm"
done

# SQLite's source is in a crate, which cargo fetches and checks against the hash in Cargo.lock. Of wasi-libc
# only what imports nothing is used. The stack is first in the memory: a call that needs more of it traps.
"$cargo" vendor --quiet --locked --versioned-dirs --manifest-path sqlite/Cargo.toml "$built/sqlite-source" \
    >"$built/sqlite-source.toml"
amalgamation=$(echo "$built"/sqlite-source/libsqlite3-sys-*/sqlite3)
"$clang" --target=wasm32-wasi -Os -DNDEBUG -std=c11 -I "$amalgamation" \
    -DSQLITE_OS_OTHER=1 -DSQLITE_THREADSAFE=0 -DSQLITE_TEMP_STORE=3 -DSQLITE_DEFAULT_MEMSTATUS=0 \
    -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_LOCALTIME \
    -nostartfiles -Wl,--no-entry,--strip-all,--stack-first,-z,stack-size=262144 -o "$out/sqlite.wasm" \
    "$amalgamation/sqlite3.c" sqlite/sqlite.c

# The guests for WASI. Rust's are linked by clang with its own wasi-libc, as those in C are: that makes a
# reactor of a program without a `main`.
wasi_c() {
    out_file=$1
    shift
    "$clang" --target=wasm32-wasi -Os -std=gnu11 -Wl,--strip-all,--stack-first -o "$out/$out_file" "$@"
}
wasi_rust() {
    name=$1
    shift
    CARGO_ENCODED_RUSTFLAGS="$fixed_paths$unit-Clink-self-contained=no$unit-Clinker-flavor=gcc$unit-Clink-arg=--target=wasm32-wasi" \
        CARGO_TARGET_WASM32_WASIP1_LINKER=$clang \
        "$cargo" rustc --locked --release --manifest-path wasi/Cargo.toml --target wasm32-wasip1 \
        --target-dir "$built" --bin "$name" "$@"
    install -m 644 "$built/wasm32-wasip1/release/$name.wasm" "$out/$name.wasm"
}
wasi_c wasi_programs.wasm wasi/programs.c
wasi_c wasi_tour.wasm wasi/tour.c
wasi_c wasi_world.wasm -mexec-model=reactor wasi/world.c
wasi_c wasi_database.wasm -mexec-model=reactor -Wl,-z,stack-size=262144 -DNDEBUG -I "$amalgamation" \
    -DSQLITE_THREADSAFE=0 -DSQLITE_TEMP_STORE=3 -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_OMIT_LOAD_EXTENSION \
    -DSQLITE_OMIT_LOCALTIME -DSQLITE_OMIT_WAL -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_MAX_MMAP_SIZE=0 \
    "$amalgamation/sqlite3.c" wasi/database.c
wasi_rust wasi_rust_command "$@"
exported=
for export in open_log set get order now leak; do
    exported="$exported -Clink-arg=-Wl,--export=$export"
done
# shellcheck disable=SC2086 # A list of words.
wasi_rust wasi_rust_reactor "$@" -- -Clink-arg=-mexec-model=reactor $exported

# One memory, imported by every instance, and what wasm-bindgen needs for the start of a thread.
threads_flags="$unit-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals"
for option in --shared-memory --import-memory --max-memory=1073741824 --export=__wasm_init_tls \
    --export=__tls_size --export=__tls_align --export=__tls_base; do
    threads_flags="$threads_flags$unit-Clink-arg=$option"
done

# realm RELEASE GUEST FOLDER FLAGS: builds a guest, then has that release of wasm-bindgen write module and
# glue. Cargo does not tell by the name of a file with what flags it was compiled: other flags need another
# folder, or else every build would compile everything again.
#
# The standard library is built with the same features of WebAssembly as the guest, which is unstable.
# wasm-bindgen reads the names of functions and makes names of exports from them: they stay, and the guests'
# own are those that stable compilers give.
realm() {
    manifest=$guests/realm/$1/Cargo.toml
    CARGO_ENCODED_RUSTFLAGS=$fixed_paths$4 RUSTC_BOOTSTRAP=1 \
        "$cargo" rustc --locked --release --manifest-path "$manifest" \
        --package "$(echo "$2" | tr _ -)" --target "$target" --target-dir "$3" -Zbuild-std=std,panic_abort \
        -- -Cstrip=none -Zunstable-options -Csymbol-mangling-version=legacy
    CARGO_ENCODED_RUSTFLAGS='' "$cargo" run --locked --quiet --manifest-path "$manifest" \
        --package "bindgen-$1" --target-dir "$built" -- "$3/$target/release/$2.wasm" "$out" "$2"
}
realm new realm_new "$built" ''
realm old realm_old "$built" ''
realm new realm_threads "$built/threads" "$threads_flags"
realm old realm_threads_old "$built/threads" "$threads_flags"

{
    echo "# The compiler, then the sha256 of what it made. Written by build.sh."
    "$RUSTC" --version
    "$RUSTC" --version --verbose | grep '^LLVM version'
    "$clang" --version | head -n 1
    # Debian may patch a compiler or a linker without changing what these call themselves.
    if [ "$cargo" = /usr/bin/cargo ]; then
        # shellcheck disable=SC2086 # A list of words.
        dpkg-query --show --showformat '${Package} ${Version}\n' $debian
    fi
    echo
    (cd "$out" && sha256sum chain.wasm kv.wasm prover.wasm sqlite.wasm realm_*.js realm_*.wasm wasi_*.wasm)
} >"$out/TOOLCHAIN"
