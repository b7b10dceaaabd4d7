# SPDX-License-Identifier: Apache-2.0
"""Parsers of the annotation files of WIDER FACE, its relatives and FDDB; see docs/formats.md for one line of each.

    annotations = parse("label.txt", "label")   # usable faces, and .problems: the others by file and line

In the files boxes are xywh pixels (`label_v2`: xyxy; `fddb`: ellipses), in the Records they are xyxy pixels.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Callable

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem, image_name
from dependency.centernet.src.lib.datasets.dataset.coco_hp import read_coco
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES
from dependency.errors import InputError
from dependency.evaluate.fddb.files import SUFFIX, parse_ellipse, read_entries
from dependency.evaluate.fddb.overlap import ellipse_boxes
from dependency.evaluate.mat_file import read_mat
from src.annotations.layout import check_layout, check_sizes
from src.annotations.rows import NO_LANDMARKS, Annotations, Reader

# label.txt's third number of a point -> COCO's visibility.
VISIBILITY = {-1.0: 0, 0.0: 2, 1.0: 1}
NAME_PLACE = "image name"
# Ends a file name; columns of numbers do not end so.
SUFFIX_AT_END = re.compile(r"\.[^\W\d_]\w*$")
# Stands in names of images and not in rows of numbers, even wrong ones.
OF_NAMES = re.compile(r"[#/\\]|\.[^\W\d_]")


def parse(path: str | Path, fmt: str | None = None) -> Annotations:
    """Read an annotation file; unusable rows are left out and listed in `.problems`.

    Args:
        path: the file.
        fmt: one of `FORMATS`; detected from the content when None.

    Raises:
        InputError: the file as a whole is not in the format, or most of its numbers are of another layout.
    """
    path = Path(path)
    fmt = sniff(path) if fmt is None else fmt
    if fmt not in FORMATS:
        raise InputError(f"annotation format {fmt!r}; expected one of {', '.join(FORMATS)}")
    annotations = FORMATS[fmt](path)
    check_sizes(annotations, corners=fmt == "label_v2")
    check_layout(annotations, path)
    return annotations


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
    if len(lines) == 3 and lines[1].isdecimal() and len(lines[0].split()) == 1:
        columns = len(lines[2].split())
        if columns in (4, 5, 6, 10):
            return "fddb" if columns in (5, 6) else "bbx_gt"
    raise InputError(f"{path}: not an annotation file known here; expected one of {', '.join(FORMATS)} "
                     "(docs/formats.md), or name it with --format")


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
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
    reader = Reader(path)
    for number, line in _text_lines(path):
        if not _is_row(line):
            _begin(reader, number, line, sized)
            continue
        if not reader.blocks:
            reader.begin_unknown(number, 'a face before the first "# <event>/<name>.jpg"')
        reader.blocks[-1].tried += 1
        try:
            row = _numbers(line)
            if len(row) not in columns:
                raise InputError(f"{len(row)} columns; expected one of {', '.join(map(str, columns))}")
            points = _points(row[4:19]) if len(row) >= 19 else NO_LANDMARKS
            if sized:
                row[2:4] = row[2] - row[0], row[3] - row[1]
            reader.add(number, row[:4] + points)
        except InputError as error:
            reader.problem(number, str(error))
    return reader.finish()


def _is_row(line: str) -> bool:
    """Check whether a line is meant as a row of numbers, though perhaps a wrong one; any other may name an image."""
    words = line.split()
    return OF_NAMES.search(line) is None and len(words) > 2 and 2 * sum(map(_is_number, words)) > len(words)


def _is_number(word: str) -> bool:
    with suppress(ValueError):
        float(word)
        return True
    return False


def _begin(reader: Reader, number: int, line: str, sized: bool) -> None:
    """Begin the image that a "#" line names; one that is not understood begins rows of no image."""
    try:
        header = _sized_header(line) if sized else (line[1:], 0, 0)
        if header is None or not line.startswith("#"):
            raise InputError(f"{line[:80]!r}: expected # <event>/<name>.jpg{' <width> <height>' if sized else ''}, or "
                             "numbers with spaces between")
        reader.begin(number, _image(header[0]), header[2], header[1])
    except InputError as error:
        reader.begin_unknown(number, str(error))


def _image(text: str) -> str:
    """Read the image name of a line.

    Raises:
        InputError: it has no suffix, or begins with a row of numbers: two lines in one.
    """
    words = text.split()
    if not SUFFIX_AT_END.search(text) or len(words) > 3 and all(map(_is_number, words[:3])):
        raise InputError(f"{text.strip()[:80]!r}: expected <event>/<name>.jpg")
    return image_name(text, NAME_PLACE)


def _parse_bbx_gt(path: Path) -> Annotations:
    """Read wider_face_*_bbx_gt.txt: image, count, rows of 10 columns (or 4), of which the 8th is the invalid flag."""
    reader = Reader(path)
    stated: int | None = None
    for number, line in _text_lines(path):
        count = int(line) if re.fullmatch(r"\d{1,9}", line) else None
        if count is None and not _is_row(line):
            _check_count(reader, stated)
            stated = None
            try:
                reader.begin(number, _image(line))
            except InputError as error:
                reader.begin_unknown(number, str(error))
            continue
        if count is not None and stated is None and reader.blocks:
            stated = count
            continue
        if count is not None or not reader.blocks:
            _check_count(reader, stated)
            reader.begin_unknown(number, f"{line[:60]!r}: expected <event>/<name>.jpg before it")
            stated = -1
            if count is not None:
                continue
        if stated is None:
            reader.problem(reader.blocks[-1].line, "no count after the image's name", "count")
            stated = -1
        if reader.blocks[-1].tried == stated and not (stated == 0 and set(line.split()) == {"0"}):
            reader.begin_unknown(number, f"row {stated + 1} of an image whose count is {stated}; the line of the next "
                                         "image may be missing")
            stated = -1
        reader.blocks[-1].tried += stated != 0
        try:
            row = _numbers(line)
            if len(row) not in (4, 10):
                raise InputError(f"{len(row)} columns; expected 10 (x y w h and six attributes) or 4")
            reader.add(number, row[:4] + NO_LANDMARKS, len(row) == 10 and row[7] != 0)
        except InputError as error:
            reader.problem(number, str(error))
    _check_count(reader, stated)
    return reader.finish()


def _check_count(reader: Reader, stated: int | None) -> None:
    """Note an image with fewer rows than its count, or with neither."""
    if not reader.blocks or not reader.blocks[-1].path:
        return
    block = reader.blocks[-1]
    if stated is None:
        reader.problem(block.line, "no count and no faces after the image's name", "count")
    elif block.tried < stated:
        reader.problem(block.line, f"count is {stated}, but {block.tried} rows follow", "count")


def _parse_fddb(path: Path) -> Annotations:
    """Read FDDB's ellipse list: image without .jpg, count, one ellipse a row; its box is the smallest that holds it."""
    reader = Reader(path)
    for entry in read_entries(path):
        reader.begin(entry.line, image_name(entry.name + SUFFIX, NAME_PLACE))
        for number, words in entry.rows:
            reader.blocks[-1].tried += 1
            try:
                x1, y1, x2, y2 = ellipse_boxes(np.array(parse_ellipse(words)))[0].tolist()
                reader.add(number, [x1, y1, x2 - x1, y2 - y1] + NO_LANDMARKS)
            except InputError as error:
                reader.problem(number, str(error))
    return reader.finish()


