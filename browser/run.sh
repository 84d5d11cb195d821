#!/bin/sh
# Builds the spike, runs it in headless Chromium, and prints what it did and what memory it took:
#
#     browser/run.sh [PROOFS]
#
# Exit code 3 means that something is missing; the message says what. CHROMIUM names another browser.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

missing() {
    echo "run.sh: $1" >&2
    exit 3
}
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$chromium" ] || missing 'there is no Chromium; on Debian: apt-get install chromium'
node=$(command -v node) || missing 'there is no Node, which drives the browser; version 20 is enough'
[ "$("$node" -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ] || missing 'Node is older than version 20'
[ -r /proc/self/smaps_rollup ] || missing 'memory is read from /proc/PID/smaps_rollup, which Linux has'

out=${CARGO_TARGET_DIR:-$here/target}/browser
"$here/build.sh" "$out"
exec "$node" "$here/run.mjs" "$chromium" "$out" "$@"
