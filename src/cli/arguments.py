# SPDX-License-Identifier: Apache-2.0
"""What argparse lacks: numbers within bounds, values that may be left out, options that would do nothing.

    parser.add_argument("--every", type=number(1, kind=int))
    args = parser.parse_args(spell_out(sys.argv[1:], {"--crop": 0.2}))
    refuse_idle(parser, args, [("record frames", args.camera is not None, "with --camera")])
"""
import argparse
import math
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from dependency.errors import InputError


def number(least: float, most: float = math.inf, kind: type = float) -> Callable[[str], Any]:
    """Reads a finite number within bounds, for `type`; `kind` int reads whole ones."""
    expected = f"a {'whole ' if kind is int else ''}number from {least:g} " + (
        "on" if most == math.inf else f"to {most:g}")

    def read(text: str) -> Any:
        try:
            value = kind(text)
            allowed = math.isfinite(value) and least <= value <= most
        except (ValueError, OverflowError):
            allowed = False
        if not allowed:
            raise argparse.ArgumentTypeError(f"'{text}': expected {expected}")
        return value
    return read


def spell_out(words: Sequence[str], optional: dict[str, float]) -> list[str]:
    """`--crop photo.jpg` as `--crop=0.2 photo.jpg`: argparse would take the file's name for the value.

    Args:
        words: of a command line.
        optional: by option the number that it means where none follows.
    """
    end = words.index("--") if "--" in words else len(words)
    following = [*words[1:], ""]
    return [f"{word}={optional[word]:g}" if place < end and word in optional and not _is_number(following[place])
            else word for place, word in enumerate(words)]


def refuse_idle(parser: argparse.ArgumentParser, args: argparse.Namespace,
                rules: Iterable[tuple[str, Any, str]]) -> None:
    """InputError for an option that was given and would be ignored.

    Args:
        rules: names of options, whether they have an effect here, and where they have.
    """
    for names, has_effect, where in rules:
        for name in names.split():
            if not has_effect and getattr(args, name) != parser.get_default(name):
                raise InputError(f"--{name} works only {where}; leave it out here")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
