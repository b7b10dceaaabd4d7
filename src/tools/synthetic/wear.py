# SPDX-License-Identifier: Apache-2.0
"""Hair, hats, glasses and scarves of the drawn heads.

`hair_thickness` and `hat_shell` cover the skull's own grid; `extras` makes the surfaces that leave it: long
hair, brims, glasses. Head units and frame as in `head`; longitude 0 is the face, +-pi the back of the head.
"""
import numpy as np

from src.tools.synthetic.canvas import Rng, fractal, smoothstep
from src.tools.synthetic.look import Look, Wear
from src.tools.synthetic.render import OTHER, Surface

Cover = tuple[np.ndarray, float, np.ndarray, float]  # cover 0..1 [R, C], thickness, albedo [R, C, 3], gloss

HAIRLINE = {  # height of the hairline over |longitude| 0, 0.7, 1.1, 1.4, 1.7, pi
    "buzz": (-0.62, -0.58, -0.45, -0.15, 0.1, 0.45), "short": (-0.6, -0.56, -0.4, 0.02, 0.15, 0.6),
    "fringe": (-0.36, -0.33, -0.3, 0.15, 0.3, 0.7), "long": (-0.6, -0.5, -0.2, 0.55, 0.8, 0.95)}
KNOTS = (0.0, 0.7, 1.1, 1.4, 1.7, np.pi)
THICK = {"buzz": 0.025, "short": 0.11, "fringe": 0.12, "long": 0.12}


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
