# SPDX-License-Identifier: Apache-2.0
"""The metadata of a file of weights: which network it is, how it is fed and decoded. See docs/formats.md.

    check_metadata(metadata, path)                         # the values that are there are allowed
    spec = spec_of(metadata, path)                         # and all that a network needs is there
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import (
    DETECTOR,
    PAD,
    SIZES,
    TABLE,
    TEXT,
    Rule,
    is_size,
    numbers,
    one_of,
    whole,
)
from dependency.errors import InputError
from src import models
from src.models import ModelSpec

# The entry of a .ckpt or the property of an .onnx that holds the metadata, as JSON; older files have the other key.
METADATA_KEY = "metadata"
OLD_METADATA_KEY = "card"
# What is needed to find faces with a file.
REQUIRED = ("model", "options", "input", "decoder")
# By name; those of inner tables behind a dot.
_RULES = {
    "model": TEXT,
    "options": TABLE,
    "input": TABLE,
    "input.channels": one_of("BGR", "RGB"),
    "input.mean": numbers(3, 3),
    "input.std": numbers(3, 3, 1e-6),
    "decoder": TEXT,
    "detect": TABLE,
    "deploy": TABLE,
    "deploy.score_threshold": DETECTOR["score_threshold"],
    "export": TABLE,
    "export.sha256": TEXT,
    "export.decode_rows": whole(0),
    "export.input": TABLE,
    "export.input.shape": Rule(list, words="[batch, height, width, 3], null where any will do",
                               test=lambda shape: len(shape) == 4 and shape[3] == 3 and all(
                                   side is None or whole(1).holds(side) for side in shape)),
}
# The arguments of `BaseDetector`; a size may also be a number or a pair of them.
_DETECT_RULES = {"test_size": Rule(object, test=is_size, words=SIZES), "pad": PAD, **DETECTOR}
_ADVICE = "make the file again with the program that wrote it (train.py, export.py, src.tools.convert)"


def metadata_path(path: str | Path) -> Path:
    """Name the file that holds the metadata of a .mindir or .air, which cannot hold it themselves."""
    return Path(f"{path}.json")


def parse_metadata(text: str, path: str | Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """Parse metadata from JSON and check it.

    Raises:
        InputError: not a JSON object, or as `check_metadata`.
    """
    metadata = parse_table(text, f"{path}: its metadata", _ADVICE)
    check_metadata(metadata, path, required)
    return metadata


def parse_table(text: str, what: str, advice: str) -> dict[str, Any]:
    """Parse a JSON object from a file; InputError, with its name and what to do, for anything else."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON ({error}); {advice}") from error
    if not isinstance(table, dict):
        raise InputError(f"{what} is not a table of names and values; {advice}")
    return table


def check_metadata(metadata: dict[str, Any], path: str | Path, required: Sequence[str] = ()) -> None:
    """Check the values of metadata.

    Args:
        metadata: from JSON.
        path: the file, for the message.
        required: names that must be there, those of inner tables behind a dot.

    Raises:
        InputError: a name is missing or has a wrong value; the message names it.
    """
    if "input" in metadata:
        required = (*required, "input.channels", "input.mean", "input.std")
    with _naming(f"{path}: its metadata"):
        for name, rule in _RULES.items():
            *tables, last = name.split(".")
            table = metadata
            for each in tables:             # their rules come before those of their entries
                table = table.get(each, {})
            if last in table:
                rule.require(name, table[last])
            elif name in required:
                raise InputError(f"{name} is missing: expected {rule.expected}")
    detect = metadata.get("detect", {})
    with _naming(f"{path}: its metadata's detect"):
        for name, value in detect.items():
            one_of(*_DETECT_RULES).require("option", name)
            _DETECT_RULES[name].require(name, value)


def spec_of(metadata: dict[str, Any], path: str | Path) -> ModelSpec:
    """Find the spec of metadata's model, once everything that finding faces needs is there and allowed.

    Raises:
        InputError: as `check_metadata`; an unknown model or decoder, options that the model does not have.
    """
    check_metadata(metadata, path, REQUIRED)
    with _naming(f"{path}: its metadata"):
        spec = models.spec(metadata["model"])
        for name, rule in spec.option_rules.items():
            if name in metadata["options"]:
                rule.require(f"options.{name}", metadata["options"][name])
        spec.decoder(metadata)
        spec.check_options(metadata.get("detect", {}))
    return spec


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Add the file to the front of an error's text and what to do to its end."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}; {_ADVICE}") from error
