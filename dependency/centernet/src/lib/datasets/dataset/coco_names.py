# SPDX-License-Identifier: Apache-2.0
"""Which categories of a COCO file are faces, and which of its keypoints are the five points: both by their names."""
from __future__ import annotations

import logging
import math
import re
from collections import Counter

from dependency.errors import InputError

LOGGER = logging.getLogger("facedet")
POINT_NAMES = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]
# What names of keypoints hold besides side and part, and other words for the parts.
_POINT_WORDS = ((r"corner|tip|center|centre|[\W_]", ""), ("lips?|mouths", "mouth"))
_POINTS = [re.compile(pattern) for pattern in (
    "(left|l)eye|eye(left|l)", "(right|r)eye|eye(right|r)", "nose", "(left|l)mouth|mouth(left|l)",
    "(right|r)mouth|mouth(right|r)")]


def face_categories(path: str, names: dict[str, str], counts: Counter[str]) -> list[str]:
    """Return the keys of the categories of faces: the only one, or those with "face" in their name.

    Args:
        names: all categories by key; {}: the file lists none.
        counts: annotations by key.
    """
    if len(names or counts) < 2:
        return list(names or counts)
    faces = [key for key, name in names.items() if names_a_face(name)]
    if not faces:
        raise InputError(f'{path}: categories {list(names.values()) or sorted(counts)}: none is named "face"; rename '
                         "the one to be read")
    others = [key for key in counts if key not in faces]
    if others or sum(counts[key] > 0 for key in faces) > 1:
        read, left = (", ".join(f"{names[key]!r} ({counts[key]} annotations)" for key in keys)
                      for keys in (faces, others))
        LOGGER.warning("%s: of the categories %s: faces%s", path, read,
                       f"; left out as no faces: {left}" if left else "")
    return faces


def names_a_face(name: str) -> bool:
    """Check whether the name of a category means faces: "face mask" and "no face" do not."""
    words = re.sub(r"[\W\d_]+", " ", name).lower().strip()
    return re.search(r"(?<!\bno )(?<!\bnot )(?<!\bnon )\bfaces?\b(?! ?(masks?|shields?)\b)", words) is not None


def read_numbers(values: object, key: str, length: int) -> list[float]:
    """Read a list of numbers; one beyond float becomes nan.

    Raises:
        InputError: it is none, or of another length.
    """
    if not isinstance(values, list) or len(values) != length:
        found = f"{len(values)} values" if isinstance(values, list) else repr(values)
        raise InputError(f"{key} has {found}; expected {length} numbers")
    if not all(isinstance(value, (int, float)) for value in values):
        raise InputError(f"{key} {values} holds something that is not a number")
    # json has no limit on integers, float has.
    return [float(value) if abs(value) < 1e300 else math.nan for value in values]


def five_points(values: object, names: list | None) -> list[float]:
    """Read 5 x (x, y, v), in the order of `POINT_NAMES`, from the keypoints of an annotation.

    Args:
        values: its `keypoints`, None or [] for none.
        names: the names of the keypoints in the file; None or []: these are `POINT_NAMES`.

    Raises:
        InputError: not understood.
    """
    if not values:
        return [0.0] * 15
    names = names or POINT_NAMES
    numbers = read_numbers(values, "keypoints", 3 * len(names))
    if not all(seen in (0, 1, 2) for seen in numbers[2::3]):
        raise InputError(f"keypoint flags {numbers[2::3]}: expected 0 (not labelled), 1 (occluded), 2 (visible)")
    if not any(numbers[2::3]):
        return [0.0] * 15
    return [number for index in _point_order(names) for number in numbers[3 * index:3 * index + 3]]


def _point_order(names: list) -> list[int]:
    """Return the index of each of the five points among the names of a file's keypoints."""
    points = [point_index(name) for name in names]
    # None may be absent, none there twice.
    if sorted(point for point in points if point is not None) != list(range(len(_POINTS))):
        raise InputError(f"keypoints are named {str(names)[:60]}; expected {', '.join(POINT_NAMES)} among them; "
                         "correct the names, or leave the keypoints out")
    return [points.index(point) for point in range(len(_POINTS))]


def point_index(name: object) -> int | None:
    """Return which of the five points a name means, 0 to 4; None for another."""
    plain = str(name).lower()
    for pattern, word in _POINT_WORDS:
        plain = re.sub(pattern, word, plain)
    return next((index for index, point in enumerate(_POINTS) if point.fullmatch(plain)), None)
