# SPDX-License-Identifier: Apache-2.0
"""Reads FDDB's ellipse lists and detections, as a tree or in the official form, and writes that form.

    images = load_fddb("fddb/FDDB-folds")                   # sizes from fddb/originalPics beside it
    rows, remarks = read_detections("output/fddb", images)
    write_fold_files("output/fddb", images, "output/fddb_official")     # fold-01-out.txt, ...

Ellipses are rows of half major axis, half minor axis, angle in radians against the x axis, centre x, centre y;
detections rows of x y w h score (a box, pixels) or of an ellipse and its score.
"""
from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.centernet.src.lib.utils.image_file import read_header
from dependency.errors import InputError
from dependency.evaluate.prediction_io import parse_prediction
from dependency.files import atomic_write

LIST_NAME = re.compile(r"FDDB-fold-(\d+)-ellipseList\.txt")
FOLDS, IMAGES, SUFFIX = "FDDB-folds", "originalPics", ".jpg"
BOX_COLUMNS, ELLIPSE_COLUMNS = 5, 6
MAX_COORDINATE = 32767  # pixels
ELLIPSE_ROW = "half major axis, half minor axis, angle, centre x, centre y, and 1 (or nothing)"


class FddbImage(NamedTuple):
    """One image: its name without .jpg, ellipses [N, 5] float64, fold, and its height and width (0: not known)."""
    name: str
    ellipses: np.ndarray
    fold: int = 0
    height: int = 0
    width: int = 0

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width); None if they are not known."""
        return (self.height, self.width) if self.height and self.width else None


class Entry(NamedTuple):
    """An image in a file of FDDB's layout: its line, its name and its rows as (line, words)."""
    line: int
    name: str
    rows: list[tuple[int, list[str]]]


def fold_lists(folder: str | Path) -> list[Path]:
    """Return the ellipse lists in `folder` or in its FDDB-folds, in order of fold; [] if there are none."""
    for parent in (Path(folder), Path(folder) / FOLDS):
        lists = {int(match[1]): path for path in parent.glob("*.txt") if (match := LIST_NAME.fullmatch(path.name))}
        if lists:
            return [lists[fold] for fold in sorted(lists)]
    return []


def load_fddb(folder: str | Path, image_dir: str | Path | None = None) -> list[FddbImage]:
    """Read the ellipse lists of all folds in a folder.

    Args:
        folder: FDDB-folds, the folder around it, or one ellipse list.
        image_dir: holds <name>.jpg, whose sizes are read from their headers; None: originalPics in `folder` or
            next to it, if there is one. Without a size, regions are not clipped to the image.

    Raises:
        InputError: no list; a damaged one (by file and line); an image twice; with `image_dir`, a missing image.
    """
    folder = Path(folder)
    lists = [folder] if folder.is_file() else fold_lists(folder)
    if not lists:
        raise InputError(f"{folder}: holds no FDDB-fold-01-ellipseList.txt; give the folder FDDB-folds of FDDB")
    candidates = [folder / IMAGES, lists[0].parent / IMAGES, lists[0].parent.parent / IMAGES]
    image_folder = Path(image_dir) if image_dir else next(filter(Path.is_dir, candidates), None)
    images: dict[str, FddbImage] = {}
    for path in lists:
        match = LIST_NAME.fullmatch(path.name)
        for entry in read_entries(path):
            if entry.name in images:
                raise InputError(f"{path}:{entry.line}: {entry.name} is annotated a second time; remove one")
            ellipses = np.array([_ellipse_at(path, *row) for row in entry.rows]).reshape(-1, 5)
            size = _size(image_folder, entry.name, image_dir is not None) if image_folder else (0, 0)
            images[entry.name] = FddbImage(entry.name, ellipses, int(match[1]) if match else 0, *size)
    return list(images.values())


def read_entries(path: str | Path) -> Iterator[Entry]:
    """Yield the images of a file that holds name, number of rows and rows of each; names without .jpg.

    Raises:
        InputError: no such layout, or not text, by file and line.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig").replace("\ufeff", "")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason}); give FDDB's ellipse list or fold-01-out.txt"
                         ) from error
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    position = 0
    while position < len(lines):
        number, words = lines[position]
        count = lines[position + 1][1] if position + 1 < len(lines) else []
        if len(words) != 1 or len(count) != 1 or not re.fullmatch(r"\d{1,6}", count[0]):
            raise InputError(f"{path}:{number}: `{' '.join(words)[:60]}` is not followed by the number of its rows; "
                             "expected an image's name such as 2002/08/11/big/img_591, a line with the number of "
                             "rows, then the rows")
        rows = lines[position + 2:position + 2 + int(count[0])]
        short = [row for row in rows if len(row[1]) == 1]
        if len(rows) < int(count[0]) or short:
            raise InputError(f"{path}:{short[0][0] if short else number}: {words[0]} has fewer rows than the "
                             f"{count[0]} that it states; write the file again")
        yield Entry(number, words[0].replace("\\", "/").removesuffix(SUFFIX), rows)
        position += 2 + len(rows)


def parse_ellipse(words: Sequence[str]) -> list[float]:
    """Parse half axes, angle and centre from one row of an ellipse list.

    Raises:
        InputError: not such a row.
    """
    values = parse_numbers(words)
    if len(values) not in (5, 6) or not _is_ellipse(values):
        raise InputError(f"`{' '.join(words)[:60]}` is not an ellipse; expected {ELLIPSE_ROW}, half axes above 0, "
                         f"all up to {MAX_COORDINATE}")
    return values[:5]


def parse_numbers(words: Sequence[str]) -> list[float]:
    """Parse finite numbers; [] if a word is none."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def read_detections(pred: str | Path,
                    images: Sequence[FddbImage]) -> tuple[list[np.ndarray | None], list[str]]:
    """Read the detections of every image.

    Args:
        pred: a tree <pred>/<name>.txt as test.py writes it, a folder with fold-01-out.txt, ..., or one such file.
        images: those of the ground truth.

    Returns:
        per image [N, 5] x y w h score or [N, 6] ellipse and score, None if it has no prediction; remarks.

    Raises:
        InputError: no detections there, both kinds at once, or a damaged row (with file and line).
    """
    pred = Path(pred)
    if not pred.exists():
        raise InputError(f"predictions {pred}: no such folder; give the --save_dir of the test")
    folds = [pred] if pred.is_file() else sorted(pred.glob("*fold-*-out.txt"))
    if folds and any((pred / f"{image.name}.txt").is_file() for image in images):
        raise InputError(f"{pred}: holds {folds[0].name} and a tree such as {images[0].name}.txt; "
                         "remove one, or give the file")
    detections = _read_fold_files(folds) if folds else _read_tree(pred, images)
    stray = sorted(set(detections) - {image.name for image in images})
    if len(stray) == len(detections):
        raise InputError(f"{pred} holds no prediction: expected {images[0].name}.txt below it, or fold-01-out.txt; "
                         f"found {', '.join(stray[:3]) or 'nothing'}")
    remarks = [(f"{len(stray)} predictions belong to no annotated image and are ignored, first: "
                f"{', '.join(stray[:3])}")] if stray else []
    return [detections.get(image.name) for image in images], remarks


