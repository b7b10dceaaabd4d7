# SPDX-License-Identifier: Apache-2.0
"""Write image files, and draw many images on one contact sheet.

    write_image(Path("sheet.jpg"), contact_sheet(images, columns=4))

Images are BGR uint8 [H, W, 3].
"""
from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.draw import FONT
from dependency.centernet.src.lib.utils.image import shrink
from dependency.errors import InputError
from dependency.files import atomic_write, plain_text

BACKGROUND = 32
CAPTION_COLOUR = (230, 230, 230)
# libjpeg's limit.
JPEG_SIDE = 65500
# Of a colour profile in one segment of a JPEG, in bytes.
PROFILE_PART = 65519
# Comment in the JPEG and PNG files written here, by which a later run recognises them and leaves them out.
MARK = b"written by mindspore-face-detection"


def contact_sheet(images: Sequence[np.ndarray], columns: int = 4, cell: int = 320,
                  captions: Sequence[str] | None = None) -> np.ndarray:
    """Place images side by side, each shrunk into a square cell (never enlarged), with an optional caption below.

    Args:
        images: BGR uint8 [H, W, 3], any sizes; at least one.
        columns: at most this many in a row.
        cell: side of a cell in pixels.
        captions: one text for each image.

    Returns:
        uint8 [rows * (cell + caption height), columns * cell, 3].
    """
    if not len(images):
        raise ValueError("a contact sheet needs at least one image")
    columns = min(columns, len(images))
    caption_height = 22 if captions else 0
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (cell + caption_height), columns * cell, 3), BACKGROUND, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (cell + caption_height), index % columns * cell
        small, _ = shrink(image, cell - 4)
        height, width = small.shape[:2]
        y, x = top + (cell - height) // 2, left + (cell - width) // 2
        sheet[y:y + height, x:x + width] = small
        if captions:
            below = left + 4, top + cell + 15
            cv2.putText(sheet, captions[index], below, FONT, 0.45, CAPTION_COLOUR, 1, cv2.LINE_AA)
    return sheet


def write_image(path: Path, image: np.ndarray, text: str = "", profile: bytes = b"") -> None:
    """Write an image file of the format that the suffix names; its folder is created.

    Args:
        text: for `has_mark`, at most 100 letters of ASCII.
        profile: an ICC colour profile, for JPEG.

    Raises:
        InputError: a format that OpenCV cannot write, or more pixels than it holds.
        OSError: the disk is full, or the file may not be written.
    """
    suffix = path.suffix.lower()
    is_jpeg = suffix in (".jpg", ".jpeg")
    size = f"{plain_text(path)}: {image.shape[1]} x {image.shape[0]} pixels"
    if is_jpeg and max(image.shape[:2]) > JPEG_SIDE:
        raise InputError(f"{size} are too many for a JPEG, whose limit is {JPEG_SIDE} a side; a .png holds them")
    try:
        is_done, encoded = cv2.imencode(plain_text(suffix), image, [cv2.IMWRITE_JPEG_QUALITY, 92] if is_jpeg else [])
    except cv2.error:
        is_done = False
    if not is_done:
        raise InputError(f"{size} cannot be written by OpenCV as '{suffix}'; name it .jpg or .png")
    with atomic_write(path, "wb") as file:
        file.write(_add_mark(encoded.tobytes(), MARK + text.encode("ascii"), profile))


def has_mark(path: Path, text: str = "") -> bool:
    """Check whether `write_image` wrote this JPEG or PNG file, with a text that begins so."""
    with path.open("rb") as file:
        return MARK + text.encode("ascii") in file.read(300)


def _add_mark(content: bytes, mark: bytes, profile: bytes) -> bytes:
    """Add a comment and a profile to the content of a JPEG (after its first segment), a comment to that of a PNG."""
    if content.startswith(b"\xff\xd8\xff\xe0"):
        end = 4 + int.from_bytes(content[4:6], "big")
        parts = [profile[start:start + PROFILE_PART] for start in range(0, len(profile), PROFILE_PART)]
        segments = [(b"\xff\xfe", mark), *((b"\xff\xe2", b"ICC_PROFILE\0" + bytes([index, len(parts)]) + part)
                                           for index, part in enumerate(parts, start=1))]
        added = b"".join(kind + (len(data) + 2).to_bytes(2, "big") + data for kind, data in segments)
        return content[:end] + added + content[end:]
    if content.startswith(b"\x89PNG"):
        chunk = b"tEXtSoftware\0" + mark
        return (content[:33] + (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
                + content[33:])
    return content
