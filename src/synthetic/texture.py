# SPDX-License-Identifier: Apache-2.0
"""The painted skin of a head: a frontal map of colours and a frontal map of heights.

`paint(look, wear, rng, size)` and `relief(look, wear)`. Both maps cover x and y from -EXTENT to EXTENT in
head units (half the head's height is 1, x to the image's right, y down), pixel (row, column) at the cell's
centre."""
import cv2
import numpy as np

from src.synthetic.canvas import Rng, ellipse_points, fractal, smoothstep
from src.synthetic.look import Look, Wear

EXTENT = 1.05
RELIEF_SIZE = 96


def axis(size: int) -> np.ndarray:
    """Return the coordinates [size] of the map's rows (or columns) in head units."""
    return ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32) * EXTENT


def mouth_corner(look: Look) -> tuple[float, float]:
    """Compute (x > 0, y) of the right mouth corner: a smile pulls it out and up, an opening mouth in and down."""
    face = look.expression
    return (look.mouth_w * (1 + 0.18 * face.smile - 0.15 * face.mouth_open),
            look.mouth_y - 0.05 * face.smile + 0.03 * face.mouth_open)


def mask_cover(look: Look, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where a surgical mask lies, 0..1, for broadcastable head coordinates."""
    top = look.nose_y - 0.17 + 0.22 * np.abs(x)
    return smoothstep(-0.015, 0.015, y - top) * smoothstep(0.99, 0.95, y + 0.12 * np.abs(x))


def relief(look: Look, wear: Wear) -> np.ndarray:
    """Build the heights [RELIEF_SIZE, RELIEF_SIZE] in head units, to add to the smooth head towards the front."""
    corner_x, corner_y = mouth_corner(look)
    mouth, opening = look.mouth_y, look.expression.mouth_open
    out, wing = look.nose_out, look.nose_w
    bumps: list[tuple[float, ...]] = [
        (0, look.nose_y, 0.075, 0.085, out * 0.62), (0, look.nose_y - 0.16, 0.055, 0.15, out * 0.5),
        (0, mouth - 0.045, 0.14, 0.03, 0.045), (0, mouth + 0.05 + 0.1 * opening, 0.13, 0.035, 0.05),
        (0, mouth, 0.2, 0.16, 0.05), (0, 0.88, 0.17, 0.1, 0.07), (0, mouth + 0.14, 0.16, 0.05, -0.035),
        (0, -0.35, 0.4, 0.2, 0.03)]
    for side in (-1, 1):
        bumps += [(side * wing, look.nose_y + 0.03, 0.045, 0.04, 0.06),
                  (side * look.eye_x, look.eye_y, 0.15, 0.085, -0.085),
                  (side * look.eye_x, look.eye_y, 0.07, 0.05, 0.045),
                  (side * look.eye_x, look.eye_y - 0.19, 0.17, 0.05, 0.045),
                  (side * 0.4, 0.32, 0.15, 0.13, 0.035 + 0.03 * max(look.expression.smile, 0)),
                  (side * corner_x, corner_y, 0.045, 0.04, -0.03),
                  (side * (look.nose_w + 0.12), look.nose_y + 0.12, 0.03, 0.08, -0.012 - 0.015 * look.age)]
    table = np.array(bumps, np.float32)
    line = axis(RELIEF_SIZE)
    along_x = np.exp(-0.5 * ((line[None] - table[:, 0:1]) / table[:, 2:3]) ** 2)
    along_y = np.exp(-0.5 * ((line[None] - table[:, 1:2]) / table[:, 3:4]) ** 2)
    height = np.einsum("ky,kx->yx", along_y * table[:, 4:5], along_x).astype(np.float32)
    if wear.mask:
        cover = mask_cover(look, line[None], line[:, None])
        shell = cv2.GaussianBlur(height, (0, 0), 6) + 0.08
        height = height + cover * (np.maximum(shell, height * 0.3) - height)
    return height


class _Brush:
    """Anti-aliased drawing in head units on an 8-bit map."""

    def __init__(self, image: np.ndarray):
        self.image = image
        self.scale = image.shape[0] / (2 * EXTENT)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        return np.round(((np.asarray(points, np.float64) + EXTENT) * self.scale - 0.5) * 16).astype(np.int32)

    def fill(self, points: np.ndarray, tone: np.ndarray) -> None:
        cv2.fillPoly(self.image, [self._pixels(points)], [float(v) * 255 for v in tone], cv2.LINE_AA, 4)

    def line(self, points: np.ndarray, tone: np.ndarray, thick: float) -> None:
        width = max(1, round(thick * self.scale))
        colour = [float(v) * 255 for v in tone]
        cv2.polylines(self.image, [self._pixels(points)], False, colour, width, cv2.LINE_AA, 4)


def _eye(brush: _Brush, look: Look, side: int, gaze: tuple[float, float]) -> None:
    x, y, half = side * look.eye_x, look.eye_y, look.eye_w
    opening = 0.46 * half * (1 - look.expression.blink) * (1 - 0.25 * max(look.expression.smile, 0))
    t = np.linspace(-1, 1, 17)
    tilt = -0.03 * side * t
    upper = np.stack([x + half * t, y + tilt - opening * 1.15 * (1 - t ** 2) ** 0.8], 1)
    lower = np.stack([x + half * t, y + tilt + opening * 0.8 * (1 - t ** 2)], 1)
    almond = np.concatenate([upper, lower[::-1]])
    dark = look.skin * 0.28
    lids = np.stack([x + 1.25 * (almond[:, 0] - x), y - 0.012 + 1.6 * (almond[:, 1] - y)], 1)
    brush.fill(lids, look.skin * 0.78)
    if opening > 0.012:
        layer = brush.image.copy()
        inner = _Brush(layer)
        inner.fill(almond, np.array([0.82, 0.84, 0.86]) * (0.75 + 0.2 * float(look.skin.mean())))
        centre = (x + gaze[0] * half * 0.35, y + gaze[1] * opening * 0.4)
        inner.fill(ellipse_points(centre, (half * 0.46, half * 0.46), 20), look.iris)
        inner.fill(ellipse_points(centre, (half * 0.22, half * 0.22), 14), np.array([0.03, 0.03, 0.03]))
        inner.fill(ellipse_points((centre[0] - 0.02, centre[1] - 0.02), (0.014, 0.014), 8), np.ones(3) * 0.95)
        mask = np.zeros(layer.shape[:2], np.uint8)
        cv2.fillPoly(mask, [brush._pixels(almond)], 255, cv2.LINE_8, 4)
        np.copyto(brush.image, layer, where=mask[..., None] > 0)
    brush.line(upper, dark, 0.022)
    brush.line(lower, look.skin * 0.6, 0.012)
    brush.line(np.stack([upper[:, 0], upper[:, 1] - 0.045], 1), look.skin * 0.7, 0.012)


def _brow(brush: _Brush, look: Look, side: int) -> None:
    t = np.linspace(-1, 1, 11)
    raised = look.eye_y - 0.175 - 0.035 * look.expression.brow
    x = side * (look.eye_x + 0.02) + side * 0.185 * t
    y = raised - 0.035 * (1 - t ** 2) + 0.03 * t
    thick = look.brow_thick * (1.1 - 0.7 * (t + 1) / 2)
    outline = np.concatenate([np.stack([x, y - thick], 1), np.stack([x, y + thick], 1)[::-1]])
    brush.fill(outline, 0.35 * look.skin * 0.6 + 0.65 * look.hair * 0.9)


def _mouth(brush: _Brush, look: Look) -> None:
    corner_x, corner_y = mouth_corner(look)
    opening = 0.17 * look.expression.mouth_open
    t = np.linspace(-1, 1, 21)
    bow = 1 - t ** 2
    middle = look.mouth_y - corner_y
    inner_top = corner_y + bow * (middle - 0.25 * opening)
    inner_bottom = corner_y + bow * (middle + 1.3 * opening)
    top = inner_top - look.lip * bow ** 0.6 * (0.85 + 0.25 * np.cos(np.pi * t) ** 2 * (np.abs(t) > 0.12))
    bottom = inner_bottom + look.lip * 1.25 * bow ** 0.7
    x = corner_x * t

    def band(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        return np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]])

    brush.fill(band(top, inner_top), look.lips * 0.9)
    brush.fill(band(inner_bottom, bottom), look.lips)
    if opening > 0.012:
        brush.fill(band(inner_top, inner_bottom), np.array([0.1, 0.08, 0.2]))
        teeth = inner_top + np.minimum(0.6 * (inner_bottom - inner_top), 0.055)
        brush.fill(np.concatenate([np.stack([0.8 * x, inner_top], 1), np.stack([0.8 * x, teeth], 1)[::-1]]),
                   np.array([0.78, 0.84, 0.86]))
    else:
        brush.line(np.stack([x, inner_top], 1), look.lips * 0.4, 0.018)


def _details(brush: _Brush, look: Look) -> None:
    for side in (-1, 1):
        nostril = (side * look.nose_w * 0.62, look.nose_y + 0.075)
        brush.fill(ellipse_points(nostril, (0.036, 0.018), 12), look.skin * 0.3)
        wing = ellipse_points((side * look.nose_w, look.nose_y + 0.045), (0.045, 0.05), 9,
                              *((-1.2, 1.4) if side > 0 else (np.pi - 1.4, np.pi + 1.2)))
        brush.line(wing, look.skin * 0.72, 0.014)
        corner_x, corner_y = mouth_corner(look)
        fold = np.array([[side * (look.nose_w + 0.05), look.nose_y + 0.04],
                         [side * (corner_x + 0.05), (look.nose_y + corner_y) / 2 + 0.03],
                         [side * (corner_x + 0.08), corner_y + 0.02]])
        brush.line(fold, look.skin * (0.93 - 0.16 * look.age), 0.014)
    if look.age > 0.5:
        for row in (-0.42, -0.34):
            brush.line(np.array([[-0.25, row], [0, row - 0.015], [0.25, row]]), look.skin * 0.86, 0.012)


def _complexion(look: Look, wear: Wear, rng: Rng, size: int) -> np.ndarray:
    """Paint skin with blotches, red cheeks and nose, and the beard."""
    line = axis(size)
    x, y = line[None], line[:, None]
    tone = look.skin[None, None] * (1 + 0.035 * fractal(rng, size, size, 5, 4))[..., None]
    red = np.zeros((size, size), np.float32)
    for cx, cy, radius in ((-0.4, 0.33, 0.17), (0.4, 0.33, 0.17), (0, look.nose_y, 0.1), (0, 0.9, 0.14)):
        red += np.exp(-0.5 * (((x - cx) / radius) ** 2 + ((y - cy) / radius) ** 2))
    tone = tone * (1 + rng.uniform(0.02, 0.14) * red[..., None] * np.array([-0.8, -0.7, 0.4], np.float32))
    if wear.beard > 0:
        inside = smoothstep(0.0, 0.12, y - (0.42 + 0.5 * np.maximum(0,
                            0.42 - np.abs(x)) * (y < look.mouth_y + 0.2)))
        lips = np.exp(-(((x / (look.mouth_w * 1.15)) ** 2 + ((y - look.mouth_y) / 0.08) ** 2) ** 2))
        stubble = np.clip(0.85 + 0.25 * rng.standard_normal((size, size), dtype=np.float32), 0, 1.2)
        moustache = np.exp(-((x / 0.24) ** 2) ** 2 - ((y - look.mouth_y + 0.12) / 0.055) ** 2)
        cover = np.clip(wear.beard * (inside * (1 - lips) + moustache) * stubble, 0, 0.95)[..., None]
        tone = tone + cover * (look.hair[None, None] * 0.9 - tone)
    return np.clip(tone, 0, 1)


def _surgical_mask(image: np.ndarray, look: Look, wear: Wear) -> None:
    line = axis(image.shape[0])
    cover = mask_cover(look, line[None], line[:, None])[..., None]
    pleats = 1 - 0.12 * (np.abs(np.sin(line * 22)) < 0.16)[:, None, None]
    image += cover * (wear.colours[1] * pleats - image)


def paint(look: Look, wear: Wear, rng: Rng, size: int, blank: bool = False) -> np.ndarray:
    """Paint the frontal colour map, float32 [size, size, 3] BGR 0..1.

    `blank` leaves out every feature (a mannequin).
    """
    image = np.round(_complexion(look, wear, rng, size) * 255).astype(np.uint8)
    gaze = (float(rng.normal(0, 0.4)), float(rng.normal(0, 0.3)))
    if blank:
        return image.astype(np.float32) / 255
    brush = _Brush(image)
    _details(brush, look)
    for side in (-1, 1):
        _eye(brush, look, side, gaze)
        _brow(brush, look, side)
    _mouth(brush, look)
    colours = cv2.GaussianBlur(image, (0, 0), max(0.35, size / 400)).astype(np.float32) / 255
    if wear.mask:
        _surgical_mask(colours, look, wear)
    return colours
