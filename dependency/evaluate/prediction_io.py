# SPDX-License-Identifier: Apache-2.0
"""Detections as files: WIDER FACE's text, one per image, and RetinaFace's JSON, one for all.

    write_prediction(folder / event / f"{name}.txt", f"{event}/{name}.jpg", faces)
    rows = parse_prediction(path.read_bytes(), path).rows        # [N, 5] x y w h score
    write_predictions_json(path, {f"{event}/{name}": faces})
    rows = read_predictions_json(path)[f"{event}/{name}"]

    0--Parade/0_Parade_marchingband_1_20.jpg         the image
    2                                                how many rows follow
    646.3 189.1 42.1 51.8 0.747                      left, top, width, height in pixels, score; w = x2 - x1
    157.4 408.6 43.1 54.1 0.667

    {"0--Parade": {"0_Parade_marchingband_1_20": {"img_path": "0--Parade/0_Parade_marchingband_1_20.jpg",
                                                  "bboxes": [[646.3, 189.1, 42.1, 51.8, 0.747]]}}}
"""
from __future__ import annotations

import importlib
import json
import math
import posixpath
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from dependency.errors import InputError
from dependency.files import atomic_write

BOX_COLUMNS = 5
LANDMARK_COLUMNS = 10
ROW = "a row is `x y w h score` in pixels, five finite numbers or more"
LANDMARK_ROW = ("a row with landmarks is `x y w h score` and ten coordinates in pixels: write the predictions with "
                "test.py --save_landmarks 1")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Detections(Protocol):
    """The faces found in one image, such as `Faces` of the detectors."""

    @property
    def boxes(self) -> np.ndarray:
        """[N, 4] xyxy pixels."""

    @property
    def scores(self) -> np.ndarray:
        """[N]."""

    @property
    def landmarks(self) -> np.ndarray:
        """[N, 5, 2] pixels."""


class Prediction(NamedTuple):
    """The detections of one image as read from a file.

    rows: [N, 5 or more] float64 x y w h score ..., in file order.
    header_count: the number of rows by the file's second line; None without such a line.
    """
    rows: np.ndarray
    header_count: int | None


def write_prediction(path: str | Path, name: str, faces: Detections, score_digits: int = 3,
                     landmarks: bool = False) -> None:
    """Write one image's faces, best score first, whole or not at all.

    Args:
        path: the text file; its folder is created.
        name: the first line, `<event>/<image>.jpg`.
        faces: boxes are xyxy pixels.
        score_digits: decimals of the score; the published files have 3, more give a finer curve.
        landmarks: add ten columns, x y of the five landmarks, which scoring boxes skips.

    Raises:
        InputError: a box or score is not finite.
    """
    rows = rows_of(faces, name)
    if landmarks:
        rows = np.column_stack([rows, np.asarray(faces.landmarks, np.float64).reshape(-1, LANDMARK_COLUMNS)])
    rows = best_first(rows)
    line = f"%.1f %.1f %.1f %.1f %.{score_digits}f{' %.1f' * LANDMARK_COLUMNS * landmarks}\n"
    with atomic_write(path) as file:
        file.write(f"{name}\n{len(rows)}\n")
        file.write("".join([line % tuple(row) for row in rows.tolist()]))


def is_prediction(path: Path) -> bool:
    """Check whether a text file looks as `write_prediction` writes it; label files of other programs do not."""
    with path.open("rb") as file:
        _, count, row = (file.readline(4096) for _ in range(3))
    return count.strip().isdigit() and len(row.split()) in (0, BOX_COLUMNS, BOX_COLUMNS + LANDMARK_COLUMNS)


def read_landmarks(tree: str | Path, images: Iterable[str]) -> dict[str, np.ndarray]:
    """Read boxes, scores and landmarks that `write_prediction` wrote.

    Args:
        tree: holds <event>/<image>.txt.
        images: the images to read, "<event>/<image>.jpg".

    Returns:
        "event/image" -> [N, 15] float64: x1 y1 x2 y2, score, x y of five landmarks, pixels.

    Raises:
        InputError: a file is missing, or a row has no landmarks.
    """
    landmarks = {}
    for image in images:
        name = str(PurePosixPath(image).with_suffix(""))
        path = Path(tree) / f"{name}.txt"
        if not path.is_file():
            raise InputError(f"{path}: no such prediction, but {image} has annotated landmarks; predict this "
                             "image too, or leave it out of the annotation")
        rows = parse_prediction(path.read_bytes(), path, BOX_COLUMNS + LANDMARK_COLUMNS).rows.copy()
        rows[:, 2:4] += rows[:, :2]
        landmarks[name] = rows
    return landmarks


