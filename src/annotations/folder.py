# SPDX-License-Identifier: Apache-2.0
"""Labels that stand in a file for each image: which file belongs to which image, and what they hold.

    annotations = read_labels("my.yaml", images, Path("labels"), Classes(names=["face"]))

The labels of images/e/a.jpg are labels/e/a.txt (or .xml, .json) or images/e/a.txt; in a folder of labels that the user
names, the file at the same place.
"""
from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dependency.centernet.src.lib.utils.image_file import read_header
from dependency.errors import InputError
from src.annotations.image_frame import SHOWN
from src.annotations.objects import ImageLabels, select_faces
from src.annotations.rows import Annotations
from src.annotations.yolo import Classes, check_boxes, read_yolo
from src.common.log import LOGGER

SUFFIXES = (".txt", ".xml", ".json")
# Lists of class names that labelling programs write beside their labels.
NO_LABELS = ("classes.txt", "notes.json", "obj.names", "predefined_classes.txt")


class ImageFile(NamedTuple):
    """An image: its name in the Records, its file, and the folder that the user named."""
    name: str
    path: Path
    folder: Path


def read_labels(source: str | Path, images: Sequence[ImageFile], label_dir: Path | None,
                classes: Classes) -> Annotations:
    """Read the labels of images; an image without a file has no face. The log counts such images.

    Args:
        source: what the user named, for messages.
        images: all of them.
        label_dir: holds the labels; None: they are beside the images, or in `labels/` for `images/`.
        classes: of YOLO's rows.

    Raises:
        InputError: two files for one image; most boxes are of another layout; no image has a file.
    """
    files = {image: _label_file(image, label_dir) for image in images}
    labels, boxes = [], []
    for image, path in files.items():
        if path is None:
            labels.append(ImageLabels("", image.name))
            continue
        found, rows = read_yolo(path, image.name, read_header(image.path), classes)
        labels.append(found)
        boxes += rows
    without = [image for image, path in files.items() if path is None]
    if len(without) == len(images):
        example = ", ".join(map(str, _candidates(images[0], label_dir)[:3]))
        raise InputError(f"{source}: none of {len(images)} images has labels; expected for example {example}; or name "
                         "the annotation file, or the folder, by `labels:`")
    empty = sum(not each.objects and not each.faults for each in labels) - len(without)
    if without:
        LOGGER.warning("%s: %d of %d images have no label file and count as images without a face, the first: %s",
                       source, len(without), len(images), without[0].path)
    if empty:
        LOGGER.info("%s: %d images have an empty label file: no face", source, empty)
    _warn_orphans(source, files)
    check_boxes(source, boxes)
    annotations = select_faces(source, labels, classes.names)
    annotations.exif = SHOWN
    return annotations


def _candidates(image: ImageFile, label_dir: Path | None) -> list[Path]:
    """List where the labels of an image may be."""
    if label_dir is not None:
        places = [label_dir / image.path.relative_to(image.folder)]
    else:
        places = [image.path]
        parts = image.path.parts
        if "images" in parts[:-1]:
            last = len(parts) - 2 - parts[-2::-1].index("images")
            places.insert(0, Path(*parts[:last], "labels", *parts[last + 1:]))
    return [place.with_name(place.stem + suffix) for place in places for suffix in SUFFIXES]


def _label_file(image: ImageFile, label_dir: Path | None) -> Path | None:
    found = [path for path in _candidates(image, label_dir) if path.is_file()]
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]} are both labels of {image.path}; move one of them away, or name "
                         "the folder of the right ones by `labels:`")
    return found[0] if found else None


def _warn_orphans(source: str | Path, files: dict[ImageFile, Path | None]) -> None:
    """Warn of label files without an image, in the folders that hold nothing but labels."""
    folders: dict[Path, set[Path]] = defaultdict(set)
    for image, path in files.items():
        if path is not None and path.parent != image.path.parent:
            folders[path.parent].add(image.path.parent)
    orphans = []
    for folder, image_dirs in folders.items():
        stems = {os.path.splitext(name)[0] for image_dir in image_dirs for name in os.listdir(image_dir)}
        orphans += [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES and path.name not in NO_LABELS
                    and path.stem not in stems]
    if orphans:
        LOGGER.warning("%s: %d label files have no image, the first: %s", source, len(orphans), orphans[0])
