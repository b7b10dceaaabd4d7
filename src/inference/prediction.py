# SPDX-License-Identifier: Apache-2.0
"""Find faces in photographs, and write what `predict.py` promises for each.

    items = list_items(["photos/"], recursive=True)
    status = predict_photos(FaceDetector(), items, Path("found"))
"""
from __future__ import annotations

import errno
import glob
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Callable, NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_faces
from dependency.centernet.src.lib.utils.image import shrink
from dependency.centernet.src.lib.utils.image_file import find_images
from dependency.errors import InputError
from dependency.files import inside, plain_text
from src.common.draw import contact_sheet, has_mark, write_image
from src.common.log import LOGGER

# The longest name of results, in bytes: with "_2" and "_001.png", and as a hidden file, it must have at most 255.
LONGEST_STEM = 230
DRAWN = "faces drawn"
# How the .json of an image and the .jsonl of a video begin.
RESULT_STARTS = (b'{\n "image": ', b'{"frame": 0,')
# A full disk ends the run; an error of another kind is that of one file.
FULL = (errno.ENOSPC, errno.EDQUOT)
# A contact sheet: at least so many columns, cells at most so large, the whole at most so wide, in pixels.
SHEET_COLUMNS, SHEET_CELL, SHEET_WIDTH = 4, 480, 8000


class Item(NamedTuple):
    """An image or video (a stream's address), and the name of its results below the output folder, without suffix."""
    path: str | Path
    stem: Path


def list_items(sources: Sequence[str | Path], recursive: bool = False, sheet: str | None = None) -> list[Item]:
    """List image files: those named, and those in named folders but for results of earlier runs among them.

    Args:
        sources: files (whatever their suffix) and folders.
        recursive: also in the folders below, whose names then stand before those of the results.
        sheet: the contact sheet that is going to be written; it counts as a result.

    Raises:
        InputError: nothing of this name; a folder without images.
    """
    stems: dict[Path, Path] = {}
    for source in map(Path, sources):
        if source.is_dir():
            paths = find_images(source, recursive)
            photos = [path for path in paths if not (sheet and path.resolve() == Path(sheet).resolve())
                      and not has_mark(path)]
            if photos and len(photos) < len(paths):
                LOGGER.info("%s: %d results of earlier runs are left out", plain_text(source), len(paths) - len(photos))
            stems.update((path, path.relative_to(source)) for path in photos or paths)
        elif source.is_file():
            stems[source] = Path(source.name)
        else:
            raise InputError(f"{plain_text(source)}: no such image or folder")
    return name_results(stems)


def name_results(stems: Mapping[Any, Path]) -> list[Item]:
    """Build items of paths and their names below the output folder.

    Where two have one stem the later gets a number; names too long for the suffixes of results are cut.
    """
    items: list[Item] = []
    used: set[Path] = set()
    for path, below in stems.items():
        # A file may be called "..jpg".
        plain = below if below.stem in (".", "..") else below.with_suffix("")
        while len(os.fsencode(plain.name)) > LONGEST_STEM:
            plain = plain.with_name(plain.name[:-1])
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
        InputError: a result would replace one of the images or videos, or a file that no earlier run wrote, or lie
            outside `out`; OpenCV writes no sheet of this suffix.
    """
    # Only the suffix, as text: OpenCV crashes on names that are not UTF-8.
    if sheet and not cv2.haveImageWriter(f"sheet{plain_text(Path(sheet).suffix)}"):
        raise InputError(f"--sheet {plain_text(sheet)}: OpenCV cannot write this kind of image; name it .jpg or .png")
    inputs = {Path(item.path).resolve() for item in [*images, *videos]}
    results = [[inside(out, f"{item.stem}{suffix}") for suffix in suffixes]
               for items, suffixes in ((images, (".json", ".jpg", ".txt")), (videos, (".jsonl", ".mp4")))
               for item in items]
    for path in [*chain(*results), *([Path(sheet)] if sheet else [])]:
        if path.resolve() in inputs:
            raise InputError(f"{plain_text(path)}: is one of the images to look at, and would be overwritten; choose "
                             "another --out (or --sheet)")
    for paths in results:
        former = [path for path in paths if path.exists() and (path.suffix != ".mp4" or b"ftyp" in _start(path))]
        if former and _start(paths[0]) not in RESULT_STARTS:
            raise InputError(f"{plain_text(former[0])}: is there already, is no result of predict.py and would be "
                             "overwritten; choose another --out")


def _start(path: Path) -> bytes:
    """Read the first bytes of a file; b"" if there is none."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(12)


