# SPDX-License-Identifier: Apache-2.0
"""Find faces in photographs, and write what `predict.py` promises for each.

    items = list_items(["photos/"], recursive=True)
    status = predict_photos(FaceDetector(), items, Path("found"))
"""
from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_faces
from dependency.centernet.src.lib.utils.image import shrink
from dependency.centernet.src.lib.utils.image_file import find_images
from dependency.errors import InputError
from dependency.files import plain_text
from src.common.draw import contact_sheet, write_image
from src.common.log import LOGGER

# A contact sheet: at least so many columns, cells at most so large, the whole at most so wide, in pixels.
SHEET_COLUMNS, SHEET_CELL, SHEET_WIDTH = 4, 480, 8000


class Item(NamedTuple):
    """An image or video, and the name of its results below the output folder, without suffix."""
    path: Path
    stem: Path


def list_items(sources: Sequence[str | Path], recursive: bool = False, out: Path | None = None) -> list[Item]:
    """List image files: those named, and those in named folders.

    Args:
        sources: files (whatever their suffix) and folders.
        recursive: also in the folders below, whose names then stand before those of the results.
        out: the output folder; what lies in it is left out where it is below a source.

    Raises:
        InputError: nothing of this name; a folder without images.
    """
    stems: dict[Path, Path] = {}
    for source in map(Path, sources):
        if source.is_dir():
            results = out.resolve() if out and source.resolve() in out.resolve().parents else None
            stems.update((path, path.relative_to(source)) for path in find_images(source, recursive)
                         if results not in path.resolve().parents)
        elif source.is_file():
            stems[source] = Path(source.name)
        else:
            raise InputError(f"{plain_text(source)}: no such image or folder")
    return name_results(stems)


def name_results(stems: dict[Path, Path]) -> list[Item]:
    """Build items of paths and their names below the output folder; where two have one stem the later gets a number."""
    items: list[Item] = []
    used: set[Path] = set()
    for path, below in stems.items():
        plain = below.with_suffix("")
        stem, number = plain, 1
        while stem in used:
            number += 1
            stem = plain.with_name(f"{plain.name}_{number}")
        used.add(stem)
        items.append(Item(path, stem))
    return items


def check_outputs(images: Sequence[Item], videos: Sequence[Item], out: Path, sheet: str | None = None) -> None:
    """Refuse, before anything is computed, what cannot be written.

    Raises:
        InputError: a result would replace one of the images or videos; OpenCV writes no sheet of this suffix.
    """
    if sheet and not cv2.haveImageWriter(sheet):
        raise InputError(f"--sheet {plain_text(sheet)}: OpenCV cannot write this kind of image; name it .jpg or .png")
    inputs = {item.path.resolve() for item in [*images, *videos]}
    outputs = [out / f"{item.stem}.jpg" for item in images]
    outputs += [out / f"{item.stem}.mp4" for item in videos]
    outputs += [Path(sheet)] if sheet else []
    for path in outputs:
        if path.resolve() in inputs:
            raise InputError(f"{plain_text(path)}: is one of the images to look at, and would be overwritten; choose "
                             "another --out (or --sheet)")


def predict_photos(detector: Any, items: Sequence[Item], out: Path, sheet: str | None = None,
                   crop: float | None = None, align: int | None = None) -> int:
    """Write drawing, text and JSON of each image into `out`; print a line for each.

    Args:
        detector: a `FaceDetector`.
        sheet: also draw all of them on this image file.
        crop: also write each face's part of the image, its box enlarged by this share all around.
        align: also write each face upright, with this side in pixels.

    Returns:
        exit status: 1 where an image could not be read, or its faces not be drawn or aligned, else 0.
    """
    columns = max(SHEET_COLUMNS, math.ceil(math.sqrt(len(items))))
    cell = min(SHEET_CELL, SHEET_WIDTH // columns)
    captions: list[str] = []
    pictures: list[np.ndarray] = []
    done = 0
    for item, image, faces in _detect(detector, items):
        picture = draw_faces(image, faces)
        try:
            _write(out, item, image, faces, picture, crop, align)
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
                raise
            LOGGER.error("%s", error)
            continue
        print(f"{plain_text(item.path)}: {describe(faces)} -> {plain_text(out / item.stem)}.jpg", flush=True)
        done += 1
        if sheet:
            captions.append(plain_text(item.path.name))
            pictures.append(shrink(picture, cell)[0])
    if sheet and pictures:
        write_image(Path(sheet), contact_sheet(pictures, columns, cell, captions))
    return 0 if done == len(items) else 1


def describe(faces: Faces) -> str:
    """Say how many faces there are, and the best score."""
    best = f", best score {faces.scores[0]:.3f}" if len(faces) else ""
    return f"{len(faces)} face{'' if len(faces) == 1 else 's'}{best}"


def _detect(detector: Any, items: Sequence[Item]) -> Iterator[tuple[Item, np.ndarray, Faces]]:
    """Yield the items that can be read, with their image and its faces; log the others."""
    for start in range(0, len(items), detector.batch_size):
        images: dict[Item, np.ndarray] = {}
        for item in items[start:start + detector.batch_size]:
            try:
                images[item] = detector.read(item.path)
            except (InputError, OSError) as error:
                LOGGER.error("%s", error)
        yield from zip(images, images.values(), detector.detect(list(images.values())))


def _write(out: Path, item: Item, image: np.ndarray, faces: Faces, picture: np.ndarray,
           crop: float | None, align: int | None) -> None:
    stem = out / item.stem
    faces.save(f"{stem}.txt", item.path.name)
    faces.save(f"{stem}.json", item.path, image.shape[:2])
    write_image(Path(f"{stem}.jpg"), picture)
    if crop is not None:
        _write_faces(out / "crops" / item.stem, faces.crop(image, crop))
    if align is not None:
        _write_faces(out / "aligned" / item.stem, faces.align(image, align))


def _write_faces(stem: Path, images: Iterable[np.ndarray]) -> None:
    """Write `<stem>_001.png` and so on, best face first, in place of those of an earlier run."""
    number = 0
    for number, image in enumerate(images, start=1):
        write_image(Path(f"{stem}_{number:03d}.png"), image)
    while (former := Path(f"{stem}_{number + 1:03d}.png")).exists():
        former.unlink()
        number += 1
