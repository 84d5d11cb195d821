#!/bin/sh
# Rebuilds the guests and compares them with prebuilt/: the same bytes where the compiler is the one that
# prebuilt/TOOLCHAIN names, the same imports and exports with the same types where it is another.
#
# Installs nothing: where a tool is missing it says which, and ends with 3.
set -eu

guests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
command -v python3 >/dev/null || {
    echo 'check.sh: there is no python3; on Debian: apt-get install python3' >&2
    exit 3
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The compiler is everything above the first empty line.
compiler() { sed '/^$/q' "$1/TOOLCHAIN"; }
sums() { sed '1,/^$/d' "$1/TOOLCHAIN"; }

# What wasm-bindgen takes from the compiler: hashes of crates and closures, numbers of closures, and the sizes
# of what a module starts with. Hashes and numbers order the lines, which are therefore sorted again.
neutral() {
    sed -E -e 's/__h[0-9a-f]{16} /__h* /' -e 's/_[0-9a-f]{8,16}___/_*___/g' -e 's/(closure_wrapper)[0-9]+/\1*/' \
        -e 's/((memory|table) .* )[0-9]+\.\./\1../' -e 's/(table .*\.\.)[0-9]+/\1/' | sort
}

# The committed files are the ones that TOOLCHAIN speaks of.
(cd "$guests/prebuilt" && sums . | sha256sum --check --quiet)

fresh=$scratch/fresh
modules='chain kv prover sqlite realm_new realm_old realm_threads realm_threads_old
wasi_programs wasi_tour wasi_world wasi_database wasi_rust_command wasi_rust_reactor'

# Nothing that an earlier build left may stand in for what this compiler makes.
GUESTS_TARGET_DIR=$scratch/target "$guests/build.sh" "$fresh"

failed=0
if [ "$(compiler "$fresh")" = "$(compiler "$guests/prebuilt")" ]; then
    what='bytes'
    for module in $modules; do
        cmp "$guests/prebuilt/$module.wasm" "$fresh/$module.wasm" || failed=1
    done
    for glue in "$fresh"/*.js; do
        cmp "$guests/prebuilt/$(basename "$glue")" "$glue" || failed=1
    done
else
    what='exports (another compiler made the committed ones)'
    for module in $modules; do
        for side in "$guests/prebuilt" "$fresh"; do
            python3 "$guests/exports.py" "$side/$module.wasm" |
                neutral >"$fresh/$module.$(basename "$side").txt"
        done
        diff -u "$fresh/$module.prebuilt.txt" "$fresh/$module.fresh.txt" || failed=1
    done
fi

if [ "$failed" = 0 ]; then
    echo "guests: the same $what as committed"
else
    echo 'check.sh: the guests differ from what is committed; run guests/build.sh and commit prebuilt/' >&2
fi
exit "$failed"
