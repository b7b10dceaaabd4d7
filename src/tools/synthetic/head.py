# SPDX-License-Identifier: Apache-2.0
"""The head in space: an ellipsoid with a face's relief, hair, ears, neck, and what is worn on it.

`build(look, wear, pose, rng, density)` gives a `Surface` and its five landmarks [5, 3] in the same frame, so
that whatever turns the head turns the landmarks. Head units: crown y = -1, chin y = 1, z towards the viewer.
"""
from typing import NamedTuple

import cv2
import numpy as np

from src.tools.synthetic.canvas import Rng, smoothstep
from src.tools.synthetic.look import Look, Wear
from src.tools.synthetic.render import FACE, OTHER, SKIN, Surface
from src.tools.synthetic.texture import EXTENT, RELIEF_SIZE, mouth_corner, paint, relief
from src.tools.synthetic.wear import extras, hair_thickness, hat_shell

FRONT, BACK = 0.82, 1.0  # depth of the face and of the skull
# the part boxed as a face: below the hairline, in front of the ears (radians)
FACE_TOP, FACE_SIDE = -0.46, 1.15


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
