# SPDX-License-Identifier: Apache-2.0
"""Parsers of the annotation files of WIDER FACE, its relatives and FDDB; see docs/formats.md for one line of each.

    annotations = parse_label(Path("label.txt"))    # usable faces, and .problems: the others by file and line

In the files boxes are xywh pixels (`label_v2`: xyxy; `fddb`: ellipses), in the Records they are xyxy pixels.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import image_name
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES
from dependency.errors import InputError
from dependency.evaluate.fddb.files import SUFFIX, parse_ellipse, read_entries
from dependency.evaluate.fddb.overlap import ellipse_boxes
from dependency.evaluate.mat_file import read_mat
from dependency.evaluate.prediction_io import compiled_parser
from src.annotations.rows import NO_LANDMARKS, Reader, read_row, text_lines

# label.txt's third number of a point -> COCO's visibility.
VISIBILITY = {-1.0: 0, 0.0: 2, 1.0: 1}
NAME_PLACE = "image name"
# Lines that are read at once where they are as they should be.
CHUNK = 1 << 13
# Ends a file name; columns of numbers do not end so.
SUFFIX_AT_END = re.compile(r"\.[^\W\d_]\w*$")
# Stands in names of images and not in rows of numbers, even wrong ones.
OF_NAMES = re.compile(r"[#/\\]|\.[^\W\d_]")


def sized_header(line: str) -> tuple[str, int, int] | None:
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


def parse_label(path: Path) -> Annotations:
    """Read RetinaFace's label.txt: "# <image>", then rows of 4, 5 or 20 columns."""
    return _headed(path, (4, 5, 20), sized=False)


def parse_label_v2(path: Path) -> Annotations:
    """Read SCRFD's labelv2.txt: "# <image> <width> <height>", then rows of 4 or 19 columns with xyxy boxes."""
    return _headed(path, (4, 19), sized=True)


def _headed(path: Path, columns: tuple[int, ...], sized: bool) -> Annotations:
    reader = Reader(path)
    lines = text_lines(path)
    while chunk := list(islice(lines, CHUNK)):
        headers = [index for index, (_, line) in enumerate(chunk) if line[0] == "#"]
        rows = _table([line for _, line in chunk if line[0] != "#"], columns, sized)
        if rows is None or not reader.blocks and headers[:1] != [0]:
            for number, line in chunk:
                _read_line(reader, number, line, columns, sized)
            continue
        for order, (index, last) in enumerate(zip([-1, *headers], [*headers, len(chunk)])):
            if index >= 0:
                _begin(reader, *chunk[index], sized)
            first = index + 1 - order       # so many headers stand before this row
            if last > index + 1:
                reader.add_rows([number for number, _ in chunk[index + 1:last]], rows[first:first + last - index - 1])
    return reader.finish()


def _table(lines: Sequence[str], columns: tuple[int, ...], sized: bool) -> np.ndarray | None:
    """Read rows at once, as float64 [N, 19]; return None where one is not as the others, or not as it should be."""
    if not lines:
        return np.zeros((0, 19))
    table = _numbers(lines)
    if table is None or table.shape[1] not in columns:
        return None
    rows = np.zeros((len(table), 19))
    rows[:, :4] = table[:, :4]
    if sized:
        rows[:, 2:4] -= rows[:, :2]
    if table.shape[1] >= 19:
        points, flags = rows[:, 4:].reshape(-1, 5, 3), table[:, 6:19:3]
        if not np.isin(flags, list(VISIBILITY)).all():
            return None
        points[..., 2] = np.where(flags < 0, 0, 2 - flags)
        points[..., :2] = np.where(flags[..., None] < 0, 0, table[:, 4:19].reshape(-1, 5, 3)[..., :2])
    return rows


def _numbers(lines: Sequence[str]) -> np.ndarray | None:
    """Read the numbers of lines that have equally many, float64 [N, columns]; return None for any others."""
    text = "\n".join(lines)
    count, compiled = len(lines[0].split()), compiled_parser()
    # So each line has `count` words where it has `count` numbers at least: with one space between, and no tab.
    if compiled and "\t" not in text and text.count(" ") == len(lines) * (count - 1):
        table = compiled.parse_decimal_rows(text.encode(), count)
        if table is not None:
            return table
    if ".e" in text or ".E" in text or "x" in text:     # as in the name of a file, or not a decimal number
        return None
    try:
        return np.loadtxt(lines, np.float64, comments=None, ndmin=2)
    except ValueError:
        return None


def _read_line(reader: Reader, number: int, line: str, columns: tuple[int, ...], sized: bool) -> None:
    if not _is_row(line):
        _begin(reader, number, line, sized)
        return
    if not reader.blocks:
        reader.begin_unknown(number, 'a face before the first "# <event>/<name>.jpg"')
    reader.blocks[-1].tried += 1
    try:
        row = read_row(line)
        if len(row) not in columns:
            raise InputError(f"{len(row)} columns; expected one of {', '.join(map(str, columns))}")
        points = _points(row[4:19]) if len(row) >= 19 else NO_LANDMARKS
        if sized:
            row[2:4] = row[2] - row[0], row[3] - row[1]
        reader.add(number, row[:4] + points)
    except InputError as error:
        reader.problem(number, str(error))


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
        header = sized_header(line) if sized else (line[1:], 0, 0)
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


def parse_bbx_gt(path: Path) -> Annotations:
    """Read wider_face_*_bbx_gt.txt: image, count, rows of 10 columns (or 4), of which the 8th is the invalid flag."""
    reader = Reader(path)
    stated: int | None = None
    for number, line in text_lines(path):
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
            row = read_row(line)
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


def parse_fddb(path: Path) -> Annotations:
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


def parse_mat(path: Path) -> Annotations:
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
