# SPDX-License-Identifier: Apache-2.0
"""Parsers of the annotation files of WIDER FACE, its relatives and FDDB; see docs/formats.md for one line of each.

    annotations = parse("label.txt", "label")   # usable faces, and .problems: the others by file and line

In the files boxes are xywh pixels (`label_v2`: xyxy; `fddb`: ellipses), in the Records they are xyxy pixels.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem, image_name
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, make_record, read_coco
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES
from dependency.errors import InputError
from dependency.evaluate.fddb.files import SUFFIX, parse_ellipse, read_entries
from dependency.evaluate.fddb.overlap import ellipse_boxes
from dependency.evaluate.mat_file import read_mat

NO_LANDMARKS = [0.0] * 15
# label.txt's third number of a point -> COCO's visibility.
VISIBILITY = {-1.0: 0, 0.0: 2, 1.0: 1}


class Lines(NamedTuple):
    """Where one Record stands in its text file: the line of its image and of each face; 0 for none."""
    image: int
    faces: list[int]


class Annotations(list):
    """A list of Records that remembers where they come from.

    file: the annotation file's name; lines: one `Lines` a Record; problems: rows that were left out.
    """

    def __init__(self, records: Iterable[Record], file: str = "", lines: Sequence[Lines] | None = None,
                 problems: Sequence[Problem] = ()):
        super().__init__(records)
        self.file = file
        self.lines = list(lines or [Lines(0, [0] * len(record.boxes)) for record in self])
        self.problems = list(problems)


class _Image:
    """The rows of one image while its file is being read; path "" collects rows that belong to no image."""

    def __init__(self, line: int, path: str, height: int = 0, width: int = 0):
        self.line, self.path, self.height, self.width = line, path, height, width
        self.rows: list[list[float]] = []
        self.ignore: list[bool] = []
        self.lines: list[int] = []
        self.tried = 0

    def add(self, line: int, row: list[float], ignore: bool = False) -> None:
        """Take one face: x, y, w, h, 5 x (x, y, v)."""
        self.rows.append(row)
        self.ignore.append(ignore)
        self.lines.append(line)


class _Reader:
    """Collects the images and the problems of one file; `numbered`: its lines mean something."""

    def __init__(self, path: Path, numbered: bool = True):
        self.file, self.numbered = str(path), numbered
        self.images: list[_Image] = []
        self.problems: list[Problem] = []

    def problem(self, line: int, text: str, kind: str = "syntax") -> None:
        """Note what is wrong with a line."""
        image = self.images[-1].path if self.images else ""
        self.problems.append(Problem(self.file, line, image, kind, text))

    def finish(self) -> Annotations:
        """Make Records of all that is usable, in the order of the file."""
        records, lines = [], []
        for image in self.images:
            if not image.path:
                continue
            # WIDER writes one row of zeros for an image without faces.
            if len(image.rows) == 1 and not any(image.rows[0]):
                image.rows, image.ignore, image.lines = [], [], []
            table = np.array(image.rows, np.float64).reshape(-1, 19)
            record, faults = make_record(image.path, table, image.ignore, image.height, image.width)
            bad = {face for face, _, _ in faults}
            for face, kind, text in faults:
                text = text if self.numbered else f"face {face + 1}: {text}"
                self.problems.append(Problem(self.file, image.lines[face], image.path, kind, text))
            records.append(record)
            kept = [line for face, line in enumerate(image.lines) if face not in bad]
            lines.append(Lines(image.line, kept))
        self.problems.sort(key=lambda problem: problem.line)
        return Annotations(records, self.file, lines, self.problems)


def parse(path: str | Path, fmt: str | None = None) -> Annotations:
    """Read an annotation file; unusable rows are left out and listed in `.problems`.

    Args:
        path: the file.
        fmt: one of `FORMATS`; detected from the content when None.

    Raises:
        InputError: the file as a whole is not in the format.
    """
    path = Path(path)
    fmt = sniff(path) if fmt is None else fmt
    if fmt not in FORMATS:
        raise InputError(f"annotation format {fmt!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[fmt](path)


def sniff(path: Path) -> str:
    """Detect the format of an annotation file from its first bytes.

    Raises:
        InputError: none of `FORMATS`.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"MATLAB 5.0"):
        return "mat"
    if start.decode(json.detect_encoding(start), "ignore").lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        return "coco"
    lines = [line for _, line in islice(_text_lines(path), 3)]
    if lines and lines[0].startswith("#"):
        return "label_v2" if _sized_header(lines[0]) else "label"
    if lines and lines[0].lower().endswith(IMAGE_SUFFIXES):
        return "bbx_gt"
    if len(lines) == 3 and lines[1].isdecimal() and len(lines[0].split()) == 1 and len(lines[2].split()) in (5, 6):
        return "fddb"
    raise InputError(f"{path}: not an annotation file known here; expected one of {', '.join(FORMATS)} "
                     "(docs/formats.md), or name it with --format")


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number counted from 1, stripped text) of each line that is not blank."""
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not {encoding} text; convert it, for example: "
                         f"iconv -f GB18030 -t UTF-8 {path} > label_utf8.txt") from error
    # Only these end a line: str.splitlines would also split at form feeds and such, and shift the numbers.
    for number, content in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if content.strip():
            yield number, content.strip()


def _numbers(line: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise InputError(f"{line[:60]!r}: expected numbers ({error})") from error


def _sized_header(line: str) -> tuple[str, int, int] | None:
    """Read (path, width, height) from a line "# <path> <width> <height>" of label_v2; return None for another line."""
    match = re.fullmatch(r"#\s*(.+?)\s+(\d{1,6})\s+(\d{1,6})", line)
    if match is None or not match[1].lower().endswith(IMAGE_SUFFIXES):
        return None
    return match[1], int(match[2]), int(match[3])


def _points(numbers: list[float]) -> list[float]:
    """Convert 5 x (x, y, flag) of label.txt to 5 x (x, y, visibility) of COCO."""
    points: list[float] = []
    for x, y, flag in zip(numbers[0::3], numbers[1::3], numbers[2::3]):
        if flag not in VISIBILITY:
            raise InputError(f"landmark flag {flag:g}: expected 0 (visible), 1 (occluded), -1 (not labelled)")
        points += [x, y, VISIBILITY[flag]] if VISIBILITY[flag] else [0, 0, 0]
    return points


def _parse_label(path: Path) -> Annotations:
    """Read RetinaFace's label.txt: "# <image>", then rows of 4, 5 or 20 columns."""
    return _parse_headed(path, (4, 5, 20), sized=False)


