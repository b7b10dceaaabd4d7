# SPDX-License-Identifier: Apache-2.0
"""Check values that come from outside: command lines, YAML files, metadata, calls from Python.

    whole(1, 100).require("top_k", 0)     ->   InputError: top_k 0: expected a whole number from 1 to 100

`DETECTOR` says what the arguments of `BaseDetector` may be, `INFERENCE` what those of `FaceDetector` about speed and
memory. The option tables of the programs are made of the same rules.
"""
from __future__ import annotations

import reprlib
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Callable, Union

import numpy as np

from dependency.errors import InputError

# The range of numbers where an option states none.
LARGEST = 1e6
LARGEST_WHOLE = 10 ** 9
# A square of this side needs more memory than most machines have.
LARGEST_SIDE = 16384

ORIGINAL = "original"
VGA = "vga"
VGA_SIDE = 640
NMS_KINDS = ("soft", "hard", "vote")
PADS = ("none", "32", "square", "centre")

WORDS = {bool: "true or false", str: "a text", dict: "a table of names and values", list: "a list"}

# "original", the longer side, or (shorter side, longer side at most).
Size = Union[int, str, tuple[int, int]]


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    kind: bool, int, float, str, list or dict; with `length` that of each element.
    choices: the allowed values; none allows all.
    low, high: smallest and largest number; NaN and infinity are never allowed.
    multiple: whole numbers must be multiples of it.
    length: fewest and most elements of a list; None for a single value.
    ascending: the elements of a list must not fall.
    test, words: what else must hold, and how the message says it.
    """
    kind: type
    choices: tuple = ()
    low: float = -LARGEST
    high: float = LARGEST
    multiple: int = 1
    length: tuple[int, int] | None = None
    ascending: bool = False
    test: Callable[[Any], bool] | None = None
    words: str = ""

    def require(self, name: str, value: Any) -> None:
        """Raise InputError with name, value and what is expected unless the value is allowed."""
        if not self.holds(value):
            raise InputError(f"{name} {reprlib.repr(value)}: expected {self.expected}")

    def holds(self, value: Any) -> bool:
        """Check whether the value is allowed."""
        if self.length is None:
            return self._holds_one(value)
        if not isinstance(value, (list, tuple, np.ndarray)) or not getattr(value, "ndim", 1):
            return False
        fewest, most = self.length
        return (fewest <= len(value) <= most and all(map(self._holds_one, value))
                and (not self.ascending or list(value) == sorted(value)))

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
        if self.words:
            return self.words
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.kind not in (int, float):
            return WORDS[self.kind]
        number = "whole number" if self.kind is int else "number"
        bounds = self.bounds and f" {self.bounds}"
        if self.length is None:
            return f"a {number}{bounds}"
        fewest, most = self.length
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return f"{count} {number}s{bounds}{', in ascending order' if self.ascending else ''}"

    @property
    def bounds(self) -> str:
        """The range of a number in words, such as "from 0 to 1"; "" where there is none."""
        if self.kind not in (int, float) or (self.low, self.high) == (-LARGEST, LARGEST):
            return ""
        show, unlimited = (str, LARGEST_WHOLE) if self.kind is int else ("{:g}".format, LARGEST)
        low = f"from {show(self.low)}"
        high = "" if self.high == unlimited else f" to {show(self.high)}"
        multiple = f", a multiple of {self.multiple}" if self.multiple > 1 else ""
        return low + high + multiple

    def _holds_one(self, value: Any) -> bool:
        if self.kind is bool:
            allowed = isinstance(value, (bool, np.bool_, Integral)) and value in (0, 1)
        elif self.kind in (int, float):
            allowed = self._holds_number(value)
        else:
            allowed = isinstance(value, self.kind)
        return allowed and (not self.choices or value in self.choices) and (self.test is None or self.test(value))

    def _holds_number(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Integral if self.kind is int else Real):
            return False
        number: Any = value
        return bool(self.low <= number <= self.high) and (self.multiple == 1 or number % self.multiple == 0)


def one_of(*values: str) -> Rule:
    """Make the rule that a value is one of these texts."""
    return Rule(str, values)


def number(low: float = -LARGEST, high: float = LARGEST) -> Rule:
    """Make the rule that a value is a number in a range."""
    return Rule(float, low=low, high=high)


def numbers(fewest: int, most: int, low: float = -LARGEST, high: float = LARGEST, ascending: bool = False) -> Rule:
    """Make the rule that a value is a list of numbers in a range."""
    return Rule(float, low=low, high=high, length=(fewest, most), ascending=ascending)


def whole(low: int, high: int = LARGEST_WHOLE, multiple: int = 1) -> Rule:
    """Make the rule that a value is a whole number in a range."""
    return Rule(int, low=low, high=high, multiple=multiple)


def wholes(fewest: int, most: int, low: int, high: int = LARGEST_WHOLE) -> Rule:
    """Make the rule that a value is a list of whole numbers in a range."""
    return Rule(int, low=low, high=high, length=(fewest, most))


def parse_size(value: Size) -> Size:
    """Read a `test_size`, a value or its text: "original", a side, or (shorter side, longer side at most).

    Raises:
        InputError: it is none of these.
    """
    text = "/".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    if text == ORIGINAL:
        return ORIGINAL
    if text == VGA:
        return VGA_SIDE, VGA_SIDE
    try:
        sides = tuple(int(part) for part in text.split("/"))
    except ValueError:
        sides = ()
    if not 1 <= len(sides) <= 2 or min(sides) < 1 or sides[-1] < sides[0] or sides[-1] > LARGEST_SIDE:
        raise InputError(f"test_size '{text:.80}': expected {SIZES}")
    return sides if len(sides) == 2 else sides[0]


def is_size(text: str) -> bool:
    """Check whether `parse_size` accepts the text."""
    try:
        parse_size(text)
    except InputError:
        return False
    return True


SIZES = (f"'original', the longer side in pixels as 832, the shorter side and the longest that the other may be as "
         f"1600/2176 (at most {LARGEST_SIDE}), or 'vga'")
FLAG = Rule(bool)
TEXT = Rule(str)
TABLE = Rule(dict)
SIZE = Rule(str, test=is_size, words=SIZES)
PAD = one_of(*PADS)
SHARE = number(0, 1)
IOU = number(0.001, 1)

DETECTOR = {
    "test_scales": numbers(1, 64, 0.001, 16),
    "flip_test": FLAG,
    "nms": one_of(*NMS_KINDS),
    "nms_iou": SHARE,
    "top_k": whole(1, 1_000_000),
    "score_threshold": SHARE,
    "peaks": FLAG,
    "fill": numbers(3, 3, 0, 255),
}
INFERENCE = {
    "batch_size": whole(1, 4096),
    "threads": whole(1, 1024),
    "max_pixels": whole(1, 10 ** 10),
}