def write_predictions_json(path: str | Path, predictions: Mapping[str, Any], score_digits: int = 3,
                           suffix: str = ".jpg") -> None:
    """Write all images' faces as RetinaFace's JSON, one line an image, whole or not at all.

    Args:
        path: the file; its folder is created.
        predictions: "event/image" (no suffix) -> what `rows_of` takes; images without faces are written too.
        score_digits: as `write_prediction`, whose numbers these are: both files give the same AP.
        suffix: of the images, for `img_path`.

    Raises:
        InputError: a name that is no image's, or a box or score that is not finite.
    """
    form = f"[%.1f, %.1f, %.1f, %.1f, %.{score_digits}f]"
    events: dict[str, list[str]] = {}
    for key, faces in predictions.items():
        event, name = posixpath.split(key)
        if not name or key.startswith("/"):
            raise InputError(f"{path}: the image `{key}`: name it <event>/<image>, without suffix")
        rows = ", ".join([form % tuple(row) for row in best_first(rows_of(faces, key)).tolist()])
        events.setdefault(event or ".", []).append(
            f'{json.dumps(name)}: {{"img_path": {json.dumps(key + suffix)}, "bboxes": [{rows}]}}')
    lines = [f"{json.dumps(event)}: {{\n" + ",\n".join(images) + "\n}" for event, images in events.items()]
    with atomic_write(path) as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def rows_of(faces: Any, name: str) -> np.ndarray:
    """Convert one image's detections in memory to the rows that files hold.

    Args:
        faces: `Faces`, or anything like it, or an array [N, 5 or more] x1 y1 x2 y2 score; boxes in pixels.
        name: of the image, for messages.

    Returns:
        [N, 5] float64 x y w h score, in the same order.

    Raises:
        InputError: another shape, or a number that is not finite.
    """
    try:
        if hasattr(faces, "boxes"):
            table = np.column_stack([np.asarray(faces.boxes, np.float64).reshape(-1, 4),
                                     np.asarray(faces.scores, np.float64)])
        else:
            table = np.asarray(faces, np.float64)
            table = table if table.size else np.empty((0, 5))
        rows = np.concatenate([table[:, :2], table[:, 2:4] - table[:, :2], table[:, 4:5]], axis=1)
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"the detections of {name} are no rows ({error}): expected `Faces`, or an array [N, 5] "
                         "x1 y1 x2 y2 score") from error
    if rows.shape[1] != 5:
        raise InputError(f"the detections of {name} have shape {table.shape}: expected [N, 5] x1 y1 x2 y2 score")
    if not np.isfinite(rows).all():
        raise InputError(f"the detections of {name} are not finite: check the checkpoint and its normalisation")
    return rows


def parse_prediction(content: bytes, path: str | Path, columns: int = BOX_COLUMNS) -> Prediction:
    """Parse the content of a prediction file.

    Any white space separates, blank lines and further columns are skipped.  The image's name and the count may both
    be absent, as in files that hold rows only, or the count alone.

    Args:
        content: the bytes of the file.
        path: the file, for error messages.
        columns: the numbers to read of every row: 5, or 15 with landmarks.

    Raises:
        InputError: a row is short, not a number or not finite; the message has file and line.
    """
    name, _, content_after_name = content.partition(b"\n")
    count, _, body = content_after_name.partition(b"\n")
    if len(name.split()) == 1 and count.strip().isdigit():
        compiled = compiled_parser()
        rows = compiled.parse_decimal_rows(body, columns) if compiled else _parse_rows(body, columns)
        if rows is not None:
            return Prediction(rows, int(count))
    return _parse_lines(content, path, columns)


@cache
def compiled_parser() -> ModuleType | None:
    """Import the compiled parser of rows; None where it is not built: reading then takes some five times as long."""
    try:
        return importlib.import_module("dependency.evaluate.decimal_rows")
    except ImportError:
        return None


def _parse_rows(text: bytes, columns: int) -> np.ndarray | None:
    """Parse rows of numbers all at once; None when one is short, not a number or not finite."""
    try:
        rows = np.array([words[:columns] for line in text.splitlines() if (words := line.split())], np.float64)
    except ValueError:
        return None
    rows = rows if rows.size else rows.reshape(0, columns)
    return rows if rows.shape[1] == columns and np.isfinite(rows).all() else None


