# SPDX-License-Identifier: Apache-2.0
"""The places behind the people: street, park, room, hall, stands, studio, and the night versions of them.

`draw_backdrop(rng, kind, height, width)` returns float32 [H, W, 3] BGR 0..1.
"""
import cv2
import numpy as np

from src.synthetic.canvas import Rng, colour, ellipse_points, fractal, paste, polygon

KINDS = ("street", "park", "room", "hall", "stands", "studio")


def _gradient(height: int, width: int, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.ascontiguousarray(np.broadcast_to(top * (1 - t) + bottom * t, (height, width, 3)), np.float32)


def _box(image: np.ndarray, x1: float, y1: float, x2: float, y2: float, tone: np.ndarray) -> None:
    rows, columns = image.shape[:2]
    x1, x2, y1, y2 = int(max(0, x1)), int(min(columns, x2)), int(max(0, y1)), int(min(rows, y2))
    if x1 < x2 and y1 < y2:
        image[y1:y2, x1:x2] = tone


def _grain(image: np.ndarray, rng: Rng, strength: float, coarse: int = 20,
           stretch: tuple[float, float] = (1.0, 1.0)) -> None:
    rows, columns = image.shape[:2]
    image *= (1 + strength * fractal(rng, rows, columns, coarse, 4, stretch))[..., None]


def writing(image: np.ndarray, rng: Rng, x: float, y: float, size: float, tone: np.ndarray) -> None:
    """Paste text-like strokes into an image: a few random capitals of height `size` px."""
    letters = "".join(rng.choice(list("ABDEGHKLMNOPRSTUWX0358"), int(rng.integers(2, 9))))
    mask = np.zeros((int(2 * size) + 2, int(len(letters) * size * 1.3) + 2), np.uint8)
    cv2.putText(mask, letters, (2, int(1.5 * size)), cv2.FONT_HERSHEY_SIMPLEX, float(size / 22), 255,
                max(1, int(size / 9)), cv2.LINE_AA)
    fill = np.broadcast_to(np.asarray(tone, np.float32), (*mask.shape, 3))
    paste(image, fill, mask.astype(np.float32) / 255, int(x), int(y - 1.5 * size))


def _building(image: np.ndarray, rng: Rng, x1: float, x2: float, top: float, bottom: float) -> None:
    wall = colour(rng, 0.2, 0.75, 0.35)
    _box(image, x1, top, x2, bottom, wall)
    window, across = rng.uniform(0.25, 0.8) * colour(rng, 0.1, 0.6, 0.3), rng.uniform(14, 38)
    down = across * rng.uniform(1.0, 1.8)
    share = rng.uniform(0.4, 0.75)
    for y in np.arange(top + 0.2 * down, bottom - 0.6 * down, down):
        for x in np.arange(x1 + 0.2 * across, x2 - share * across, across):
            lit = window * rng.uniform(0.6, 1.5)
            _box(image, x, y, x + share * across, y + share * down, np.clip(lit, 0, 1))
    if rng.random() < 0.5:
        level = rng.uniform(top, bottom - 20)
        _box(image, x1, level, x2, level + rng.uniform(12, 34), colour(rng, 0.1, 0.8, 0.9))
        writing(image, rng, x1 + 5, level + 14, rng.uniform(9, 26), colour(rng, 0.6, 0.95))


def _foliage(image: np.ndarray, rng: Rng, top: float, bottom: float) -> None:
    rows, columns = image.shape[:2]
    green = np.array([0.16, 0.36, 0.2], np.float32) * rng.uniform(0.6, 1.5, 3)
    leaves = fractal(rng, rows, columns, 40, 3) + 0.5 * fractal(rng, rows, columns, 6, 2)
    edge = bottom - (bottom - top) * (0.6 + 0.2 * fractal(rng, 2, columns, 5, 6)[0])
    inside = (np.arange(rows)[:, None] > edge[None]) & (np.arange(rows)[:, None] < bottom)
    shade = np.clip(0.75 + 0.35 * leaves, 0.1, 1.7)[..., None]
    np.copyto(image, np.clip(green * shade, 0, 1).astype(np.float32), where=inside[..., None])


def _car(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    tone = colour(rng, 0.08, 0.85, 0.8)
    body = np.array([[-1, 0], [-0.95, -0.3], [-0.6, -0.36], [-0.4, -0.7],
                    [0.4, -0.7], [0.65, -0.36], [1, -0.28], [1, 0]])
    polygon(image, body * size + (x, y), tone)
    glass = np.array([[-0.5, -0.38], [-0.34, -0.63], [0.34, -0.63], [0.52, -0.38]])
    polygon(image, glass * size + (x, y), np.array([0.3, 0.25, 0.2]))
    for side in (-0.55, 0.55):
        for radius, points, grey in ((0.18, 16, 0.06), (0.09, 12, 0.5)):
            wheel = ellipse_points((x + side * size, y), (radius * size, radius * size), points)
            polygon(image, wheel, np.ones(3) * grey)


def _street(rng: Rng, height: int, width: int) -> np.ndarray:
    image = _gradient(height, width, colour(rng, 0.6, 0.95, 0.3), colour(rng, 0.6, 0.9, 0.15))
    ground = height * rng.uniform(0.5, 0.7)
    x = -rng.uniform(0, 60)
    while x < width:
        wide = rng.uniform(70, 220)
        _building(image, rng, x, x + wide, rng.uniform(-0.3, 0.45) * height, ground)
        x += wide + (rng.uniform(0, 50) if rng.random() < 0.3 else 0)
    image[int(ground):] = _gradient(height - int(ground), width, np.ones(3) * rng.uniform(0.3, 0.45),
                                    np.ones(3) * rng.uniform(0.35, 0.6))
    for _ in range(rng.integers(0, 4)):
        _car(image, rng, rng.uniform(0, width), ground + rng.uniform(0, 50), rng.uniform(25, 90))
    if rng.random() < 0.4:
        _foliage(image, rng, ground * rng.uniform(0.3, 0.6), ground)
    _grain(image, rng, 0.05)
    return image


def _park(rng: Rng, height: int, width: int) -> np.ndarray:
    image = _gradient(height, width, np.array([0.9, 0.75, 0.55]) * rng.uniform(0.7, 1.1), np.ones(3) * 0.88)
    ground = height * rng.uniform(0.5, 0.75)
    for _ in range(3):
        _foliage(image, rng, ground * rng.uniform(-0.3, 0.6), ground + 5)
    grass = np.array([0.22, 0.46, 0.36], np.float32) * rng.uniform(0.7, 1.3, 3)
    image[int(ground):] = np.clip(grass, 0, 1)
    _grain(image[int(ground):], rng, 0.16, 40, (0.6, 1.6))
    for _ in range(rng.integers(0, 4)):
        x, thick = rng.uniform(0, width), rng.uniform(6, 26)
        _box(image, x, rng.uniform(-0.2, 0.3) * height, x + thick, ground + rng.uniform(0, 60),
             np.array([0.12, 0.18, 0.25]) * rng.uniform(0.6, 1.4))
    return image


def _room(rng: Rng, height: int, width: int) -> np.ndarray:
    wall = colour(rng, 0.35, 0.85, 0.35)
    image = _gradient(height, width, wall, wall * rng.uniform(0.7, 1.0))
    for _ in range(rng.integers(1, 6)):
        x, y, w, h = rng.uniform(0, width), rng.uniform(-0.1, 0.5) * height, *rng.uniform(40, 190, 2)
        _box(image, x, y, x + w, y + h, colour(rng, 0.1, 0.9, 0.6))
        _box(image, x + 6, y + 6, x + w - 6, y + h - 6, colour(rng, 0.2, 0.95, 0.7))
    for level in np.arange(rng.uniform(0, 0.4), 0.7, 0.17) * height if rng.random() < 0.45 else ():
        x = rng.uniform(0, 0.4) * width
        _box(image, 0, level, width, level + 5, colour(rng, 0.15, 0.5, 0.4))
        while x < width:
            thick, tall = rng.uniform(5, 20), rng.uniform(25, 0.15 * height + 20)
            _box(image, x, level - tall, x + thick, level, colour(rng, 0.1, 0.8, 0.9))
            x += thick + (rng.uniform(0, 40) if rng.random() < 0.15 else 1)
    floor = height * rng.uniform(0.72, 0.95)
    _box(image, 0, floor, width, height, colour(rng, 0.15, 0.6, 0.5))
    _grain(image, rng, 0.05, 6)
    return image


def _hall(rng: Rng, height: int, width: int) -> np.ndarray:
    image = _gradient(height, width, colour(rng, 0.02, 0.35, 0.6), colour(rng, 0.05, 0.3, 0.6))
    for _ in range(rng.integers(4, 16)):
        centre, radius = (rng.uniform(0, width), rng.uniform(0, 0.5) * height), rng.uniform(3, 26)
        lamp = ellipse_points(centre, (radius, radius), 20)
        polygon(image, lamp, colour(rng, 0.6, 0.95, 0.6), radius * 0.2)
    if rng.random() < 0.6:
        x, y = rng.uniform(0, 0.4) * width, rng.uniform(0, 0.2) * height
        right, bottom = x + rng.uniform(0.3, 0.6) * width, y + rng.uniform(0.2, 0.4) * height
        _box(image, x, y, right, bottom, colour(rng, 0.3, 0.95))
        for line in range(4):
            writing(image, rng, x + 15, y + 35 + 30 * line, rng.uniform(10, 24), colour(rng, 0.05, 0.9))
    for x in np.arange(0, width, rng.uniform(30, 90)) if rng.random() < 0.5 else ():
        image[:, int(x):int(x) + 3] *= 0.7
    _grain(image, rng, 0.1, 5, (0.5, 2.0))
    return image


def _stands(rng: Rng, height: int, width: int) -> np.ndarray:
    image = _gradient(height, width, colour(rng, 0.1, 0.5, 0.5), colour(rng, 0.2, 0.6, 0.5))
    seat = colour(rng, 0.15, 0.7, 0.9)
    y, step = rng.uniform(0.05, 0.25) * height, rng.uniform(14, 22)
    while y < height:
        _box(image, 0, y - 0.2 * step, width, y, seat * 0.35)
        for x in np.arange(rng.uniform(-step, 0), width, step):
            if rng.random() < 0.8:
                _box(image, x, y, x + 0.75 * step, y + 0.7 * step,
                     np.clip(seat * rng.uniform(0.6, 1.2), 0, 1))
        y, step = y + step * 1.15, step * 1.09
    _grain(image, rng, 0.08, 20)
    return image


def _studio(rng: Rng, height: int, width: int) -> np.ndarray:
    image = _gradient(height, width, colour(rng, 0.15, 0.9, 0.6), colour(rng, 0.1, 0.8, 0.6))
    _grain(image, rng, 0.12, 3)
    return image


_PLACES = dict(zip(KINDS, (_street, _park, _room, _hall, _stands, _studio)))


def draw_backdrop(rng: Rng, kind: str, height: int, width: int) -> np.ndarray:
    """Draw a place without people, sometimes out of focus."""
    image = np.clip(_PLACES[kind](rng, height, width), 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.6, 4)))
    return image
