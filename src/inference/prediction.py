# SPDX-License-Identifier: Apache-2.0
"""Faces in a person's own photographs: which files, and what is written for each.

    Predictor(FaceDetector()).run(find_images(["photos/"], recursive=True), Path("found"))
"""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.image import shrink
from dependency.centernet.src.lib.utils.image_file import plain_text
from dependency.errors import InputError
from src.common.draw import contact_sheet, draw_faces, write_image
from src.common.log import LOGGER
from src.training.progress import Progress

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
SHEET_COLUMNS, SHEET_CELL = 4, 480


class Item(NamedTuple):
    """An image to look at, and the name of its results below the output folder, without suffix."""
    path: Path
    stem: Path


class Predictor:
    """Draws and writes the faces of image files.

    Args:
        detector: a `FaceDetector`, of which `read`, `detect` and `batch_size` are used.
        crop: write each face's part of the image, enlarged by this share of its box all around; None does not.
        align: write each face upright, with this side; None does not.
    """

    def __init__(self, detector: Any, crop: float | None = None, align: int | None = None):
        self.detector = detector
        self.crop, self.align = crop, align

    def run(self, items: Sequence[Item], out: Path, sheet: str | None = None) -> int:
        """Write what is wanted of each image into `out`; print a line for each.

        Returns:
            exit status: 1 where an image could not be read, or its faces not drawn or aligned, else 0.

        Raises:
            InputError: a drawing would replace an image; this happened to every image.
        """
        refuse_overwriting(items, out)
        pictures: list[np.ndarray] = []
        done: list[str] = []
        with Progress(len(items), "images", "predict", bar=False) as progress:
            for item, image, faces in self._look(items):
                progress.advance()
                if image is None:
                    continue
                picture = draw_faces(image, faces)
                try:
                    self._write(out, item, image, faces, picture)
                except InputError as error:
                    LOGGER.error("%s", error)
                    continue
                print(f"{plain_text(item.path)}: {describe(faces)} -> {plain_text(out / item.stem)}.jpg", flush=True)
                done.append(plain_text(item.path.name))
                if sheet:
                    pictures.append(shrink(picture, 2 * SHEET_CELL)[0])
        if not done:
            raise InputError(f"none of the {len(items)} images could be read and drawn")
        if sheet:
            write_image(Path(sheet), contact_sheet(pictures, SHEET_COLUMNS, SHEET_CELL, done))
        return 0 if len(done) == len(items) else 1

    def _look(self, items: Sequence[Item]) -> Iterator[tuple[Item, np.ndarray | None, Faces]]:
        """Each item with its image, None where that cannot be read, and its faces; a batch at a time."""
        size = self.detector.batch_size
        for start in range(0, len(items), size):
            group = items[start:start + size]
            images = [self._read(item.path) for item in group]
            found = iter(self.detector.detect([image for image in images if image is not None]))
            for item, image in zip(group, images):
                yield item, image, Faces.from_rows(np.empty(0)) if image is None else next(found)

    def _read(self, path: Path) -> np.ndarray | None:
        try:
            return self.detector.read(path)
        except (InputError, OSError) as error:
            LOGGER.error("%s", error)
            return None

    def _write(self, out: Path, item: Item, image: np.ndarray, faces: Faces, picture: np.ndarray) -> None:
        stem = out / item.stem
        faces.save(f"{stem}.txt", item.path.name)
        faces.save(f"{stem}.json", item.path, image.shape[:2])
        write_image(Path(f"{stem}.jpg"), picture)
        if self.crop is not None:
            write_faces(out / "crops" / item.stem, faces.crop(image, self.crop))
        if self.align is not None:
            write_faces(out / "aligned" / item.stem, faces.align(image, self.align))


def find_images(sources: Sequence[str | Path], recursive: bool = False) -> list[Item]:
    """Image files: those named, and those in named folders, by name within a folder.

    Args:
        sources: files (whatever their suffix) and folders.
        recursive: folders below as well; their names stand before those of the results. Links are followed, each
            folder is entered once.

    Raises:
        InputError: nothing of this name; a folder without images.
    """
    found: list[tuple[Path, Path]] = []
    for source in map(Path, sources):
        if source.is_dir():
            folders = _folders(source) if recursive else [source]
            inside = [(path, path.relative_to(source)) for folder in folders for path in sorted(folder.iterdir())
                      if path.suffix.lower() in SUFFIXES and path.is_file()]
            if not inside:
                below = "" if recursive or not any(map(Path.is_dir, source.iterdir())) else \
                    "; with --recursive those below are searched as well"
                raise InputError(f"{plain_text(source)}: no image in this folder; expected .jpg, .png or the "
                                 f"like{below}")
            found += inside
        elif source.is_file():
            found.append((source, Path(source.name)))
        else:
            raise InputError(f"{plain_text(source)}: no such image or folder")
    return name_results(dict(found))


def name_results(found: dict[Path, Path]) -> list[Item]:
    """Items of paths and their names below the output folder; where two have one stem the later gets a number."""
    items: list[Item] = []
    taken: set[str] = set()
    for path, below in found.items():
        plain = below.with_suffix("")
        stem, number = plain, 1
        while str(stem) in taken:
            number += 1
            stem = plain.with_name(f"{plain.name}_{number}")
        taken.add(str(stem))
        items.append(Item(path, stem))
    return items


def refuse_overwriting(items: Sequence[Item], out: Path, films: Sequence[Item] = (),
                       sheet: str | None = None, faces: Sequence[str] = ()) -> None:
    """InputError where a result would replace one of the images and videos to look at.

    Args:
        items, films: to look at.
        out: folder of the results; sheet: a file of them.
        faces: those folders in `out` that get single faces.
    """
    inputs = {each.path.resolve() for each in [*items, *films]}
    written = [out / f"{item.stem}.jpg" for item in items]
    written += [out / f"{film.stem}{ending}" for film in films for ending in (".mp4", ".part.mp4", ".jsonl")]
    written += [Path(sheet)] if sheet else []
    into = {(out / name).resolve() for name in faces}
    written += [each for each in inputs if each.parent in into]
    for each in written:
        if each.resolve() in inputs:
            raise InputError(f"{plain_text(each)}: is one of the images to look at, and would be overwritten; choose "
                             "another --out (or --sheet)")


def write_faces(stem: Path, images: Sequence[np.ndarray]) -> None:
    """`<stem>_001.png` and so on, best face first."""
    for number, image in enumerate(images, start=1):
        write_image(Path(f"{stem}_{number:03d}.png"), image)


def describe(faces: Faces) -> str:
    """How many, and the best score."""
    best = f", best score {faces.scores[0]:.3f}" if len(faces) else ""
    return f"{len(faces)} face{'' if len(faces) == 1 else 's'}{best}"


def _folders(top: Path) -> Iterator[Path]:
    """A folder and all below, each once, however links lead back."""
    seen: set[tuple[int, int]] = set()
    _is_new(top, seen)
    for folder, below, _ in os.walk(top, followlinks=True):
        below[:] = sorted(name for name in below if _is_new(Path(folder, name), seen))
        yield Path(folder)


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = folder.stat()
    except OSError:             # a link to nothing, or to itself
        return False
    identity = status.st_dev, status.st_ino
    is_new = identity not in seen
    seen.add(identity)
    return is_new
