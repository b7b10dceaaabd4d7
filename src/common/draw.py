# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: faces drawn on an image, many images on one sheet.

    write_image(Path("out.jpg"), draw_faces(image, faces))
    write_image(Path("sheet.jpg"), contact_sheet(images, columns=4))

Images are BGR uint8 [H, W, 3]; inputs are never drawn on.
"""
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.draw import FONT, draw_faces
from dependency.errors import InputError
from dependency.files import atomic_write

__all__ = ["contact_sheet", "draw_faces", "write_image"]

BACKGROUND = 32
CAPTION_COLOUR = (230, 230, 230)


def contact_sheet(images: Sequence[np.ndarray], columns: int = 4, cell: int = 320,
                  captions: Optional[Sequence[str]] = None) -> np.ndarray:
    """Images side by side, each shrunk into a square cell (never enlarged), with an optional caption below.

    Args:
        images: BGR uint8 [H, W, 3], any sizes; at least one.
        columns: at most this many in a row.
        cell: side of a cell in pixels.
        captions: one text an image.

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
        small = _shrink(image, cell - 4)
        height, width = small.shape[:2]
        y, x = top + (cell - height) // 2, left + (cell - width) // 2
        sheet[y:y + height, x:x + width] = small
        if captions:
            below = left + 4, top + cell + 15
            cv2.putText(sheet, captions[index], below, FONT, 0.45, CAPTION_COLOUR, 1, cv2.LINE_AA)
    return sheet


def _shrink(image: np.ndarray, side: int) -> np.ndarray:
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return image
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image file by the suffix of its name; any name and folder will do."""
    suffix = path.suffix.lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix in (".jpg", ".jpeg") else []
    try:
        encoded = cv2.imencode(suffix, image, options)[1]
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV cannot write this kind of file; name it .jpg or .png") from error
    with atomic_write(path, "wb") as file:
        file.write(encoded.tobytes())