def _parse_label_v2(path: Path) -> Annotations:
    """Read SCRFD's labelv2.txt: "# <image> <width> <height>", then rows of 4 or 19 columns with xyxy boxes."""
    return _parse_headed(path, (4, 19), sized=True)


def _parse_headed(path: Path, columns: tuple[int, ...], sized: bool) -> Annotations:
    reader = _Reader(path)
    for number, line in _text_lines(path):
        try:
            if line.startswith("#"):
                reader.images.append(_Image(number, ""))
                reader.images[-1] = _header(line, number, sized)
                continue
            if not reader.images:
                raise InputError('a face before the first "# <event>/<name>.jpg"')
            row = _numbers(line)
            if len(row) not in columns:
                raise InputError(f"{len(row)} columns; expected one of {', '.join(map(str, columns))}")
            points = _points(row[4:19]) if len(row) >= 19 else NO_LANDMARKS
            if sized:
                row[2:4] = row[2] - row[0], row[3] - row[1]
            reader.images[-1].add(number, row[:4] + points)
        except InputError as error:
            reader.problem(number, str(error))
    return reader.finish()


def _header(line: str, number: int, sized: bool) -> _Image:
    if not sized:
        return _Image(number, image_name(line[1:], '"#" line'))
    header = _sized_header(line)
    if header is None:
        raise InputError(f"{line[:80]!r}: expected # <event>/<name>.jpg <width> <height>")
    return _Image(number, image_name(header[0], '"#" line'), header[2], header[1])


