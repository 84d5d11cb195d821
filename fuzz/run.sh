#!/usr/bin/env bash
# Looks for inputs that break a target, by the coverage that libFuzzer follows. It needs Rust and a C++ compiler:
# the compiler's own instruments are in stable Rust. `cargo fuzz`, with a nightly compiler, adds the sanitizers.
#
#     fuzz/run.sh [SECONDS [TARGET...]]    60 s for each of the six targets
#
# Inputs that cover something new are kept in fuzz/corpus/TARGET, and the next run begins with them. An input that
# breaks a target is kept in fuzz/artifacts/TARGET, and the script ends with an error.
set -euo pipefail
built=$(realpath -m "${CARGO_TARGET_DIR:-$(dirname "$0")/target}")/coverage
cd "$(dirname "$0")"

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || {
    echo "fuzz/run.sh: \`$seconds\` is no number of seconds; usage: fuzz/run.sh [SECONDS [TARGET...]]" >&2
    exit 2
}
known=(targets/*.rs)
known=("${known[@]#targets/}")
known=("${known[@]%.rs}")
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
    [ -f "targets/$target.rs" ] || {
        echo "fuzz/run.sh: there is no target \`$target\`; there are: ${known[*]}" >&2
        exit 2
    }
done

host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --target-dir "$built" --example seeds
# Counts of branches, and what is compared with what.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table" \
    cargo build --quiet --target-dir "$built" --target "$host" --features libfuzzer --bins

status=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    "$built/debug/examples/seeds" "$target" "$built/seeds/$target"
    log=$built/$target.log
    if "$built/$host/debug/$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 \
        "corpus/$target" "$built/seeds/$target" 2>"$log"; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        covered=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
        echo "$target: $runs inputs in $seconds s, $covered, nothing found"
    else
        status=1
        tail -n 30 "$log" >&2
        echo "$target: BROKEN; the input is in fuzz/artifacts/$target, the log in $log" >&2
    fi
done
exit $status
