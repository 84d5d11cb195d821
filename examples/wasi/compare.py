#!/usr/bin/env python3
"""Runs the WASI guests under wasm-proxy and under the engines' own implementations, and compares.

    compare.py WASM-PROXY [FOLDER]

WASM-PROXY is the program. The engines' own are libraries, because their tools cannot be had from a registry
everywhere: wasmtime 48 from PyPI (its C API has wasmtime-wasi), and @wasmer/sdk from npm (wasmer-wasix in
Node). They are installed into FOLDER, by default one that is removed again. Needs python3 and node, and the
two registries for what FOLDER lacks.

Prints tables in Markdown. Ends with 1 if wasm-proxy is not right where an engine's own is, if the tour is not
printed alike everywhere, or if an implementation could not be asked at all.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
GUESTS = HERE.parent.parent / "guests" / "prebuilt"
GREETING = "hello = world"
INPUT = b"a line of input\n"
WASMTIME, WASMER = "wasmtime==48.0.0", "@wasmer/sdk@0.9.0"
EXPECTED = {"exit_code": 42, "aborting": "trap"}
# No program takes a second, and one of them sleeps for ever under wasmer-wasix in Node.
SECONDS_MAX = 45
# The programs of the tour: the guest of the tests about swaps, and the command in Rust.
TOUR = {"wasi_tour.wasm": 0, "wasi_rust_command.wasm": 1}

# One run of a guest by wasmtime's library: module, folder, arguments. Prints nothing of its own.
RUN_WASMTIME = """
import sys
from wasmtime import Engine, ExitTrap, Linker, Module, Store, Trap, WasiConfig
engine = Engine()
linker, store, wasi = Linker(engine), Store(engine), WasiConfig()
linker.define_wasi()
wasi.argv = sys.argv[3:]
wasi.env = [("GREETING", "hello = world")]
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()
wasi.preopen_dir(sys.argv[2], "/data")
store.set_wasi(wasi)
instance = linker.instantiate(store, Module.from_file(engine, sys.argv[1]))
try:
    instance.exports(store)["_start"](store)
except ExitTrap as exit:
    sys.exit(exit.code)
except Trap as trap:
    sys.exit(134)
"""


def tried_twice(command, **options):
    """Installs something. A registry may not answer at once."""
    for last in [False, True]:
        try:
            return subprocess.run(command, check=True, timeout=180, **options)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            if last:
                raise


def installed(folder):
    """Installs both libraries. Gives the Python that has wasmtime."""
    python = folder / "python" / "bin" / "python"
    asked = [python, "-c", "import wasmtime"]
    if not python.exists() or subprocess.run(asked, capture_output=True, check=False).returncode:
        tried_twice([sys.executable, "-m", "venv", "--clear", folder / "python"])
        tried_twice([python, "-m", "pip", "install", "--quiet", WASMTIME])
    if not (folder / "node_modules" / "@wasmer" / "sdk" / "package.json").exists():
        tried_twice(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, WASMER])
    (folder / "run.py").write_text(RUN_WASMTIME)
    (folder / "run.mjs").write_bytes((HERE / "wasmer.mjs").read_bytes())
    return python


def ran(command, code_of_trap):
    try:
        done = subprocess.run(command, input=INPUT, capture_output=True, timeout=SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return "timeout", "", f"still running after {SECONDS_MAX} seconds"
    code = "trap" if done.returncode in code_of_trap else done.returncode
    return code, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def runners(program, folder):
    """What runs a guest, by name: those of wasm-proxy, and the engines' own."""
    python = installed(folder)
    listed = subprocess.run([program, "engines"], capture_output=True, text=True, check=True).stdout
    engines = listed.splitlines()[0].split()

    def proxy(engine):
        def run(module, data, args):
            return ran(
                [program, "run", module, "--engine", engine, "--dir", f"{data}::/data",
                 "--env", f"GREETING={GREETING}", "--", *args[1:]], [1])
        return run

    def wasmtime(module, data, args):
        return ran([python, folder / "run.py", module, data, *args], [134])

    def wasmer(module, data, args):
        return ran(["node", folder / "run.mjs", module, data, *args], [1])

    own = {"wasmtime-wasi": wasmtime, "wasmer-wasix": wasmer}
    return {engine: proxy(engine) for engine in engines}, own


