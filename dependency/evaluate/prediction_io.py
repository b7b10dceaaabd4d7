# SPDX-License-Identifier: Apache-2.0
"""Detections as WIDER FACE text files, one per image: the one writer and the one reader of the project.

    write_prediction(folder / event / f"{name}.txt", f"{event}/{name}.jpg", faces)
    rows = read_prediction(path)                     # [N, 5] x y w h score

    0--Parade/0_Parade_marchingband_1_20.jpg         the image
    2                                                how many rows follow
    646.3 189.1 42.1 51.8 0.747                      left, top, width, height in pixels, score; w = x2 - x1
    157.4 408.6 43.1 54.1 0.667
"""
import logging
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional, Union

import numpy as np

from dependency.errors import InputError
from dependency.files import atomic_write

if TYPE_CHECKING:       # the detector needs OpenCV, scoring does not
    from dependency.centernet.src.lib.detectors.base_detector import Faces

LOGGER = logging.getLogger("facedet")
ROW = "a row is `x y w h score` in pixels, five finite numbers or more"


class Prediction(NamedTuple):
    """One file: `rows` [N, 5] float64 x y w h score in file order, and `count`, what its header says."""
    rows: np.ndarray
    count: Optional[int]


def write_prediction(path: Union[str, Path], name: str, faces: "Faces", score_digits: int = 3) -> None:
    """Write one image's faces, best score first, whole or not at all.

    Args:
        path: the text file; its folder is created.
        name: the first line, `<event>/<image>.jpg`.
        faces: boxes are xyxy pixels.
        score_digits: decimals of the score; the published files have 3, more give a finer curve.

    Raises:
        InputError: a box or score is not finite.
    """
    boxes, scores = np.asarray(faces.boxes, np.float64).reshape(-1, 4), np.asarray(faces.scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    rows = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores])[order]
    if not np.isfinite(rows).all():
        raise InputError(f"{path}: the detections of {name} are not finite: check the checkpoint "
                         "and its normalisation")
    line = f"%.1f %.1f %.1f %.1f %.{score_digits}f\n"
    with atomic_write(path) as file:
        file.write(f"{name}\n{len(rows)}\n")
        file.write("".join([line % tuple(row) for row in rows.tolist()]))


def read_prediction(path: Union[str, Path]) -> np.ndarray:
    """Read one prediction file; a count line that disagrees with the rows is reported and not obeyed.

    Returns:
        [N, 5] float64 x y w h score, in file order.

    Raises:
        InputError: a row is short, not a number or not finite; the message has file and line.
    """
    prediction = parse_prediction(Path(path).read_bytes(), path)
    if prediction.count not in (None, len(prediction.rows)):
        LOGGER.warning("%s: the second line says %d boxes, %d follow: all are used", path, prediction.count,
                       len(prediction.rows))
    return prediction.rows


def parse_prediction(content: bytes, path: Union[str, Path]) -> Prediction:
    """Parse a prediction file's bytes; `path` is for messages.

    Any white space separates, blank lines and columns after the fifth are skipped.  The image's name and the
    count may both be absent, as in files that hold rows only, or the count alone.

    Raises:
        InputError: as `read_prediction`.
    """
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    tokens = list(map(bytes.split, lines))
    start, count = _header(tokens, path)
    table = [row for row in tokens[start:] if row]
    if not table:
        return Prediction(np.empty((0, 5)), count)
    widths = set(map(len, table))
    try:
        if widths != {5}:
            if min(widths) < 5:
                raise ValueError
            table = [row[:5] for row in table]
        rows = np.fromiter(map(float, chain.from_iterable(table)), np.float64, 5 * len(table)).reshape(-1, 5)
    except ValueError:
        raise _bad_row(tokens, start, path) from None
    if not np.isfinite(rows).all():
        raise _bad_row(tokens, start, path)
    return Prediction(rows, count)


def _header(tokens: list[list[bytes]], path: Union[str, Path]) -> tuple[int, Optional[int]]:
    """Index of the first line after the header, and the count that the header holds."""
    filled = [index for index, row in enumerate(tokens) if row][:2]
    if not filled:
        return 0, None
    first, second = tokens[filled[0]], tokens[filled[1]] if len(filled) == 2 else []
    numbers = sum(_number(token) is not None for token in first)
    counted = len(second) == 1 and second[0].isdigit()
    if len(first) > 1 and numbers == len(first) or len(first) >= 5 and numbers and not counted:
        return filled[0], None
    if counted:
        return filled[1] + 1, int(second[0])
    if len(second) == 1:
        raise InputError(f"{path}:{filled[1] + 1}: `{_text(second)}` is not the number of boxes: expected "
                         f"the image's name, the number of boxes, then rows; {ROW}")
    # A lone integer above rows, or alone in the file, is a count without a name.
    alone = len(first) == 1 and first[0].isdigit()
    return filled[0] + 1, int(first[0]) if alone else None


def _bad_row(tokens: list[list[bytes]], start: int, path: Union[str, Path]) -> InputError:
    """The error for the first row that is short or not finite."""
    for number, row in enumerate(tokens[start:], start=start + 1):
        values = [_number(token) for token in row[:5]]
        if row and (len(values) < 5 or None in values or not np.isfinite(values).all()):
            return InputError(f"{path}:{number}: `{_text(row)}` is not a detection: {ROW}; "
                              "write the file again")
    raise AssertionError(f"{path}: no bad row found")


def _number(token: bytes) -> Optional[float]:
    try:
        return float(token)
    except ValueError:
        return None


def _text(row: list[bytes]) -> str:
    text = b" ".join(row).decode("utf-8", "backslashreplace")
    return text if len(text) <= 60 else f"{text[:57]}..."
