# SPDX-License-Identifier: Apache-2.0
"""The annotated images that a training uses, and those of them that cannot be read.

    records = training_records("train/label.txt", Path("train/images"), only_existing=False)
    photograph = TrainingImage(image_dir, records[index], index)        # raises BadImageError
    part, square = photograph.read(window, size=640)
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.augment import View, join_views
from dependency.centernet.src.lib.utils.image_file import StoredImage, missing_text, read_header
from dependency.errors import InputError, TrainingError
from dependency.extd.utils.augmentations import Window
from src.annotations.image_frame import check_fit, fit_to_file
from src.annotations.layout import check_layout
from src.annotations.read_write import drop_empty_faces, name_files, read_annotations
from src.common.log import LOGGER
from src.data.data_file import read_data_file

NONE_BAD = -1
# Pixels around a window that its interpolation may need.
MARGIN = 2


class BadImageError(InputError):
    """An image of the training set cannot be read; `index` is its index among the records."""

    def __init__(self, message: str, index: int = NONE_BAD):
        super().__init__(message)
        self.index = index


def training_records(path: str | Path, image_dir: Path, only_existing: bool = False,
                     background_images: bool = False) -> Annotations:
    """Read the records of an annotation file whose image exists and shows at least one face that is not ignored.

    Faces below a pixel, of which the published label files have some, are left out and counted in the log, like images
    without a face. An image all of whose faces are ignored, or below a pixel, is never background.

    Args:
        path: see `read_annotations`.
        image_dir: holds the images.
        only_existing: skip missing images and log their number; without it they are an error.
        background_images: include the images without a face.

    Raises:
        InputError: no such file, a bad annotation, no image folder, a missing image, no image with a face.
    """
    if not Path(path).is_file():
        raise InputError(f"no annotation file {path}; to make one: python -m src.tools.prepare_wider --help, or, "
                         "without any data, python -m src.tools.synthetic --help")
    if not image_dir.is_dir():
        raise InputError(f"--img_dir: {image_dir} is not a folder; expected the images as <event>/<name>.jpg in it")
    records = name_files(drop_empty_faces(read_annotations(path, on_problem="collect"), path), image_dir)
    there = [(image_dir / path).is_file() for path in records.paths]
    if not all(there):
        missing = [path for path, found in zip(records.paths, there) if not found]
        if not any(there) or not only_existing:
            remedy = ", or --only_existing to train on those that are there" if any(there) else ""
            raise InputError(f"{missing_text(missing, len(records), image_dir)}; give the right --img_dir{remedy}")
        LOGGER.info("training on %d of %d annotated images", sum(there), len(records))
    present = records.select(np.flatnonzero(there))
    check_layout(present, path, image_dir)
    usable = select_records(records, present, path, background_images)
    _warn_turned(usable, path, image_dir)
    return usable


def _warn_turned(records: Sequence[Record], path: str | Path, image_dir: Path) -> None:
    """Warn of images whose EXIF orientation leaves two ways to read their boxes: they count as of the stored pixels."""
    unclear = []
    for record in records:
        with suppress(InputError, OSError):         # a damaged image is reported when it is read
            _, faults = fit_to_file(record, read_header(image_dir / record.path))
            unclear += [record.path for fault in faults if fault.kind == "image_orientation"]
    if unclear:
        LOGGER.warning("%d of %d images have an EXIF orientation, and nothing tells whether their boxes are of the "
                       "stored pixels (so they are trained on) or of the picture as shown, the first: %s; if as "
                       "shown: python -m src.tools.prepare_wider --annotation %s --image_dir %s --exif shown --out "
                       "turned.json",
                       len(unclear), len(records), unclear[0], path, image_dir)


def own_records(path: str | Path, background_images: bool = False) -> tuple[Annotations, Path]:
    """Read the records to train on, and the folder of their images, of a data file; raise as `read_data_file`."""
    data = read_data_file(path)
    return select_records(data.train, data.train, path, background_images), data.image_dir


def select_records(records: Annotations, present: Annotations, source: str | Path,
                   background_images: bool = False) -> Annotations:
    """Select the records to train on; log how many are background or left out.

    Args:
        records: all that were read; present: those of them whose image is there.
        source: their file, for messages.
        background_images: include the images without a face.

    Raises:
        InputError: no image with a face.
    """
    annotated = {path for path, count in zip(records.paths, np.diff(records.starts)) if count}
    annotated.update(problem.image for problem in records.problems)
    with_face = [bool((~record.ignore).any()) for record in present]
    empty = [path not in annotated for path in present.paths]
    if background_images:
        LOGGER.info("%d images without a face are background", sum(empty))
    elif any(empty):
        LOGGER.info("%d images without a face are left out; --background_images trains on them, too", sum(empty))
    unusable = len(present) - sum(with_face) - sum(empty)
    if unusable:
        LOGGER.info("%d images are left out: all their faces are ignored or below a pixel", unusable)
    usable = present.select([index for index, (face, background) in enumerate(zip(with_face, empty))
                             if face or background and background_images])
    if not len(usable.boxes):
        raise InputError(f"{source}: no image with a face; check it: "
                         f"python -m src.tools.prepare_wider --annotation {source} --validate")
    LOGGER.info("Loaded train %d samples", len(usable))
    return usable


def fingerprint(records: Sequence[Record]) -> str:
    """Return 16 hexadecimal digits that differ for other images, another order of them or other annotations."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.path}\n".encode("utf-8", "surrogateescape"))
        visible = record.visibility > 0
        landmarks = np.where(visible[..., None], record.landmarks, 0)
        for values in (record.boxes, landmarks, visible, record.ignore):
            digest.update(np.asarray(values, np.float32).tobytes())
    return digest.hexdigest()[:16]


