# SPDX-License-Identifier: Apache-2.0
"""The head in space: an ellipsoid with a face's relief, hair, ears, neck, and what is worn on it.

`build(look, wear, pose, rng, density)` gives a `Surface` and its five landmarks [5, 3] in the same frame, so
that whatever turns the head turns the landmarks. Head units: crown y = -1, chin y = 1, z towards the viewer;
longitude 0 is the face, +-pi the back of the head.
"""
from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic.canvas import Rng, fractal, smoothstep
from src.synthetic.look import Look, Wear
from src.synthetic.render import FACE, OTHER, SKIN, Surface
from src.synthetic.texture import EXTENT, RELIEF_SIZE, mouth_corner, paint, relief

FRONT, BACK = 0.82, 1.0  # depth of the face and of the skull
# the part boxed as a face: below the hairline, in front of the ears (radians)
FACE_TOP, FACE_SIDE = -0.46, 1.15
Cover = tuple[np.ndarray, float, np.ndarray, float]  # cover 0..1 [R, C], thickness, albedo [R, C, 3], gloss

HAIRLINE = {  # height of the hairline over |longitude| 0, 0.7, 1.1, 1.4, 1.7, pi
    "buzz": (-0.62, -0.58, -0.45, -0.15, 0.1, 0.45), "short": (-0.6, -0.56, -0.4, 0.02, 0.15, 0.6),
    "fringe": (-0.36, -0.33, -0.3, 0.15, 0.3, 0.7), "long": (-0.6, -0.5, -0.2, 0.55, 0.8, 0.95)}
KNOTS = (0.0, 0.7, 1.1, 1.4, 1.7, np.pi)
THICK = {"buzz": 0.025, "short": 0.11, "fringe": 0.12, "long": 0.12}


class Pose(NamedTuple):
    """Radians: yaw turns the nose to the image's right, pitch down, roll clockwise."""
    yaw: float
    pitch: float
    roll: float

    @property
    def atypical(self) -> bool:
        """The `pose` flag of WIDER."""
        return abs(self.yaw) > 1.0 or abs(self.pitch) > 0.5 or abs(self.roll) > 0.5


