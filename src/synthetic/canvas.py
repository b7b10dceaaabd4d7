# SPDX-License-Identifier: Apache-2.0
"""Small drawing helpers of the synthetic set: noise, colours, and pasting soft-edged patches on a canvas.

`canvas.paste(image, patch, alpha, left, top)`. Images are float32 [H, W, 3] BGR in 0..1, alpha is float32 [H,
W]."""
from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Compute a Hermite ramp: 0 where value <= low, 1 where value >= high (low > high gives the falling ramp)."""
    ramp = np.clip((value - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def fractal(rng: Rng, height: int, width: int, coarse: int = 4, octaves: int = 4,
            stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Make smooth noise [height, width], mean near 0, standard deviation near 1.

    Args:
        rng: the generator.
        height, width: pixels.
        coarse: cells along a side of the coarsest octave.
        octaves: each halves the cell and the amplitude.
        stretch: (rows, columns) factors of the cell count; (1, 6) draws vertical streaks.
    """
    total = np.zeros((2, 2), np.float32)
    for octave in range(octaves):  # every octave is added at its own resolution, twice the one before
        rows = max(2, min(height, int(coarse * stretch[0] * 2 ** octave)))
        columns = max(2, min(width, int(coarse * stretch[1] * 2 ** octave)))
        cells = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.9 * 0.5 ** octave)
        total = cells + (cv2.resize(total, (columns, rows), interpolation=cv2.INTER_CUBIC) if octave else 0)
    return cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC)


def colour(rng: Rng, low: float = 0.05, high: float = 0.9, saturation: float = 0.6) -> np.ndarray:
    """Choose a random BGR colour [3]: a grey of `low`..`high` pushed up to `saturation` towards a hue."""
    grey = rng.uniform(low, high)
    hue = rng.uniform(-1, 1, 3)
    return np.clip(grey * (1 + saturation * rng.random() * hue), 0.01, 0.98).astype(np.float32)


def paste(image: np.ndarray, patch: np.ndarray, alpha: np.ndarray, left: int, top: int,
          owner: np.ndarray | None = None, ident: int = 0) -> None:
    """Blend `patch` [h, w, 3] over `image` in place, clipped at its borders.

    Args:
        image: the canvas, changed.
        patch: colours, not multiplied by alpha.
        alpha: coverage [h, w], 0..1.
        left, top: where the patch's first pixel goes; may be negative.
        owner: int16 [H, W] map of who is seen at a pixel; set to `ident` where alpha > 0.5.
        ident: the patch's name in `owner`.
    """
    height, width = image.shape[:2]
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(width, left + patch.shape[1]), min(height, top + patch.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    cover = alpha[inside][..., None]
    region = image[y1:y2, x1:x2]
    region += cover * (patch[inside] - region)
    if owner is not None:
        owner[y1:y2, x1:x2][cover[..., 0] > 0.5] = ident


def polygon(image: np.ndarray, points: np.ndarray, fill: np.ndarray, soft: float = 0.0) -> None:
    """Fill a polygon [N, 2] (pixels) on a float canvas in place, anti-aliased, optionally soft-edged by
    `soft` px.
    """
    margin = int(3 * soft) + 2
    left, top = np.floor(points.min(0)).astype(int) - margin
    right, bottom = np.ceil(points.max(0)).astype(int) + margin
    left, top = max(left, -margin), max(top, -margin)
    right, bottom = min(right, image.shape[1] + margin), min(bottom, image.shape[0] + margin)
    if right - left < 2 or bottom - top < 2:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, [np.round((points - (left, top)) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha: np.ndarray = mask.astype(np.float32) / 255
    if soft > 0:
        alpha = cv2.GaussianBlur(alpha, (0, 0), soft)
    paste(image, np.broadcast_to(np.asarray(fill, np.float32), (*mask.shape, 3)), alpha, left, top)


def ellipse_points(centre: tuple[float, float], axes: tuple[float, float], count: int = 32,
                   start: float = 0.0, end: float = 2 * np.pi) -> np.ndarray:
    """Return points [count, 2] along an ellipse arc (radians, clockwise on screen)."""
    angle = np.linspace(start, end, count)
    return np.stack([centre[0] + axes[0] * np.cos(angle), centre[1] + axes[1] * np.sin(angle)], 1)
