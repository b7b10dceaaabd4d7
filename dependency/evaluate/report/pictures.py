# SPDX-License-Identifier: Apache-2.0
"""Cuts photographs and close-ups of faces for the report page, as WebP inside the page.

    pictures = cut_pictures(runs, Path("dataset/val/images"))
    pictures.photos["0--Parade/0_Parade_1"].view            # (0, 0, 1024, 768)

Boxes are xywh pixels of the photograph. Each picture is stored once, however many runs show it.
"""
from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.image_file import find_named, read_image
from dependency.errors import InputError

LOGGER = logging.getLogger("facedet")
PHOTO_SIDE, CROP_SIDE = 800, 200                    # longest side of a stored picture, pixels
MAX_PHOTOS, MAX_CROPS = 16, 200                     # of a page, whatever the number of its runs
QUALITY = 70                                        # of WebP: a third smaller than JPEG that looks the same
CROP_CONTEXT, CROP_MINIMUM = 2.4, 64                # side of a close-up: times its box, at least, in pixels


class Picture(NamedTuple):
    """A stored picture: its id in the page, the part of the photograph that it shows (x, y, w, h), WebP as base64."""
    id: str
    view: tuple[int, int, int, int]
    content: str


@dataclass
class Pictures:
    """The pictures of a page.

    photos: image -> picture; crops: (image, box) -> picture.
    absent: image -> why it is not shown.
    total: number of different images that the runs name.
    """
    photos: dict[str, Picture] = field(default_factory=dict)
    crops: dict[tuple[str, tuple[float, ...]], Picture] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    total: int = 0


def cut_pictures(runs: Sequence[dict[str, Any]], image_dir: Path | None) -> Pictures:
    """Read every image that the runs name once, and cut what is shown of it.

    Args:
        runs: of an analysis.
        image_dir: folder with `<event>/<image>.jpg`; None: no picture is shown.

    Raises:
        InputError: no such folder, or two images of one name in it.
    """
    photos = {image for image, in _first_of_each([[(worst["image"],) for worst in run["worst_images"]] for run in runs],
                                                 MAX_PHOTOS)}
    faces = [run[kind] for run in runs for kind in ("misses", "false_alarms")]
    chosen = _first_of_each([[(face["image"], tuple(face["box"])) for face in of_run] for of_run in faces], MAX_CROPS)
    crops: dict[str, dict[tuple[float, ...], list]] = {}    # image -> box -> all boxes that the close-up shows
    for face in (face for of_run in faces for face in of_run):
        if (face["image"], tuple(face["box"])) in chosen:
            shown = crops.setdefault(face["image"], {}).setdefault(tuple(face["box"]), [face["box"]])
            shown += [face[other] for other in ("best_box", "face_box") if face.get(other)]
    names = sorted(photos | set(crops))
    result = Pictures(total=len(names))
    if image_dir is None:
        result.absent = dict.fromkeys(names, "no folder of images was given")
        return result
    if not image_dir.is_dir():
        raise InputError(f"--image_dir {image_dir}: no such folder; expected the one that holds the event folders, "
                         "such as WIDER_val/images")
    files = find_named(image_dir, names)
    for name in names:
        try:
            image = read_image(image_dir / files.get(name, f"{name}.jpg"))
        except InputError as error:
            result.absent[name] = str(error)
            continue
        height, width = image.shape[:2]
        if name in photos:
            result.photos[name] = Picture(f"photo-{len(result.photos)}", (0, 0, width, height),
                                          _encode(image, PHOTO_SIDE))
        for box, shown in sorted(crops.get(name, {}).items()):
            left, top, across, down = view = close_up(_around(shown), width, height)
            result.crops[name, box] = Picture(f"crop-{len(result.crops)}", view,
                                              _encode(image[top:top + down, left:left + across], CROP_SIDE))
    if result.absent:
        LOGGER.warning("%d of %d images of the report are not shown, first: %s", len(result.absent), len(names),
                       next(iter(result.absent.values())))
    return result


def _first_of_each(lists: Sequence[Sequence[tuple]], most: int) -> set[tuple]:
    """Choose the first of every list, then the second of every list, ... until there are `most` different ones."""
    ranked = (entry for of_rank in zip_longest(*lists) for entry in of_rank if entry)
    return set(islice(dict.fromkeys(ranked), most))


def _around(boxes: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Return the box around boxes x y w h."""
    left, top = (min(box[side] for box in boxes) for side in (0, 1))
    right, bottom = (max(box[side] + box[side + 2] for box in boxes) for side in (0, 1))
    return left, top, right - left, bottom - top


def close_up(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the square (x, y, w, h) around a box that a close-up shows, moved and cut to lie inside the photograph."""
    x, y, box_width, box_height = box
    side = max(CROP_MINIMUM, round(CROP_CONTEXT * max(box_width, box_height)))
    across, down = min(side, width), min(side, height)
    left = min(max(0, round(x + box_width / 2 - across / 2)), width - across)
    top = min(max(0, round(y + box_height / 2 - down / 2)), height - down)
    return left, top, across, down


def _encode(image: np.ndarray, side: int) -> str:
    """Encode as base64 WebP, at most `side` pixels long."""
    scale = side / max(image.shape[:2])
    if scale < 1:
        height, width = (max(1, round(edge * scale)) for edge in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
    return base64.b64encode(content.tobytes()).decode()
