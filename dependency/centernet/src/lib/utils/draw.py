# SPDX-License-Identifier: Apache-2.0
"""Faces drawn on an image for people to look at.

    cv2.imwrite("out.jpg", draw_faces(image, faces))

Images are BGR uint8 [H, W, 3]; inputs are never drawn on.
"""
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:       # which has a method that draws
    from dependency.centernet.src.lib.detectors.faces import Faces

# BGR; the image's left is warm, its right cold, the nose between.
LANDMARK_COLOURS = ((0, 140, 255), (255, 160, 0), (80, 220, 80), (60, 60, 255), (255, 60, 160))
STRONG, WEAK = (60, 220, 60), (60, 200, 255)
STRONG_SCORE = 0.5
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_faces(image: np.ndarray, faces: "Faces", scores: bool = True) -> np.ndarray:
    """A copy of the image with boxes (green from 0.5, yellow below), scores and landmarks.

    Lines and dots grow with the image, text only where it is not wider than twice its face. NaN is not drawn; what
    lies far outside is brought nearer, since OpenCV's integers end, but not into the picture.
    """
    canvas = image.copy()
    line = max(1, round(max(image.shape[:2]) / 700))
    far = 2 * max(image.shape[:2])
    for box, score, landmarks in zip(faces.boxes, faces.scores, faces.landmarks):
        if np.isnan(box).any():
            continue
        colour = STRONG if score >= STRONG_SCORE else WEAK
        left, top, right, bottom = _pixels(box, far)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, line)
        radius = max(1, round((right - left) / 35))
        for point, dot in zip(landmarks, LANDMARK_COLOURS):
            if not np.isnan(point).any():
                cv2.circle(canvas, _pixels(point, far), radius, dot, cv2.FILLED, cv2.LINE_AA)
        if scores:
            _label(canvas, f"{score:.2f}", left, top, 2 * (right - left), line, colour)
    return canvas


def _pixels(values: np.ndarray, far: int) -> tuple[int, ...]:
    return tuple(np.round(values.clip(-far, far)).astype(int).tolist())


def _label(canvas: np.ndarray, text: str, left: int, top: int, room: int, line: int, colour: tuple) -> None:
    """Text on a bar of the box's colour above the box, or inside it at the image's upper border."""
    size = 0.4 * max(1, line)
    (width, height), below = cv2.getTextSize(text, FONT, size, line)
    if width > room:
        return
    base = top - below - 1 if top >= height + 2 * below else top + height + below
    cv2.rectangle(canvas, (left, base - height - below), (left + width, base + below), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, base), FONT, size, (0, 0, 0), line, cv2.LINE_AA)
