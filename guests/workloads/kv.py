#!/usr/bin/env python3
"""Prints kv.jsonl: values that die at different ages, and grow while they do.

In each phase the values are twice as long as in the one before. Half of them die when the phase ends, a
quarter one phase later, an eighth two phases later: the survivors stand so that no gap between them is
long enough for the next phase, which has to take new memory. This is Robson's worst case for an allocator
("Worst case fragmentation of first fit and best fit storage allocation strategies", 1977). At most 8 MiB
are alive at a time, but the memory grows to 33 MiB and stays there.
"""

import json

CYCLES = 12
PHASE_BYTES = 4 << 20
SIZES = [2048 << phase for phase in range(8)]
# Values of one pattern: the number of trailing zeros of the position is the age that the value reaches.
PATTERN = 16
AGES = PATTERN.bit_length()


def age(position):
    return (position & -position).bit_length() - 1


def store(phase, age):
    return f"store-{phase}-{age}"


def cycle():
    for phase, size in enumerate(SIZES):
        for a in range(AGES):
            yield {"call": "store_create", "args": [], "as": store(phase, a)}
        appends = [
            {"call": "append", "args": [{"handle": store(phase, age(position))}, size]}
            for position in range(1, PATTERN + 1)
        ]
        yield {"repeat": PHASE_BYTES // size // PATTERN, "do": appends}
        for a in range(min(AGES - 1, phase + 1)):
            yield free(store(phase - a, a))
    last = len(SIZES) - 1
    for phase in range(len(SIZES)):
        for a in range(AGES):
            if a == AGES - 1 or phase + a > last:
                yield {"call": "store_digest", "args": [{"handle": store(phase, a)}]}
                yield free(store(phase, a))


def free(name):
    return {"call": "store_free", "args": [{"handle": name}]}


print(json.dumps({"repeat": CYCLES, "do": list(cycle())}, separators=(",", ":")))