def _parse_bbx_gt(path: Path) -> Annotations:
    """Read wider_face_*_bbx_gt.txt: image, count, rows of 10 columns (or 4), of which the 8th is the invalid flag."""
    reader = _Reader(path)
    stated: int | None = None
    for number, line in _text_lines(path):
        try:
            if line.lower().endswith(IMAGE_SUFFIXES):
                _check_count(reader, stated)
                reader.images.append(_Image(number, ""))
                stated = None
                reader.images[-1] = _Image(number, image_name(line, "image line"))
            elif not reader.images:
                raise InputError(f"{line[:60]!r}: expected <event>/<name>.jpg")
            elif stated is None:
                stated = int(line) if re.fullmatch(r"\d{1,9}", line) else -1
                if stated < 0:
                    raise InputError(f"{line[:60]!r}: expected the number of faces")
            else:
                reader.images[-1].tried += 1
                row = _numbers(line)
                if len(row) not in (4, 10):
                    raise InputError(f"{len(row)} columns; expected 10 (x y w h and six attributes) or 4")
                reader.images[-1].add(number, row[:4] + NO_LANDMARKS, len(row) == 10 and row[7] != 0)
        except InputError as error:
            reader.problem(number, str(error))
    _check_count(reader, stated)
    return reader.finish()


def _check_count(reader: _Reader, stated: int | None) -> None:
    """Note an image whose count line does not fit its rows; 0 goes with WIDER's single row of zeros."""
    if not reader.images:
        return
    image = reader.images[-1]
    if stated is None:
        reader.problem(image.line, "no count and no faces after the image's name", "count")
    elif stated >= 0 and stated != image.tried and not (stated == 0 and image.rows == [[0.0] * 19]):
        reader.problem(image.line, f"count is {stated}, but {image.tried} rows follow", "count")


def _parse_fddb(path: Path) -> Annotations:
    """Read FDDB's ellipse list: image without .jpg, count, one ellipse a row; its box is the smallest that holds it."""
    reader = _Reader(path)
    for entry in read_entries(path):
        reader.images.append(_Image(entry.line, image_name(entry.name + SUFFIX, "image line")))
        for number, words in entry.rows:
            try:
                x1, y1, x2, y2 = ellipse_boxes(np.array(parse_ellipse(words)))[0].tolist()
                reader.images[-1].add(number, [x1, y1, x2 - x1, y2 - y1] + NO_LANDMARKS)
            except InputError as error:
                reader.problem(number, str(error))
    return reader.finish()


def _parse_mat(path: Path) -> Annotations:
    """Read wider_face_{train,val}.mat: event_list, file_list, face_bbx_list, and invalid_label_list if present."""
    content = read_mat(path, ("event_list", "file_list", "face_bbx_list", "invalid_label_list"))
    reader = _Reader(path, numbered=False)
    try:
        for event, folder in enumerate(content["event_list"]):
            flags = content["invalid_label_list"][event] if "invalid_label_list" in content else None
            for index, file in enumerate(content["file_list"][event]):
                name = image_name("/".join([folder, f"{file:s}.jpg"]), str(path))
                reader.images.append(_Image(0, name))
                rows = np.asarray(content["face_bbx_list"][event][index], np.float64).reshape(-1, 4)
                invalid = np.zeros(len(rows)) if flags is None else np.asarray(flags[index])
                for row, flag in zip(rows.tolist(), invalid.reshape(len(rows))):
                    reader.images[-1].add(0, row + NO_LANDMARKS, bool(flag))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not laid out like wider_face_train.mat ({type(error).__name__}: {error}); "
                         "expected event_list, file_list and face_bbx_list") from error
    return reader.finish()


def _parse_coco(path: Path) -> Annotations:
    """Read COCO-keypoints json; its problems name annotation ids instead of lines."""
    problems: list[Problem] = []
    records = read_coco(path, problems)
    return Annotations(records, str(path), problems=problems)


FORMATS: dict[str, Callable[[Path], Annotations]] = {
    "label": _parse_label, "label_v2": _parse_label_v2, "bbx_gt": _parse_bbx_gt, "mat": _parse_mat,
    "coco": _parse_coco, "fddb": _parse_fddb,
}
