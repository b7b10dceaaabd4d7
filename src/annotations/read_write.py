# SPDX-License-Identifier: Apache-2.0
"""Face annotations of any known format in, RetinaFace's label.txt or CenterFace's train.json out.

    records = read_annotations("train/label.txt", image_dir="train/images")
    write_coco("train.json", records)

A Record speaks xyxy pixels and landmarks [N, 5, 2]; docs/formats.md shows the files.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import (
    NO_IMAGE_KINDS,
    face_faults,
    raise_problems,
    repair_hint,
    short_number,
    xywh_numbers,
)
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, write_coco
from dependency.centernet.src.lib.utils.image_file import find_named, read_header
from dependency.errors import InputError
from dependency.files import atomic_write
from src.annotations.check import Repair, merge, repair, validate
from src.annotations.formats import FORMATS, parse
from src.annotations.image_frame import fit_to_file
from src.common.log import LOGGER

EMPTY_KINDS = ("size", "below_pixel")

__all__ = ["FORMATS", "Annotations", "Repair", "drop_empty_faces", "fill_sizes", "merge", "name_files",
           "read_annotations", "repair", "validate", "write_coco", "write_label_txt", "write_records"]


def read_annotations(path: str | Path, fmt: str | None = None,
                     image_dir: str | Path | None = None, on_problem: str = "raise",
                     fit: bool = True) -> Annotations:
    """Read an annotation file, one Record for every image, also for those without faces.

    Args:
        path: a file of `FORMATS`, or a folder with a file for each image.
        fmt: one of `FORMATS`; detected from the content when None.
        image_dir: where the images are; needed for a folder.
        fit: with `image_dir`, bring boxes, heights and widths to the images' own.
        on_problem: "raise", or "collect" to leave unusable rows out and list them in `.problems`.

    Raises:
        InputError: not such a file; an image as `fill_sizes` says; faces of which it is not sure to which image they
            belong; with "raise", the unusable rows by file and line.
    """
    if on_problem not in ("raise", "collect"):
        raise InputError(f'on_problem {on_problem!r}; expected "raise" or "collect"')
    annotations = parse(path, fmt, image_dir)
    raise_problems([problem for problem in annotations.problems if problem.kind in NO_IMAGE_KINDS],
                   "Correct the file, so that each face belongs to one image")
    if on_problem == "raise":
        raise_problems(annotations.problems, repair_hint(path))
    if image_dir is None:
        return annotations
    annotations = name_files(annotations, image_dir)
    return fill_sizes(annotations, image_dir) if fit else annotations


def drop_empty_faces(records: Annotations, source: str | Path) -> Annotations:
    """Return Records whose unusable rows are only faces below a pixel, which are left out and counted in the log.

    Raises:
        InputError: any other unusable row of `source`, by file and line.
    """
    raise_problems([problem for problem in records.problems if problem.kind not in EMPTY_KINDS], repair_hint(source))
    if records.problems:
        LOGGER.warning("%d faces of less than a pixel are left out, the first: %s", len(records.problems),
                       records.problems[0])
    return records


def name_files(annotations: Annotations, image_dir: str | Path) -> Annotations:
    """Name the images of a .mat, which knows no suffix, as their files in `image_dir`; return other files' as they are.

    Raises:
        InputError: two files of one name.
    """
    if Path(annotations.file).suffix != ".mat":
        return annotations
    stems = {path: os.path.splitext(path)[0] for path in annotations.paths}
    found = find_named(Path(image_dir), stems.values())
    return annotations.renamed({path: found.get(stem, path) for path, stem in stems.items()})


def fill_sizes(records: Sequence[Record], image_dir: str | Path) -> Annotations:
    """Return the records with the heights and widths of the images, and boxes in their pixels (see `fit_to_file`).

    Raises:
        InputError: an image that is missing or no image, or to which the boxes cannot be brought.
    """
    annotations = Annotations.of(records)
    filled = annotations.select(range(len(annotations)))
    filled.exif = None
    for index, record in enumerate(tqdm(annotations, desc="image sizes", unit="image", disable=None)):
        fitted, faults = fit_to_file(record, read_header(Path(image_dir) / record.path), annotations.exif)
        if not fitted.height:
            raise InputError(f"{record.path}: {faults[-1].text}")
        faces = slice(filled.starts[index], filled.starts[index + 1])
        filled.sizes[index] = fitted.height, fitted.width
        filled.boxes[faces], filled.landmarks[faces] = fitted.boxes, fitted.landmarks
        filled.visibility[faces] = fitted.visibility
    return filled


def write_label_txt(path: str | Path, records: Iterable[Record]) -> None:
    """Write RetinaFace's label.txt, 20 columns a face; the last, the quality, is -1 (unknown).

    Raises:
        InputError: a face that is ignored (the format has no word for it) or that could not be read back.
    """
    lines = []
    for record in records:
        lines.append(f"# {record.path}")
        faults = face_faults(record.boxes, record.landmarks)
        if faults:
            raise InputError(f"{record.path}: {faults[0][2]}; repair before writing {path}")
        if record.ignore.any():
            raise InputError(f"{record.path}: {record.ignore.sum()} faces to ignore, which label.txt cannot "
                             "say; write a .json instead, or leave them out with --drop_invalid")
        lines += [_label_row(record, face) for face in range(len(record.boxes))]
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines))


def _label_row(record: Record, face: int) -> str:
    words = [_text(number) for number in xywh_numbers(record.boxes[face])]
    for point, seen in zip(record.landmarks[face], record.visibility[face]):
        words += [_text(short_number(value)) for value in point] if seen else ["-1.0", "-1.0"]
        words.append({0: "-1.0", 1: "1.0", 2: "0.0"}[int(seen)])
    return " ".join(words + ["-1.0"])


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else np.format_float_positional(number, trim="-")


def write_records(path: str | Path, records: Sequence[Record]) -> None:
    """Write .json as COCO-keypoints, .txt as label.txt.

    Raises:
        InputError: another ending, or records that the format cannot hold.
    """
    writers = {".json": write_coco, ".txt": write_label_txt}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise InputError(f"{path}: expected a name that ends in .json (COCO) or .txt (label.txt)")
    writers[suffix](path, records)