def note(source: str | Path, settings: str) -> str:
    """Describe how a result was made of a source, by which `--skip_existing` knows it again."""
    size = os.stat(source).st_size if os.path.isfile(source) else 0
    return f"; {settings}; of {size} bytes"


def left_to_do(items: Sequence[Item], out: Path, settings: str, is_written: Callable[[Path, str], bool]) -> list[Item]:
    """Select the items whose results are not in `out`; print a line for each of the others.

    Args:
        settings: how faces are shown; results that show them otherwise do not count.
        is_written: checks whether the results `<stem>.*` are complete and have this `note`.
    """
    left = []
    for item in items:
        if is_written(out / item.stem, note(item.path, settings)):
            print(f"{plain_text(item.path)}: skipped, its results are there", flush=True)
        else:
            left.append(item)
    return left


def is_written(stem: Path, text: str) -> bool:
    """Check whether the image `<stem>.jpg` and its `<stem>.json` are there and have this `note`."""
    path = Path(f"{stem}.jpg")
    return path.is_file() and Path(f"{stem}.json").is_file() and has_mark(path, text)


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

    Raises:
        OSError: the disk is full.
    """
    columns = max(SHEET_COLUMNS, math.ceil(math.sqrt(len(items))))
    cell = min(SHEET_CELL, SHEET_WIDTH // columns)
    captions: list[str] = []
    pictures: list[np.ndarray] = []
    done = 0
    for item, image, faces in detect_items(detector, items):
        picture = draw_faces(image, faces)
        try:
            _write(out, item, image, faces, picture, crop, align)
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            LOGGER.error("%s", error)
            continue
        print(f"{plain_text(item.path)}: {describe(faces)} -> {plain_text(out / item.stem)}.jpg", flush=True)
        done += 1
        if sheet:
            captions.append(plain_text(Path(item.path).name))
            pictures.append(shrink(picture, cell)[0])
    if sheet and pictures:
        write_image(Path(sheet), contact_sheet(pictures, columns, cell, captions))
    if done < len(items):
        LOGGER.error("%d of %d images failed; the lines above name them", len(items) - done, len(items))
    return 0 if done == len(items) else 1


def describe(faces: Faces) -> str:
    """Say how many faces there are, and the best score."""
    best = f", best score {faces.scores[0]:.3f}" if len(faces) else ""
    return f"{len(faces)} face{'' if len(faces) == 1 else 's'}{best}"


def detect_items(detector: Any, items: Sequence[Item]) -> Iterator[tuple[Item, np.ndarray, Faces]]:
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
    faces.save(f"{stem}.json", item.path, image.shape[:2])      # first: by it `check_outputs` knows the others
    faces.save(f"{stem}.txt", Path(item.path).name)
    write_image(Path(f"{stem}.jpg"), picture, note(item.path, DRAWN))
    if crop is not None:
        _write_faces(inside(out, "crops" / item.stem), faces.crop(image, crop))
    if align is not None:
        _write_faces(inside(out, "aligned" / item.stem), faces.align(image, align))


def _write_faces(stem: Path, images: Iterable[np.ndarray]) -> None:
    """Write `<stem>_001.png` and so on, best face first, in place of those of an earlier run."""
    written = {f"{stem.name}_{number:03d}.png": image for number, image in enumerate(images, start=1)}
    for name, image in written.items():
        write_image(stem.with_name(name), image)
    for path in stem.parent.glob(f"{glob.escape(stem.name)}_[0-9][0-9][0-9]*.png"):
        if path.name not in written and path.name[len(stem.name) + 1:-4].isdigit():
            path.unlink()
