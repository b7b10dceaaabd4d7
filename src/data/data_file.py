# SPDX-License-Identifier: Apache-2.0
"""The data file, my.yaml: which images to train on, which to validate on, and where their labels are.

    data = read_data_file("my.yaml")
    data.train, data.val            # Records; their paths are relative to data.image_dir

    path: .                 # folder of all, relative to this file; may be left out
    train: images/train     # a folder, a list of folders, or a text file of images
    val: images/val         # may be left out: a tenth of `train` is split off
    names: [face]
    kpt_shape: [5, 3]       # where the labels hold landmarks
    labels: label.txt       # an annotation file or a folder; left out: the labels are beside the images
"""
from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import NO_IMAGE_KINDS, raise_problems
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_names import POINT_NAMES
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES, folders_below
from dependency.errors import InputError
from src.annotations.folder import ImageFile, read_labels
from src.annotations.image_frame import SHOWN, STORED
from src.annotations.read_write import drop_empty_faces, fill_sizes, name_files, read_annotations
from src.annotations.yolo import Classes
from src.cli.options import suggest
from src.common.log import LOGGER

YAML_SUFFIXES = (".yaml", ".yml")
SPLITS = ("train", "val")
KEYS = ("path", *SPLITS, "names", "nc", "kpt_shape", "kpt_names", "labels", "exif")
# Known to the programs that write such files, without a meaning here.
IDLE_KEYS = ("test", "minival", "download", "flip_idx", "kpt_sigmas", "augment", "channels", "roboflow", "yaml_file",
             "license", "info", "task", "colors", "description", "date", "author", "version")
VAL_SHARE = 0.1


@dataclass(frozen=True)
class DataFile:
    """What a data file names.

    path: the file; image_dir: holds all images.
    train, val: one Record for each image, in its file's pixels, also for images without a face.
    """
    path: Path
    image_dir: Path
    train: Annotations
    val: Annotations

    @property
    def landmarks(self) -> bool:
        """Whether any face to train on has landmarks."""
        return any(bool(record.visibility.any()) for record in self.train)


def read_data_file(path: str | Path, on_problem: str = "raise") -> DataFile:
    """Read a data file and the labels of all its images.

    Args:
        path: the .yaml file.
        on_problem: "raise"; or "collect", for `validate` and `repair`: unusable rows are left out and listed in
            `.problems`, and boxes are not brought to the pixels of the files. With "raise" faces below a pixel are left
            out and counted in the log.

    Raises:
        InputError: an unknown key or a wrong value; no such folder; no image has labels; an unusable row.
    """
    path = Path(path)
    content = _load(path)
    root = path.parent / Path(str(content.get("path") or ".")).expanduser()
    if not root.is_dir():
        raise InputError(f"{path}: path: {root} is not a folder; give it relative to {path.parent or '.'}, or whole")
    listed = {split: _list_images(path, split, content.get(split), root) for split in SPLITS}
    found = [image for images in listed.values() for image, _ in images]
    image_dir = _whole(root)
    if not all(image.is_relative_to(image_dir) for image in found):
        image_dir = Path(os.path.commonpath([image.parent for image in found]))
    images = {split: [ImageFile(image.relative_to(image_dir).as_posix(), image, folder) for image, folder in of_split]
              for split, of_split in listed.items()}
    labels = content.get("labels")
    bases = [image_dir, root, path.parent]
    if isinstance(labels, dict):
        if content.get("val") is None or sorted(labels) != sorted(SPLITS):
            raise InputError(f"{path}: labels: {labels}: expected one file or folder, or `train:` and `val:` with one "
                             "each, where there are `train:` and `val:` images")
        sources = [_read(path, images[split], labels[split], bases, content) for split in SPLITS]
    else:
        every = list(dict.fromkeys(images["train"] + images["val"]))
        sources = [_read(path, every, labels, bases, content)] * 2
    names = [{image.name for image in images[split]} for split in SPLITS]
    _warn_shared(path, names)
    if content.get("val") is None:
        names = _split_off(path, images["train"], {record.path for record in sources[0]})
    splits = []
    for source, of_split in zip(sources, names):
        records = source.renamed({name: name for name in of_split})
        records.exif = content.get("exif") or records.exif
        splits.append(records if on_problem == "collect" else fill_sizes(drop_empty_faces(records, path), image_dir))
    return DataFile(path, image_dir, *splits)


