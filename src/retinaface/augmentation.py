# SPDX-License-Identifier: Apache-2.0
"""An annotated image -> a training input: random crop, colours, square, random resampling, mirror.

    plan, rng = Augmentation(image_size=840), np.random.default_rng(0)
    window = choose_crop(record.boxes, (height, width), plan, rng)
    part, square = TrainingImage(image_dir, record, index).read(window, 840)
    image, record = augment_sample(part, square, record, window, plan, rng)

Images are uint8 BGR [H, W, 3]. Boxes and landmarks of the Record are pixels, first of the image, then of the input.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.augment import flip_boxes, flip_landmarks, to_window
from dependency.extd.utils.augmentations import Window, reduction
from src.retinaface.layers import NETWORK_INPUT

CROP_TRIALS = 250
# The reference's crops: this share of them smaller than the image's shorter side, down to this scale.
REFERENCE_CROPPED, REFERENCE_SMALLEST = 0.8, 0.3
# Faces of this size or smaller in the training input, in pixels, are ignored.
SMALLEST_FACE = 1.0
# Pixels may be 0..255, OpenCV's hue is 0..179.
BRIGHTNESS, CONTRAST, SATURATION, HUE, HUES = 32, (0.5, 1.5), (0.5, 1.5), 18, 180
VALUES = np.arange(256, dtype=np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How an image becomes a training input.

    image_size: side of the input in pixels.
    crop_choice: sides of the random squares as shares of the shorter image side; a square larger than the image is
        filled up with the mean colour. None: the reference's, uniform from 0.3 to 1, and 1 in a fifth of the cases.
    flip: probability of mirroring.
    color_distort: random brightness, contrast, saturation and hue.
    mosaic: probability that a sample is made of four images, each in its quarter of the input.
    pixel_offset: 0 = coordinates are edges of pixels, 0.5 = centres, see `to_window`.
    """
    image_size: int = 840
    crop_choice: tuple[float, ...] | None = None
    flip: float = 0.5
    color_distort: bool = True
    mosaic: float = 0.0
    pixel_offset: float = 0.0


def augment_sample(image: np.ndarray, square: Window, record: Record, window: Window, plan: Augmentation,
                   rng: np.random.Generator) -> tuple[np.ndarray, Record]:
    """Make a square of the image the network's input, and keep the faces in it.

    Faces whose centre is outside the square, and faces of a pixel, are marked ignored; faces outside are removed.
    Boxes are clipped to the square, landmarks are not.

    Args:
        image: the image, or a part of it, perhaps smaller; square: the window in its pixels, whole numbers.
        window: as `choose_crop` gives it, in pixels of the Record.

    Returns:
        uint8 BGR [S, S, 3], and the Record in its pixels.
    """
    size = plan.image_size
    image = _cut_out(image, square)
    if plan.color_distort:
        image = distort_colours(image, rng)
    image = _resample(_fill_square(image, square), size, rng)
    faces = _seen(record, window, size, plan.pixel_offset)
    if rng.random() < plan.flip:
        image = cv2.flip(image, 1)
        landmarks, visibility = flip_landmarks(faces.landmarks, faces.visibility, size, plan.pixel_offset)
        faces = replace(faces, boxes=flip_boxes(faces.boxes, size, plan.pixel_offset), landmarks=landmarks,
                        visibility=visibility)
    return image, faces


