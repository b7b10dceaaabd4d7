# SPDX-License-Identifier: Apache-2.0
"""Turn coloured surfaces in space into an image (light, rotation, depth-sorted points), and a scene into the JPEG file
that a camera would write (blur, exposure, noise).

Space is in head units (half a head's height is 1): x to the image's right, y down, z towards the viewer; images
are float32 BGR 0..1."""
from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic.canvas import Rng

SKIN, FACE, OTHER = 0, 1, 2  # parts of a surface; FACE is what an annotator would put a box round


class Surface(NamedTuple):
    """Points [N, 3], unit normals [N, 3], albedo [N, 3] BGR, gloss [N] 0..1, part [N] uint8."""
    points: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    part: np.ndarray


class Light(NamedTuple):
    """Unit direction [3] towards the lamp, its colour [3] BGR, and the colour [3] of the light from
    everywhere.
    """
    direction: np.ndarray
    key: np.ndarray
    ambient: np.ndarray


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Build a rotation matrix [3, 3] (radians): yaw turns the nose to the image's right, pitch down, roll clockwise."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(
        pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


def sample_light(rng: Rng, harsh: float = 0.3, dark: bool = False) -> Light:
    """Choose a lamp at random, mostly above and in front.

    `harsh` is the chance of strong light from the side or behind; `dark` makes it night.
    """
    side = rng.random() < harsh
    azimuth = rng.uniform(0.7, 2.4) * rng.choice([-1, 1]) if side else rng.normal(0, 0.4)
    height = rng.uniform(0.1, 0.9)
    flat = np.cos(height)
    direction = np.array([np.sin(azimuth) * flat, -np.sin(height), np.cos(azimuth) * flat])
    warm = rng.normal(0, 0.07)
    tint = np.array([1 - warm, 1, 1 + warm])
    level, fill = (rng.uniform(0.75, 1.0), rng.uniform(0.2, 0.45)) if side else (
        rng.uniform(0.55, 0.85), rng.uniform(0.5, 0.7))
    if dark:
        level, fill = level * rng.uniform(0.4, 0.75), fill * rng.uniform(0.3, 0.55)
    return Light(*(v.astype(np.float32) for v in (direction, level * tint, fill * tint[::-1])))


def shade(surface: Surface, turn: np.ndarray, light: Light) -> np.ndarray:
    """Colour the surface turned by `turn` under `light`, [N, 3]: wrapped Lambert, sky fill and a soft highlight."""
    normals = surface.normals @ turn.T
    facing = np.clip((normals @ light.direction + 0.2) / 1.2, 0, 1)
    sky = 0.85 - 0.15 * normals[:, 1]
    half = light.direction + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    highlight = np.clip(normals @ half, 0, 1) ** 18 * surface.gloss
    lit = surface.albedo * (facing[:, None] * light.key + sky[:, None] * light.ambient)
    return np.clip(lit + 0.35 * highlight[:, None] * light.key, 0, 1)


def splat(screen: np.ndarray, depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Find which point is seen at every pixel.

    Args:
        screen: [N, 2] pixels; every point covers the 2 x 2 pixels round it.
        depth: [N], larger is nearer.
        width, height: of the picture.

    Returns:
        int32 [height, width] point numbers, -1 where nothing is seen.
    """
    corner = np.floor(screen - 0.5).astype(np.int32)
    column, row = corner[:, 0], corner[:, 1]
    inside = (column >= 0) & (row >= 0) & (column < width - 1) & (row < height - 1)
    numbers = np.flatnonzero(inside).astype(np.int32)
    if not len(numbers):
        return np.full((height, width), -1, np.int32)
    near = depth[numbers]
    low, high = near.min(), near.max()
    steps = ((near - low) * (65535 / max(high - low, 1e-6))).astype(np.uint16)
    order = numbers[np.argsort(steps, kind="stable")]  # a radix sort on 16 bits
    base = row[order] * width + column[order]
    seen = np.full(height * width, -1, np.int32)
    targets = base[:, None] + np.array([0, 1, width, width + 1], np.int32)
    seen[targets.ravel()] = np.repeat(order, 4)  # the last writer, the nearest, stays
    return seen.reshape(height, width)


def fill_holes(picture: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Close pinholes of a splat: (picture [H, W, 3], alpha [H, W]) with gaps of a pixel or two filled from
    around.
    """
    closed = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    holes = (closed > 0.5) & (alpha < 0.5)
    if holes.any():
        weight = cv2.blur(alpha, (5, 5))
        around = cv2.blur(picture * alpha[..., None], (5, 5)) / np.maximum(weight, 1e-3)[..., None]
        picture = np.where(holes[..., None], around, picture)
    return picture, closed


def _motion(image: np.ndarray, rng: Rng, length: float) -> np.ndarray:
    size = int(length) | 1
    kernel = np.zeros((size, size), np.float32)
    angle, middle = rng.normal(0, 0.5), size // 2
    way = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = (tuple(round(v) for v in middle + sign * way) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def expose(image: np.ndarray, rng: Rng, night: bool = False, motion: float = 0.0) -> tuple[np.ndarray, float]:
    """Photograph a scene: blur, exposure, colour, vignette, noise.

    Args:
        image: the scene, float32 [H, W, 3] BGR 0..1.
        rng: the generator.
        night: more noise, less light.
        motion: probability of motion blur.

    Returns:
        uint8 [H, W, 3] BGR, and the standard deviation in pixels of the blur.
    """
    height, width = image.shape[:2]
    blur = 0.0
    if rng.random() < motion:
        length = rng.uniform(3, 11)
        image, blur = _motion(image, rng, length), length / 3.5
    elif rng.random() < 0.4:
        blur = float(rng.uniform(0.4, 2.0))
        image = cv2.GaussianBlur(image, (0, 0), blur)
    gain = (1 + rng.normal(0, 0.04, 3)) * rng.uniform(0.85, 1.15)
    curve = float(rng.uniform(0.75, 1.05))
    image = cv2.pow(np.clip(image * gain.astype(np.float32), 0, 1), curve)
    if rng.random() < 0.5:
        line_y, line_x = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
        fall = 1 - rng.uniform(0.05, 0.35) * (line_x[None] ** 2 + line_y[:, None] ** 2) / 2
        image = image * fall.astype(np.float32)[..., None]
    if rng.random() < 0.05:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    strength = rng.uniform(0.02, 0.08) if night else max(0.002, rng.normal(0.012, 0.012))
    grain = rng.standard_normal((height, width), dtype=np.float32) * np.float32(0.8 * strength)
    tint = rng.standard_normal((height // 2, width // 2, 3), dtype=np.float32) * np.float32(0.6 * strength)
    image = image + cv2.resize(tint, (width, height))
    image += grain[..., None]
    return cv2.convertScaleAbs(np.maximum(image, 0, out=image), alpha=255), blur


def to_jpeg(picture: np.ndarray, rng: Rng) -> bytes:
    """Encode the picture as a JPEG file of a random quality between 35 and 95."""
    quality = int(rng.integers(35, 96))
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG; is its JPEG codec built in?")
    return data.tobytes()
