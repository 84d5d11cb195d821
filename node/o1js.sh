#!/usr/bin/env bash
# Unmodified o1js in Node behind the proxy, compared with plain Node: programs are compiled and prove, swapped between
# two proofs. The verification keys must be the same as in plain Node, which also verifies the proofs. It needs node,
# npm and the network, and takes some minutes a part.
#
#     node/o1js.sh [VERSION...] [PART...]
#
# VERSION is 2.14.0 or 2.15.0. The parts are
#
#     square       a ZkProgram with one method: swaps by memory
#     cache        the same, with o1js's own cache, cold and warm
#     death        the same, where the memory ends in the middle of the second proof
#     recursive    a ZkProgram that verifies an earlier proof of itself: a swap by hand
#     contract     a SmartContract on a local chain: a swap by hand
#
# All of them without any. ADDON in the environment is the built library; by default the one of the target folder's
# debug build. With PLACE, a folder, everything stays there, and parts that succeeded there are not run again.
set -euo pipefail
addon=$(realpath -m "${ADDON:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/debug/libwasm_proxy_node.so}")
place=$(realpath -m "${PLACE:-$(mktemp -d)}")
trap 'rm -rf "${packed:-}" ${PLACE:+""} $([ -n "${PLACE:-}" ] || echo "$place")' EXIT
cd "$(dirname "$0")"

versions=() parts=()
for given; do
    case $given in
    2.14.0 | 2.15.0) versions+=("$given") ;;
    square | cache | death | recursive | contract) parts+=("$given") ;;
    *) echo "o1js.sh: there is no version and no part \`$given\`; the file's head lists them" >&2 && exit 2 ;;
    esac
done
[ ${#versions[@]} -gt 0 ] || versions=(2.14.0 2.15.0)
[ ${#parts[@]} -gt 0 ] || parts=(square cache death recursive contract)

packed=$(./pack.sh "$addon")
mkdir -p "$place"
export WASM_PROXY_COMPILE_CACHE=$place/compiled

# Sets `cpu` to the CPU time of all commands so far, in seconds. A subshell would know only its own.
look() {
    times >"$place/times"
    cpu=$(awk -F '[ms ]+' 'NR == 2 { printf "%d", 60 * ($1 + $3) + $2 + $4 }' "$place/times")
}

# Prints how long a command took, by the clock and in CPU time, and what the proxy did, which is the last line behind it.
timed() {
    local what=$1 started=$SECONDS before said
    shift
    look
    before=$cpu
    said=$("$@")
    case $said in '{"info"'*) said=$(node summary.cjs "$said") ;; esac
    look
    printf '%-34s %4d s, %4d s of CPU  %s\n' "$what" $((SECONDS - started)) $((cpu - before)) "$said"
}

# plain NAME PROOFS: the program in plain Node, once.
plain() {
    [ -s "$1.plain" ] || {
        timed "$version $1, plain" node "$1.mjs" "$1.unfinished" none "$2"
        mv "$1.unfinished" "$1.plain"
    }
}

# behind OUT NAME CACHE PROOFS ENVIRONMENT...: the program behind the proxy, compared with plain Node.
behind() {
    local out=$1 name=$2 cache=$3 proofs=$4
    shift 4
    timed "$version $out, behind" env "$@" node -r wasm-proxy/register -r ./report.cjs -r ./lose.cjs \
        "$name.mjs" "$out" "$cache" "$proofs"
    cmp <(head -n 1 "$name.plain") <(head -n 1 "$out")
    timed "$version $out, in plain Node" node verify.mjs "$out"
}

# Every proof grows the memory to 280 MiB, of which 90 are in use: one standby after another.
by_memory=(WASM_PROXY_MEMORY_LIMIT_MIB=384 WASM_PROXY_WARN=0.5 WASM_PROXY_CRITICAL=0.7)
# One swap, between the first proof and the second. The standby does again what compiling did.
by_hand=(TEST_SWAP_ON=proved TEST_SWAPS_MIN=1 WASM_PROXY_PREPARE_TIMEOUT=3600)

run() {
    case $1 in
    square)
        plain square 1
        behind square square none 4 "${by_memory[@]}"
        ;;
    cache)
        plain square 1
        behind cold square cache 1 "${by_memory[@]}"
        behind warm square cache 1 "${by_memory[@]}"
        ;;
    death)
        plain square 1
        # One proof fits beside what is lost, and two do not.
        behind death square none 2 WASM_PROXY_MEMORY_LIMIT_MIB=352 WASM_PROXY_WARN=0.98 WASM_PROXY_CRITICAL=0.99 \
            TEST_LOSE="$glue" TEST_LOSE_KIB=40960 TEST_LOSE_BEFORE=caml_pasta_fp_plonk_proof_create \
            TEST_EMERGENCIES_MIN=1
        ;;
    recursive)
        plain recursive 2
        behind recursive recursive none 2 "${by_hand[@]}"
        ;;
    contract)
        plain contract 1
        behind contract contract none 2 "${by_hand[@]}"
        ;;
    esac
}

for version in "${versions[@]}"; do
    mkdir -p "$place/$version"
    cp test/o1js/*.mjs test/{report,lose,summary}.cjs "$place/$version"
    bindings=node_modules/o1js/dist/node/bindings/compiled/node_bindings
    case $version in 2.14.0) glue=$bindings/plonk_wasm.cjs ;; *) glue=$bindings/kimchi_wasm.cjs ;; esac
    (
        cd "$place/$version"
        printf '{ "name": "empty", "private": true }\n' >package.json
        npm install --silent --no-audit --no-fund --ignore-scripts "$packed" "o1js@$version"
        for part in "${parts[@]}"; do
            [ -e "$part.done" ] || {
                run "$part"
                touch "$part.done"
            }
        done
    )
done
