# SPDX-License-Identifier: Apache-2.0
"""Films whose faces are known: people that are drawn, and photographs panned and zoomed.

    for pixels, truth in synthetic_frames(seconds=30): ...      # BGR uint8 [720, 1280, 3]; a `Truth`
    write_film(Path("film.mp4"), frames)                        # with sound; returns the truth of each frame

A face counts where a viewer sees a face: at least `SMALLEST` pixels high, at least half of it uncovered and within the
picture, and turned away by at most `TURNED`.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.evaluate.report.flags import FLAGS, load_flags
from src.synthetic.backdrop import draw_backdrop
from src.synthetic.head import Pose
from src.synthetic.look import sample_look, sample_wear
from src.synthetic.person import Person, Stage, draw_person
from src.synthetic.render import expose, sample_light
from src.synthetic.scene import judge

RATE, WIDTH, HEIGHT = 25, 1280, 720
SMALLEST, TURNED, SHOWN = 16, np.pi / 2, 0.5
SOUND_RATE = 44100
SECONDS_OF_A_PHOTO = 1
SEED = 7

PI = float(np.pi)


class Truth(NamedTuple):
    """Boxes of a frame, float32 xyxy in the picture: `boxes` [N, 4] of the faces that count, `all_boxes` [M, 4]."""
    boxes: np.ndarray
    all_boxes: np.ndarray


Shot = tuple[np.ndarray, Truth]


class Role(NamedTuple):
    """How a person moves: rows of (second, x, y, half a head's height, yaw, pitch, roll), straight between them."""
    moves: tuple[tuple[float, ...], ...]
    blur: float = 0.0


# Seconds 0 to 18 in a street, then a cut to a room; x and y are the head's centre in pixels.
SCENES: tuple[tuple[float, float, str, tuple[Role, ...]], ...] = (
    (0, 18, "street", (
        Role(((0, 250, 300, 11, 0, 0, 0), (9, 420, 305, 11, 0.6, 0, 0), (18, 300, 300, 11, -0.6, 0, 0))),
        Role(((0, 900, 310, 13, -0.4, 0, 0), (6, 820, 310, 13, -2.6, 0, 0), (8, 830, 310, 13, 0.2, 0, 0),
              (18, 1000, 310, 14, 0.5, 0, 0))),
        # Turns away and back.
        Role(((0, 420, 330, 42, 0.2, 0, 0), (4, 430, 330, 42, 0, 0, 0.1), (6, 430, 330, 42, PI, 0, 0),
              (7.5, 430, 330, 42, PI, 0, 0), (9.5, 430, 330, 42, 2 * PI, 0.1, 0), (14, 440, 335, 42, 2 * PI, 0.5, 0.3),
              (16, 440, 335, 42, 2 * PI + 1.3, 0, 0), (18, 440, 335, 42, 2 * PI, 0, 0))),
        # Two cross before the others.
        Role(((1, -80, 340, 50, 0.7, 0, 0), (7, 700, 350, 52, 0.6, 0.1, 0), (12, 1380, 350, 54, 0.8, 0, 0))),
        Role(((3, 1400, 330, 64, -0.8, 0, 0), (9, 640, 345, 66, -0.5, 0.1, 0.05), (15, -120, 345, 68, -0.9, 0, 0))),
        # Runs past.
        Role(((9.5, -60, 300, 46, 0.9, 0.1, 0), (11.2, 1350, 310, 46, 0.9, 0.1, 0)), blur=2.5),
        # Comes from far to near, and leaves at the right.
        Role(((5, 640, 305, 9, 0, 0, 0), (11, 700, 330, 40, 0.1, 0, 0), (15, 800, 400, 150, 0.2, 0, 0),
              (17, 900, 430, 230, 0.5, 0, 0), (18, 1350, 430, 235, 0.9, 0, 0))),
    )),
    (18, 30, "room", (
        Role(((18, 200, 280, 24, 0.3, 0, 0), (24, 260, 285, 24, -0.9, 0.2, 0), (30, 220, 280, 24, 0.4, 0, 0))),
        Role(((18, 560, 290, 30, 0, 0.4, 0), (21, 560, 290, 30, 0.2, 0.65, 0.1), (25, 570, 290, 30, -0.3, 0, -0.8),
              (30, 560, 290, 30, 0.2, 0.3, 0.8))),
        # Looks in at the edges of the picture.
        Role(((18, -60, 360, 80, 0.8, 0, 0), (20, 10, 360, 80, 0.6, 0, 0.2), (23, 5, 360, 80, 0.9, 0, 0.2),
              (25, -90, 360, 80, 0.9, 0, 0))),
        Role(((21, 1340, 380, 95, -0.6, 0, 0), (23, 1260, 380, 95, -0.6, 0, -0.2), (28, 1270, 400, 95, -0.3, 0, 0),
              (30, 1200, 400, 95, -0.9, 0, 0))),
        # Two change places, one turning her back for a moment.
        Role(((18, 760, 320, 48, 0.2, 0, 0), (22, 1000, 320, 48, 1.0, 0, 0), (23.5, 1000, 320, 48, 3.4, 0, 0),
              (25, 900, 320, 48, 5.2, 0, 0), (30, 700, 325, 48, 5.9, 0, 0))),
        Role(((18, 1050, 330, 58, -0.3, 0.1, 0), (24, 720, 335, 58, -1.2, 0, 0), (30, 980, 335, 58, -0.2, 0, 0.2))),
        # A hand-held camera's subject close by, nodding.
        Role(((24, 420, 900, 170, 0, 0, 0), (25.5, 420, 470, 170, 0.1, 0.5, 0), (27, 430, 470, 170, -0.2, -0.5, 0.1),
              (30, 420, 480, 170, 1.6, 0, 0))),
    )),
)


def synthetic_frames(seconds: float = 30) -> Iterator[Shot]:
    """Draw people that walk, turn away, cross, come near and leave; yields BGR uint8 [720, 1280, 3] and the truth."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(_draw_frame, range(round(seconds * RATE)), chunksize=RATE)


def _draw_frame(number: int) -> Shot:
    second = number / RATE
    index, (_start, _end, place, roles) = next((index, scene) for index, scene in enumerate(SCENES)
                                             if scene[0] <= second < scene[1] or scene is SCENES[-1])
    rng = np.random.default_rng((SEED, index))
    image, light = draw_backdrop(rng, place, HEIGHT, WIDTH), sample_light(rng, 0.0)
    stage = Stage(image * np.clip(0.55 + 0.6 * light.ambient, 0, 1.1), np.zeros((HEIGHT, WIDTH), np.int16))
    cast = []
    for name, role in enumerate(roles):
        times = [move[0] for move in role.moves]
        if times[0] <= second <= times[-1]:
            x, y, scale, yaw, pitch, roll = (float(np.interp(second, times, values))
                                             for values in list(zip(*role.moves))[1:])
            cast.append((scale, name, x, y + 0.05 * scale * np.sin(9 * second), Pose(yaw, pitch, roll), role.blur))
    faces = []
    for scale, name, x, y, pose, blur in sorted(cast):
        looks = np.random.default_rng((SEED, index, name))
        person = Person(x, y, scale, sample_look(looks), sample_wear(looks), pose)
        faces.append(draw_person(stage, person, light, looks, blur))
    pixels, soft = expose(stage.image, rng)
    faces = [face for face in faces if judge(face, stage.owner, light, soft)
             and abs((face.person.pose.yaw + PI) % (2 * PI) - PI) <= TURNED]
    boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
    return pixels, _seen(boxes, np.array([face.hidden <= 1 - SHOWN for face in faces], bool))


def heavy_occlusion(flags: str) -> dict[str, set[tuple[int, int]]]:
    """Read which faces WIDER FACE's attributes, in the file `flags`, call heavily occluded: less than half is seen."""
    column = 4 + FLAGS.index("occlusion")
    return {str(PurePosixPath(name).with_suffix("")): {_corner(row) for row in table if row[column] == 2}
            for name, table in load_flags(flags).images.items()}


def photo_frames(records: Sequence[Record], folder: Path, seconds: float = 30,
                 heavy: Mapping[str, set[tuple[int, int]]] | None = None) -> Iterator[Shot]:
    """Pan and zoom over photographs, a second each; yields BGR uint8 [720, 1280, 3] and the truth.

    Args:
        records: the annotated photographs; one for each second of the film is used, evenly spread over the list.
        folder: where they are.
        heavy: by "<event>/<name>" without suffix, corners (x1, y1) of faces that do not count, see `heavy_occlusion`.
    """
    count = round(seconds / SECONDS_OF_A_PHOTO)
    for index in range(count):
        record = records[index * len(records) // count]
        left_out = (heavy or {}).get(str(PurePosixPath(record.path).with_suffix("")), set())
        counts = np.array([_corner(box) not in left_out for box in record.boxes], bool)
        yield from _pan(read_image(folder / record.path), record.boxes, counts, np.random.default_rng((SEED, index)))


def _corner(box: np.ndarray) -> tuple[int, int]:
    return int(box[0]), int(box[1])


def _pan(photo: np.ndarray, boxes: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> Iterator[Shot]:
    """Move a window over a photograph, from one place and size to another."""
    height, width = photo.shape[:2]
    largest = min(width, height * WIDTH / HEIGHT)
    widths = largest * rng.permutation([rng.uniform(0.55, 0.75), rng.uniform(0.85, 1.0)])
    corners = np.array([[rng.uniform(0, width - each), rng.uniform(0, height - each * HEIGHT / WIDTH)]
                        for each in widths])
    for step in np.linspace(0, 1, SECONDS_OF_A_PHOTO * RATE):
        scale = WIDTH / (widths[0] + step * (widths[1] - widths[0]))
        x, y = corners[0] + step * (corners[1] - corners[0])
        move = np.array([[scale, 0, -scale * x], [0, scale, -scale * y]])
        moved = boxes * scale - scale * np.array([x, y, x, y])
        yield cv2.warpAffine(photo, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), _seen(moved, counts)


def _seen(boxes: np.ndarray, counts: np.ndarray) -> Truth:
    """Clip boxes to the picture; those count of `counts` [N] that are not small, and not half outside."""
    clipped = boxes.clip(0, np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])).astype(np.float32)
    large = (areas(clipped) >= SHOWN * areas(boxes)) & (clipped[:, 3] - clipped[:, 1] >= SMALLEST)
    return Truth(clipped[large & counts], clipped[areas(clipped) > 0])


def areas(boxes: np.ndarray) -> np.ndarray:
    """Compute the areas [N] of boxes [N, 4] xyxy."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def write_film(path: Path, frames: Iterable[Shot]) -> list[Truth]:
    """Write a film of H.264 and, as its sound, a rising tone in AAC; return the truth of each frame."""
    import av
    truth = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        tone = container.add_stream("aac", rate=SOUND_RATE)
        for pixels, faces in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
            truth.append(faces)
        container.mux(stream.encode(None))
        times = np.arange(len(truth) * SOUND_RATE // RATE) / SOUND_RATE
        wave = (8000 * np.sin(times * (900 + 40 * times))).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        container.mux(tone.encode(samples))
        container.mux(tone.encode(None))
    return truth