def _parse_mat(path: Path) -> Annotations:
    """Read wider_face_{train,val}.mat: event_list, file_list, face_bbx_list, and invalid_label_list if present."""
    content = read_mat(path, ("event_list", "file_list", "face_bbx_list", "invalid_label_list"))
    reader = Reader(path)
    try:
        lists = [content[name] for name in ("event_list", "file_list", "face_bbx_list")]
        lists.append(content.get("invalid_label_list", lists[2]))
        _check_lengths("events", lists)
        for folder, files, boxes, flags in zip(*lists):
            _check_lengths(f"images of {folder}", [files, boxes, flags])
            for file, faces, invalid in zip(files, boxes, flags):
                reader.begin(0, image_name("/".join([folder, f"{file:s}.jpg"]), str(path)))
                rows = np.asarray(faces, np.float64)
                if rows.size and rows.shape[1:] != (4,):
                    raise ValueError(f"boxes {rows.shape} of {reader.blocks[-1].path}, expected (faces, 4)")
                rows = rows.reshape(-1, 4)
                invalid = np.zeros(len(rows)) if flags is boxes else np.asarray(invalid, np.float64)
                reader.blocks[-1].tried = len(rows)
                for row, flag in zip(rows.tolist(), invalid.reshape(len(rows))):
                    reader.add(0, row + NO_LANDMARKS, bool(flag))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not laid out like wider_face_train.mat ({type(error).__name__}: {error}); "
                         "expected event_list, file_list and face_bbx_list") from error
    return reader.finish()


def _check_lengths(what: str, lists: list[np.ndarray]) -> None:
    if len({len(cells) for cells in lists}) > 1:
        raise ValueError(f"lists of {', '.join(str(len(cells)) for cells in lists)} {what}")


def _parse_coco(path: Path) -> Annotations:
    """Read COCO-keypoints json; its problems name annotation ids instead of lines."""
    problems: list[Problem] = []
    records = read_coco(path, problems)
    return Annotations(records, str(path), problems=problems)


FORMATS: dict[str, Callable[[Path], Annotations]] = {
    "label": _parse_label, "label_v2": _parse_label_v2, "bbx_gt": _parse_bbx_gt, "mat": _parse_mat,
    "coco": _parse_coco, "fddb": _parse_fddb,
}
