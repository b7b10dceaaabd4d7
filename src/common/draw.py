# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: faces drawn on an image, many images on one sheet.

    cv2.imwrite("out.jpg", draw_faces(image, faces))
    cv2.imwrite("sheet.jpg", contact_sheet(images, columns=4))

Images are BGR uint8 [H, W, 3]; inputs are never drawn on.
"""
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import Faces
from dependency.errors import InputError
from dependency.files import atomic_write

# BGR; the image's left is warm, its right cold, the nose between.
LANDMARK_COLOURS = ((0, 140, 255), (255, 160, 0), (80, 220, 80), (60, 60, 255), (255, 60, 160))
STRONG, WEAK = (60, 220, 60), (60, 200, 255)
STRONG_SCORE = 0.5
BACKGROUND = 32
CAPTION_COLOUR = (230, 230, 230)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_faces(image: np.ndarray, faces: Faces, scores: bool = True) -> np.ndarray:
    """A copy of the image with boxes (green from 0.5, yellow below), scores and landmarks.

    Lines and dots grow with the image, text only where it is not wider than twice its face.
    """
    canvas = image.copy()
    line = max(1, round(max(image.shape[:2]) / 700))
    for box, score, landmarks in zip(faces.boxes, faces.scores, faces.landmarks):
        colour = STRONG if score >= STRONG_SCORE else WEAK
        left, top, right, bottom = np.round(box).astype(int).tolist()
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, line)
        radius = max(1, round((right - left) / 35))
        for (x, y), dot in zip(np.round(landmarks).astype(int).tolist(), LANDMARK_COLOURS):
            cv2.circle(canvas, (x, y), radius, dot, cv2.FILLED, cv2.LINE_AA)
        if scores:
            _label(canvas, f"{score:.2f}", left, top, 2 * (right - left), line, colour)
    return canvas


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


def _label(canvas: np.ndarray, text: str, left: int, top: int, room: int, line: int, colour: tuple) -> None:
    """Text on a bar of the box's colour above the box, or inside it at the image's upper border."""
    size = 0.4 * max(1, line)
    (width, height), below = cv2.getTextSize(text, FONT, size, line)
    if width > room:
        return
    base = top - below - 1 if top >= height + 2 * below else top + height + below
    cv2.rectangle(canvas, (left, base - height - below), (left + width, base + below), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, base), FONT, size, (0, 0, 0), line, cv2.LINE_AA)


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
