# SPDX-License-Identifier: Apache-2.0
"""From an image to its `Faces`: pre-processing, network, decoding, suppression of duplicates.

    faces = BaseDetector(forward, decode, test_size="original").run(read_image("photo.jpg"))

`forward` is any network: uint8 BGR images [B, H, W, 3] to a tuple of arrays, first axis B. `decode` reads one
image's share of them: rows [M, 15] = box xyxy, score, five landmarks x y, in the pixels of the network's input.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Callable

import numpy as np

from dependency.centernet.src.lib.detectors.box_voting import vote
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.detectors.option_rules import DETECTOR, LARGEST_SIDE, PAD, Size, parse_size
from dependency.centernet.src.lib.external.suppress import nms, soft_nms
from dependency.centernet.src.lib.utils.image import (
    BLACK,
    FLIP_INDEX,
    STRIDE,
    Placement,
    letterbox,
    pad_to_multiple,
    pad_to_square,
    round_up,
)
from dependency.errors import InputError

SOFT_THRESHOLD = 0.001
# Without the peak test one face yields many rows before suppression: the first few must not use up a crowd's.
ROWS_PER_FACE = 20

Maps = Sequence[np.ndarray]


class NonFiniteMaps(InputError):
    """The network's output holds NaN or infinity: the weights are unusable."""


class BaseDetector:
    """Pre-processing, forward, decoding, merging of scales and flips.

    Args:
        forward: images uint8 [B, H, W, 3] BGR -> tuple of arrays [B, ...].
        decode: (maps of one image, (H, W) of the input, top_k, score_threshold, peaks) -> rows [M, 15] in input
            pixels.
        test_size: "original" (no resampling), the longer side in pixels, "short/long" (the shorter side becomes
            `short`, unless the longer would exceed `long`: then that becomes `long`), or "vga" (longer side 640).
        test_scales: sizes relative to `test_size`; the results are merged.
        flip_test: look at the mirror image too.
        nms: "soft" (Gaussian, sigma 0.5, as in the manual), "hard", or "vote" (hard, and the box that stays becomes
            the mean of those it removes, by score).
        nms_iou: overlap over which "hard" and "vote" remove the weaker box; the Gaussian form has none.
        top_k: most faces returned; 200 is the manual's, WIDER has images with 709.
        score_threshold: weaker faces are left out; under 0.005 AP no longer changes (by 0.0001), files grow.
        peaks: decode only local maxima of the heatmap.
        pad: what is added at the right and below: "none", up to multiples of "32", up to a "square" of the largest
            side that `test_size` allows; "centre" puts the image in the middle of such a square. Default: "centre"
            where `test_size` is a number, else "32".
        fill: blue, green and red of what is added.
    """

    def __init__(self, forward: Callable[[np.ndarray], Maps], decode: Callable[..., np.ndarray],
                 test_size: Size = 832, test_scales: Sequence[float] = (1.0,), flip_test: bool = False,
                 nms: str = "soft", nms_iou: float = 0.5, top_k: int = 1000, score_threshold: float = 0.005,
                 peaks: bool = True, pad: str | None = None, fill: Sequence[float] = BLACK):
        self.forward = forward
        self.decode = decode
        self.test_scales = test_scales
        self.flip_test = flip_test
        self.nms = nms
        self.nms_iou = nms_iou
        self.top_k = top_k
        self.score_threshold = score_threshold
        self.peaks = peaks
        self.fill = fill
        for name, rule in DETECTOR.items():
            rule.require(name, getattr(self, name))
        self.test_scales, self.fill = tuple(test_scales), tuple(fill)
        self.test_size = parse_size(test_size)
        self.pad = choose_pad(pad, self.test_size)
        if longest_side(self.test_size) * max(test_scales) > LARGEST_SIDE:
            raise InputError(f"test_scales {list(test_scales)} of test_size {test_size}: larger than {LARGEST_SIDE} "
                             "pixels; give smaller ones")

    def run(self, image: np.ndarray) -> Faces:
        """Find the faces in one image uint8 [H, W, 3] BGR; results in its pixels."""
        return self.run_batch([image])[0]

    def run_batch(self, images: Sequence[np.ndarray], batch_size: int = 1) -> list[Faces]:
        """Find the faces in images of any sizes; those of one input size go through the network together.

        Args:
            images: each uint8 [H, W, 3] BGR.
            batch_size: most images in one forward pass (mirror images come on top).

        Returns:
            the faces of each image, the same as `run` finds.
        """
        rows_of: list[list[np.ndarray]] = [[] for _ in images]
        for scale in self.test_scales:
            inputs = [self.pre_process(image, scale) for image in images]
            for group in _batches([canvas.shape for canvas, _ in inputs], batch_size):
                canvases = np.stack([inputs[index][0] for index in group])
                for index, rows in zip(group, self._process_flips(canvases)):
                    rows_of[index].append(self.post_process(rows, inputs[index][1], images[index].shape[:2]))
        return [self.merge_outputs(rows) for rows in rows_of]

    def pre_process(self, image: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, Placement]:
        """Make the network's input uint8 [H, W, 3]; returns it with the place of the image on it."""
        factor = scale * fit(image.shape[:2], self.test_size)
        if self.pad in ("square", "centre"):
            largest = longest_side(self.test_size) or max(image.shape[:2])
            side = round_up(largest * scale, STRIDE)
            if self.pad == "centre":
                return letterbox(image, side, self.fill)
            return pad_to_square(image, side, factor, self.fill)
        return pad_to_multiple(image, STRIDE if self.pad == "32" else 1, factor, self.fill)

    def process(self, images: np.ndarray) -> list[np.ndarray]:
        """Find rows [M, 15], in input pixels, in each of the inputs uint8 [B, H, W, 3]."""
        maps = self.forward(images)
        limit = self.top_k if self.peaks else self.top_k * ROWS_PER_FACE
        return [self.decode([each[index] for each in maps], images.shape[1:3], limit, self.score_threshold, self.peaks)
                for index in range(len(images))]

    def _process_flips(self, canvases: np.ndarray) -> list[np.ndarray]:
        """Call `process`; with `flip_test`, add to the rows of each input those found in its mirror image."""
        if not self.flip_test:
            return self.process(canvases)
        rows = self.process(np.concatenate([canvases, canvases[:, :, ::-1]]))
        count, width = len(canvases), canvases.shape[2]
        return [np.concatenate([rows[index], mirror_rows(rows[count + index], width)]) for index in range(count)]

    def post_process(self, rows: np.ndarray, placement: Placement, shape: tuple[int, int]) -> np.ndarray:
        """Convert rows [M, 15] to the pixels of the original image of (height, width) `shape`.

        Boxes are clipped to the image, as the annotated ones are; those wholly outside are dropped. Landmarks
        stay where they are.
        """
        rows = rows.copy()
        rows[:, :4] = placement.to_image(rows[:, :4].reshape(-1, 2, 2)).reshape(-1, 4)
        rows[:, 5:] = placement.to_image(rows[:, 5:].reshape(-1, 5, 2)).reshape(-1, 10)
        height, width = shape
        rows[:, :4] = rows[:, :4].clip(0, np.array((width, height, width, height), np.float32))
        return rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]

    def merge_outputs(self, parts: Sequence[np.ndarray]) -> Faces:
        """Suppress duplicates among all rows of one image; at most `top_k` remain, best first."""
        rows = np.concatenate(parts).astype(np.float32)
        if self.nms == "hard":
            rows = rows[nms(rows, float(self.nms_iou))]
        elif self.nms == "vote":
            rows = vote(rows, float(self.nms_iou))
        else:
            rows = soft_nms(rows, Nt=0.5, threshold=SOFT_THRESHOLD, method=2)
        rows = rows[rows[:, 4] > self.score_threshold]
        return Faces.from_rows(rows[np.argsort(-rows[:, 4], kind="stable")[:self.top_k]])


