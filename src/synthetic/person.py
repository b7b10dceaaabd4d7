# SPDX-License-Identifier: Apache-2.0
"""Draws one person (neck, clothes, head, something in front) on the canvas and says what an annotator would
write.

`draw_person(stage, person, light, rng)` returns a `Face`. Pixels of the canvas, boxes xyxy.
"""
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic.canvas import Rng, colour, fractal, paste, smoothstep
from src.synthetic.head import Pose, build
from src.synthetic.look import Look, Wear
from src.synthetic.render import FACE, OTHER, Light, Surface, fill_holes, rotation, shade, splat

MAX_SCALE = 110.0  # pixels per head unit a head is rendered at; larger heads are enlarged from this


@dataclass
class Stage:
    """The picture being drawn: image float32 [H, W, 3] BGR 0..1, owner int16 [H, W] (0 is the scenery)."""
    image: np.ndarray
    owner: np.ndarray
    people: int = 0


@dataclass(frozen=True)
class Person:
    """A person to draw: the head's centre (x, y) and half height `scale` in pixels."""
    x: float
    y: float
    scale: float
    look: Look
    wear: Wear
    pose: Pose
    blank: bool = False
    body: bool = True


@dataclass
class Face:
    """One annotated face; `pixels` are the flat indices where the face was drawn, to see later what covers
    it.
    """
    box: np.ndarray
    landmarks: np.ndarray
    visible: np.ndarray
    pixels: np.ndarray
    owner: int
    person: Person
    outside: float = 0.0
    hidden: float = 0.0
    blur: float = 0.0
    flags: dict = field(default_factory=dict)


