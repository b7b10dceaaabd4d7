# SPDX-License-Identifier: Apache-2.0
"""FDDB's files: the ellipse lists of its folds, and detections as a tree or in the official form, a file per fold.

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
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.centernet.src.lib.utils.image_file import read_header
from dependency.errors import InputError
from dependency.evaluate.prediction_io import parse_prediction
from dependency.files import atomic_write

LIST_NAME = re.compile(r"FDDB-fold-(\d+)-ellipseList\.txt")
FOLDS, PICTURES, SUFFIX = "FDDB-folds", "originalPics", ".jpg"
BOX_COLUMNS, ELLIPSE_COLUMNS = 5, 6
LARGEST = 32767         # pixels; JPEG ends at 65535 across
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
        """(height, width) where they are known."""
        return (self.height, self.width) if self.height and self.width else None


class Entry(NamedTuple):
    """An image in a file of FDDB's kind: its line, its name and its rows as (line, words)."""
    line: int
    name: str
    rows: list[tuple[int, list[str]]]


def fold_lists(folder: str | Path) -> list[Path]:
    """The ellipse lists in `folder` or in its FDDB-folds, in order of fold; none where there are none."""
    for place in (Path(folder), Path(folder) / FOLDS):
        found = {int(match[1]): path for path in place.glob("*.txt") if (match := LIST_NAME.fullmatch(path.name))}
        if found:
            return [found[fold] for fold in sorted(found)]
    return []


def load_fddb(folder: str | Path, image_dir: str | Path | None = None) -> list[FddbImage]:
    """Read the ellipse lists of all folds that are there.

    Args:
        folder: FDDB-folds, the folder around it, or one ellipse list.
        image_dir: holds <name>.jpg, whose sizes are read from their headers; when None, originalPics beside
            or in `folder` if there is one. Without a size a region is not clipped to its image.

    Raises:
        InputError: no list; a damaged one (by file and line); an image twice; with `image_dir`, a missing image.
    """
    folder = Path(folder)
    lists = [folder] if folder.is_file() else fold_lists(folder)
    if not lists:
        raise InputError(f"{folder}: holds no FDDB-fold-01-ellipseList.txt; give the folder FDDB-folds of FDDB")
    places = [folder / PICTURES, lists[0].parent / PICTURES, lists[0].parent.parent / PICTURES]
    pictures = Path(image_dir) if image_dir else next((place for place in places if place.is_dir()), None)
    images: dict[str, FddbImage] = {}
    for path in lists:
        match = LIST_NAME.fullmatch(path.name)
        for entry in read_entries(path):
            if entry.name in images:
                raise InputError(f"{path}:{entry.line}: {entry.name} is annotated a second time; remove one of both")
            ellipses = np.array([_ellipse_at(path, *row) for row in entry.rows]).reshape(-1, 5)
            size = _size(pictures, entry.name, image_dir is not None) if pictures else (0, 0)
            images[entry.name] = FddbImage(entry.name, ellipses, int(match[1]) if match else 0, *size)
    return list(images.values())


def read_entries(path: str | Path) -> Iterator[Entry]:
    """The images of a file of name, count and rows; names without .jpg.

    Raises:
        InputError: no such layout, or not text, by file and line.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason}); give FDDB's ellipse list or fold-01-out.txt"
                         ) from error
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    place = 0
    while place < len(lines):
        number, words = lines[place]
        count = lines[place + 1][1] if place + 1 < len(lines) else []
        if len(words) != 1 or len(count) != 1 or not re.fullmatch(r"\d{1,6}", count[0]):
            raise InputError(f"{path}:{number}: `{' '.join(words)[:60]}` is not followed by the number of its rows; "
                             "expected an image's name such as 2002/08/11/big/img_591, a line with the number of "
                             "rows, then so many rows")
        rows = lines[place + 2:place + 2 + int(count[0])]
        short = [row for row in rows if len(row[1]) == 1]
        if len(rows) < int(count[0]) or short:
            raise InputError(f"{path}:{short[0][0] if short else number}: {words[0]} has fewer rows than the "
                             f"{count[0]} that it states; write the file again")
        yield Entry(number, words[0].replace("\\", "/").removesuffix(SUFFIX), rows)
        place += 2 + len(rows)


def parse_ellipse(words: Sequence[str]) -> list[float]:
    """Half axes, angle and centre of one row of an ellipse list.

    Raises:
        InputError: not such a row.
    """
    values = parse_numbers(words)
    if len(values) not in (5, 6) or not _usable(values):
        raise InputError(f"`{' '.join(words)[:60]}` is not an ellipse; expected {ELLIPSE_ROW}, half axes above 0, "
                         f"all up to {LARGEST}")
    return values[:5]


def parse_numbers(words: Sequence[str]) -> list[float]:
    """The numbers; an empty list where one is none or is not finite."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def read_detections(pred: str | Path,
                    images: Sequence[FddbImage]) -> tuple[list[np.ndarray | None], list[str]]:
    """The detections of every image.

    Args:
        pred: a tree <pred>/<name>.txt as test.py writes it, a folder with fold-01-out.txt, ..., or one such file.
        images: whose detections are wanted.

    Returns:
        per image [N, 5] x y w h score or [N, 6] ellipse and score, None where it has none; remarks.

    Raises:
        InputError: no detections there, both kinds at once, damage by file and line.
    """
    pred = Path(pred)
    if not pred.exists():
        raise InputError(f"predictions {pred}: no such folder; give the --save_dir of the test")
    folds = [pred] if pred.is_file() else sorted(pred.glob("*fold-*-out.txt"))
    found = _read_fold_files(folds) if folds else _read_tree(pred)
    if folds and any((pred / f"{image.name}.txt").is_file() for image in images):
        raise InputError(f"{pred}: holds {folds[0].name} and a tree such as {images[0].name}.txt; "
                         "keep one of both, or give the file")
    wanted = {image.name for image in images}
    stray = sorted(set(found) - wanted)
    if len(stray) == len(found):
        raise InputError(f"{pred} holds no prediction: expected {images[0].name}.txt below it, or fold-01-out.txt; "
                         f"found {', '.join(stray[:3]) or 'nothing'}")
    remarks = [(f"{len(stray)} predictions belong to no annotated image and are ignored, first: "
               f"{', '.join(stray[:3])}")] if stray else []
    return [_rows(found[image.name]) if image.name in found else None for image in images], remarks


