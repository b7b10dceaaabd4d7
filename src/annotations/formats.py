# SPDX-License-Identifier: Apache-2.0
"""Annotation files of all formats: which one a file is in, and its parser; docs/formats.md shows the formats.

    annotations = parse("label.txt")        # usable faces, and .problems: the others by file and line
"""
from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Callable

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem
from dependency.centernet.src.lib.datasets.dataset.coco_hp import read_coco
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES
from dependency.errors import InputError
from src.annotations.layout import check_layout, check_sizes
from src.annotations.rows import Annotations, text_lines
from src.annotations.wider import (
    parse_bbx_gt,
    parse_fddb,
    parse_label,
    parse_label_v2,
    parse_mat,
    sized_header,
)


def parse(path: str | Path, fmt: str | None = None) -> Annotations:
    """Read an annotation file; unusable rows are left out and listed in `.problems`.

    Args:
        path: the file.
        fmt: one of `FORMATS`; detected from the content when None.

    Raises:
        InputError: the file as a whole is not in the format, or most of its numbers are of another layout.
    """
    path = Path(path)
    fmt = sniff(path) if fmt is None else fmt
    if fmt not in FORMATS:
        raise InputError(f"annotation format {fmt!r}; expected one of {', '.join(FORMATS)}")
    annotations = FORMATS[fmt](path)
    check_sizes(annotations, corners=fmt == "label_v2")
    check_layout(annotations, path)
    return annotations


def sniff(path: Path) -> str:
    """Detect the format of an annotation file from its first bytes.

    Raises:
        InputError: none of `FORMATS`.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"MATLAB 5.0"):
        return "mat"
    if start.decode(json.detect_encoding(start), "ignore").lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        return "coco"
    lines = [line for _, line in islice(text_lines(path), 3)]
    if lines and lines[0].startswith("#"):
        return "label_v2" if sized_header(lines[0]) else "label"
    if lines and lines[0].lower().endswith(IMAGE_SUFFIXES):
        return "bbx_gt"
    if len(lines) == 3 and lines[1].isdecimal() and len(lines[0].split()) == 1:
        columns = len(lines[2].split())
        if columns in (4, 5, 6, 10):
            return "fddb" if columns in (5, 6) else "bbx_gt"
    raise InputError(f"{path}: not an annotation file known here; expected one of {', '.join(FORMATS)} "
                     "(docs/formats.md), or name it with --format")


def _parse_coco(path: Path) -> Annotations:
    """Read COCO-keypoints json; its problems name annotation ids instead of lines."""
    problems: list[Problem] = []
    records = read_coco(path, problems)
    return Annotations(records, str(path), problems=problems)


FORMATS: dict[str, Callable[[Path], Annotations]] = {
    "label": parse_label, "label_v2": parse_label_v2, "bbx_gt": parse_bbx_gt, "mat": parse_mat,
    "coco": _parse_coco, "fddb": parse_fddb,
}
