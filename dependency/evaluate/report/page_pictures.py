# SPDX-License-Identifier: Apache-2.0
"""Photographs for the report page: whole ones and close-ups of faces, as JPEG inside the page.

    pictures = cut_pictures(runs, Path("dataset/val/images"))
    pictures.store()                                            # once in the page
    draw(pictures.photos["0--Parade/0_Parade_1"], {"missed": [[x, y, w, h], ...]}, "what is to be seen")

Boxes are xywh pixels of the photograph.  They are drawn as SVG over the picture, sharp at any size; each
photograph is stored once, however many runs show it.
"""
from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES, read_image
from dependency.errors import InputError
from dependency.evaluate.report.page_markup import Html, join, tag

LOGGER = logging.getLogger("facedet")
# JPEG bytes of all photographs and of all close-ups; base64 adds a third.
PHOTO_BYTES, CROP_BYTES = 3_600_000, 1_300_000
PHOTO_SIDE, CROP_SIDE = 1024, 256
CROP_CONTEXT, CROP_MINIMUM = 2.4, 64                # side of a close-up: times its box, at least, in pixels
# Tried in turn until the picture fits its share of the bytes: JPEG quality, scale.
STEPS = ((82, 1.0), (72, 1.0), (72, 0.8), (66, 0.62), (60, 0.48), (50, 0.35), (40, 0.22))
OUTLINES = ("ignored", "found", "missed", "false")  # drawn in this order, the worst on top


class Picture(NamedTuple):
    """A stored picture: its id in the page, and the part of the photograph that it shows (x, y, w, h)."""
    id: str
    view: tuple[int, int, int, int]


@dataclass
class Pictures:
    """What could be cut.

    photos: image -> picture; crops: (image, box) -> picture.
    absent: image -> why it is not shown.
    wanted: number of different images that were asked for.
    """
    photos: dict[str, Picture] = field(default_factory=dict)
    crops: dict[tuple, Picture] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    wanted: int = 0
    stored: list[Html] = field(default_factory=list)

    def store(self) -> Html:
        """The invisible element that holds the pictures; the visible ones refer to it."""
        return tag("svg", join(self.stored), class_="store", width=0, height=0, aria_hidden="true")


def cut_pictures(runs: Sequence[dict[str, Any]], image_dir: Path | None) -> Pictures:
    """Read every image that the runs name once, and cut what is shown of it.

    Args:
        runs: of an analysis.
        image_dir: holds `<event>/<image>.jpg`; None: no picture is shown.

    Raises:
        InputError: no such folder.
    """
    photos = {worst["image"] for run in runs for worst in run["worst_images"]}
    crops: dict[str, set] = {}
    for run in runs:
        for face in [*run["misses"], *run["false_alarms"]]:
            crops.setdefault(face["image"], set()).add(tuple(face["box"]))
    names = sorted(photos | set(crops))
    result = Pictures(wanted=len(names))
    if image_dir is None:
        result.absent = dict.fromkeys(names, "no folder of images was given")
        return result
    if not Path(image_dir).is_dir():
        raise InputError(f"images {image_dir}: no such folder; give the one that holds the event folders, "
                         "such as WIDER_val/images")
    photo_share = PHOTO_BYTES // max(1, len(photos))
    crop_share = CROP_BYTES // max(1, sum(map(len, crops.values())))
    for name in names:
        try:
            image = read_image(_find(Path(image_dir), name))
        except InputError as error:
            result.absent[name] = str(error)
            continue
        if name in photos:
            height, width = image.shape[:2]
            result.photos[name] = _add(result, image, (0, 0, width, height), PHOTO_SIDE, photo_share)
        for box in sorted(crops.get(name, ())):
            x, y, width, height = view = _window(box, image.shape[1], image.shape[0])
            result.crops[name, box] = _add(result, image[y:y + height, x:x + width], view, CROP_SIDE, crop_share)
    if result.absent:
        LOGGER.warning("%d of %d images of the report are not shown, first: %s", len(result.absent), len(names),
                       next(iter(result.absent.values())))
    return result


def draw(picture: Picture, boxes: dict[str, Sequence[Sequence[float]]], text: str) -> Html:
    """The picture with outlines.

    Args:
        picture: from `cut_pictures`.
        boxes: "found", "missed", "false", "ignored" -> xywh boxes, further columns are not looked at.
        text: what it shows, for those who cannot see it.
    """
    outlines = [tag("path", d=" ".join(map(_outline, boxes[kind])), class_=f"box {kind}")
                for kind in OUTLINES if len(boxes.get(kind, ()))]
    view = " ".join(map(str, picture.view))
    return tag("svg", tag("use", href=f"#{picture.id}"), *outlines, viewBox=view, role="img", aria_label=text)


def _find(folder: Path, name: str) -> Path:
    """The file of an image named without suffix."""
    path = next((path for path in (folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES) if path.is_file()), None)
    if path is None:
        raise InputError(f"{name}{IMAGE_SUFFIXES[0]} is not in the folder of images")
    return path


def _add(pictures: Pictures, part: np.ndarray, view: tuple, side: int, allowance: int) -> Picture:
    """Store one picture; `view` is where its pixels lie in the photograph."""
    picture = Picture(f"picture-{len(pictures.stored)}", view)
    data = base64.b64encode(_jpeg(part, side, allowance)).decode()
    x, y, width, height = view
    pictures.stored.append(tag("image", id=picture.id, x=x, y=y, width=width, height=height,
                               preserveAspectRatio="none", href=f"data:image/jpeg;base64,{data}"))
    return picture


def _jpeg(image: np.ndarray, side: int, allowance: int) -> bytes:
    """As good as `allowance` bytes permit, its longer side at most `side` pixels."""
    full = min(1.0, side / max(image.shape[:2]))
    content = b""
    for quality, scale in STEPS:
        size = [max(1, round(edge * full * scale)) for edge in image.shape[1::-1]]
        smaller = image if size == list(image.shape[1::-1]) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= allowance:
            break
    return content


def _window(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a photograph around a box that a close-up shows: a square, moved inside where it would reach out."""
    x, y, box_width, box_height = box[:4]
    side = max(CROP_MINIMUM, round(CROP_CONTEXT * max(box_width, box_height)))
    across, down = min(side, width), min(side, height)
    left = min(max(0, round(x + box_width / 2 - across / 2)), width - across)
    top = min(max(0, round(y + box_height / 2 - down / 2)), height - down)
    return left, top, across, down


def _outline(box: Sequence[float]) -> str:
    x, y, width, height = box[:4]
    return "M{:g} {:g}h{:g}v{:g}h{:g}z".format(*(round(value, 1) for value in (x, y, width, height, -width)))
