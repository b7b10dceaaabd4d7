# SPDX-License-Identifier: Apache-2.0
"""The metadata of a file of weights: which network it is, how it is fed, read and used. See docs/formats.md.

    check_metadata(metadata, path)                         # what stands in it is what metadata may say
    spec = spec_of(metadata, path)                         # and all that a network needs stands there
"""
from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.rules import TABLE, TEXT, Rule, numbers, one_of, whole
from dependency.errors import InputError
from src import models
from src.models import ModelSpec

# The entry of a .ckpt or the property of an .onnx that holds the metadata, as JSON; older files have the other key.
METADATA_KEY = "metadata"
OLD_METADATA_KEY = "card"
# What is needed to find faces with a file.
REQUIRED = ("model", "options", "input", "decoder")
# By the names in metadata, those of inner tables behind a dot.
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
    "export.input.shape": Rule(list, words="[batch, height, width, 3], null where any will do",
                               test=lambda shape: len(shape) == 4 and shape[3] == 3 and all(
                                   side is None or whole(1).holds(side) for side in shape)),
}
_DETECT = tuple(name for name in inspect.signature(BaseDetector).parameters if name not in ("forward", "decode"))
_ADVICE = "make the file again with the program that wrote it (train.py, export.py, src.tools.convert)"


def metadata_path(path: str | Path) -> Path:
    """The file that holds the metadata of a .mindir or .air, which have no room for it."""
    return Path(f"{path}.json")


def parse_metadata(text: str, path: str | Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """Metadata from JSON, checked.

    Raises:
        InputError: it is none, or as `check_metadata`.
    """
    metadata = parse_table(text, f"{path}: its metadata", _ADVICE)
    check_metadata(metadata, path, required)
    return metadata


def parse_table(text: str, what: str, advice: str) -> dict[str, Any]:
    """A JSON object that comes from outside; InputError where it is none, with what it should be and what to do."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON ({error}); {advice}") from error
    if not isinstance(table, dict):
        raise InputError(f"{what} is no table of names and values; {advice}")
    return table


def check_metadata(metadata: dict[str, Any], path: str | Path, required: Sequence[str] = ()) -> None:
    """Look through what stands in metadata.

    Args:
        metadata: from JSON.
        path: the file, for the message.
        required: names that must stand there, those of inner tables behind a dot.

    Raises:
        InputError: one is absent, or has a value that metadata cannot have; names it.
    """
    if "input" in metadata:
        required = (*required, "input.channels", "input.mean", "input.std")
    with _naming(f"{path}: its metadata"):
        for name, rule in _RULES.items():
            *tables, last = name.split(".")
            table = metadata
            for each in tables:             # that these are tables was looked at before
                table = table.get(each, {})
            if last in table:
                rule.require(name, table[last])
            elif name in required:
                raise InputError(f"{name} is not there: expected {rule.expected}")
    detect = metadata.get("detect", {})
    with _naming(f"{path}: its metadata's detect"):
        for name in detect:
            one_of(*_DETECT).require("option", name)
        BaseDetector(None, None, **detect)


def spec_of(metadata: dict[str, Any], path: str | Path) -> ModelSpec:
    """The spec of metadata's model, which can do what the metadata says.

    Raises:
        InputError: as `check_metadata` with all that is required; an unknown model or decoder, options without meaning.
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
    """Puts what is wrong before an error's text and what to do behind it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}; {_ADVICE}") from error
