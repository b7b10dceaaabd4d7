# SPDX-License-Identifier: Apache-2.0
"""Composes one picture: an event decides the place, how many people stand where, how large, and what may go
wrong.

`draw_scene(event, rng, size)` -> (uint8 [H, W, 3] BGR, list[Face]). Every face is judged after all is drawn:
what hides it, how blurred it is, whether it counts. Flags follow WIDER: blur 0-2, expression, illumination,
invalid, occlusion 0-2, pose."""
from dataclasses import dataclass

import numpy as np

from src.synthetic.backdrop import draw_backdrop
from src.synthetic.canvas import Rng
from src.synthetic.head import Pose
from src.synthetic.look import sample_look, sample_wear
from src.synthetic.person import Face, Person, Stage, draw_person
from src.synthetic.props import OCCLUDERS, draw_distractor, draw_occluder
from src.synthetic.render import Light, expose, sample_light

BOX_PER_SCALE = 1.6  # box height of a frontal face over half a head's height


@dataclass(frozen=True)
class Event:
    """How an event's pictures are made: faces and box heights as (low, high), chances 0..1."""
    name: str
    share: int
    faces: tuple[int, int]
    heights: tuple[float, float]
    places: tuple[str, ...]
    hats: float = 0.15
    helmets: float = 0.05
    masks: float = 0.04
    occluders: float = 0.2
    motion: float = 0.1
    turned: float = 0.55
    crowd: bool = False
    night: bool = False


EVENTS = (
    Event("0--Portrait", 2, (1, 2), (90, 300), ("studio", "room", "park", "street"), occluders=0.15),
    Event("1--Group", 4, (3, 9), (24, 110), ("room", "park", "hall", "street", "studio"), turned=0.4),
    Event("2--Crowd", 3, (20, 60), (9, 36), ("stands", "hall", "street", "park"), crowd=True, hats=0.2),
    Event("3--Empty", 1, (0, 0), (20, 200), ("street", "park", "room", "hall", "stands", "studio")),
    Event("4--Night", 2, (2, 10), (14, 140), ("street", "hall", "room"), night=True),
    Event("5--Street", 2, (4, 16), (8, 120), ("street", "park"), hats=0.25),
    Event("6--Sport", 2, (1, 8), (16, 170), ("stands", "park", "hall"),
          hats=0.55, helmets=0.6, motion=0.45, turned=0.7),
    Event("7--Covered", 2, (1, 6), (24, 200), ("room", "street", "hall", "studio"), hats=0.3, masks=0.3,
          occluders=0.7))


def _sample_pose(rng: Rng, turned: float) -> Pose:
    yaw = rng.uniform(-1.5, 1.5) if rng.random() < 0.2 else float(np.clip(rng.normal(0, turned), -1.5, 1.5))
    roll = rng.uniform(-0.9, 0.9) if rng.random() < 0.1 else rng.normal(0, 0.16)
    return Pose(float(yaw), float(np.clip(rng.normal(0.03, 0.24), -0.7, 0.7)), float(roll))


def _spots(event: Event, rng: Rng, height: int, width: int) -> list[tuple[float, float, float]]:
    """Choose where heads go, far ones first: (x, y, box height)."""
    count = int(rng.integers(event.faces[0], event.faces[1] + 1))
    low, high = event.heights
    if event.crowd:
        return _rows(count, low, high, rng, height, width)
    same = rng.lognormal(0, 0.15, count) * np.exp(rng.uniform(np.log(low), np.log(high)))
    free = np.exp(rng.uniform(np.log(low), np.log(high), count))
    sizes = np.clip(same if rng.random() < 0.5 else free, low, min(high, 0.55 * height))
    horizon = rng.uniform(0.25, 0.45) * height
    spots: list[tuple[float, float, float]] = []
    for size in np.sort(sizes)[::-1]:
        for _ in range(25):
            x = rng.uniform(0.4, max(width / size - 0.4, 0.5)) * size
            y = np.clip(horizon + rng.normal(0, 0.09) * height + 0.25 * size, 0.8 * size, height - 0.6 * size)
            if all(np.hypot(x - a, y - b) > 0.48 * (size + s) and (abs(x - a) > 0.95 * s or y < b)
                   for a, b, s in spots):
                spots.append((float(x), float(y), float(size)))
                break
    return spots[::-1]


def _rows(count: int, low: float, high: float, rng: Rng, height: int,
          width: int) -> list[tuple[float, float, float]]:
    """Place rows of heads that become larger towards the viewer; return (x, y, size) of each."""
    far = np.exp(rng.uniform(np.log(low), np.log(0.6 * high)))
    near = far * rng.uniform(1.2, 2.6)
    y, last = rng.uniform(0.1, 0.35) * height, height * rng.uniform(0.75, 0.95)
    first, spots = y, []
    while y < last:
        size = far + (near - far) * (y - first) / max(last - first, 1)
        step = size * rng.uniform(1.0, 1.6)
        row = np.arange(rng.uniform(0.4, 1.2) * size, width - 0.4 * size, step)
        for x in row[rng.random(len(row)) < 0.8]:
            across, down = rng.normal(0, 0.15) * size, rng.normal(0, 0.12) * size
            spots.append((x + across, y + down, size * rng.lognormal(0, 0.06)))
        y += size * rng.uniform(0.75, 1.5)
    keep = np.sort(rng.permutation(len(spots))[:count])
    return [spots[i] for i in keep]


