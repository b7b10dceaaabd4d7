# SPDX-License-Identifier: Apache-2.0
"""What an image file holds, without the cost of decoding it.

    height, width = image_size("images/a.jpg")

Headers are read by Pillow, which MindSpore's own installation brings along.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dependency.centernet.src.lib.utils.image import read_image
from dependency.errors import InputError

ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = 1


class Header(NamedTuple):
    """Pixels as stored, and the EXIF orientation: 1 upright, 2 - 8 turned or mirrored."""
    height: int
    width: int
    orientation: int


def read_header(path: str | Path) -> Header:
    """Size and orientation of an image file, from its first bytes.

    Raises:
        InputError: no such file, or not an image.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such image; check the image folder")
    try:
        with Image.open(path) as image:
            return Header(image.height, image.width, image.getexif().get(ORIENTATION, UPRIGHT))
    except Exception as error:  # a damaged header makes Pillow raise nearly anything
        raise InputError(f"{path}: not an image ({error}); download or convert it again") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of the array that training reads from this file, from the header alone.

    That array is `read_image(path)`: the pixels as stored, not turned by the EXIF orientation. `cv2.imread`
    turns them unless told otherwise: for a phone's portrait it gives height and width the other way round.

    Raises:
        InputError: no such file, or not an image.
    """
    header = read_header(path)
    return header.height, header.width


def decode_fault(path: str | Path) -> str | None:
    """Why the file cannot be decoded to its end, or None; OpenCV alone fills up a cut-off JPEG with grey."""
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # as above
        return f"{path}: cannot be decoded ({error})"
    try:
        read_image(path)
    except InputError as error:
        return str(error)
    return None
