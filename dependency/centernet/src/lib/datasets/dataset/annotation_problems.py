# SPDX-License-Identifier: Apache-2.0
"""Problems in annotation files and their messages; numbers as these files hold them.

    raise_problems([Problem("label.txt", 7, "a/b.jpg", "size", "width -3, height 5")], "Repair with: ...")

Boxes are xyxy pixels, landmarks [N, 5, 2] pixels.
"""
from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dependency.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One thing wrong in an annotation file.

    file: the annotation file; line: its line from 1, 0 where there are none (json, mat, Records in memory).
    image: path of the image, "" where not known; kind: one of `KINDS`; text: what is wrong, with the values.
    """
    file: str
    line: int
    image: str
    kind: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.image, self.text) if part)


# It is not sure to which image faces belong: no reader leaves these out and goes on.
NO_IMAGE_KINDS = ("image", "image_twice")
SMALLEST = 0.99  # pixels: a side of one pixel, rounded in float32
KINDS = {
    "image": "a line that may name an image is not understood; the rows below it belong to no image",
    "syntax": "wrong number of columns or keypoints, a missing key, not a number, an unknown flag",
    "count": "the stated number of faces is not the number of rows",
    "number": "not finite (nan, inf) or beyond float32",
    "size": "box without area: zero or negative width or height",
    "below_pixel": "box with a side below one pixel",
    "outside": "box reaches over the image border",
    "landmark": "landmark far outside its box, or keypoints that are not the five points",
    "duplicate": "the same box twice in one image",
    "image_twice": "the same image in two places of one file, with several faces in one",
    "image_missing": "no such image file",
    "image_unreadable": "image file cannot be decoded",
    "image_turned": "boxes are of the picture as its EXIF orientation shows it; the stored pixels are read",
    "image_orientation": "an EXIF orientation; unknown whether boxes are of the stored or of the shown picture",
    "image_size": "annotated height and width are those of a smaller or larger copy of the image",
    "image_shape": "annotated height and width are of another shape than the image file",
}


def raise_problems(problems: Sequence[Problem], remedy: str) -> None:
    """Raise an InputError naming the first five of `problems` and ending with `remedy`, if there are any."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:5])
    more = f"\n  ... and {len(problems) - 5} more" if len(problems) > 5 else ""
    raise InputError(f"{len(problems)} unusable annotation(s):\n{shown}{more}\n{remedy}")


def repair_hint(path: str | Path) -> str:
    """Return the command that repairs an annotation file with unusable rows, for a message."""
    return f"Repair with: python -m src.tools.prepare_wider --annotation {path} --repair fixed.json"


def face_faults(boxes: np.ndarray, landmarks: np.ndarray) -> list[tuple[int, str, str]]:
    """List (face, kind, text) of every face that cannot be trained on: numbers not finite, a box below a pixel.

    boxes: [N, 4] xyxy pixels; landmarks: [N, 5, 2] pixels.
    """
    numbers = np.concatenate([boxes, landmarks.reshape(len(boxes), 10)], axis=1)
    finite = np.isfinite(numbers).all(axis=1)
    with np.errstate(invalid="ignore"):
        sizes = boxes[:, 2:] - boxes[:, :2]
    faults = []
    for face in np.flatnonzero(~(finite & (sizes >= SMALLEST).all(axis=1))):
        if finite[face]:
            width, height = sizes[face]
            kind = "below_pixel" if min(width, height) > 0 else "size"
            faults.append((int(face), kind, f"box of width {width:g}, height {height:g}: expected a pixel at least"))
        else:
            bad = numbers[face][~np.isfinite(numbers[face])]
            faults.append((int(face), "number", f"{bad[0]} is not a usable coordinate"))
    return faults


def image_name(text: str, place: str) -> str:
    """Convert an image's path to the form that Records hold: forward slashes, one at a time, no "." and "x/..".

    Args:
        text: the path as written.
        place: where it is written, for the error.

    Raises:
        InputError: it is empty or holds a NUL character.
    """
    # A leading "//" has a meaning of its own in POSIX, and is kept by normpath.
    name = posixpath.normpath(text.replace("\ufeff", "").strip().replace("\\", "/").replace("//", "/"))
    if name == "." or "\0" in name:
        raise InputError(f"{place}: image name {text!r}; expected <event>/<name>.jpg")
    return name


def xywh_numbers(box: np.ndarray) -> list[float]:
    """Convert one float32 xyxy box to x, y, width, height: short decimals that give the same corners when read back."""
    corners = [short_number(value) for value in box]
    sizes = []
    for low, high, exact in zip(corners[:2], corners[2:], box[2:]):
        size = short_number(high - low)
        # Rounded to float32's digits the sum may miss the corner by one unit: then the difference as it is.
        sizes.append(size if np.float32(low + size) == exact else float(exact) - low)
    return corners[:2] + sizes


def short_number(value: float) -> float:
    """Return the number with the fewest digits that is the same float32; an int if it is whole."""
    number = float(str(np.float32(value)))
    return int(number) if number.is_integer() else number
