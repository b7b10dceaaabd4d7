# SPDX-License-Identifier: Apache-2.0
"""The card of a file of weights: which network it is, how it is fed, read and used. See docs/formats.md.

    check_card(card, path)                         # what stands in it is what a card may say
    recipe = recipe_of(card, path, models.recipe)  # and all that a network needs stands there
"""
from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.rules import TABLE, TEXT, Rule, numbers, one_of, whole
from dependency.errors import InputError

# What nobody can do without who computes faces with a file.
REQUIRED = ("model", "options", "input", "decoder")
# By the names in a card, those of inner tables behind a dot.
_RULES = {
    "model": TEXT,
    "options": TABLE,
    "input": TABLE,
    "input.channels": one_of("BGR", "RGB"),
    "input.mean": numbers(3, 3),
    "input.std": numbers(3, 3, 1e-6),
    "decoder": TEXT,
    "detect": TABLE,
    "export": TABLE,
    "export.sha256": TEXT,
    "export.decode_rows": whole(0),
    "export.input": TABLE,
    "export.input.shape": Rule(lambda shape: isinstance(shape, list) and len(shape) == 4 and shape[3] == 3 and all(
        side is None or whole(1).holds(side) for side in shape), "[batch, height, width, 3], null where any will do"),
}
_DETECT = tuple(name for name in inspect.signature(BaseDetector).parameters if name not in ("forward", "decode"))
_ADVICE = "make the file again with the program that wrote it (train.py, export.py, src.tools.convert)"


def card_beside(path: str | Path) -> Path:
    """The file that holds the card of a .mindir or .air, which have no room for it."""
    return Path(f"{path}.json")


def parse_card(text: str, path: str | Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """A card from JSON, checked.

    Raises:
        InputError: it is none, or as `check_card`.
    """
    card = parse_table(text, f"{path}: its card", _ADVICE)
    check_card(card, path, required)
    return card


def parse_table(text: str, what: str, advice: str) -> dict[str, Any]:
    """A JSON object that comes from outside; InputError where it is none, with what it should be and what to do."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON ({error}); {advice}") from error
    if not isinstance(table, dict):
        raise InputError(f"{what} is no table of names and values; {advice}")
    return table


def check_card(card: dict[str, Any], path: str | Path, required: Sequence[str] = ()) -> None:
    """Look through what stands in a card.

    Args:
        card: from JSON.
        path: the file, for the message.
        required: names that must stand there, those of inner tables behind a dot.

    Raises:
        InputError: one is absent, or has a value that a card cannot have; names it.
    """
    if "input" in card:
        required = (*required, "input.channels", "input.mean", "input.std")
    with _naming(f"{path}: its card"):
        for name, rule in _RULES.items():
            *tables, last = name.split(".")
            table = card
            for each in tables:             # that these are tables was looked at before
                table = table.get(each, {})
            if last in table:
                rule.require(name, table[last])
            elif name in required:
                raise InputError(f"{name} is not there: expected {rule.expected}")
    detect = card.get("detect", {})
    with _naming(f"{path}: its card's detect"):
        for name in detect:
            one_of(*_DETECT).require("option", name)
        BaseDetector(None, None, **detect)


def recipe_of(card: dict[str, Any], path: str | Path, recipes: Callable[[str], Any]) -> Any:
    """The recipe of a card's model, which can do what the card says; see src/models.py.

    Raises:
        InputError: as `check_card` with all that is required; an unknown model or decoder, options without meaning.
    """
    check_card(card, path, REQUIRED)
    with _naming(f"{path}: its card"):
        recipe = recipes(card["model"])
        for name, rule in recipe.CARD_OPTIONS.items():
            if name in card["options"]:
                rule.require(f"options.{name}", card["options"][name])
        recipe.decoder(card)
        recipe.check_options(card.get("detect", {}))
    return recipe


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Puts what is wrong before an error's text and what to do behind it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}; {_ADVICE}") from error
