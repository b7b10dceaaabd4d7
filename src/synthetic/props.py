# SPDX-License-Identifier: Apache-2.0
"""Things that are not faces but look a little like one, and things that stand in front of faces.

`draw_distractor(image, rng, x, y, size)` (none of them is ever annotated: balls, clocks, wall sockets,
smileys, cats, car fronts, plates) and `draw_occluder(stage, rng, face, light, kind)` (hand, pole, sheet,
ball, microphone, leaves)."""
import numpy as np

from src.synthetic.canvas import Rng, colour, ellipse_points, fractal, paste, polygon
from src.synthetic.person import Face, Stage
from src.synthetic.render import Light

DISTRACTORS = ("ball", "clock", "socket", "smiley", "cat", "car", "plate")
OCCLUDERS = ("hand", "pole", "sheet", "ball", "microphone", "leaves")


def _disc(size: int, tone: np.ndarray, rng: Rng, pattern: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a shaded ball of `size` pixels: (picture, alpha)."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = line[None], line[:, None]
    radius = np.sqrt(x * x + y * y)
    depth = np.sqrt(np.clip(1 - radius ** 2, 0, 1))
    lamp = rng.normal(0, 0.5), -0.6, 0.7
    light = np.clip(x * lamp[0] + y * lamp[1] + depth * lamp[2], 0, 1) * 0.7 + 0.3
    albedo = np.broadcast_to(tone, (size, size, 3)).copy()
    if pattern:
        seams = np.sin(x / (0.3 + depth) * pattern) * np.sin(y / (0.3 + depth) * pattern) > 0
        albedo[seams] *= rng.uniform(0.2, 0.7)
    return albedo * light[..., None], np.clip((1 - radius) * size / 2, 0, 1)


def _ball(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    picture, alpha = _disc(max(4, int(size)), colour(rng, 0.3, 0.9, 0.8), rng,
                           float(rng.choice([0.0, 3.0, 5.0])))
    paste(image, picture, alpha, int(x - size / 2), int(y - size / 2))


def _clock(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    r = size / 2
    polygon(image, ellipse_points((x, y), (r, r), 40), colour(rng, 0.05, 0.5))
    polygon(image, ellipse_points((x, y), (0.88 * r, 0.88 * r), 40), colour(rng, 0.8, 0.95, 0.1))
    for angle in np.arange(12) * np.pi / 6:
        way = np.array([np.cos(angle), np.sin(angle)])
        side = np.array([-way[1], way[0]]) * 0.03
        stroke = np.array([way * 0.7 + side, way * 0.82 + side, way * 0.82 - side, way * 0.7 - side])
        polygon(image, stroke * r + (x, y), np.ones(3) * 0.1)
    for length in (0.45, 0.68):
        angle = rng.uniform(0, 2 * np.pi)
        way = np.array([np.cos(angle), np.sin(angle)])
        side = np.array([-way[1], way[0]]) * 0.04
        polygon(image, np.array([side, way * length, -side]) * r + (x, y), np.ones(3) * 0.08)


def _socket(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    r = size / 2
    polygon(image, np.array([[-1, -1.2], [1, -1.2], [1, 1.2], [-1, 1.2]])
            * r + (x, y), colour(rng, 0.75, 0.95, 0.1), 0.6)
    for side in (-0.4, 0.4):
        slot = ellipse_points((x + side * r, y - 0.3 * r), (0.1 * r, 0.26 * r), 12)
        polygon(image, slot, np.ones(3) * 0.12)
    polygon(image, ellipse_points((x, y + 0.45 * r), (0.16 * r, 0.18 * r), 12), np.ones(3) * 0.12)


def _smiley(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    r = size / 2
    polygon(image, ellipse_points((x, y), (r, r), 40), np.array([0.1, 0.8, 0.97]) * rng.uniform(0.7, 1))
    for side in (-0.35, 0.35):
        eye = ellipse_points((x + side * r, y - 0.25 * r), (0.11 * r, 0.17 * r), 16)
        polygon(image, eye, np.ones(3) * 0.07)
    lower, upper = (ellipse_points((x, y + 0.1 * r), (wide * r, tall * r), 16, 0.2, np.pi - 0.2)
                    for wide, tall in ((0.55, 0.5), (0.5, 0.36)))
    polygon(image, np.concatenate([lower, upper[::-1]]), np.ones(3) * 0.07)


def _cat(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    r, fur = size / 2, colour(rng, 0.1, 0.75, 0.3)
    for side in (-1, 1):
        ear = np.array([[0.9 * side, -1.15], [0.2 * side, -0.7], [0.85 * side, -0.2]])
        polygon(image, ear * r + (x, y), fur * 0.85, 0.03 * r)
    polygon(image, ellipse_points((x, y + 1.5 * r), (1.1 * r, 1.2 * r), 30), fur * 0.9, 0.06 * r)
    polygon(image, ellipse_points((x, y), (r, 0.82 * r), 36), fur, 0.05 * r)
    polygon(image, ellipse_points((x, y + 0.38 * r), (0.42 * r, 0.3 * r), 24),
            np.clip(fur * 1.5 + 0.1, 0, 1), 0.06 * r)
    for shift in (-0.42, 0.42):
        polygon(image, ellipse_points((x + shift * r, y - 0.1 * r),
                (0.2 * r, 0.17 * r), 18), np.array([0.3, 0.75, 0.7]))
        pupil = ellipse_points((x + shift * r, y - 0.1 * r), (0.05 * r, 0.16 * r), 12)
        polygon(image, pupil, np.ones(3) * 0.04)
    polygon(image, np.array([[-0.1, 0.22], [0.1, 0.22], [0, 0.34]]) * r + (x, y), np.array([0.45, 0.4, 0.75]))


def _car(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    r, tone = size / 2, colour(rng, 0.1, 0.85, 0.9)
    polygon(image, np.array([[-0.7, -0.75], [0.7, -0.75], [1, -0.1],
            [1, 0.6], [-1, 0.6], [-1, -0.1]]) * r + (x, y), tone, 0.5)
    polygon(image, np.array([[-0.6, -0.65], [0.6, -0.65], [0.8, -0.15],
            [-0.8, -0.15]]) * r + (x, y), np.ones(3) * 0.15)
    for side in (-0.7, 0.7):
        lamp = ellipse_points((x + side * r, y + 0.1 * r), (0.2 * r, 0.13 * r), 16)
        polygon(image, lamp, np.ones(3) * 0.93)
    polygon(image, np.array([[-0.4, 0.22], [0.4, 0.22], [0.35, 0.42], [-0.35, 0.42]])
            * r + (x, y), np.ones(3) * 0.08)


def _plate(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> None:
    r = size / 2
    polygon(image, ellipse_points((x, y), (r, 0.8 * r), 36), np.ones(3) * 0.9)
    polygon(image, ellipse_points((x, y), (0.72 * r, 0.56 * r), 36), np.ones(3) * 0.8)
    for _ in range(rng.integers(2, 6)):
        at, axes = (x + rng.normal(0, 0.25) * r, y + rng.normal(0, 0.2) * r), rng.uniform(0.1, 0.28, 2) * r
        polygon(image, ellipse_points(at, tuple(axes), 16), colour(rng, 0.2, 0.8, 1.0))


_DRAW = dict(zip(DISTRACTORS, (_ball, _clock, _socket, _smiley, _cat, _car, _plate)))


def draw_distractor(image: np.ndarray, rng: Rng, x: float, y: float, size: float) -> str:
    """Draw one at (x, y), about `size` pixels wide, and return its name."""
    kind = str(rng.choice(DISTRACTORS))
    _DRAW[kind](image, rng, x, y, size)
    return kind


def _hand(stage: Stage, rng: Rng, face: Face, light: Light, width: float, at: np.ndarray) -> None:
    """Draw a palm and four fingers: the union of capsules, shaded by the distance to their axes."""
    size = max(6, int(0.95 * width))
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    turn = rng.uniform(-0.9, 0.9)
    x, y = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    inside = np.full_like(x, -1.0)
    capsules = [(-0.42 + 0.2 * i, 0.05, -0.5 + 0.24 * i, -0.72 + 0.09 * abs(i - 1.4), 0.105)
                for i in range(4)]
    capsules += [(0.35, 0.4, 0.68, 0.0, 0.11), (-0.1, 0.35, -0.05, 0.3, 0.42), (-0.05, 0.5, 0.05, 1.4, 0.27)]
    for x1, y1, x2, y2, radius in capsules:
        square = (x2 - x1) ** 2 + (y2 - y1) ** 2
        along = np.clip(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / square, 0, 1)
        gap = np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))
        inside = np.maximum(inside, 1 - gap / radius)
    tone = face.person.look.skin * (light.ambient + 0.8 * light.key)
    picture = np.clip(tone * (0.55 + 0.5 * np.clip(inside, 0, 1) ** 0.5)[..., None], 0, 1)
    alpha = np.clip(inside * size * 0.06 + 0.3, 0, 1)
    paste(stage.image, picture, alpha, int(at[0] - size / 2), int(at[1] - size / 2), stage.owner, -1)


def _shape(stage: Stage, points: np.ndarray, tone: np.ndarray) -> None:
    """Draw a flat polygon in front of everything."""
    low, high = np.floor(points.min(0)).astype(int) - 1, np.ceil(points.max(0)).astype(int) + 2
    low, high = np.maximum(low, -4), np.minimum(high, np.array(stage.owner.shape[::-1]) + 4)
    if (high - low < 2).any():
        return
    picture = np.zeros((high[1] - low[1], high[0] - low[0], 4), np.float32)
    polygon(picture[..., :3], points - low, np.ones(3))
    shade = np.broadcast_to(tone, picture[..., :3].shape)
    paste(stage.image, shade, picture[..., 0].copy(), int(low[0]), int(low[1]), stage.owner, -1)


def draw_occluder(stage: Stage, rng: Rng, face: Face, light: Light, kind: str) -> None:
    """Hide a part (about a tenth to a half) of the face behind something."""
    x1, y1, x2, y2 = face.box
    width, height = x2 - x1, y2 - y1
    tone = colour(rng, 0.05, 0.8, 0.7) * (light.ambient + 0.6 * light.key)
    side = rng.choice([-1, 1])
    if kind == "hand":
        _hand(stage, rng, face, light, width, np.array([(x1 + x2) / 2 + side * rng.uniform(0.1, 0.5) * width,
                                                        y1 + rng.uniform(0.55, 1.0) * height]))
    elif kind == "pole":
        x = (x1 + x2) / 2 + side * rng.uniform(0.15, 0.5) * width
        w = rng.uniform(0.08, 0.2) * width
        _shape(stage, np.array([[x, -2], [x + w, -2], [x + w * 1.1, 4000], [x, 4000]]), np.clip(tone, 0, 1))
    elif kind == "sheet":
        y = y1 + rng.uniform(0.55, 0.8) * height
        corners = np.array([[-0.8, 0.1 * side], [0.8, -0.1 * side], [0.85, 1.3], [-0.75, 1.35]]) * width
        _shape(stage, corners + ((x1 + x2) / 2, y), np.clip(tone * 1.3, 0, 1))
    elif kind == "microphone":
        tip = np.array([(x1 + x2) / 2 + side * 0.1 * width, y1 + rng.uniform(0.8, 0.95) * height])
        stem = np.array([[-0.05, 0], [0.05, 0], [0.05 + 0.3 * side, 1.6], [-0.05 + 0.3 * side, 1.6]])
        _shape(stage, stem * width + tip, tone * 0.2)
        _shape(stage, ellipse_points(tuple(tip), (0.12 * width, 0.14 * width), 20), np.ones(3) * 0.16)
    else:
        size = max(4, int(rng.uniform(0.45, 0.8) * width))
        picture, alpha = _disc(size, np.clip(tone, 0.02, 0.95), rng, 0.0 if kind == "leaves" else 3.0)
        if kind == "leaves":
            shade = np.clip(0.8 + 0.4 * fractal(rng, size, size, 5, 3), 0.2, 1.6)[..., None]
            picture = np.clip(np.array([0.15, 0.4, 0.22]) * shade, 0, 1)
            alpha = alpha * (fractal(rng, size, size, 5, 3) > -0.35)
        paste(stage.image, picture.astype(np.float32), alpha.astype(np.float32),
              int((x1 + x2) / 2 + side * 0.35 * width - size / 2),
              int(y1 + rng.uniform(0.3, 0.9) * height - size / 2), stage.owner, -1)