def write_fold_files(pred: str | Path, images: Sequence[FddbImage], folder: str | Path,
                     allow_missing: bool = False) -> list[Path]:
    """Write detections in the official form: <folder>/fold-01-out.txt and so on, an entry for each image in order.

    Args:
        pred: see `read_detections`.
        images: give the order and the folds.
        folder: where to.
        allow_missing: images without predictions get none.

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
        for image, rows in zip(images, table):
            if image.fold == fold:
                rows = [] if rows is None else rows.tolist()
                lines += [image.name, str(len(rows)), *(" ".join(map(repr, row)) for row in rows)]
        paths.append(Path(folder) / f"fold-{fold:02d}-out.txt")
        with atomic_write(paths[-1]) as file:
            file.write("\n".join(lines) + "\n")
    return paths


def missing_text(pred: str | Path, missing: Sequence[str], total: int) -> str:
    """How absent predictions are told."""
    return f"{len(missing)} of {total} images have no prediction in {pred}, first: {', '.join(missing[:3])}"


class _Table(NamedTuple):
    """Where an image's detections are: a file of the tree, or rows of a fold file."""
    path: Path
    entry: Entry | None = None


def _read_tree(pred: Path) -> dict[str, _Table]:
    return {path.relative_to(pred).with_suffix("").as_posix(): _Table(path) for path in pred.rglob("*.txt")}


def _read_fold_files(paths: Sequence[Path]) -> dict[str, _Table]:
    found: dict[str, _Table] = {}
    for path, entry in chain.from_iterable(((path, entry) for entry in read_entries(path)) for path in paths):
        if entry.name in found:
            raise InputError(f"{path}:{entry.line}: {entry.name} stands in {found[entry.name].path} already; "
                             "remove one of both")
        found[entry.name] = _Table(path, entry)
    return found


def _rows(table: _Table) -> np.ndarray:
    """[N, 5] or [N, 6] float64 detections of one image."""
    if table.entry is None:
        return parse_prediction(table.path.read_bytes(), table.path).rows
    rows = [parse_numbers(words) for _, words in table.entry.rows]
    columns = len(table.entry.rows[0][1]) if rows else BOX_COLUMNS
    for (line, words), row in zip(table.entry.rows, rows):
        if len(row) != columns or columns not in (BOX_COLUMNS, ELLIPSE_COLUMNS) or (
                columns == ELLIPSE_COLUMNS and not _usable(row)):
            raise InputError(f"{table.path}:{line}: `{' '.join(words)[:60]}` is not a detection; expected x y w h "
                             "score, or an ellipse (half axes above 0, angle, centre) and its score, all rows of an "
                             "image alike")
    return np.array(rows, np.float64).reshape(-1, columns)


def _usable(ellipse: Sequence[float]) -> bool:
    return min(ellipse[:2]) > 0 and max(map(abs, ellipse[:5])) <= LARGEST


def _ellipse_at(path: Path, line: int, words: Sequence[str]) -> list[float]:
    try:
        return parse_ellipse(words)
    except InputError as error:
        raise InputError(f"{path}:{line}: {error}") from error


def _size(pictures: Path, name: str, needed: bool) -> tuple[int, int]:
    """(height, width) of an image from its header; (0, 0) where the file is absent and not needed."""
    path = pictures / f"{name}{SUFFIX}"
    if not path.is_file() and not needed:
        return 0, 0
    height, width, _ = read_header(path)
    return height, width