class TrainingImage:
    """The image of a Record; `shape`, its height and width, is known before `read` decodes it.

    Args:
        image_dir: holds it; index: its index among the records, for the error.

    Raises:
        BadImageError: this image is missing, empty, damaged or not an image.
        InputError: its size is not the annotated one; or the whole folder is gone.
    """

    def __init__(self, image_dir: Path, record: Record, index: int):
        self.image_dir, self.index = image_dir, index
        with _reading(image_dir, index):
            self._stored = StoredImage(image_dir / record.path)
        self.shape = self._stored.height, self._stored.width
        check_fit(record, self.shape, image_dir)

    def read(self, window: Window, size: int) -> tuple[np.ndarray, Window]:
        """Decode, once, the part that a window shows and two pixels around it; raise as above.

        Args:
            size: pixels of a side that the window is to have; the image is decoded at a smaller scale where it may be.

        Returns:
            BGR uint8 [H, W, 3], smaller than the file's by `window.reduction(size)`; and the window in its pixels.
        """
        factor = window.reduction(size)
        square = window.reduced(factor)
        low, high = [], []
        for start, extent in zip((square.x, square.y), (-(-side // factor) for side in self.shape[::-1])):
            low.append(min(max(0, int(start) - MARGIN), extent - 1))
            high.append(max(low[-1] + 1, min(extent, int(start + square.side) + 1 + MARGIN)))
        with _reading(self.image_dir, self.index):
            part = self._stored.read(factor, low + high)
        return part, Window(square.x - low[0], square.y - low[1], square.side)


@contextmanager
def _reading(image_dir: Path, index: int) -> Iterator[None]:
    try:
        yield
    except (InputError, OSError) as error:
        if not image_dir.is_dir():
            raise InputError(f"{image_dir}: the image folder is gone (it was there when training began); restore it "
                             "and continue from the last checkpoint") from error
        raise BadImageError(str(error), index) from error


@contextmanager
def image_named(name: str) -> Iterator[None]:
    """Name the image in an error of any kind that making its sample raises, as one of a library."""
    try:
        yield
    except (InputError, TrainingError):
        raise
    except Exception as error:
        raise TrainingError(f"{name}: {type(error).__name__}: {error}") from error


def mosaic(index: int, count: int, describe: Callable[[int], str], view: Callable[[int], View],
           rng: np.random.Generator) -> View:
    """Join image `index` and three random ones of `count`, each seen through its own window.

    Args:
        describe: image index -> its name. view: image index -> its quarter.
    """
    views = []
    for each in map(int, (index, *rng.integers(count, size=3))):
        with image_named(describe(each)):
            views.append(view(each))
    return join_views(views)


class BadImages:
    """Logs each image that cannot be read once.

    Args:
        describe: image index -> its name.
    """

    def __init__(self, describe: Callable[[int], str]):
        self.describe = describe
        self.known: set[int] = set()

    def record(self, column: np.ndarray) -> int:
        """Log the new ones of a batch, int32 [B] with NONE_BAD for good samples; the number of replaced samples."""
        bad = column[column != NONE_BAD]
        for index in sorted(set(bad.tolist()) - self.known):
            self.known.add(index)
            LOGGER.warning("skipped image: %s cannot be read; another one replaces it (--bad_images error stops "
                           "training instead)", self.describe(index))
        return len(bad)
