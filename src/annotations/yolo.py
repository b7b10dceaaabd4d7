# SPDX-License-Identifier: Apache-2.0
"""Labels of one image as YOLO's text files hold them: one row an object, in parts of the image's width and height.

    labels = read_yolo(Path("labels/a.txt"), "images/a.jpg", header, Classes(names=["face"], points=POINT_NAMES))

A row is class, x and y of the box's centre, width, height; then, for landmarks, n x (x, y) or n x (x, y, v).
The picture is the one that viewers show, turned as its EXIF orientation says: so YOLO's own programs read it.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_names import POINT_NAMES, five_points
from dependency.centernet.src.lib.utils.image_file import Header
from dependency.errors import InputError
from src.annotations.image_frame import shown_size
from src.annotations.objects import ImageLabels, Object
from src.annotations.rows import NO_LANDMARKS, read_row, text_lines

# Programs round, and let boxes reach a little over the border.
SLACK = 0.02


@dataclass(frozen=True)
class Classes:
    """What a data file says of YOLO's rows.

    names: of the classes, by number; (): not known, then there may be one only.
    points: names of the landmarks in a row, in their order.
    dims: 2 = x, y; 3 = x, y, v; 0 = either.
    """
    names: Sequence[str] = ()
    points: Sequence[str] = tuple(POINT_NAMES)
    dims: int = 0

    @property
    def columns(self) -> list[int]:
        """Numbers of columns that a row may have."""
        return [5, *(5 + dims * len(self.points) for dims in ((self.dims,) if self.dims else (2, 3)))]


def read_yolo(path: Path, image: str, header: Header, classes: Classes) -> tuple[ImageLabels, list[list[float]]]:
    """Read the labels of one image.

    Args:
        path: the text file.
        image: path of the image.
        header: of the image file.
        classes: what the columns mean.

    Returns:
        the labels, in pixels of the picture as shown; and the boxes as they stand in the file.
    """
    width, height = shown_size(header)
    labels = ImageLabels(str(path), image, height, width)
    boxes = []
    for number, line in text_lines(path):
        try:
            row = read_row(line)
            if len(row) not in classes.columns:
                hint = "; polygons are not read, export boxes" if len(row) > 6 and len(row) % 2 else ""
                raise InputError(f"{len(row)} columns; expected one of {', '.join(map(str, classes.columns))}{hint}")
            boxes.append(row[1:5])
            if not all(-SLACK <= value <= 1 + SLACK for value in row[1:5]):
                raise InputError(f"box {' '.join(line.split()[1:5])}: expected centre and size from 0 to 1, in parts "
                                 "of the image's width and height")
            name = _class_name(row[0], classes.names)
            labels.objects.append(Object(number, name, _pixels(row, classes, width, height)))
        except InputError as error:
            labels.faults.append((number, "syntax", str(error)))
    return labels, boxes


def check_boxes(source: str | Path, boxes: Sequence[Sequence[float]]) -> None:
    """Raise where most boxes of a set are pixels, or are corners, or have their corner in the place of their centre.

    Args:
        source: for the message.
        boxes: the four columns of all boxes, as they stand in the files.

    Raises:
        InputError: names the layout, and how to convert it.
    """
    table = np.array(boxes, np.float64).reshape(-1, 4)
    table = table[np.isfinite(table).all(axis=1)]
    if len(table) and (table.max(axis=1) > 1 + SLACK).mean() > 0.5:
        raise InputError(f"{source}: most boxes, such as {_text(table[table.max(axis=1).argmax()])}, are larger than "
                         "1: these are pixels; divide x and width by the width of the image, y and height by its "
                         "height")
    first, last = table[:, :2], table[:, 2:]
    outside = _outside(first - last / 2, first + last / 2)
    if outside.sum() < max(2, 0.05 * len(table)):
        return
    example = _text(table[outside.argmax()])
    if not _outside(first, last).any() and (last > first).all():
        raise InputError(f"{source}: boxes such as {example} reach far beyond their image as centre and size, and lie "
                         "inside it as x1 y1 x2 y2: these are corners; write (x1+x2)/2 (y1+y2)/2 x2-x1 y2-y1")
    if not _outside(first, first + last).any():
        raise InputError(f"{source}: boxes such as {example} reach far beyond their image as centre and size, and lie "
                         "inside it with x y as their top left corner; write x+width/2 y+height/2 width height")


def _outside(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    beyond: np.ndarray = (low < -SLACK) | (high > 1 + SLACK)
    return np.asarray(beyond.any(axis=1))


def _class_name(number: float, names: Sequence[str]) -> str:
    if number < 0 or number % 1:
        raise InputError(f"class {number:g}: expected a whole number from 0")
    if names and number >= len(names):
        raise InputError(f"class {number:g}: names lists {len(names)} classes, 0 to {len(names) - 1}")
    return names[int(number)] if names else f"class {number:g}"


def _pixels(row: list[float], classes: Classes, width: int, height: int) -> list[float]:
    """Convert a row to x, y, width, height, 5 x (x, y, v), in pixels."""
    sides = (width, height)
    # Whole pixels are whole again, to a hundredth: the files hold few digits.
    low, high = ([round((row[1 + axis] + sign * row[3 + axis] / 2) * sides[axis], 2) for axis in (0, 1)]
                 for sign in (-1, 1))
    box = [*low, high[0] - low[0], high[1] - low[1]]
    if len(row) == 5:
        return box + NO_LANDMARKS
    dims = (len(row) - 5) // len(classes.points)
    values: list[float] = []
    for point in zip(*(row[5 + axis::dims] for axis in range(dims))):
        unset = min(point[:2]) < 0 or not any(point[:2])        # without v: YOLO's sign of a point that is not labelled
        seen = point[2] if dims == 3 else 0.0 if unset else 2.0
        x, y = (-1, -1) if point[:2] == (-1, -1) else (round(point[0] * width, 2), round(point[1] * height, 2))
        values += [x, y, seen]
    return box + five_points(values, list(classes.points))


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:g}" for number in numbers)