def choose_pad(pad: str | None, test_size: Size) -> str:
    """Check a `pad`; None chooses it by the (parsed) size, see `BaseDetector`."""
    if pad is None:
        return "centre" if isinstance(test_size, int) else "32"
    PAD.require("pad", pad)
    if pad == "centre" and not isinstance(test_size, int):
        raise InputError("pad 'centre' fits the image into a square: it needs --test_size with one side, as 832")
    return pad


def format_size(test_size: Size) -> str:
    """Write a (parsed) size as --test_size takes it."""
    return "/".join(map(str, test_size)) if isinstance(test_size, tuple) else str(test_size)


def longest_side(test_size: Size) -> int:
    """Return the longest side that a (parsed) size allows, 0 for "original"."""
    if isinstance(test_size, str):
        return 0
    return max(test_size) if isinstance(test_size, tuple) else test_size


def fit(shape: tuple[int, int], test_size: Size) -> float:
    """Compute the scale at which an image of (height, width) has the (parsed) size."""
    if isinstance(test_size, str):          # "original"
        return 1.0
    short, long = test_size if isinstance(test_size, tuple) else (test_size, test_size)
    scale = short / min(shape)
    return long / max(shape) if round(scale * max(shape)) > long else scale


def mirror_rows(rows: np.ndarray, width: int) -> np.ndarray:
    """Mirror rows [M, 15] of a mirrored image of `width` pixels back into the image itself."""
    mirrored = rows.copy()
    mirrored[:, [0, 2]] = width - rows[:, [2, 0]]
    landmarks = rows[:, 5:].reshape(-1, 5, 2)[:, FLIP_INDEX]
    landmarks[..., 0] = width - landmarks[..., 0]
    mirrored[:, 5:] = landmarks.reshape(-1, 10)
    return mirrored


def _batches(shapes: Sequence[tuple[int, ...]], size: int) -> list[list[int]]:
    """Group the indices of equal shapes, at most `size` in one list."""
    equal: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        equal[shape].append(index)
    return [group[start:start + size] for group in equal.values() for start in range(0, len(group), size)]
