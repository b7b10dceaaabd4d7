# SPDX-License-Identifier: Apache-2.0
"""Labels of images that may be of any class, and the faces among them.

    labels = ImageLabels("labels/a.txt", "images/a.jpg", height=480, width=640)
    labels.objects.append(Object(1, "face", [x, y, width, height] + NO_LANDMARKS))
    annotations = select_faces("my.yaml", [labels], names=["face", "mask"])
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_names import (
    POINT_NAMES,
    face_categories,
    names_a_face,
    point_index,
)
from src.annotations.rows import NO_LANDMARKS, Reader

# A landmark may lie so far outside the box of its face, in parts of the box's sides.
MARGIN = 0.25


class Object(NamedTuple):
    """A labelled object.

    line: in its file, 0 for none; name: its class; row: x, y, width, height, 5 x (x, y, v), in pixels; ignore: neither
    face nor background; fault: why it is of no use if it is a face, "" for nothing.
    """
    line: int
    name: str
    row: list[float]
    ignore: bool = False
    fault: str = ""


class Shape(NamedTuple):
    """What a labelling program draws: a box by two corners, or points; `group` joins the shapes of one face."""
    line: int
    kind: str
    label: str
    points: list
    group: str | None = None
    occluded: bool = False
    ignore: bool = False
    fault: str = ""


@dataclass
class ImageLabels:
    """What a file says of one image.

    file: the file; line: its line, 0 for none; image: path of the image; height, width: pixels that the
        file states, 0 where it states none.
    objects: what could be read; faults: (line, kind, text) of what could not, see `Problem`.
    """
    file: str
    image: str
    height: int = 0
    width: int = 0
    line: int = 0
    objects: list[Object] = field(default_factory=list)
    faults: list[tuple[int, str, str]] = field(default_factory=list)


def select_faces(source: str | Path, labels: Sequence[ImageLabels], names: Sequence[str] = ()) -> Annotations:
    """Make Records of the faces: the objects of the only class, or of those with "face" in their name.

    The log counts the others.

    Args:
        source: file or folder of all labels, for messages.
        labels: one or more for each image.
        names: all classes, where they are known.

    Raises:
        InputError: none of several classes is named "face".
    """
    counts = Counter(item.name for each in labels for item in each.objects)
    faces = set(face_categories(str(source), {name: name for name in names or counts}, counts))
    reader = Reader(Path(source))
    for each in labels:
        reader.begin(each.line, each.image, each.height, each.width, each.file)
        for line, name, row, ignore, fault in each.objects:
            if name in faces:
                reader.blocks[-1].tried += 1
                if fault:
                    reader.problem(line, fault)
                else:
                    reader.add(line, row, ignore)
        for line, kind, text in each.faults:
            reader.problem(line, text, kind)
    return reader.finish()


def add_shapes(labels: ImageLabels, shapes: Sequence[Shape]) -> None:
    """Make objects of the boxes, and give them the points that are named like the five landmarks as theirs.

    Points belong to the box of their group; without one to the only face's box that holds them.
    """
    boxes = [shape for shape in shapes if shape.kind == "box" and not shape.fault]
    rows = [[*box.points[0], box.points[1][0] - box.points[0][0], box.points[1][1] - box.points[0][1], *NO_LANDMARKS]
            for box in boxes]
    for shape in shapes:
        indices = _landmarks(shape)
        if indices is None:
            if shape.kind != "box" or shape.fault:
                fault = shape.fault or "points; expected a box"
                labels.objects.append(Object(shape.line, shape.label, NO_LANDMARKS, fault=fault))
            continue
        owners = _owners(shape, boxes)
        used = any(rows[owner][6 + 3 * index] for owner in owners for index in indices)
        if len(owners) != 1 or used:
            x, y = shape.points[0]
            why = "has such a point already" if used else f"is in {len(owners)} boxes; give box and points one group id"
            labels.faults.append((shape.line, "landmark", f"{shape.label} at ({x:g}, {y:g}) {why}"))
            continue
        for index, point in zip(indices, shape.points):
            rows[owners[0]][4 + 3 * index:7 + 3 * index] = [*point, 1.0 if shape.occluded else 2.0]
    labels.objects += [Object(box.line, box.label, row, box.ignore) for box, row in zip(boxes, rows)]


def _landmarks(shape: Shape) -> list[int] | None:
    """Say which of the five landmarks a shape is: one by its name, or five in their order; None: no landmark."""
    if shape.kind != "points" or shape.fault:
        return None
    if len(shape.points) == len(POINT_NAMES):
        return list(range(len(POINT_NAMES)))
    index = point_index(shape.label)
    return None if index is None or len(shape.points) != 1 else [index]


def _owners(shape: Shape, boxes: Sequence[Shape]) -> list[int]:
    """List the indices of the boxes that points may belong to."""
    if shape.group is not None:
        owners = [index for index, box in enumerate(boxes) if box.group == shape.group]
        if owners:
            return owners
    for margin in (0.0, MARGIN):
        holding = [index for index, box in enumerate(boxes) if _holds(box, shape.points, margin)]
        faces = [index for index in holding if names_a_face(boxes[index].label)]
        if holding:
            return faces or holding
    return []


def _holds(box: Shape, points: Sequence[Sequence[float]], margin: float) -> bool:
    return all(low - margin * (high - low) <= value <= high + margin * (high - low)
               for point in points for value, low, high in zip(point, *box.points))
