# SPDX-License-Identifier: Apache-2.0
"""Damage for the tests of readers: any file must end in a result or an InputError, soon.

    for damaged in mutations(content, 100): path.write_bytes(damaged); assert outcome(load, path)
"""
from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Callable

import numpy as np

from dependency.errors import InputError

LONGEST_SECONDS = 10.0
_HUGE = [struct.pack(order + kind, value) for order in "<>" for kind, value in (
    ("I", 0xFFFFFFFF), ("I", 0x7FFFFFFF), ("I", 60000), ("H", 0xFFFF), ("H", 0x7FFF), ("I", 0), ("Q", 1 << 62))]


def mutations(content: bytes, count: int) -> Iterator[bytes]:
    """Yield copies with one to four damages each: bytes changed, cut out, doubled, made huge, or the end cut off."""
    rng = np.random.default_rng(len(content))
    for _ in range(count):
        yield mutate(content, rng)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Copy a file with one to four damages."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        # Half of the damages hit the start, where formats tell their sizes.
        place = int(rng.integers(0, max(1, min(len(data), 64) if rng.random() < 0.5 else len(data))))
        length = int(rng.integers(1, 33))
        kind = rng.integers(0, 6)
        if kind == 0:
            data[place:place + 1] = rng.bytes(1)
        elif kind == 1:
            huge = _HUGE[rng.integers(len(_HUGE))]
            data[place:place + len(huge)] = huge
        elif kind == 2:
            del data[place:place + length]
        elif kind == 3:
            data[place:place] = data[place:place + length] * int(rng.integers(1, 50))
        elif kind == 4:
            data = data[:place]
        else:
            data[place:place + length] = rng.bytes(length)
    return bytes(data)


def outcome(function: Callable, *arguments: object, one_line: bool = False) -> str:
    """Call a reader: "read" or "refused" by an InputError; anything else is an error of the program.

    Args:
        one_line: the error's text must be one line.
    """
    start = time.perf_counter()
    try:
        function(*arguments)
        return "read"
    except InputError as error:
        assert str(error) and not (one_line and "\n" in str(error))
        return "refused"
    finally:
        assert time.perf_counter() - start < LONGEST_SECONDS
