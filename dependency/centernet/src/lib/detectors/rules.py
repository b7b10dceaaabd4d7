# SPDX-License-Identifier: Apache-2.0
"""What a value that comes from outside may be, and how that is said.

    whole(1).require("top_k", 0)     ->   InputError: top_k 0: expected a whole number from 1
"""
import reprlib
from numbers import Integral, Real
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.errors import InputError

# Any finite number that a photograph's pixels or their normalisation can lead to lies in here.
LARGEST = 1e6


class Rule(NamedTuple):
    """holds: whether a value is allowed. expected: what is, in words."""
    holds: Callable[[Any], bool]
    expected: str

    def require(self, name: str, value: Any) -> None:
        """InputError unless the value is allowed."""
        if not self.holds(value):
            raise InputError(f"{name} {reprlib.repr(value)}: expected {self.expected}")


def one_of(*values: str) -> Rule:
    """One of these texts."""
    return Rule(lambda value: isinstance(value, str) and value in values, f"one of {', '.join(values)}")


def number(least: float = -LARGEST, most: float = LARGEST) -> Rule:
    """A number in a range; never NaN."""
    return Rule(lambda value: _is_number(value) and least <= value <= most, f"a number{_span(least, most)}")


def numbers(fewest: int, longest: int, least: float = -LARGEST, most: float = LARGEST) -> Rule:
    """A list of numbers in a range."""
    single = number(least, most)
    length = f"{fewest}" if fewest == longest else f"{fewest} to {longest}"
    return Rule(lambda value: isinstance(value, (list, tuple, np.ndarray)) and getattr(value, "ndim", 1)
                and fewest <= len(value) <= longest and all(map(single.holds, value)),
                f"{length} numbers{_span(least, most)}")


def whole(least: int, most: int = 10 ** 9) -> Rule:
    """A whole number in a range."""
    return Rule(lambda value: isinstance(value, Integral) and not isinstance(value, bool) and least <= value <= most,
                f"a whole number from {least}" + (f" to {most}" if most < 10 ** 9 else ""))


def _span(least: float, most: float) -> str:
    return "" if (least, most) == (-LARGEST, LARGEST) else f" from {least:g} to {most:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


FLAG = Rule(lambda value: isinstance(value, (bool, np.bool_, Integral)) and value in (0, 1), "true or false")
TEXT = Rule(lambda value: isinstance(value, str), "a text")
TABLE = Rule(lambda value: isinstance(value, dict), "a table of names and values")