def _load(path: Path) -> dict[str, Any]:
    """Read the file and check its keys and simple values."""
    import yaml  # slow to import
    if not path.is_file():
        raise InputError(f"--data: no file {path}; docs/own_images.md shows one")
    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--data: {path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"--data: {path} holds no `train: FOLDER` line; docs/own_images.md shows such a file")
    for key in map(str, content):
        if key not in KEYS + IDLE_KEYS:
            raise InputError(f"{path}: unknown key {key!r}{suggest(key, KEYS) or '; expected ' + ', '.join(KEYS)}")
    idle = [key for key in content if key in IDLE_KEYS]
    if idle:
        LOGGER.info("%s: %s: without a meaning here", path, ", ".join(idle))
    if content.get("train") is None and content.get("val") is None:
        raise InputError(f"{path}: neither train: nor val: names a folder of images")
    if content.get("exif") not in (None, SHOWN, STORED):
        raise InputError(f"{path}: exif: {content['exif']}: expected {SHOWN} or {STORED}")
    return content


def _classes(path: Path, content: Mapping[str, Any]) -> Classes:
    """Read names, nc, kpt_shape and kpt_names."""
    names = content.get("names") or []
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise InputError(f"{path}: names: {names}: expected a list such as [face], or 0: face")
    count = content.get("nc")
    if count is not None and (not isinstance(count, int) or count < 1 or names and count != len(names)):
        raise InputError(f"{path}: nc: {count}: expected the number of names, {len(names) or 1}")
    names = list(map(str, names)) or (["face"] if count == 1 else [])
    shape = content.get("kpt_shape") or [len(POINT_NAMES), 0]
    points = content.get("kpt_names") or POINT_NAMES
    if isinstance(points, dict):
        points = next(iter(points.values()))
    if not (isinstance(shape, list) and len(shape) == 2 and shape[1] in (0, 2, 3) and shape[0] == len(points)):
        raise InputError(f"{path}: kpt_shape: {shape}: expected [5, 3] or [5, 2]: {', '.join(POINT_NAMES)}; other "
                         "points need kpt_names, with these five among them")
    return Classes(names, list(map(str, points)), shape[1])


def _list_images(path: Path, split: str, value: Any, root: Path) -> list[tuple[Path, Path]]:
    """List the images of a split, each with the folder that names it.

    Raises:
        InputError: no such folder or file, or no image in it.
    """
    images: dict[Path, Path] = {}
    for text in value if isinstance(value, list) else [] if value is None else [value]:
        place = root / Path(str(text)).expanduser()
        if not place.exists() and str(text).startswith("../"):      # as Roboflow writes it
            place = root / str(text)[3:]
        if place.is_dir():
            found = [image for folder in folders_below(place) for image in sorted(folder.iterdir())
                     if image.suffix.lower() in IMAGE_SUFFIXES and image.is_file()]
            if not found:
                raise InputError(f"{path}: {split}: no image in {place}; expected .jpg, .png or the like")
            images.update({_whole(image): _whole(place) for image in found})
        elif place.suffix.lower() in IMAGE_SUFFIXES or not place.is_file():
            raise InputError(f"{path}: {split}: {place} is neither a folder of images nor a text file that lists them")
        else:
            images.update(_listed(path, split, place, root))
    return list(images.items())


def _whole(path: Path) -> Path:
    """Return a path from the root, without "..", links not followed: their names are those of the labels."""
    return Path(os.path.abspath(path))


