# SPDX-License-Identifier: Apache-2.0
"""Draw detected faces on an image.

    cv2.imwrite("out.jpg", draw_faces(image, faces))

Images are BGR uint8 [H, W, 3].
"""
from __future__ import annotations

import cv2
import numpy as np

from dependency.evaluate.prediction_io import Detections

# BGR; warm colours on the left of the image, cold ones on the right, green for the nose.
LANDMARK_COLOURS = ((0, 140, 255), (255, 160, 0), (80, 220, 80), (60, 60, 255), (255, 60, 160))
STRONG, WEAK = (60, 220, 60), (60, 200, 255)
STRONG_SCORE = 0.5
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_faces(image: np.ndarray, faces: Detections, scores: bool = True,
               colour: tuple[int, int, int] | None = None) -> np.ndarray:
    """Draw boxes (in `colour`; else green from score 0.5 on, yellow below), scores and landmarks on a copy.

    Lines and dots grow with the image; a score is left out where its text is wider than twice the face. Coordinates
    that are NaN are not drawn, nor landmarks at 0, 0, which are not labelled; those far outside the image are clipped
    to twice its size, which OpenCV's integers hold.
    """
    canvas = image.copy()
    thickness = _line_width(image)
    limit = 2 * max(image.shape[:2])
    for box, score, landmarks in zip(faces.boxes, faces.scores, faces.landmarks):
        if np.isnan(box).any():
            continue
        line_colour = colour or (STRONG if score >= STRONG_SCORE else WEAK)
        left, top, right, bottom = _pixels(box, limit)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), line_colour, thickness)
        radius = max(1, round((right - left) / 35))
        for point, dot_colour in zip(landmarks, LANDMARK_COLOURS):
            if point.any() and not np.isnan(point).any():
                cv2.circle(canvas, _pixels(point, limit), radius, dot_colour, cv2.FILLED, cv2.LINE_AA)
        if scores:
            _draw_label(canvas, f"{score:.2f}", left, top, 2 * (right - left), thickness, line_colour)
    return canvas


def draw_boxes(image: np.ndarray, boxes: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Draw boxes [N, 4] xyxy alone, in one colour and with wide lines, on a copy of the image."""
    canvas = image.copy()
    for box in boxes:
        left, top, right, bottom = _pixels(box, 2 * max(image.shape[:2]))
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, 2 * _line_width(image))
    return canvas


def draw_targets(image: np.ndarray, faces: Detections) -> np.ndarray:
    """Draw faces to train on, on a copy: wide boxes, which stay visible where the picture is shrunk, and landmarks."""
    return draw_faces(draw_boxes(image, faces.boxes, STRONG), faces, scores=False, colour=STRONG)


def _line_width(image: np.ndarray) -> int:
    return max(1, round(max(image.shape[:2]) / 700))


def _pixels(values: np.ndarray, limit: int) -> tuple[int, ...]:
    return tuple(np.round(values.clip(-limit, limit)).astype(int).tolist())


def _draw_label(canvas: np.ndarray, text: str, left: int, top: int, max_width: int, thickness: int,
                colour: tuple) -> None:
    """Write text on a bar of the box's colour above the box, or inside it at the upper border of the image."""
    scale = 0.4 * thickness
    (width, height), below = cv2.getTextSize(text, FONT, scale, thickness)
    if width > max_width:
        return
    base = top - below - 1 if top >= height + 2 * below else top + height + below
    cv2.rectangle(canvas, (left, base - height - below), (left + width, base + below), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, base), FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