def _outline(look: Look, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return half width and relative depth of the front of the smooth head at height y."""
    level = np.minimum(np.abs(y), 1)
    jaw = 1 - (1 - look.jaw) * smoothstep(0.05, 0.95, y)
    return look.width * jaw * (1 - level ** 2.3) ** (1 / 2.3), (1 - level ** 3) ** (1 / 3)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    scale = image.shape[0] / (2 * EXTENT)
    columns, rows = (((values + EXTENT) * scale - 0.5).astype(np.float32) for values in (x, y))
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _occlusion(height: np.ndarray) -> np.ndarray:
    """Compute how much light reaches the hollows of the relief, about 0.6..1.05."""
    return np.clip(1 - 3.2 * (cv2.GaussianBlur(height, (0, 0), 5) - height), 0.5, 1.06)


def landmarks(look: Look, height: np.ndarray) -> np.ndarray:
    """Compute the five points [5, 3]: left eye, right eye, nose tip, left and right mouth corner (left = smaller x).

    height: the head's `relief` map.
    """
    corner_x, corner_y = mouth_corner(look)
    flat = np.array([[-look.eye_x, look.eye_y], [look.eye_x, look.eye_y], [0, look.nose_y],
                     [-corner_x, corner_y], [corner_x, corner_y]], np.float32)
    width, depth = _outline(look, flat[:, 1])
    across = np.clip(flat[:, 0] / width, -1, 1)
    raised = _sample(height, flat[:, :1], flat[:, 1:]).reshape(5)  # OpenCV 4 and 5 differ on one dimension
    return np.column_stack([flat, FRONT * depth * np.sqrt(1 - across ** 2) + raised]).astype(np.float32)


def normals_of(grid: np.ndarray) -> np.ndarray:
    """Compute the unit normals [R, C, 3] of a grid of points, pointing away from the axis x = z = 0."""
    down, right = np.gradient(grid, axis=(0, 1))
    normal = np.stack([down[..., 1] * right[..., 2] - down[..., 2] * right[..., 1],
                       down[..., 2] * right[..., 0] - down[..., 0] * right[..., 2],
                       down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]], -1)
    normal /= np.maximum(np.sqrt((normal * normal).sum(-1, keepdims=True)), 1e-9)
    inward = np.sign(float(np.vdot(normal, grid)))
    return (normal * (inward if inward else 1.0)).astype(np.float32)


def _grid(pose: Pose, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude [R, 1] and longitude [1, C] of the visible half of the head, `density` points per head unit."""
    reach = 1.75 + abs(pose.pitch) * 0.6
    rows = max(24, int(np.pi * density))
    columns = max(24, int(2 * reach * 0.85 * density))
    lat = np.linspace(-np.pi / 2, np.pi / 2, rows, dtype=np.float32)[:, None]
    lon = np.linspace(-reach, reach, columns, dtype=np.float32)[None] - np.float32(pose.yaw)
    return lat, (lon + np.pi) % (2 * np.pi) - np.pi


def _skull(look: Look, height: np.ndarray, lat: np.ndarray,
           lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build the smooth head [R, C, 3], the same with relief and ears, and how much a point is of the front [R, C]."""
    y = np.sin(lat)
    width, depth = _outline(look, y)
    sine, cosine = np.sin(lon), np.cos(lon)
    back = np.where(y > 0, width / look.width * (1 - 0.25 * np.maximum(y, 0)), width / look.width)
    x = width * sine
    z = np.where(cosine > 0, FRONT * depth, BACK * back) * cosine
    smooth = np.stack([x, np.broadcast_to(y, x.shape), z], -1).astype(np.float32)
    front = smoothstep(0.12, 0.42, np.broadcast_to(cosine, x.shape))
    shaped = smooth.copy()
    shaped[..., 2] += front * _sample(height, x, smooth[..., 1])
    ear = np.exp(-0.5 * (((np.abs(lon) - 1.68) / 0.11) ** 2 + ((y - 0.16) / 0.17) ** 2) ** 2)
    shaped[..., 0] += 0.13 * ear * np.sign(sine)
    return smooth, shaped, front


def _strands(colour: np.ndarray, rng: Rng, rows: int, columns: int, contrast: float) -> np.ndarray:
    noise = fractal(rng, rows, columns, 4, 5, (0.7, 3.0))
    return np.clip(colour * (1 + contrast * noise[..., None]) + 0.012 * np.abs(noise[..., None]), 0, 1)


def hair_thickness(look: Look, wear: Wear, y: np.ndarray, lon: np.ndarray, rng: Rng) -> Cover:
    """Return the hair on the skull: where, how thick, its colours and its gloss."""
    if wear.hair == "bald" or wear.hat in ("scarf", "helmet"):
        return np.zeros(y.shape, np.float32), 0.0, np.broadcast_to(look.hair, (*y.shape, 3)), 0.0
    rows, columns = y.shape
    edge = np.interp(np.abs(lon), KNOTS, HAIRLINE[wear.hair]) + 0.035 * fractal(rng, 2, columns, 10, 3)[:1]
    parting = rng.uniform(-0.12, 0.12) * np.sin(lon)
    soft = 0.1 if wear.hair in ("buzz", "long") else 0.04
    cover = smoothstep(soft, -soft, y - edge - parting).astype(np.float32)
    thick = THICK[wear.hair] * rng.uniform(0.7, 1.6) * (0.8 if wear.hat != "none" else 1.0)
    curls = 1 + (0.25 if rng.random() < 0.3 else 0.06) * fractal(rng, rows, columns, 12, 3)
    colour = look.hair if wear.hair != "buzz" else 0.6 * look.hair + 0.4 * look.skin * 0.6
    return cover * np.clip(curls, 0.5, 1.5), thick, _strands(colour, rng, rows, columns, 0.22), 0.35


def hat_shell(wear: Wear, y: np.ndarray, lon: np.ndarray, rng: Rng) -> Cover:
    """Compute the part of a hat, helmet or scarf that lies on the head."""
    rows, columns = y.shape
    colour = wear.colours[0]
    tone = np.clip(colour * (1 + 0.06 * fractal(rng, rows, columns, 6, 4)[..., None]), 0, 1)
    far = np.abs(lon)
    if wear.hat == "none":
        return np.zeros(y.shape, np.float32), 0.0, tone, 0.0
    if wear.hat == "scarf":
        opening = (np.sin(lon) / 0.8) ** 2 + ((y - 0.2) / 0.78) ** 2
        cover = np.where(np.cos(lon) > 0, smoothstep(0.93, 1.05, opening), 1.0)
        return cover.astype(np.float32), 0.1, tone, 0.05
    limits = {"cap": -0.5, "beanie": -0.42, "brim": -0.5, "helmet": -0.42}
    drop = {"cap": 0.25, "beanie": 0.3, "brim": 0.1, "helmet": 0.75}[wear.hat]
    cover = smoothstep(0.02, -0.02, y - (limits[wear.hat] + drop * smoothstep(0.9, 1.7, far)))
    if wear.hat == "beanie":
        tone = tone * (0.85 + 0.15 * np.sin(lon * 40))[..., None]
    elif wear.hat == "helmet":
        tone = np.where((np.abs(np.sin(lon)) < 0.12)[..., None], wear.colours[1], tone)
    thick = {"cap": 0.13, "beanie": 0.16, "brim": 0.2, "helmet": 0.26}[wear.hat]
    return cover.astype(np.float32), thick, tone, 0.9 if wear.hat == "helmet" else 0.1


def _piece(grid: np.ndarray, albedo: np.ndarray, gloss: float, normals: np.ndarray) -> Surface:
    points = grid.reshape(-1, 3).astype(np.float32)
    count = len(points)
    return Surface(points, np.broadcast_to(normals, grid.shape).reshape(-1, 3).astype(np.float32),
                   np.broadcast_to(albedo, grid.shape).reshape(-1, 3).astype(np.float32),
                   np.full(count, gloss, np.float32), np.full(count, OTHER, np.uint8))


def _curtain(look: Look, wear: Wear, rng: Rng, density: float) -> Surface:
    """Build long hair (or a scarf) falling round the back and the sides."""
    length = rng.uniform(0.95, 1.7)
    reach = rng.uniform(1.35, 1.6) if wear.hat != "scarf" else 0.0
    rows, columns = int((length + 0.3) * density), int(2 * (np.pi - reach) * density)
    lon = np.linspace(reach, 2 * np.pi - reach, columns)[None]
    top, low = (0.75, 1.5) if wear.hat == "scarf" else (-0.3, length)
    y = np.linspace(top, low, rows)[:, None]
    wave = 1 + 0.03 * fractal(rng, rows, columns, 5, 3) + 0.07 * np.maximum(y, 0)
    if wear.hat == "scarf":
        wave = wave * (0.5 + 0.55 * smoothstep(0.7, 1.5, y))
    x, z = look.width * 1.14 * np.sin(lon) * wave, np.where(np.cos(lon) > 0, 0.6, 1.05) * np.cos(lon) * wave
    z = z - (0.12 if wear.hat == "scarf" else 0.0)
    grid = np.stack([x, np.broadcast_to(y, x.shape), z], -1)
    normal = np.stack([np.sin(lon) + 0 * y, 0.1 + 0 * y + 0 * lon, np.cos(lon) + 0 * y], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    colour = wear.colours[0] if wear.hat == "scarf" else look.hair
    return _piece(grid, _strands(colour, rng, rows, columns,
                  0.1 if wear.hat == "scarf" else 0.25), 0.2, normal)


def _brim(look: Look, wear: Wear, density: float) -> Surface:
    reach = 1.15 if wear.hat == "cap" else np.pi
    outer = 0.55 if wear.hat == "cap" else 0.65
    lon = np.linspace(-reach, reach, int(2 * reach * 1.4 * density))[None]
    t = np.linspace(0, 1, max(6, int(outer * 1.3 * density)))[:, None]
    bow = np.cos(lon / reach * np.pi / 2) ** 0.5 if wear.hat == "cap" else np.ones_like(lon)
    radius = 1.0 + outer * t * bow
    y = -0.52 + 0.1 * t + 0.06 * np.sin(lon) ** 2
    grid = np.stack([look.width * 1.12 * np.sin(lon) * radius, y, 0.9 * np.cos(lon) * radius], -1)
    tone = wear.colours[0] * (1 - 0.25 * t)[..., None]
    return _piece(grid, tone, 0.1, np.array([0, -0.85, 0.53]))


def _glasses(look: Look, wear: Wear, points: np.ndarray, density: float) -> list[Surface]:
    frame, pieces = wear.colours[2], []
    forward = points[:2, 2].mean() + 0.1
    count = max(30, int(2.2 * density))
    around = np.linspace(0, 2 * np.pi, count)[None]
    rims = np.linspace(0.9, 1.04, max(2, int(0.05 * density)))[:, None]

    def ring(side: int, radius: np.ndarray, depth: float) -> np.ndarray:
        x = side * look.eye_x * 1.02 + 0.215 * radius * np.cos(around)
        y = look.eye_y + 0.02 + 0.165 * radius * np.sin(around)
        return np.stack([x, y, forward + depth - 0.5 * x ** 2], -1)

    for side in (-1, 1):
        normal = np.array([0.25 * side, 0, 0.97])
        if wear.glasses == "dark":
            disc = ring(side, np.linspace(0, 0.95, max(8, int(0.3 * density)))[:, None], 0.0)
            pieces.append(_piece(disc, frame * 0.35, 0.9, normal))
        pieces.append(_piece(ring(side, rims, 0.02), frame, 0.4, normal))
        t = np.linspace(0, 1, max(12, int(1.2 * density)))[None]
        thick = np.linspace(-0.016, 0.016, max(2, int(0.04 * density)))[:, None]
        temple = np.broadcast_arrays(side * (0.5 + (look.width - 0.48) * t ** 0.6), look.eye_y + thick,
                                     forward - 0.12 - forward * t)
        pieces.append(_piece(np.stack(temple, -1), frame, 0.3, np.array([side, 0, 0.2])))
    t = np.linspace(-0.1, 0.1, max(8, int(0.3 * density)))[None]
    thick = np.linspace(-0.012, 0.012, max(2, int(0.04 * density)))[:, None]
    bridge = np.broadcast_arrays(t, look.eye_y - 0.02 + thick, forward + 0.02)
    pieces.append(_piece(np.stack(bridge, -1), frame, 0.4, np.array([0, 0, 1])))
    return pieces


def extras(look: Look, wear: Wear, points: np.ndarray, rng: Rng, density: float) -> list[Surface]:
    """Build everything that is not on the skull's grid; `points` are the head's landmarks [5, 3]."""
    pieces = []
    if (wear.hair == "long" and wear.hat != "helmet") or wear.hat == "scarf":
        pieces.append(_curtain(look, wear, rng, density))
    if wear.hat in ("cap", "brim"):
        pieces.append(_brim(look, wear, density))
    if wear.glasses != "none":
        pieces += _glasses(look, wear, points, density)
    return pieces


def build(look: Look, wear: Wear, pose: Pose, rng: Rng, density: float,
          blank: bool = False) -> tuple[Surface, np.ndarray]:
    """Build head, hair and everything worn, for a head seen at `pose`.

    Args:
        look, wear: the person.
        pose: only points that can be seen at this pose are made.
        rng: the generator (skin, strands).
        density: points per head unit; about 1.3 times the pixels per head unit leaves no holes.
        blank: no features at all (a mannequin), so nothing is marked as FACE.

    Returns:
        The surface, and the head's five landmarks [5, 3] in the same frame.
    """
    lat, lon = _grid(pose, density)
    bumps = relief(look, wear)
    smooth, points, front = _skull(look, bumps, lat, lon)
    size = int(np.clip(density * 1.6, 72, 320))
    shadow = _occlusion(bumps) if not blank else np.ones((RELIEF_SIZE, RELIEF_SIZE), np.float32)
    if blank:
        points = smooth
    painted = _sample(paint(look, wear, rng, size, blank), smooth[..., 0], smooth[..., 1])
    albedo = front[..., None] * painted * _sample(shadow, smooth[..., 0], smooth[..., 1])[..., None] \
        + (1 - front[..., None]) * look.skin
    gloss = np.full(points.shape[:2], 0.25 + 0.35 * float(rng.random()), np.float32)
    height, far = smooth[..., 1], np.abs(np.broadcast_to(lon, gloss.shape))
    part = np.where((height > FACE_TOP) & (far < FACE_SIDE) & (not blank), FACE, SKIN).astype(np.uint8)
    covers = (hair_thickness(look, wear, height, lon, rng), hat_shell(wear, height, lon, rng))
    under = 0.9 * np.clip(np.maximum(covers[0][0], covers[1][0]), 0, 1)[..., None]
    points = points + under * (smooth - points)  # hair and hats press the ears down
    for cover, thick, tone, shine in covers:
        points = points * (1 + (cover * thick)[..., None] * np.array([1, 1, 1], np.float32))
        albedo = albedo * (1 - 0.35 * cv2.GaussianBlur(cover, (0, 0), max(1.0, density / 14))[..., None])
        albedo += cover[..., None] * (tone - albedo)
        gloss = gloss + cover * (shine - gloss)
        part[(cover > 0.5) & (part != FACE)] = OTHER
    surface = Surface(points.reshape(-1, 3), normals_of(points).reshape(-1, 3), albedo.reshape(-1, 3),
                      gloss.reshape(-1), part.reshape(-1))
    five = landmarks(look, bumps)
    pieces = [surface] + extras(look, wear, five, rng, density)
    return Surface(
        *(np.concatenate(values).astype(values[0].dtype, copy=False) for values in zip(*pieces))), five
