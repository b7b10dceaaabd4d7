# SPDX-License-Identifier: Apache-2.0
"""Annotation files of all formats: which one a file is in, and its parser; docs/formats.md shows the formats.

    annotations = parse("label.txt")        # usable faces, and .problems: the others by file and line
"""
from __future__ import annotations

import json
import re
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Callable

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_hp import read_coco
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES
from dependency.errors import InputError
from src.annotations.folder import read_folder
from src.annotations.labelling import read_document
from src.annotations.layout import check_layout, check_sizes
from src.annotations.objects import select_faces
from src.annotations.rows import read_row, text_lines
from src.annotations.wider import (
    parse_bbx_gt,
    parse_fddb,
    parse_label,
    parse_label_v2,
    parse_mat,
    sized_header,
)


def parse(path: str | Path, fmt: str | None = None, image_dir: str | Path | None = None) -> Annotations:
    """Read an annotation file, or a folder with a file for each image; unusable rows are left out, see `.problems`.

    Args:
        path: the file or folder.
        fmt: one of `FORMATS`; detected from the content when None.
        image_dir: where the images are; needed for a folder.

    Raises:
        InputError: the file as a whole is not in the format, or most of its numbers are of another layout.
    """
    path = Path(path)
    if path.is_dir():
        if image_dir is None:
            raise InputError(f"{path}: a folder of labels needs the folder of its images; add --image_dir FOLDER")
        return read_folder(path, Path(image_dir))
    fmt = sniff(path) if fmt is None else fmt
    if fmt not in FORMATS:
        raise InputError(f"annotation format {fmt!r}; expected one of {', '.join(FORMATS)}")
    annotations = FORMATS[fmt](path)
    check_sizes(annotations, corners=fmt in ("label_v2", "voc", "cvat"))
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
    text = start.decode(json.detect_encoding(start), "ignore").lstrip("\ufeff \t\r\n")
    if text[:1] in ("{", "["):
        content = path.read_bytes()
        return "labelme" if b'"shapes"' in content and b'"images"' not in content else "coco"
    if text.startswith("<"):
        return "cvat" if re.search(r"<annotations\b", text) else "voc"
    lines = [line for _, line in islice(text_lines(path), 3)]
    if lines and lines[0].startswith("#"):
        return "label_v2" if sized_header(lines[0]) else "label"
    if lines and lines[0].lower().endswith(IMAGE_SUFFIXES):
        return "bbx_gt"
    if len(lines) == 3 and lines[1].isdecimal() and len(lines[0].split()) == 1:
        columns = len(lines[2].split())
        if columns in (4, 5, 6, 10):
            return "fddb" if columns in (5, 6) else "bbx_gt"
    hint = "or name it with --format"
    if path.suffix.lower() in (".yaml", ".yml"):
        hint = f"or, of a data file: --data {path}"
    with suppress(InputError):
        if lines and read_row(lines[0]):
            hint = "or the folder of such files, if these are YOLO's labels of one image"
    raise InputError(f"{path}: not an annotation file known here; expected one of {', '.join(FORMATS)} "
                     f"(docs/formats.md), {hint}")


def _parse_coco(path: Path) -> Annotations:
    """Read COCO-keypoints json; its problems name annotation ids instead of lines."""
    problems: list[Problem] = []
    records = read_coco(path, problems)
    return Annotations(records, str(path), problems=problems)


def _parse_document(path: Path) -> Annotations:
    """Read a file of a labelling program: of one image, or of all."""
    return select_faces(path, read_document(path))


FORMATS: dict[str, Callable[[Path], Annotations]] = {
    "label": parse_label, "label_v2": parse_label_v2, "bbx_gt": parse_bbx_gt, "mat": parse_mat,
    "coco": _parse_coco, "fddb": parse_fddb, "voc": _parse_document, "cvat": _parse_document,
    "labelme": _parse_document,
}
