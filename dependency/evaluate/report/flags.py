# SPDX-License-Identifier: Apache-2.0
"""Reads the attributes that WIDER FACE gives every face: blur, expression, illumination, occlusion, pose.

    flags = find_flags(truth.folder)                         # from wider_face_val.mat itself, or None
    flags = load_flags("wider_face_val_bbx_gt.txt")          # or from the text file
    levels = align_flags(flags, truth.images)                # [F, 6], in the order of all faces

The official `wider_face_val.mat` carries them beside the boxes; `wider_face_val_bbx_gt.txt` holds the same in
columns 5 to 10.  Boxes are xywh pixels, as in the files, and must be those of the ground truth, in its order.
"""
from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.ground_truth import MAIN_FILES, TruthImage, load_image_list
from dependency.evaluate.mat_file import read_mat

LOGGER = logging.getLogger("facedet")
FLAGS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")      # columns 5 to 10
# What the numbers 0, 1, 2 of the files mean; an invalid face counts in no subset, so it needs no name.
LEVELS = {
    "blur": ("clear", "normal blur", "heavy blur"),
    "expression": ("typical expression", "exaggerated expression"),
    "illumination": ("normal illumination", "extreme illumination"),
    "occlusion": ("no occlusion", "partial occlusion", "heavy occlusion"),
    "pose": ("typical pose", "atypical pose"),
}
HIGHEST = np.array([len(LEVELS.get(name, "01")) - 1 for name in FLAGS])
COLUMNS = 4 + len(FLAGS)
SOURCE = "wider_face_split.zip at http://shuoyang1213.me/WIDERFACE holds both files that carry them"
SAME_SPLIT = f"give the file of the same split; {SOURCE}"
ROW = "a row is `x y w h blur expression illumination invalid occlusion pose`"


class Flags(NamedTuple):
    """`images`: "event/name" -> [N, 10] float64 x y w h and the six `FLAGS`; `source`: the file, for messages."""
    source: str
    images: dict[str, np.ndarray]


def load_flags(path: str | Path) -> Flags:
    """Read the attributes from `wider_face_val_bbx_gt.txt` or, by its suffix, `wider_face_val.mat`.

    Raises:
        InputError: no such file, no attributes in it, or a row that cannot be read (with file and line).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"--flags {path}: no such file; expected wider_face_val_bbx_gt.txt or "
                         f"wider_face_val.mat; {SOURCE}")
    images = _read_mat(path) if path.suffix == ".mat" else _read_text(path)
    for name, table in images.items():
        bad = (table[:, 4:] < 0) | (table[:, 4:] > HIGHEST)
        if bad.any():
            face, column = np.argwhere(bad)[0]
            raise InputError(f"{path}: {FLAGS[column]} of face {face + 1} in {name} is {table[face, 4 + column]:g}: "
                             f"expected 0 to {HIGHEST[column]}; {SOURCE}")
    return Flags(str(path), images)


def find_flags(folder: str | Path) -> Flags | None:
    """Read the attributes from the ground truth's own main file; None, with a log line, if it has none."""
    path = next((Path(folder) / name for name in MAIN_FILES if (Path(folder) / name).is_file()), None)
    if path is not None and _key(FLAGS[0]) in read_mat(path, [_key(FLAGS[0])]):
        return load_flags(path)
    LOGGER.info("%s has no blur, occlusion, pose, ... of the faces, so they are grouped by event and height only; for "
                "more groups give --flags: %s", path or folder, SOURCE)
    return None


