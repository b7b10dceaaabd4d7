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

from dependency.centernet.src.lib.datasets.dataset.coco_names import face_categories
from src.annotations.rows import Annotations, Reader


class Object(NamedTuple):
    """A labelled object.

    line: in its file, 0 for none; name: its class; row: x, y, width, height, 5 x (x, y, v), in pixels; ignore: neither
    face nor background.
    """
    line: int
    name: str
    row: list[float]
    ignore: bool = False


@dataclass
class ImageLabels:
    """What a file says of one image.

    file: the file; image: path of the image; height, width: pixels that the file states, 0 where it states none.
    objects: what could be read; faults: (line, kind, text) of what could not, see `Problem`.
    """
    file: str
    image: str
    height: int = 0
    width: int = 0
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
        reader.begin(0, each.image, each.height, each.width, each.file)
        for line, name, row, ignore in each.objects:
            if name in faces:
                reader.blocks[-1].tried += 1
                reader.add(line, row, ignore)
        for line, kind, text in each.faults:
            reader.problem(line, text, kind)
    return reader.finish()