def _parse_lines(content: bytes, path: str | Path, columns: int) -> Prediction:
    """Parse a file of any accepted layout line by line."""
    lines = [line.split() for line in content.removeprefix(BYTE_ORDER_MARK).splitlines()]
    first_row, count = _parse_header(lines, path)
    rows = []
    for number, words in enumerate(lines[first_row:], start=first_row + 1):
        values = [_to_number(word) for word in words[:columns]]
        if not words:
            continue
        if len(values) < columns or not all(value is not None and math.isfinite(value) for value in values):
            layout = f"{ROW}; write the file again" if columns <= BOX_COLUMNS + 1 else LANDMARK_ROW
            raise InputError(f"{path}:{number}: `{_shorten(words)}` is not a detection: {layout}")
        rows.append(values)
    return Prediction(np.array(rows, np.float64).reshape(-1, columns), count)


def _parse_header(lines: list[list[bytes]], path: str | Path) -> tuple[int, int | None]:
    """Find the index of the first line after the header, and the count that the header states."""
    filled = [index for index, words in enumerate(lines) if words][:2]
    if not filled:
        return 0, None
    first, second = lines[filled[0]], lines[filled[1]] if len(filled) == 2 else []
    numbers = sum(_to_number(word) is not None for word in first)
    has_count = len(second) == 1 and second[0].isdigit()
    if len(first) > 1 and numbers == len(first) or len(first) >= BOX_COLUMNS and numbers and not has_count:
        return filled[0], None
    if has_count:
        return filled[1] + 1, int(second[0])
    if len(second) == 1:
        raise InputError(f"{path}:{filled[1] + 1}: `{_shorten(second)}` is not the number of boxes: expected "
                         f"the image's name, the number of boxes, then rows; {ROW}")
    # A lone integer above rows, or alone in the file, is a count without a name.
    is_count = len(first) == 1 and first[0].isdigit()
    return filled[0] + 1, int(first[0]) if is_count else None


def _to_number(word: bytes) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _shorten(words: list[bytes]) -> str:
    text = b" ".join(words).decode("utf-8", "backslashreplace")
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_predictions_json(path: str | Path, columns: int = BOX_COLUMNS) -> dict[str, np.ndarray]:
    """Read RetinaFace's JSON; the keys name the images, `img_path` is not looked at.

    Returns:
        "event/image" -> [N, columns] float64 x y w h score, in file order; further columns are left out.

    Raises:
        InputError: not such a JSON file, a name that stands twice, or a row that is short, not a number or
            not finite; the message has file, image and row.
    """
    layout = 'expected {"<event>": {"<image>": {"img_path": ..., "bboxes": [[x, y, w, h, score], ...]}}}'
    try:
        events = json.loads(Path(path).read_bytes(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {layout}") from error
    rows = {}
    for event, images in (events.items() if isinstance(events, dict) else [("the file", None)]):
        if not isinstance(images, dict):
            raise InputError(f"{path}: {event} holds no images; {layout}")
        for name, entry in images.items():
            boxes = entry.get("bboxes") if isinstance(entry, dict) else None
            if not isinstance(boxes, list):
                raise InputError(f"{path}: {event}/{name} has no list `bboxes`; {layout}")
            rows[posixpath.normpath(f"{event}/{name}")] = _json_rows(boxes, f"{path}: {event}/{name}", columns)
    return rows


def best_first(rows: np.ndarray) -> np.ndarray:
    """Sort rows [N, 5 or more] by score; rows of equal scores keep their order."""
    return rows[np.argsort(-rows[:, 4], kind="stable")]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` stands twice")
    return values


def _json_rows(boxes: list, place: str, columns: int) -> np.ndarray:
    rows = np.empty((len(boxes), columns))
    for number, row in enumerate(boxes):
        numbers = isinstance(row, list) and len(row) >= columns and all(
            type(value) in (int, float) for value in row[:columns])
        try:
            rows[number] = row[:columns] if numbers else np.nan
        except OverflowError:                       # whole numbers have no end in JSON
            rows[number] = np.nan
        if not np.isfinite(rows[number]).all():
            text = json.dumps(row)
            raise InputError(f"{place}, row {number + 1}: {text if len(text) <= 60 else text[:57] + '...'} is not "
                             f"a detection: {ROW}")
    return rows
