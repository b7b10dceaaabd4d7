# SPDX-License-Identifier: Apache-2.0
"""What a camera does to a scene: motion and focus, exposure, colour, noise, vignette, and the JPEG file.

`expose(image, rng, night, motion)` -> (uint8 [H, W, 3] BGR, standard deviation in pixels of the blur it
added)."""
import cv2
import numpy as np

from src.tools.synthetic.canvas import Rng


def _motion(image: np.ndarray, rng: Rng, length: float) -> np.ndarray:
    size = int(length) | 1
    kernel = np.zeros((size, size), np.float32)
    angle, middle = rng.normal(0, 0.5), size // 2
    way = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = (tuple(round(v) for v in middle + sign * way) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def expose(image: np.ndarray, rng: Rng, night: bool = False, motion: float = 0.0) -> tuple[np.ndarray, float]:
    """Take the picture.

    Args:
        image: the scene, float32 [H, W, 3] BGR 0..1.
        rng: the generator.
        night: more noise, less light.
        motion: chance of a shaken picture.
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