def write_fold_files(pred: str | Path, images: Sequence[FddbImage], folder: str | Path,
                     allow_missing: bool = False) -> list[Path]:
    """Write detections in the official form, one <folder>/fold-01-out.txt per fold, and return the files.

    Args:
        pred: see `read_detections`.
        images: give the order and the folds.
        folder: gets the files.
        allow_missing: write 0 rows for images without predictions.

    Raises:
        InputError: as `read_detections`; images without predictions unless allowed.
    """
    table, _ = read_detections(pred, images)
    missing = [image.name for image, rows in zip(images, table) if rows is None]
    if missing and not allow_missing:
        raise InputError(missing_text(pred, missing, len(images)) + "; run the test over all images, or allow it")
    paths = []
    for fold in sorted({image.fold for image in images}):
        lines = []
        for image, detections in zip(images, table):
            if image.fold == fold:
                rows = [] if detections is None else detections.tolist()
                lines += [image.name, str(len(rows)), *(" ".join(map(repr, row)) for row in rows)]
        paths.append(Path(folder) / f"fold-{fold:02d}-out.txt")
        with atomic_write(paths[-1]) as file:
            file.write("\n".join(lines) + "\n")
    return paths


def missing_text(pred: str | Path, missing: Sequence[str], total: int) -> str:
    """Describe absent predictions."""
    return f"{len(missing)} of {total} images have no prediction in {pred}, first: {', '.join(missing[:3])}"


def _read_tree(pred: Path, images: Sequence[FddbImage]) -> dict[str, np.ndarray | None]:
    """Return the rows [N, 5] of each file by name; None for files of other images, which are not read."""
    names = {image.name for image in images}
    files = {path.relative_to(pred).with_suffix("").as_posix(): path for path in pred.rglob("*.txt")}
    return {name: parse_prediction(path.read_bytes(), path).rows if name in names else None
            for name, path in files.items()}


def _read_fold_files(paths: Sequence[Path]) -> dict[str, np.ndarray | None]:
    """Return the rows [N, 5] or [N, 6] of each image by name."""
    detections: dict[str, np.ndarray | None] = {}
    for path in paths:
        for entry in read_entries(path):
            if entry.name in detections:
                raise InputError(f"{path}:{entry.line}: {entry.name} has detections already; remove one")
            detections[entry.name] = _parse_rows(path, entry)
    return detections


def _parse_rows(path: Path, entry: Entry) -> np.ndarray:
    """Parse the detections of one image, [N, 5] or [N, 6] float64."""
    columns = len(entry.rows[0][1]) if entry.rows else BOX_COLUMNS
    rows = []
    for line, words in entry.rows:
        row = parse_numbers(words)
        if len(row) != columns or columns not in (BOX_COLUMNS, ELLIPSE_COLUMNS) or (
                columns == ELLIPSE_COLUMNS and not _is_ellipse(row)):
            raise InputError(f"{path}:{line}: `{' '.join(words)[:60]}` is not a detection; expected x y w h score, or "
                             "an ellipse (half axes above 0, angle, centre) and its score; all rows of an image have "
                             "the same number of columns")
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, columns)


def _is_ellipse(ellipse: Sequence[float]) -> bool:
    return min(ellipse[:2]) > 0 and max(map(abs, ellipse[:5])) <= MAX_COORDINATE


def _ellipse_at(path: Path, line: int, words: Sequence[str]) -> list[float]:
    try:
        return parse_ellipse(words)
    except InputError as error:
        raise InputError(f"{path}:{line}: {error}") from error


def _size(folder: Path, name: str, required: bool) -> tuple[int, int]:
    """Return (height, width) from the header of an image; (0, 0) if the file is absent and not required."""
    path = folder / f"{name}{SUFFIX}"
    if not path.is_file() and not required:
        return 0, 0
    height, width, _ = read_header(path)
    return height, width