def _listed(path: Path, split: str, file: Path, root: Path) -> dict[Path, Path]:
    """Read a text file of images, their paths relative to it or to `root`."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    images: dict[Path, Path] = {}
    for line in lines:
        found = next((folder for folder in (file.parent, root) if (folder / line).is_file()), None)
        if found is None:
            raise InputError(f"{path}: {split}: {file} lists {line}, which is neither in {file.parent} nor in {root}")
        images[_whole(found / line)] = _whole(found)
    if not images:
        raise InputError(f"{path}: {split}: {file} lists no image")
    return images


def _read(path: Path, images: Sequence[ImageFile], labels: Any, bases: Sequence[Path],
          content: Mapping[str, Any]) -> Annotations:
    """Read the labels of images: beside them, or from the file or folder `labels` in one of the `bases`.

    Raises:
        InputError: as `read_labels` and `read_annotations`; not one image is in the annotation file.
    """
    places = [_whole(base / Path(str(labels)).expanduser()) for base in bases[1:]] if labels else []
    place = next((place for place in places if place.exists()), None)
    if places and place is None:
        raise InputError(f"{path}: labels: {places[0]} is neither an annotation file nor a folder")
    if place is None or place.is_dir():
        annotations = read_labels(path, images, place, _classes(path, content))
    else:
        annotations = _of_images(read_annotations(place, on_problem="collect"), images, place, bases)
    raise_problems([problem for problem in annotations.problems if problem.kind in NO_IMAGE_KINDS],
                   "Correct the labels, so that each face belongs to one image")
    return annotations


def _of_images(annotations: Annotations, images: Sequence[ImageFile], labels: Path,
               bases: Sequence[Path]) -> Annotations:
    """Name the images of an annotation file as `images` does; the log counts those that are in one of both only.

    The file's names are relative to a folder of the data file, to its own folder, or to one of the `bases`.
    """
    folders = list(dict.fromkeys(image.folder for image in images))
    if len(folders) == 1:
        annotations = name_files(annotations, folders[0])
    names = {image.path: image.name for image in images}
    found = {}
    for record in annotations:
        places = [_whole(folder / record.path) for folder in (*folders, labels.parent, *bases)]
        place = next((place for place in places if place in names), None)
        if place is not None:
            found[record.path] = names[place]
    if not found:
        example = annotations[0].path if annotations else "no image"
        raise InputError(f"{labels}: not one of its {len(annotations)} images is among the {len(images)} images of the "
                         f"data file; it names for example {example}, the data file {images[0].path}")
    if len(found) < len(annotations):
        absent = next(record.path for record in annotations if record.path not in found)
        LOGGER.warning("%s: %d of its %d images are not among those of the data file, the first: %s", labels,
                       len(annotations) - len(found), len(annotations), absent)
    if len(found) < len(images):
        named = set(found.values())
        absent = next(image.name for image in images if image.name not in named)
        LOGGER.warning("%s: names %d of %d images; the others are left out, the first: %s", labels, len(found),
                       len(images), absent)
    return annotations.renamed(found)


def _split_off(path: Path, images: Sequence[ImageFile], annotated: set[str]) -> list[set[str]]:
    """Split a share off for validation by a hash of each image's path in its folder: more images move none."""
    ranks = {image.name: _rank(image.path.relative_to(image.folder).as_posix()) for image in images
             if image.name in annotated}
    if len(ranks) < 2:
        raise InputError(f"{path}: one image cannot be split into train and val; name the images of val:")
    val = {name for name, rank in ranks.items() if rank < VAL_SHARE} or {min(ranks, key=lambda name: ranks[name])}
    if len(val) == len(ranks):
        val.remove(max(ranks, key=lambda name: ranks[name]))
    LOGGER.info("%s: no val:, so %d of %d images, chosen by their names, are for validation", path, len(val),
                len(ranks))
    return [set(ranks) - val, val]


def _rank(name: str) -> float:
    return int(hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) / 16 ** 8


def _warn_shared(path: Path, names: Sequence[set[str]]) -> None:
    shared = sorted(names[0] & names[1])
    if shared:
        LOGGER.warning("%s: %d images are in train and in val, the first: %s; AP of images that were trained on is too "
                       "high", path, len(shared), shared[0])
