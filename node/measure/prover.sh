#!/usr/bin/env bash
# Measures the prover of o1js 2.14.0 in Node, in plain Node and behind the proxy: the example's loop with the pool
# started anew around each proof, in 64 MiB. It needs node, npm and the network.
#
#     node/measure/prover.sh long [PROOFS]     200: plain Node's death; no leak; objects that are lost, swapped by memory
#     node/measure/prover.sh cpu [PAIRS]       5: CPU a proof, in alternation, for each engine
#     node/measure/prover.sh delay [TURNS]     20,000: how long swaps delay the turns of the event loop
#
# ADDON in the environment is the built library; by default the one of the target folder's debug build.
set -euo pipefail
what=${1:?long, cpu or delay; the head of this file says what they do}
addon=$(realpath -m "${ADDON:-${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}/debug/libwasm_proxy_node.so}")
cd "$(dirname "$0")/.."

packed=$(./pack.sh "$addon")
place=$(mktemp -d)
trap 'rm -rf "$place" "$packed"' EXIT
cp measure/delay.cjs test/{report,lose}.cjs ../examples/o1js/node/prove.cjs ../examples/o1js/circuits/twenty.json "$place"
cd "$place"
printf '{ "name": "empty", "private": true }\n' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "$packed" o1js@2.14.0

glue=node_modules/o1js/dist/node/bindings/compiled/node_bindings/plonk_wasm.cjs
export WASM_PROXY_COMPILE_CACHE=$place/compiled WASM_PROXY_MEMORY_LIMIT_MIB=64
prove=(prove.cjs "$glue" twenty.json --cycle --memory-mib 64 --proofs)
behind=(node -r wasm-proxy/register -r ./report.cjs -r ./lose.cjs)

# What prove.cjs says, in short.
short() {
    node -p 'const lines = require("fs").readFileSync(0, "utf8").trim().split("\n").map((line) => JSON.parse(line));
        const said = lines.find((line) => !line.info);
        said.died_at_proof ? `died at proof ${said.died_at_proof}: ${said.why}` : said.error ??
            `${said.proof_ms.length} proofs, verified: ${said.verified}, ${said.round_cpu_ms_median} ms of CPU each, ` +
            `resident ${said.rss_kib[0] >> 10} to ${said.rss_kib.at(-1) >> 10} MiB, ` +
            `${said.rss_kib_per_proof} KiB a proof in the later half`'
}

# What the proxy told in a file, in short.
events() {
    node -p 'const told = require("fs").readFileSync(process.argv[1], "utf8").trim().split("\n").map((line) => JSON.parse(line));
        const swaps = told.filter(({ event }) => event === "swap-complete");
        const us = swaps.map(({ pause }) => Math.round(1000 * pause)).sort((a, b) => a - b);
        const by = [...new Set(swaps.map(({ reason }) => reason))];
        `${swaps.length} swaps (${by}), pauses of ${us[0]} to ${us.at(-1)} us, ` +
            `${told.length - swaps.length} events of deaths`' "$1"
}

case $what in
long)
    proofs=${2:-200}
    echo "plain: $(node "${prove[@]}" "$proofs" | short)"
    echo "behind: $("${behind[@]}" "${prove[@]}" "$proofs" | short)"
    # As much as plain Node loses: a stack for each of two workers.
    echo "behind, 2 MiB lost a proof: $(TEST_LOSE=$glue TEST_LOSE_KIB=2048 \
        TEST_LOSE_BEFORE=caml_pasta_fp_plonk_proof_create TEST_EVENTS=$place/events \
        "${behind[@]}" "${prove[@]}" "$proofs" | short)"
    events "$place/events"
    ;;
cpu)
    for ((pair = 1; pair <= ${2:-5}; pair++)); do
        echo "plain: $(node "${prove[@]}" 25 | short)"
        for engine in wasmtime.cranelift wasmer.cranelift; do
            echo "$engine: $(WASM_PROXY_ENGINE=$engine node -r wasm-proxy/register "${prove[@]}" 25 | short)"
        done
    done
    ;;
delay)
    node -r wasm-proxy/register delay.cjs "$glue" "${2:-20000}"
    ;;
*)
    echo "prover.sh: there is no \`$what\`; the head of the file lists what there is" >&2
    exit 2
    ;;
esac