def wrong(name, outcome):
    """What is wrong with the outcome of a program, if anything is."""
    code, out, err = outcome
    expected = EXPECTED.get(name, 0)
    # A program that is not right ends with 1, as a trap does for some.
    if code == "trap" and expected != "trap":
        code = 1
    if code != expected or (expected == 0 and f"{name}: ok\n" not in out):
        return ((out + err).strip().splitlines() or [f"code {code}"])[-1][:160]
    return None


def in_folder(run, module, args):
    """A run in a folder of its own, with what the tour reads in it, and what is in the folder afterwards."""
    with tempfile.TemporaryDirectory() as data:
        folder = pathlib.Path(data)
        (folder / "input").write_bytes(b"".join((7 * n).to_bytes(4, "little") for n in range(8)))
        outcome = run(module, data, args)
        left = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        return outcome, left


def programs(workers, ours, own):
    """Every program under every implementation. Whether ours are right wherever an engine's own is."""
    module = GUESTS / "wasi_programs.wasm"
    listed = in_folder(next(iter(ours.values())), module, ["programs"])[0]
    names = listed[1].split()
    if len(names) < 40:
        sys.exit(f"the guest names {len(names)} programs: {listed}")
    everyone = {**ours, **own}

    def program(name, column):
        with tempfile.TemporaryDirectory() as data:
            return wrong(name, everyone[column](module, data, ["programs", name, "--flag", "two words"]))

    started = {(name, column): workers.submit(program, name, column) for name in names for column in everyone}
    reasons = {at: outcome.result() for at, outcome in started.items()}
    print("| program | " + " | ".join(f"`{column}`" for column in everyone) + " |")
    print("|---|" + "---|" * len(everyone))
    for name in names:
        cells = ["no" if reasons[name, column] else "ok" for column in everyone]
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    counts = {column: sum(not reasons[name, column] for name in names) for column in everyone}
    print(f"| of {len(names)} | " + " | ".join(str(count) for count in counts.values()) + " |\n")
    for (name, column), reason in reasons.items():
        if reason:
            print(f"* `{name}` on `{column}`: {reason}")
    worse = [(name, column) for name in names for column in ours
             if reasons[name, column] and not all(reasons[name, other] for other in own)]
    for name, column in worse:
        print(f"{name} is right under an engine's own, and not on {column}", file=sys.stderr)
    silent = [column for column, count in counts.items() if not count]
    for column in silent:
        print(f"{column} ran no program: it does not work here", file=sys.stderr)
    return not worse and not silent


def tour(workers, ours, own):
    """Whether guests with files, a listing, time and randomness print the same everywhere."""
    everyone, same = {**ours, **own}, True
    print("\n| command | printed alike by | files left behind alike by |\n|---|---|---|")
    for name, expected in TOUR.items():
        args = ["command", "one"]
        started = {column: workers.submit(in_folder, run, GUESTS / name, args)
                   for column, run in everyone.items()}
        outcomes = {column: outcome.result() for column, outcome in started.items()}
        first, left = next(iter(outcomes.values()))
        if first[0] not in [expected, "trap"] or not first[1]:
            print(f"{name} ends with {first}", file=sys.stderr)
            same = False
        alike = [column for column, outcome in outcomes.items() if outcome[0][1:] == first[1:]]
        # wasmer-wasix in Node has a folder of its own in memory.
        kept = [column for column, outcome in outcomes.items() if outcome[1] == left]
        print(f"| `{name}` | {', '.join(alike)} | {', '.join(kept)} |")
        for column in everyone.keys() - set(alike):
            print(f"{name} prints something else on {column}: {outcomes[column][0]}", file=sys.stderr)
            same = False
        for column in everyone.keys() - set(kept) - {"wasmer-wasix"}:
            print(f"{name} leaves something else behind on {column}: {outcomes[column][1]}", file=sys.stderr)
            same = False
    return same


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    program = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as scratch, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else scratch).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        ours, own = runners(program, folder)
        fine = [programs(workers, ours, own), tour(workers, ours, own)]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
