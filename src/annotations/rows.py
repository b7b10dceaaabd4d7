# SPDX-License-Identifier: Apache-2.0
"""`Reader`, which collects the rows of a file image by image, and lines of text.

    reader = Reader(path)
    reader.begin(1, "e/a.jpg")                  # from here on rows belong to e/a.jpg
    reader.add(2, [40, 50, 60, 80] + NO_LANDMARKS)
    reader.begin_unknown(3, "'x': not understood")      # from here on to no image
    annotations = reader.finish()

Rows are x, y, width, height, 5 x (x, y, v), in pixels; v is COCO's visibility.
"""
from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem, face_faults
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations, face_indices
from dependency.centernet.src.lib.datasets.dataset.coco_hp import face_columns, unset_points, warn_unset
from dependency.errors import InputError
from src.common.log import LOGGER

NO_LANDMARKS = [0.0] * 15
COLUMNS = 19
# Rows that wait as float64 before they become columns, which take a third of the memory.
PENDING = 1 << 15


class Block:
    """The rows below one line that names an image; path "": rows that belong to no image, because of `fault`.

    first, count: its rows among those of the Reader; tried: rows that were found, usable or not.
    """
    __slots__ = ("count", "fault", "file", "first", "height", "line", "path", "tried", "width")

    def __init__(self, first: int, line: int, path: str, height: int = 0, width: int = 0, fault: str = "",
                 file: str = ""):
        self.first, self.line, self.path, self.height, self.width = first, line, path, height, width
        self.fault, self.file = fault, file
        self.count = self.tried = 0


