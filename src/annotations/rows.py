# SPDX-License-Identifier: Apache-2.0
"""`Annotations`, the Records of a file, and `Reader`, which collects the rows of a file image by image.

    reader = Reader(path)
    reader.begin(1, "e/a.jpg")                  # from here on rows belong to e/a.jpg
    reader.add(2, [40, 50, 60, 80] + NO_LANDMARKS)
    reader.begin_unknown(3, "'x': not understood")      # from here on to no image
    annotations = reader.finish()

Rows are x, y, width, height, 5 x (x, y, v), in pixels; v is COCO's visibility.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, make_record, unset_points, warn_unset
from dependency.errors import InputError
from src.common.log import LOGGER

NO_LANDMARKS = [0.0] * 15


class Lines(NamedTuple):
    """Where one Record stands: the line of its image and of each face, 0 for none; `file` where it has its own."""
    image: int
    faces: list[int]
    file: str = ""


class Annotations(list):
    """A list of Records that remembers where they come from.

    file: the annotation file's name; lines: one `Lines` a Record; problems: rows that were left out; exif: the picture
    that the boxes are of where the format decides it, see `fit_to_file`.
    """

    def __init__(self, records: Iterable[Record], file: str = "", lines: Sequence[Lines] | None = None,
                 problems: Sequence[Problem] = (), exif: str | None = None):
        super().__init__(records)
        self.file = file
        self.lines = list(lines or [Lines(0, [0] * len(record.boxes)) for record in self])
        self.problems = list(problems)
        self.exif = exif

    def renamed(self, names: Mapping[str, str]) -> Annotations:
        """Return the Records and problems of the images in `names`, which gives each its new path."""
        left_out = {record.path for record in self} - set(names)
        kept = [(replace(record, path=names[record.path]), lines)
                for record, lines in zip(self, self.lines) if record.path in names]
        problems = [replace(problem, image=names.get(problem.image, problem.image)) for problem in self.problems
                    if problem.image not in left_out]
        return Annotations([record for record, _ in kept], self.file, [lines for _, lines in kept], problems, self.exif)


class Block:
    """The rows below one line that names an image; path "": rows that belong to no image, because of `fault`."""

    def __init__(self, line: int, path: str, height: int = 0, width: int = 0, fault: str = "", file: str = ""):
        self.line, self.path, self.height, self.width, self.fault = line, path, height, width, fault
        self.file = file
        self.rows: list[list[float]] = []
        self.ignore: list[bool] = []
        self.lines: list[int] = []
        self.tried = 0

    def join(self, other: Block) -> None:
        """Take the faces of another block."""
        self.rows += other.rows
        self.ignore += other.ignore
        self.lines += other.lines
        self.height, self.width = self.height or other.height, self.width or other.width


class Reader:
    """Collects the images and the problems of one file, or of a folder with a file for each image."""

    def __init__(self, path: Path):
        self.file = str(path)
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []

    def begin(self, line: int, path: str, height: int = 0, width: int = 0, file: str = "") -> None:
        """Begin an image, in a `file` of its own where it has one: the rows that follow are its faces."""
        self.blocks.append(Block(line, path, height, width, file=file))

    def begin_unknown(self, line: int, fault: str) -> None:
        """Begin rows that belong to no image: a line that may name one is not understood."""
        self.blocks.append(Block(line, "", fault=fault))

    def add(self, line: int, row: list[float], ignore: bool = False) -> None:
        """Take one face of the last image."""
        self.blocks[-1].rows.append(row)
        self.blocks[-1].ignore.append(ignore)
        self.blocks[-1].lines.append(line)

    def problem(self, line: int, text: str, kind: str = "syntax") -> None:
        """Note what is wrong with a line."""
        image, file = (self.blocks[-1].path, self.blocks[-1].file) if self.blocks else ("", "")
        self.problems.append(Problem(file or self.file, line, image, kind, text))

    def finish(self) -> Annotations:
        """Make Records of all that is usable, in the order of the file."""
        records, lines, unset = [], [], 0
        for block in self._images():
            table = np.array(block.rows, np.float64).reshape(-1, 19)
            unset += int(unset_points(table).any(axis=1).sum())
            record, faults = make_record(block.path, table, block.ignore, block.height, block.width)
            bad = {face for face, _, _ in faults}
            for face, kind, text in faults:
                text = text if block.lines[face] else f"face {face + 1}: {text}"
                self.problems.append(Problem(block.file or self.file, block.lines[face], block.path, kind, text))
            records.append(record)
            kept = [line for face, line in enumerate(block.lines) if face not in bad]
            lines.append(Lines(block.line, kept, block.file))
        warn_unset(self.file, unset)
        self.problems.sort(key=lambda problem: (problem.file, problem.line))
        return Annotations(records, self.file, lines, self.problems)

    def _images(self) -> list[Block]:
        """Return one block an image: with one face a block at most, the blocks of an image are joined.

        With more, a second block is a problem: a wrong name would give its faces to another image.
        """
        one_each = all(block.tried <= 1 for block in self.blocks)
        first: dict[str, Block] = {}
        images, joined = [], 0
        for block in self.blocks:
            if not block.path:
                text = f"{block.fault}; {block.tried} rows from here on belong to no image"
                self.problems.append(Problem(self.file, block.line, "", "image", text))
                continue
            # WIDER writes one row of zeros for an image without faces.
            if len(block.rows) == 1 and not any(block.rows[0]):
                block.rows, block.ignore, block.lines = [], [], []
            before = first.setdefault(block.path, block)
            if before is not block and one_each:
                before.join(block)
                joined += 1
                continue
            if before is not block:
                place = f", in line {before.line}" if before.line else ""
                text = f"this image is annotated before{place}; join the two, or correct the name"
                self.problems.append(Problem(self.file, block.line, block.path, "image_twice", text))
            images.append(block)
        if joined:
            LOGGER.warning("%s: the name of the image is repeated for each face: %d faces are joined to those of the "
                           "same image", self.file, joined)
        return images


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number counted from 1, stripped text) of each line that is not blank.

    Byte order marks are left out everywhere: files that are joined bring theirs along.
    """
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not {encoding} text; convert it, for example: "
                         f"iconv -f GB18030 -t UTF-8 {path} > label_utf8.txt") from error
    # Only these end a line: str.splitlines would also split at form feeds and such, and shift the numbers.
    for number, content in enumerate(re.split(r"\r\n|\n|\r", text.replace("\ufeff", "")), 1):
        if content.strip():
            yield number, content.strip()


def read_row(line: str) -> list[float]:
    """Read the numbers of a line; raise InputError for anything else."""
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise InputError(f"{line[:60]!r}: expected numbers ({error})") from error
