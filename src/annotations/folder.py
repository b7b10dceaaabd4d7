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

from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES, folders_below, read_header
from dependency.errors import InputError
from src.annotations.image_frame import SHOWN
from src.annotations.labelling import is_document, read_document
from src.annotations.layout import check_layout, check_sizes
from src.annotations.objects import ImageLabels, select_faces
from src.annotations.rows import text_lines
from src.annotations.yolo import Classes, check_boxes, read_yolo
from src.common.log import LOGGER

SUFFIXES = (".txt", ".xml", ".json")
# Lists of class names that labelling programs write beside their labels.
CLASS_NAMES = "classes.txt"
NO_LABELS = (CLASS_NAMES, "notes.json", "predefined_classes.txt")


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
    labels, boxes, unturned = [], [], False
    for image, path in files.items():
        if path is None:
            labels.append(ImageLabels("", image.name))
        elif is_document(path):
            labels.append(_of_image(path, image))
            unturned = True
        else:
            found, rows = _yolo(path, image, classes)
            labels.append(found)
            boxes += rows
    _log_empty(source, files, labels, label_dir)
    check_boxes(source, boxes)
    annotations = select_faces(source, labels, classes.names)
    annotations.exif = None if unturned else SHOWN
    check_sizes(annotations, corners=unturned)
    check_layout(annotations, source)
    return annotations


def read_folder(folder: Path, image_dir: Path) -> Annotations:
    """Read a folder of labels, each at the same place in it as its image in `image_dir`.

    The class names are those of a `classes.txt` in the folder, if there is one.

    Raises:
        InputError: as `read_labels`; no image.
    """
    images = [ImageFile(path.relative_to(image_dir).as_posix(), path, image_dir)
              for below in folders_below(image_dir) for path in sorted(below.iterdir())
              if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        raise InputError(f"{image_dir}: no image in this folder; expected .jpg, .png or the like")
    names = folder / CLASS_NAMES
    return read_labels(folder, images, folder,
                       Classes([line for _, line in text_lines(names)] if names.is_file() else []))


def _yolo(path: Path, image: ImageFile, classes: Classes) -> tuple[ImageLabels, list[list[float]]]:
    try:
        header = read_header(image.path)
    except InputError as error:         # without its size the labels mean nothing
        return ImageLabels(str(path), image.name, faults=[(0, "image_unreadable", str(error))]), []
    return read_yolo(path, image.name, header, classes)


def _of_image(path: Path, image: ImageFile) -> ImageLabels:
    """Read a file of a labelling program as that of an image, which has its name.

    Raises:
        InputError: it is of several images.
    """
    labels, *others = read_document(path) or [ImageLabels(str(path), "")]
    if others:
        raise InputError(f"{path}: holds the labels of {1 + len(others)} images; name it by `labels:`")
    if labels.image not in ("", image.path.name) and image.path.with_name(labels.image).is_file():
        labels.faults.append((0, "image", (f"the file says that it is of {labels.image}, which is there, too; correct "
                                           "the name in the file, or that of the file")))
    labels.image = image.name
    return labels


def _log_empty(source: str | Path, files: dict[ImageFile, Path | None], labels: Sequence[ImageLabels],
               label_dir: Path | None) -> None:
    """Log how many images have no labels and count as images without a face; raise where none has any."""
    without = [image for image, path in files.items() if path is None]
    if len(without) == len(files):
        example = ", ".join(map(str, _candidates(without[0], label_dir)[:3]))
        raise InputError(f"{source}: none of {len(files)} images has labels; expected for example {example}; or name "
                         "the annotation file, or the folder, by `labels:`")
    empty = sum(not each.objects and not each.faults for each in labels) - len(without)
    if without:
        LOGGER.warning("%s: %d of %d images have no label file and count as images without a face, the first: %s",
                       source, len(without), len(files), without[0].path)
    if empty:
        LOGGER.info("%s: %d images have an empty label file: no face", source, empty)
    _warn_orphans(source, files)


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