def _clothes(rng: Rng, x: np.ndarray, y: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Return the albedo [R, C, 3] of the clothes for body coordinates in head units below the head's centre."""
    rows, columns = x.shape
    base = colour(rng, 0.04, 0.85, 0.8)
    tone = np.broadcast_to(base, (rows, columns, 3)).copy()
    kind = rng.integers(6)
    if kind == 0:
        stripe = np.sin(y * rng.uniform(8, 25)) > rng.uniform(-0.5, 0.6)
        tone[stripe] = colour(rng, 0.1, 0.9)
    elif kind == 1:
        tone[(np.sin(y * 11) > 0.3) ^ (np.sin(x * 11) > 0.3)] *= rng.uniform(0.5, 0.8)
    elif kind == 2:
        opening = np.abs(x) < 0.55 * np.clip((3.1 - y) / 1.9, 0, 1)
        tone[opening] = colour(rng, 0.75, 0.95, 0.1)
        tone[opening & (np.abs(x) < 0.05 + 0.04 * y) & (y > 1.4)] = colour(rng, 0.1, 0.6, 0.9)
    elif kind == 3:
        tone[(y > 1.95) & (y < 2.45) & (np.abs(x) < 0.6) & (
            np.sin(x * 17 + 4) * np.sin(y * 16) > 0)] = colour(rng)
    tone[y > 5.3] = colour(rng, 0.04, 0.6, 0.5)
    neckline = y < rng.uniform(1.3, 1.65) - 1.2 * np.maximum(np.abs(x) - 0.15, 0)
    tone[neckline] = skin
    return np.clip(tone * (1 + 0.1 * fractal(rng, rows, columns, 5, 3))[..., None], 0, 1)


def _body_shape(rng: Rng, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the body's half width at height y, and how far (head units) a point lies in its outline; legs from 6.5."""
    neck, shoulder, hips = rng.uniform(0.36, 0.5), rng.uniform(1.4, 1.8), rng.uniform(1.05, 1.35)
    width = np.where(y < 1.2, neck, neck + (shoulder - neck) * smoothstep(1.15, 2.1, y) ** 0.55)
    width = width - (shoulder - hips) * smoothstep(3.0, 5.5, y)
    inside = width - np.abs(x)
    return width, np.where(y > 6.5, np.minimum(inside, np.abs(x) - 0.12), inside)


def _draw_body(stage: Stage, person: Person, light: Light, rng: Rng, ident: int, blur: float) -> None:
    scale, half, top = person.scale, 1.85, 0.45
    bottom = min(13.0, (stage.owner.shape[0] - person.y) / scale + 0.1)
    if bottom < top + 0.2:
        return
    detail = min(0.75, 40.0 / scale)
    columns, rows = max(4, int(2 * half * scale * detail)), max(4, int((bottom - top) * scale * detail))
    x = np.linspace(-half, half, columns, dtype=np.float32)[None] * np.ones((rows, 1), np.float32)
    y = np.linspace(top, bottom, rows, dtype=np.float32)[:, None] * np.ones((1, columns), np.float32)
    width, inside = _body_shape(rng, x, y)
    across = np.clip(x / width, -1, 1)
    normals = np.stack([across, -0.35 * smoothstep(2.6, 1.6, y),
                       np.sqrt(np.maximum(1 - across ** 2, 0.02))], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    albedo = _clothes(rng, x, y, person.look.skin)
    albedo *= (0.5 + 0.5 * np.maximum(smoothstep(0.9, 1.35, y), smoothstep(0.3, 0.6, np.abs(x))))[..., None]
    sleeve = np.exp(-((np.abs(x) - 0.7 * width) / 0.07) ** 2)
    albedo *= (1 - 0.45 * sleeve * smoothstep(2.1, 2.5, y) * smoothstep(6.3, 5.9, y))[..., None]
    flat = Surface(normals.reshape(-1, 3), normals.reshape(-1, 3), albedo.reshape(-1, 3),
                   np.full(rows * columns, 0.05, np.float32), np.full(rows * columns, OTHER, np.uint8))
    picture: np.ndarray = shade(flat, np.eye(3, dtype=np.float32), light).reshape(rows, columns, 3)
    alpha: np.ndarray = np.clip(inside * scale * detail + 0.5, 0, 1)
    size = (max(2, int(2 * half * scale)), max(2, int((bottom - top) * scale)))
    picture = cv2.resize(cv2.GaussianBlur(picture, (3, 3), 0), size, interpolation=cv2.INTER_LINEAR)
    alpha = cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    if blur > 0.3:
        picture, alpha = cv2.GaussianBlur(picture, (0, 0), blur), cv2.GaussianBlur(alpha, (0, 0), blur)
    lean = np.tan(np.clip(person.pose.roll, -0.4, 0.4)) * 0.5
    left, above = int(person.x - half * scale - lean * scale), int(person.y + top * scale)
    paste(stage.image, picture.astype(np.float32), alpha, left, above, stage.owner, ident)


def _project(points: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets [N, 2] from the head's centre in head units, with a little perspective, and depths [N]."""
    turned = points @ turn.T
    return turned[:, :2] / (1 - 0.06 * turned[:, 2:3]), turned[:, 2]


def _bounds(offsets: np.ndarray) -> np.ndarray:
    """Return x1, y1, x2, y2 of points [N, 2] (column by column: much faster than min over the rows)."""
    x, y = np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(offsets[:, 1])
    return np.array([x.min(), y.min(), x.max(), y.max()])


class _Head(NamedTuple):
    """A rendered head: picture [H, W, 3], alpha, mask of the face, and depth [H, W].

    low: its first pixel, in head units from the head's centre; scale: its pixels per head unit.
    extent: the face's xyxy; offsets, depth: its landmarks [5, 2] and [5]; all in head units from the centre.
    """
    picture: np.ndarray
    alpha: np.ndarray
    mask: np.ndarray
    near: np.ndarray
    low: np.ndarray
    scale: float
    extent: np.ndarray
    offsets: np.ndarray
    depth: np.ndarray


def _render_head(person: Person, light: Light, rng: Rng) -> _Head:
    over = np.interp(person.scale, [25, 60, 90], [1.8, 1.3, 1.1])
    scale = min(person.scale * over, MAX_SCALE)
    turn = rotation(*person.pose)
    surface, five = build(person.look, person.wear, person.pose, rng, scale * 0.8, person.blank)
    toward = surface.normals @ turn[2]
    shown = np.flatnonzero((toward > -0.15) | (surface.part == OTHER))
    offsets, depth = _project(surface.points[shown], turn)
    face = np.flatnonzero((surface.part[shown] == FACE) & (toward[shown] > 0.02))
    extent = _bounds(offsets[face]) if len(face) else np.zeros(4)
    bounds = _bounds(offsets)
    low = bounds[:2] - 0.05
    columns, rows = np.ceil((bounds[2:] + 0.05 - low) * scale).astype(int) + 2
    seen = splat((offsets - low.astype(np.float32)) * np.float32(scale), depth, columns, rows)
    hit = np.flatnonzero(seen.ravel() >= 0)
    chosen = seen.ravel()[hit]
    picture, mask, near = (np.zeros((rows * columns, 3), np.float32), np.zeros(rows * columns, np.float32),
                           np.full(rows * columns, -9, np.float32))
    pixels = Surface(*(values[shown[chosen]] for values in surface))
    picture[hit], mask[hit], near[hit] = shade(pixels, turn, light), pixels.part == FACE, depth[chosen]
    picture, alpha = fill_holes(picture.reshape(rows, columns, 3), (seen >= 0).astype(np.float32))
    return _Head(picture, alpha, mask.reshape(rows, columns), near.reshape(rows, columns), low, scale, extent,
                 *_project(five, turn))


def _to_canvas(picture: np.ndarray, alpha: np.ndarray, mask: np.ndarray,
               ratio: float, shift: np.ndarray) -> tuple:
    """Resample a render by `ratio` (final over rendered pixels) so that its origin lies `shift` 0..1 pixels
    in.
    """
    rows, columns = (int(np.ceil(v * ratio)) + 2 for v in alpha.shape)
    stacked: np.ndarray = np.dstack([picture * alpha[..., None], alpha]).astype(np.float32)
    if ratio < 0.75:  # soften before taking every n-th pixel
        stacked = cv2.GaussianBlur(stacked, (0, 0), 0.42 / ratio)
    move = np.array([[ratio, 0, shift[0] + 0.5 * ratio - 0.5], [0, ratio, shift[1] + 0.5 * ratio - 0.5]])
    small = cv2.warpAffine(stacked, move, (columns, rows),
                           flags=cv2.INTER_LINEAR if ratio <= 1 else cv2.INTER_CUBIC)
    cover = np.clip(small[..., 3], 0, 1)
    mask = cv2.warpAffine(mask, move, (columns, rows), flags=cv2.INTER_LINEAR)
    return np.clip(small[..., :3] / np.maximum(cover, 1e-3)[..., None], 0, 1), cover, mask


def _face_of(person: Person, head: _Head, ident: int) -> Face:
    centre = np.array([person.x, person.y])
    box = head.extent * person.scale + np.tile(centre, 2)
    at = np.clip(((head.offsets - head.low) * head.scale).astype(int), 0, np.array(head.near.shape[::-1]) - 1)
    visible = head.near[at[:, 1], at[:, 0]] < head.depth + 0.16
    if person.wear.mask:
        visible[2:] = False
    if person.wear.glasses == "dark":
        visible[:2] = False
    return Face(box, centre + head.offsets * person.scale, visible, np.empty(0, np.int64), ident, person)


def draw_person(stage: Stage, person: Person, light: Light, rng: Rng, blur: float = 0.0) -> Face:
    """Draw the person over what is there.

    Args:
        stage: the canvas, changed.
        person: what to draw and where.
        light: the scene's light.
        rng: the generator.
        blur: standard deviation in pixels of the person's own defocus.

    Returns:
        The face as it is before anything later covers it.
    """
    stage.people += 1
    ident = stage.people
    if person.body:
        _draw_body(stage, person, light, rng, ident, blur)
    head = _render_head(person, light, rng)
    origin = np.array([person.x, person.y]) + head.low * person.scale
    corner = np.floor(origin).astype(int)
    picture, alpha, mask = _to_canvas(head.picture, head.alpha, head.mask,
                                      person.scale / head.scale, origin - corner)
    if person.scale > MAX_SCALE:  # an enlarged render lacks the finest grain of skin
        picture = np.clip(
            picture * (1 + 0.025 * rng.standard_normal(alpha.shape, dtype=np.float32))[..., None], 0, 1)
    if blur > 0.3:
        soft = cv2.GaussianBlur(np.dstack([picture * alpha[..., None], alpha]), (0, 0), blur)
        alpha = soft[..., 3]
        picture = soft[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    paste(stage.image, picture, alpha, int(corner[0]), int(corner[1]), stage.owner, ident)
    face = _face_of(person, head, ident)
    rows, columns = np.nonzero(mask > 0.5)
    rows, columns = rows + corner[1], columns + corner[0]
    inside = (rows >= 0) & (columns >= 0) & (rows < stage.owner.shape[0]) & (columns < stage.owner.shape[1])
    face.pixels = rows[inside] * stage.owner.shape[1] + columns[inside]
    face.outside = 1 - inside.mean() if len(inside) else 0.0
    face.blur = blur
    return face