def choose_crop(faces: np.ndarray, shape: tuple[int, int], plan: Augmentation, rng: np.random.Generator) -> Window:
    """Choose a random square that contains at least one whole face; it may be larger than the image.

    The reference collects two such squares and chooses one at random, which is the same as taking the first. When none
    of 250 squares contains a face it is the whole image, at the square's top left. Without faces any square will do.
    Its numbers are multiples of its `reduction`, so that it has whole pixels in the smaller image, too.

    Args:
        faces: [N, 4] xyxy image pixels; parts outside the image do not count.
        shape: height and width of the image.
    """
    height, width = shape
    faces = faces.clip(0, (width, height, width, height))
    if plan.crop_choice:
        scales = rng.choice(plan.crop_choice, CROP_TRIALS)
    else:
        cropped = rng.random(CROP_TRIALS) < REFERENCE_CROPPED
        scales = np.where(cropped, rng.uniform(REFERENCE_SMALLEST, 1, CROP_TRIALS), 1.0)
    sides = np.maximum(1, (scales * min(height, width)).astype(int))
    units = reduction(sides / plan.image_size)
    sides -= sides % units
    spare = np.array([width, height])[None] - sides[:, None]
    corners = rng.integers(np.minimum(spare, 0), np.maximum(spare, 0), endpoint=True)
    corners -= corners % units[:, None]
    if len(faces) == 0:
        return Window(int(corners[0, 0]), int(corners[0, 1]), int(sides[0]))
    inside = ((faces[None, :, :2] >= corners[:, None]).all(axis=2)
              & (faces[None, :, 2:] <= (corners + sides[:, None])[:, None]).all(axis=2))
    accepted = np.flatnonzero(inside.any(axis=1))
    if len(accepted) == 0:
        unit = int(reduction(max(height, width) / plan.image_size))
        return Window(0, 0, -(-max(height, width) // unit) * unit)
    first = accepted[0]
    return Window(int(corners[first, 0]), int(corners[first, 1]), int(sides[first]))


def distort_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, each with probability 1/2; contrast comes second or last.

    The photometric distortion of SSD (Liu et al. 2016, arXiv 1512.02325) in the ranges of the PyTorch RetinaFace. All
    four map a channel's value to another, so that each is one table of 256 entries.
    """
    contrast_last = rng.random() < 0.5
    used = rng.random(4) < 0.5
    shift, gain, saturation, hue = (rng.uniform(-BRIGHTNESS, BRIGHTNESS), rng.uniform(*CONTRAST),
                                    rng.uniform(*SATURATION), int(rng.integers(-HUE, HUE, endpoint=True)))
    if used[0]:
        image = cv2.LUT(image, _table(VALUES + shift))
    if used[1] and not contrast_last:
        image = cv2.LUT(image, _table(VALUES * gain))
    if used[2] or used[3]:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        for channel, table in enumerate(((VALUES + hue) % HUES, VALUES * saturation)):
            if used[3 - channel]:
                cv2.insertChannel(cv2.LUT(cv2.extractChannel(image, channel), _table(table)), image, channel)
        image = cv2.cvtColor(image, cv2.COLOR_HSV2BGR)
    if used[1] and contrast_last:
        image = cv2.LUT(image, _table(VALUES * gain))
    return image


def _table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _cut_out(image: np.ndarray, window: Window) -> np.ndarray:
    """Cut out the part of the image that the window shows."""
    x, y, side = map(int, window)
    return image[max(0, y):y + side, max(0, x):x + side]


def _fill_square(part: np.ndarray, window: Window) -> np.ndarray:
    """Extend the part to the window's square with the mean colour.

    Do this after the changes of colour, so that the border stays the mean colour.
    """
    left, top = max(0, int(-window.x)), max(0, int(-window.y))
    bottom, right = int(window.side) - top - part.shape[0], int(window.side) - left - part.shape[1]
    return cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_CONSTANT, value=NETWORK_INPUT["mean"])


def _resample(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Resize to [size, size, 3] by a random one of OpenCV's five interpolations: the network must depend on none."""
    ways = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_LANCZOS4)
    return cv2.resize(image, (size, size), interpolation=ways[rng.integers(len(ways))])


def _seen(record: Record, window: Window, size: int, pixel_offset: float) -> Record:
    """Return the faces that the window shows, in pixels of the input."""
    boxes = to_window(record.boxes.reshape(-1, 2, 2), window, size, pixel_offset).reshape(-1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    centred = ((centres >= 0) & (centres < size)).all(axis=1)
    boxes = boxes.clip(0, size)
    extent = boxes[:, 2:] - boxes[:, :2]
    ignore = record.ignore | ~centred | (extent <= SMALLEST_FACE).any(axis=1)
    kept = (extent > 0).all(axis=1)
    return replace(record, boxes=boxes[kept],
                   landmarks=to_window(record.landmarks[kept], window, size, pixel_offset),
                   visibility=record.visibility[kept], ignore=ignore[kept], height=size, width=size)
