#!/usr/bin/env python3
"""Prints what a module imports and exports, with types, one per line and sorted.

    exports.py MODULE.wasm

Two modules with the same lines can stand in for each other at their boundary. Of the globals only those
that a program could mean are printed: `__data_end` and `__heap_base` are where the linker put things.
"""

import sys

VALUE_TYPES = {
    0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref",
}
TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT = 1, 2, 3, 4, 5, 6, 7
KINDS = ["func", "table", "memory", "global"]
LAYOUT = {"__data_end", "__heap_base"}


class Reader:
    """Reads the binary format from one byte string (core specification, chapter 5)."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def unsigned(self):
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    def bytes(self):
        length = self.unsigned()
        self.at += length
        return self.data[self.at - length : self.at]

    def name(self):
        return self.bytes().decode()

    def list(self, item):
        return [item() for _ in range(self.unsigned())]

    def value_type(self):
        return VALUE_TYPES[self.byte()]

    def limits(self):
        flags = self.byte()
        low = self.unsigned()
        high = self.unsigned() if flags & 1 else ""
        return f"{low}..{high}" + (" shared" if flags & 2 else "")

    def function_type(self):
        if self.byte() != 0x60:
            raise ValueError("a type that is not a function's")
        params, results = self.list(self.value_type), self.list(self.value_type)
        return f"({', '.join(params)}) -> ({', '.join(results)})"

    def global_type(self):
        value = self.value_type()
        return ("mut " if self.byte() else "") + value

    def constant(self):
        """Skips an initialiser: one constant instruction and `end`."""
        opcode = self.byte()
        if opcode in (0x41, 0x42, 0x23, 0xD2):  # i32.const, i64.const, global.get, ref.func
            self.unsigned()
        elif opcode in (0x43, 0x44):  # f32.const, f64.const
            self.at += 4 if opcode == 0x43 else 8
        elif opcode == 0xD0:  # ref.null
            self.byte()
        elif opcode == 0xFD:  # v128.const
            self.at += 17
        else:
            raise ValueError(f"an initialiser with opcode {opcode:#x}")
        if self.byte() != 0x0B:
            raise ValueError("an initialiser of several instructions")

    def section_global(self):
        result = self.global_type()
        self.constant()
        return result


def boundary(data):
    if data[:8] != b"\0asm\1\0\0\0":
        raise ValueError("not a core WebAssembly module")
    sections, reader = {}, Reader(data[8:])
    while reader.at < len(reader.data):
        number = reader.byte()
        sections[number] = Reader(reader.bytes())

    def section(number, item):
        part = sections.get(number)
        return part.list(lambda: item(part)) if part else []

    types = section(TYPE, Reader.function_type)
    spaces = {kind: [] for kind in KINDS}

    def describe(part, kind):
        match kind:
            case "func":
                return types[part.unsigned()]
            case "table":
                return f"{part.value_type()} {part.limits()}"
            case "memory":
                return part.limits()
            case "global":
                return part.global_type()

    def imported(part):
        path, kind = f"{part.name()}.{part.name()}", KINDS[part.byte()]
        spaces[kind].append(describe(part, kind))
        return f"import {kind} {path} {spaces[kind][-1]}"

    def exported(part):
        name, kind, index = part.name(), KINDS[part.byte()], part.unsigned()
        return name, f"export {kind} {name} {spaces[kind][index]}"

    lines = section(IMPORT, imported)
    spaces["func"] += [types[index] for index in section(FUNCTION, Reader.unsigned)]
    spaces["table"] += section(TABLE, lambda part: describe(part, "table"))
    # How many pages a module starts with depends on the size of its constants, so on the compiler.
    spaces["memory"] += [f"..{limits.partition('..')[2]}" for limits in section(MEMORY, Reader.limits)]
    spaces["global"] += section(GLOBAL, Reader.section_global)
    lines += [line for name, line in section(EXPORT, exported) if name not in LAYOUT]
    return sorted(lines)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as module:
        print("\n".join(boundary(module.read())))
