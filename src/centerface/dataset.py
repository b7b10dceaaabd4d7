# SPDX-License-Identifier: Apache-2.0
"""Training samples of CenterFace: `Record` -> augmented uint8 image and centre-point targets.

    sampler = CenterFaceSamples(records, image_dir, Augmentation(input_size=512))
    image, heatmap, cells, values, weights = sampler(index, np.random.default_rng(0))
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.datasets.sample.multi_pose import STRIDE, centre_targets
from dependency.centernet.src.lib.utils import augment
from dependency.centernet.src.lib.utils.augment import View
from dependency.extd.utils import augmentations as crops
from src.centerface.config import OPTIONS
from src.data.training_set import TrainingImage, image_named, mosaic


@dataclass(frozen=True)
class Augmentation:
    """How an image becomes a training sample; sizes in pixels of the network input.

    data_anchor: "crop" = half of the samples by data-anchor sampling as a true crop, half random squares;
        "reference" = the reference's crop, on which its data-anchor scaling has no effect; "off" = the whole image,
        as the test letterboxes it.
    mosaic: probability that a sample is made of four images, each in its quarter of the input.
    area_weights: how much faces of each size count in the size and offset losses, see `AREA_WEIGHTS`.
    crop_scales: side of a random square as a share of the longer image side.
    pixel_offset: 0 = coordinates are edges of pixels, 0.5 = centres, see `to_window`.
    """
    input_size: int = 512
    data_anchor: str = "crop"
    crop_scales: tuple[float, float] = (0.3, 1.0)
    mosaic: float = 0.0
    flip: float = 0.5
    colour: float = 0.4
    lighting: float = 0.1
    max_objs: int = 256
    min_face: float = 6.0
    area_weights: str = "reference"
    pixel_offset: float = 0.0


class CenterFaceSamples:
    """Callable by the loader's workers; holds only records, never images."""

    def __init__(self, records: Sequence[Record], image_dir: Path, augmentation: Augmentation):
        OPTIONS["Main options"]["image_size"].rule.require("--image_size", augmentation.input_size)
        self.records, self.image_dir, self.augmentation = records, Path(image_dir), augmentation

    def __len__(self) -> int:
        return len(self.records)

    def describe(self, index: int) -> str:
        """Return the image's name."""
        return self.records[index].path

    def without_mosaic(self) -> CenterFaceSamples:
        """Return samples of the same images that are never mosaics."""
        return CenterFaceSamples(self.records, self.image_dir, replace(self.augmentation, mosaic=0.0))

    def __call__(self, index: int, rng: np.random.Generator) -> tuple:
        """Make one training sample: uint8 BGR image [S, S, 3] and its `CentreTargets`.

        Raises:
            BadImageError: an image in it cannot be read, of four if need be.
        """
        plan = self.augmentation
        with image_named(self.describe(index)):
            if rng.random() < plan.mosaic:
                view = mosaic(index, len(self), self.describe,
                              lambda each: self._view(each, plan.input_size // 2, rng), rng)
            else:
                view = self._view(index, plan.input_size, rng)
            image = view.image
            if plan.colour > 0 or plan.lighting > 0:
                image = augment.colour_jitter(image, rng, plan.colour, plan.lighting)
            targets = centre_targets(view.boxes, view.landmarks, view.visibility, view.ignore,
                                     plan.input_size // STRIDE, plan.max_objs, plan.min_face, plan.area_weights)
            return (image, *targets)

    def _view(self, index: int, size: int, rng: np.random.Generator) -> View:
        """Scale a window of an image to [size, size], perhaps mirrored; ignore faces whose centre is outside it."""
        record = self.records[index]
        photograph = TrainingImage(self.image_dir, record, index)
        window = self._window(record, photograph.shape, size, rng)
        image = augment.cut(*photograph.read(window, size), size)
        offset = self.augmentation.pixel_offset
        boxes = augment.to_window(record.boxes.reshape(-1, 2, 2), window, size, offset).reshape(-1, 4)
        landmarks, visibility = augment.to_window(record.landmarks, window, size, offset), record.visibility
        if rng.random() < self.augmentation.flip:
            image = cv2.flip(image, 1)
            boxes = augment.flip_boxes(boxes, size, offset)
            landmarks, visibility = augment.flip_landmarks(landmarks, visibility, size, offset)
        ignore = record.ignore | ~_centre_inside(boxes, size)
        seen = ((landmarks >= 0) & (landmarks < size)).all(axis=2)
        return View(image, np.clip(boxes, 0, size), landmarks, visibility * seen, ignore)

    def _window(self, record: Record, shape: tuple[int, int], size: int, rng: np.random.Generator) -> crops.Window:
        plan, faces = self.augmentation, record.boxes[~record.ignore]
        if plan.data_anchor == "off":
            return crops.whole_window(*shape)
        if plan.data_anchor == "reference":
            return crops.reference_window(*shape, rng)
        if len(faces) and rng.random() < 0.5:
            return crops.anchor_window(faces, *shape, size, rng)
        return crops.square_window(faces, *shape, plan.crop_scales, rng)


def _centre_inside(boxes: np.ndarray, size: int) -> np.ndarray:
    """Check which boxes have their centre inside the window, [N] bool.

    A face that the window cuts so far that its centre is outside is neither face nor background.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centre >= 0) & (centre < size)).all(axis=1)