class Reader:
    """Collects the images and the problems of one file, or of a folder with a file for each image."""

    def __init__(self, path: Path):
        self.file = str(path)
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self._pending = array("d")
        self._ignore, self._lines = bytearray(), array("i")
        # (boxes, landmarks, visibility, rows with `unset_points`, rows that are not all zeros), each of many rows
        self._columns: list[tuple[np.ndarray, ...]] = []
        self._faults: dict[int, tuple[str, str]] = {}

    def begin(self, line: int, path: str, height: int = 0, width: int = 0, file: str = "") -> None:
        """Begin an image, in a `file` of its own where it has one: the rows that follow are its faces."""
        self.blocks.append(Block(len(self._lines), line, path, height, width, file=file))

    def begin_unknown(self, line: int, fault: str) -> None:
        """Begin rows that belong to no image: a line that may name one is not understood."""
        self.blocks.append(Block(len(self._lines), line, "", fault=fault))

    def add(self, line: int, row: list[float], ignore: bool = False) -> None:
        """Take one face of the last image."""
        self._pending.extend(row)
        self._ignore.append(bool(ignore))
        self._lines.append(line)
        self.blocks[-1].count += 1
        if len(self._pending) == COLUMNS * PENDING:
            self._convert_pending()

    def add_rows(self, lines: Sequence[int], rows: np.ndarray) -> None:
        """Take several faces of the last image, which are not ignored: rows float64 [N, 19]."""
        self._pending.frombytes(rows.tobytes())
        self._ignore.extend(bytes(len(rows)))
        self._lines.extend(lines)
        self.blocks[-1].count += len(rows)
        self.blocks[-1].tried += len(rows)
        if len(self._pending) >= COLUMNS * PENDING:
            self._convert_pending()

    def problem(self, line: int, text: str, kind: str = "syntax") -> None:
        """Note what is wrong with a line."""
        image, file = (self.blocks[-1].path, self.blocks[-1].file) if self.blocks else ("", "")
        self.problems.append(Problem(file or self.file, line, image, kind, text))

    def finish(self) -> Annotations:
        """Make Records of all that is usable, in the order of the file."""
        self._convert_pending()
        boxes, landmarks, visibility, unset, used = (
            np.concatenate([columns[number] for columns in self._columns]) for number in range(5))
        self._columns.clear()
        ignore, lines = np.frombuffer(self._ignore, bool), np.array(self._lines, np.int32)
        images, runs = self._images(used)
        starts, counts = np.array(runs, np.int64).reshape(-1, 3)[:, 1:].T
        owners = np.repeat(np.array(runs, np.int64).reshape(-1, 3)[:, 0], counts)
        rows = face_indices(starts, counts)
        warn_unset(self.file, int(unset[rows].sum()))
        good = np.ones(len(rows), bool)
        if self._faults:
            good[np.isin(rows, list(self._faults))] = False
        firsts = np.searchsorted(owners, np.arange(len(images)))
        for position in np.flatnonzero(~good).tolist():
            block, line = images[owners[position]], int(lines[rows[position]])
            kind, text = self._faults[int(rows[position])]
            text = text if line else f"face {position - firsts[owners[position]] + 1}: {text}"
            self.problems.append(Problem(block.file or self.file, line, block.path, kind, text))
        self.problems.sort(key=lambda problem: (problem.file, problem.line))
        rows, owners = rows[good], owners[good]
        if len(rows) < len(boxes) or (np.diff(rows) != 1).any():
            boxes, landmarks, visibility, ignore, lines = (
                column[rows] for column in (boxes, landmarks, visibility, ignore, lines))
        return Annotations.of_columns(
            [block.path for block in images], np.bincount(owners, minlength=len(images)),
            [block.file for block in images], boxes=boxes, landmarks=landmarks, visibility=visibility, ignore=ignore,
            face_lines=lines, image_lines=np.array([block.line for block in images], np.int32),
            sizes=np.array([(block.height, block.width) for block in images], np.int32).reshape(-1, 2),
            file=self.file, problems=self.problems, exif=None)

    def _convert_pending(self) -> None:
        """Make columns of the rows that wait, and note which of them are no usable faces."""
        rows = np.array(self._pending, np.float64).reshape(-1, COLUMNS)
        boxes, landmarks, visibility = face_columns(rows)
        first = sum(len(columns[0]) for columns in self._columns)
        self._faults.update((first + face, (kind, text)) for face, kind, text in face_faults(boxes, landmarks))
        self._columns.append((boxes, landmarks, visibility, np.any(unset_points(rows), axis=1),
                              np.any(rows, axis=1)))
        self._pending = array("d")

    def _images(self, used: np.ndarray) -> tuple[list[Block], list[tuple[int, int, int]]]:
        """Return one block an image, and (number of the image, first row, count) of its runs of rows.

        With one face a block at most, the blocks of an image are joined. With more, a second block is a problem: a
        wrong name would give its faces to another image.

        Args:
            used: which rows are not all zeros.
        """
        one_each = all(block.tried <= 1 for block in self.blocks)
        first: dict[str, tuple[int, Block]] = {}
        images: list[Block] = []
        runs, joined = [], 0
        for block in self.blocks:
            if not block.path:
                text = f"{block.fault}; {block.tried} rows from here on belong to no image"
                self.problems.append(Problem(self.file, block.line, "", "image", text))
                continue
            # WIDER writes one row of zeros for an image without faces.
            if block.count == 1 and not used[block.first]:
                block.count = 0
            number, before = first.setdefault(block.path, (len(images), block))
            if before is not block and one_each:
                runs.append((number, block.first, block.count))
                before.height, before.width = before.height or block.height, before.width or block.width
                joined += 1
                continue
            if before is not block:
                place = f", in line {before.line}" if before.line else ""
                text = f"this image is annotated before{place}; join the two, or correct the name"
                self.problems.append(Problem(self.file, block.line, block.path, "image_twice", text))
            runs.append((len(images), block.first, block.count))
            images.append(block)
        if joined:
            LOGGER.warning("%s: the name of the image is repeated for each face: %d faces are joined to those of the "
                           "same image", self.file, joined)
        return images, sorted(runs, key=lambda run: run[0])


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number counted from 1, stripped text) of each line that is not blank.

    Byte order marks are left out everywhere: files that are joined bring theirs along.
    """
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        file.seek(0)
        # These end a line: \r\n, \n, \r. str.splitlines would also split at form feeds and such, and shift the numbers.
        try:
            for number, line in enumerate(io.TextIOWrapper(file, encoding, newline=None), 1):
                content = line.replace("\ufeff", "").strip()
                if content:
                    yield number, content
            return
        except UnicodeDecodeError:
            pass
    data = path.read_bytes()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        number = data[:error.start].count(b"\n") + 1
        raise InputError(f"{path}:{number}: not {encoding} text; convert it, for example: "
                         f"iconv -f GB18030 -t UTF-8 {path} > label_utf8.txt") from error


def read_row(line: str) -> list[float]:
    """Read the numbers of a line; raise InputError for anything else."""
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise InputError(f"{line[:60]!r}: expected numbers ({error})") from error