def _draw_people(stage: Stage, event: Event, light: Light, rng: Rng) -> list[Face]:
    faces = []
    height, width = stage.owner.shape
    for x, y, size in _spots(event, rng, height, width):
        scale = size / BOX_PER_SCALE
        look, wear = sample_look(rng), sample_wear(rng, event.hats, event.helmets, event.masks)
        person = Person(x, y - 0.2 * scale, scale, look, wear, _sample_pose(rng, event.turned))
        blur = rng.uniform(0.02, 0.05) * size if rng.random() < 0.12 else 0.0
        face = draw_person(stage, person, light, rng, blur)
        if rng.random() < event.occluders:
            draw_occluder(stage, rng, face, light, str(rng.choice(OCCLUDERS)))
        faces.append(face)
    return faces


def _draw_faceless(stage: Stage, event: Event, light: Light, rng: Rng) -> None:
    """Draw distractors, and heads without a face to find: seen from behind, or blank as a mannequin."""
    height, width = stage.owner.shape
    empty = event.faces[1] == 0
    for _ in range(rng.integers(3, 9) if empty else rng.integers(0, 4)):
        size = np.exp(rng.uniform(np.log(14), np.log(150 if empty else 70)))
        draw_distractor(stage.image, rng, rng.uniform(0, width), rng.uniform(0.05, 0.9) * height, size)
    for _ in range(rng.integers(1, 5) if empty else int(rng.random() < 0.35)):
        scale = np.exp(rng.uniform(np.log(8), np.log(90 if empty else 35)))
        back = rng.random() < 0.7
        pose = Pose(np.pi + rng.uniform(-0.75, 0.75) if back else rng.normal(0, 0.5), 0.0, rng.normal(0, 0.1))
        wear = sample_wear(rng, event.hats, 0.0, 0.0)
        if wear.hair == "bald" or not back:
            wear = sample_wear(np.random.default_rng(int(rng.integers(1 << 30))), 0.0, 0.0, 0.0)
        x, y = rng.uniform(0, width), rng.uniform(0.15, 0.7) * height
        person = Person(x, y, scale, sample_look(rng), wear, pose, blank=not back)
        draw_person(stage, person, light, rng)


def judge(face: Face, owner: np.ndarray, light: Light, camera_blur: float) -> bool:
    """Fill in what the finished picture shows of a face; False if nobody could know that it is there."""
    height, width = owner.shape
    seen = float((owner.reshape(-1)[face.pixels] == face.owner).mean()) if len(face.pixels) else 0.0
    face.hidden = 1 - seen * (1 - face.outside)
    face.box = np.round(np.clip(face.box, 0, (width, height, width, height)))
    x1, y1, x2, y2 = face.box
    if face.hidden > 0.85 or x2 - x1 < 3 or y2 - y1 < 3:
        return False
    at = np.floor(face.landmarks).astype(int)
    inside = ((at >= 0) & (at < (width, height))).all(1)
    shown = owner[np.clip(at[:, 1], 0, height - 1), np.clip(at[:, 0], 0, width - 1)] == face.owner
    in_box = (face.landmarks >= face.box[:2]).all(1) & (face.landmarks <= face.box[2:]).all(1)
    face.visible = face.visible & inside & shown & in_box
    wear, pose = face.person.wear, face.person.pose
    covered = face.hidden + 0.3 * wear.mask + 0.1 * (wear.glasses == "dark")
    soft = np.hypot(face.blur, camera_blur) / (y2 - y1)
    face.flags = {
        "blur": int(soft > 0.025) + int(soft > 0.06),
        "expression": int(face.person.look.expression.exaggerated),
        "illumination": int(float((light.key + light.ambient).mean()) < 0.5),
        "invalid": int(face.hidden > 0.65 or y2 - y1 < 8),
        "occlusion": int(covered > 0.08) + int(covered > 0.35), "pose": int(pose.atypical)}
    return True


def draw_scene(event: Event, rng: Rng, size: int = 640) -> tuple[np.ndarray, list[Face]]:
    """Draw one picture of the event.

    Args:
        event: one of `EVENTS`.
        rng: the generator; the same state gives the same picture.
        size: pixels of the longer side; the shorter is 3/4 of it to the same.
    """
    short = round(size * rng.uniform(0.75, 1.0))
    height, width = (short, size) if rng.random() < 0.8 else (size, short)
    image = draw_backdrop(rng, str(rng.choice(event.places)), height, width)
    light = sample_light(rng, 0.5 if event.night else 0.25, event.night)
    if event.night:
        image *= np.clip(light.ambient + 0.35 * light.key, 0.12, 0.7) * rng.uniform(0.6, 1.0)
    else:
        image *= np.clip(0.55 + 0.6 * light.ambient, 0, 1.1)
    stage = Stage(image, np.zeros((height, width), np.int16))
    _draw_faceless(stage, event, light, rng)
    faces = _draw_people(stage, event, light, rng)
    picture, blur = expose(stage.image, rng, event.night, event.motion)
    return picture, [face for face in faces if judge(face, stage.owner, light, blur)]