def align_flags(flags: Flags, images: Sequence[TruthImage]) -> np.ndarray:
    """Collect the attributes of all faces of the images, one after the other.

    Returns:
        [F, 6] int64 in the order of `FLAGS`.

    Raises:
        InputError: an image is absent, or its boxes are not the ground truth's.
    """
    parts = [np.empty((0, COLUMNS))]
    for image in images:
        name = image.path
        if name not in flags.images:
            raise InputError(f"{flags.source}: has no {name}, which the ground truth has; {SAME_SPLIT}")
        table = flags.images[name]
        # The text file has a row of zeros for an image without faces.
        if len(table) == 1 and not table.any() and not len(image.boxes):
            continue
        if len(table) != len(image.boxes):
            raise InputError(f"{flags.source}: {name} has {len(table)} faces, the ground truth {len(image.boxes)}; "
                             f"{SAME_SPLIT}")
        differs = (table[:, :4] != image.boxes).any(axis=1)
        if differs.any():
            face = int(differs.argmax())
            raise InputError(f"{flags.source}: face {face + 1} of {name} is {_text(table[face, :4])}, the ground "
                             f"truth has {_text(image.boxes[face])}; {SAME_SPLIT}")
        parts.append(table)
    return np.concatenate(parts)[:, 4:].astype(np.int64)


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    """Read every image's table [N, 10] from the cell arrays, which hold one cell per image in each event."""
    keys = ["face_bbx_list", *map(_key, FLAGS)]
    images: dict[str, np.ndarray] = {}
    content, events = read_mat(path, keys), load_image_list(path)
    try:
        for number, (event, names) in enumerate(events):
            for name, boxes, *levels in zip(names, *(content[key][number] for key in keys)):
                table = [boxes.reshape(-1, 4), *(level.reshape(-1, 1) for level in levels)]
                images[f"{event}/{name}"] = np.concatenate(table, axis=1).astype(np.float64)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not laid out like wider_face_val.mat ({type(error).__name__}: {error}); expected "
                         f"{', '.join(keys)}, one matrix per image in each event; {SOURCE}") from error
    return images


def _read_text(path: Path) -> dict[str, np.ndarray]:
    """Read every image's table [N, 10]: its name, its number of faces, then the rows."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); expected wider_face_val_bbx_gt.txt; {SOURCE}") from error
    lines = [(number, words) for number, words in enumerate(map(str.split, text.split("\n")), 1) if words]
    images: dict[str, np.ndarray] = {}
    position = 0
    while position < len(lines):
        number, words = lines[position]
        name = str(PurePosixPath(" ".join(words)).with_suffix(""))
        if name in images:
            raise InputError(f"{path}:{number}: {name} is listed a second time; remove one")
        count = lines[position + 1][1] if position + 1 < len(lines) else []
        if len(count) != 1 or not count[0].isdigit():
            raise InputError(f"{path}:{number}: `{' '.join(words)[:60]}` is not followed by a number of faces: "
                             f"expected an image, its number of faces, the rows; {SOURCE}")
        position += 2
        rows = lines[position:position + int(count[0])]
        images[name] = _table(path, number, rows, int(count[0]))
        position += len(rows)
        if not rows and position < len(lines) and lines[position][1] == ["0"] * COLUMNS:
            position += 1              # the count is 0, and a row of zeros follows
    return images


def _table(path: Path, number: int, rows: list[tuple[int, list[str]]], count: int) -> np.ndarray:
    """Parse the rows [N, 10] of the image that is named in line `number`."""
    if len(rows) < count:
        raise InputError(f"{path}:{number}: expected {count} faces, the file ends after {len(rows)}; {SOURCE}")
    try:
        return np.array([list(map(float, words)) for _, words in rows], np.float64).reshape(-1, COLUMNS)
    except ValueError:
        line, words = next((line, words) for line, words in rows if not _is_row(words))
        raise InputError(f"{path}:{line}: `{' '.join(words)[:60]}` has no attributes: {ROW}; {SOURCE}") from None


def _key(flag: str) -> str:
    return f"{flag}_label_list"


def _is_row(words: list[str]) -> bool:
    try:
        return len(list(map(float, words))) == COLUMNS
    except ValueError:
        return False


def _text(box: np.ndarray) -> str:
    return " ".join(f"{value:g}" for value in box)
