# SPDX-License-Identifier: Apache-2.0
"""Refuses files whose numbers are of another layout than their format's: normalised, corners for sizes, mirrored.

    check_sizes(annotations, corners=False)
    check_layout(records, "label.txt", image_dir="train/images")
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.image_file import read_header
from dependency.errors import InputError

MOST = 0.9
# Corners read as sizes reach this far beyond the image, in parts of its side, in this part of the faces, at least two:
# a box reaches so far beyond it when its centre is right of or below that of the image.
BEYOND, BEYOND_PART = 0.1, 0.25
IMAGES_READ = 100
EYES = 10


def check_sizes(annotations: Annotations, corners: bool) -> None:
    """Raise where most boxes of a file are below a pixel, or, in a format of `corners`, many have no area.

    Raises:
        InputError: names the layout, and how to convert it.
    """
    kinds = Counter(problem.kind for problem in annotations.problems)
    small, flat = kinds["below_pixel"], kinds["size"]
    faces = len(annotations.boxes) + small + flat
    if small and 2 * small >= faces:
        first = next(problem for problem in annotations.problems if problem.kind == "below_pixel")
        raise InputError(f"{small} of {faces} boxes are smaller than a pixel, the first: {first}; these are probably "
                         "normalised coordinates (0 to 1): multiply x and width by the width of the image, y and "
                         "height by its height")
    if corners and flat > 1 and 4 * flat >= faces:
        raise InputError(f"{annotations.file}: {flat} of {faces} boxes have no area as x1 y1 x2 y2: these are probably "
                         "x y width height; write x y x+width y+height, or leave the sizes out of the # lines "
                         "(docs/formats.md)")


def check_layout(records: Sequence[Record], file: str | Path, image_dir: Path | None = None) -> None:
    """Raise where boxes look like x1 y1 x2 y2 that were read as x y width height, or left and right are exchanged.

    Args:
        records: what was read from the file.
        file: for the message.
        image_dir: the headers of some images are read from here, where a size is needed and not known.

    Raises:
        InputError: names the layout, and how to convert it.
    """
    annotations = Annotations.of(records)
    boxes = annotations.boxes
    if not len(boxes):
        return
    _check_eyes(annotations, file)
    # As corners they would be boxes, too.
    if (boxes[:, 2:] > 2 * boxes[:, :2]).all(axis=1).mean() >= MOST:
        _check_corners([record for record in annotations if len(record.boxes)], file, image_dir)


def _check_corners(records: Sequence[Record], file: str | Path, image_dir: Path | None) -> None:
    rows, headers, beyond = 0, 0, []
    for record in records:
        height, width = record.height, record.width
        if not (height and width) and image_dir is not None and headers < IMAGES_READ:
            headers += 1
            with suppress(InputError):      # missing or unreadable: reported elsewhere
                height, width, _ = read_header(image_dir / record.path)
        if height and width:
            sides = np.array([width, height])
            sizes = record.boxes[:, 2:] - record.boxes[:, :2]
            out = (record.boxes[:, 2:] > (1 + BEYOND) * sides).any(axis=1) & (sizes <= sides + 1).all(axis=1)
            beyond += record.boxes[out].tolist()
            rows += len(out)
    if len(beyond) >= max(2, BEYOND_PART * rows):
        x1, y1, x2, y2 = beyond[0]
        raise InputError(f"{file}: {len(beyond)} of {rows} boxes reach far beyond their image as x y width height, "
                         f"such as {_text([x1, y1, x2 - x1, y2 - y1])}, and lie inside it as x1 y1 x2 y2: these "
                         "are corners; write x1 y1 x2-x1 y2-y1, or use labelv2.txt, which holds corners "
                         "(docs/formats.md)")


def _check_eyes(annotations: Annotations, file: str | Path) -> None:
    both = (annotations.visibility[:, :2] > 0).all(axis=1)
    swapped = annotations.landmarks[both, 0, 0] > annotations.landmarks[both, 1, 0]
    if both.sum() >= EYES and swapped.mean() >= MOST:
        raise InputError(f"{file}: the left eye is right of the right eye in {swapped.sum()} of {both.sum()} faces; "
                         "left means left in the image here: exchange points 1 and 2, and 4 and 5 (docs/formats.md)")


def _text(numbers: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{number:g}" for number in numbers)
