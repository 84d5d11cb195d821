#!/bin/sh
# Fetches o1js's prover modules from the npm registry to modules/VERSION, next to this script:
#
#     ./fetch.sh [VERSION...]        2.2.0, 2.10.0, 2.14.0 or 2.15.0; without any, 2.15.0 and 2.14.0
#
# A package is used only if its sha256 is the one written down here: an example that measures a leak has
# to run the very bytes that leak. What is there already is not fetched again.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
modules=$here/modules
scratch=

fail() {
    echo "fetch.sh: $1" >&2
    exit 1
}

# The package's sha256, the folder of the modules inside it, and the modules' names.
describe() {
    folder=dist/node/bindings/compiled/node_bindings
    names=plonk_wasm
    case $1 in
    2.2.0)
        sha256=05685c3eb32ca373d86f19773aecda02e207502f3666b53d66c5c0ab078971b5
        # The other folder has only types in this version.
        folder=dist/node/bindings/compiled/_node_bindings
        ;;
    2.10.0)
        sha256=f15808f84e2641811d5e83618d42abe61262b1c0abf582f21e886cef53991862
        folder=dist/node/bindings/compiled/_node_bindings
        ;;
    2.14.0)
        sha256=68b3abd38b614b85a7f41cdc7e0d0549577cd243ecc5e4382d7143dd05ed2d36
        ;;
    2.15.0)
        sha256=8c542f8298bca8f8218cc8c5a60948ca8b87e1d101b853e894a0b57525a50b57
        # This version runs kimchi_wasm, and still ships plonk_wasm without using it.
        names='plonk_wasm kimchi_wasm'
        ;;
    *)
        fail "no checksum is known for o1js '$1': choose 2.2.0, 2.10.0, 2.14.0 or 2.15.0"
        ;;
    esac
}

complete() {
    [ -s "$1/LICENSE" ] || return 1
    for name in $names; do
        [ -s "$1/$name.cjs" ] && [ -s "$1/${name}_bg.wasm" ] || return 1
    done
}

fetch() {
    version=$1
    describe "$version"
    if complete "$modules/$version"; then
        echo "o1js $version is there: $modules/$version"
        return
    fi

    command -v npm >/dev/null || fail 'there is no npm: install Node.js with npm'
    command -v sha256sum >/dev/null || fail 'there is no sha256sum: install coreutils'
    # The scratch folder lies beside its destination, so that a finished folder is moved there in one step:
    # a folder named after a version is complete, or was not written by this script.
    if [ -z "$scratch" ]; then
        mkdir -p "$modules"
        scratch=$(mktemp -d "$modules/.fetch.XXXXXX")
    fi

    echo "fetching o1js $version"
    tarball=$scratch/o1js-$version.tgz
    # npm's cache would keep a second copy of every package.
    npm pack "o1js@$version" --pack-destination "$scratch" --cache "$scratch/cache" --ignore-scripts \
        --no-update-notifier --loglevel error --fetch-retries 1 >"$scratch/npm.log" 2>&1 || {
        cat "$scratch/npm.log" >&2
        fail "npm could not fetch o1js@$version: is the network there, and the registry reachable?"
    }
    [ -s "$tarball" ] || fail "npm wrote no o1js-$version.tgz"

    found=$(sha256sum "$tarball" | cut -d ' ' -f 1)
    [ "$found" = "$sha256" ] || fail "the checksum of o1js $version differs, nothing was extracted
  expected sha256 $sha256
  found    sha256 $found"

    set -- package/LICENSE
    for name in $names; do
        set -- "$@" "package/$folder/$name.cjs" "package/$folder/${name}_bg.wasm"
    done
    mkdir "$scratch/$version"
    tar -xzf "$tarball" -C "$scratch/$version" "$@" || fail "o1js $version could not be extracted"
    mkdir "$scratch/$version/flat"
    for file in "$@"; do
        # Some packages carry their author's umask.
        chmod 644 "$scratch/$version/$file"
        mv "$scratch/$version/$file" "$scratch/$version/flat/"
    done
    rm -rf "${modules:?}/$version"
    mv "$scratch/$version/flat" "$modules/$version"
    rm -rf "$scratch/$version" "$tarball"
    echo "o1js $version is there: $modules/$version"
}

# Also when interrupted: an exit from a signal runs the trap of the exit.
trap '[ -z "$scratch" ] || rm -rf "$scratch"; rmdir "$modules" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

[ $# -gt 0 ] || set -- 2.15.0 2.14.0
# A wrong version is refused before the first one is fetched.
for version; do
    describe "$version"
done
for version; do
    fetch "$version"
done
