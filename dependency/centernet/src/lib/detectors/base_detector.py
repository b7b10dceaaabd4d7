# SPDX-License-Identifier: Apache-2.0
"""`Faces`, what a detector finds in one image, and `BaseDetector`, the way from an image to them.

    faces = BaseDetector(forward, decode, test_size="original").run(read_image("photo.jpg"))

`forward` is any network: uint8 BGR images [B, H, W, 3], sides multiples of 32, to a tuple of raw maps
[B, C, h, w]. `decode` reads one image's maps: rows [M, 15] = box xyxy, score, five landmarks x y, in the
pixels of the network's input.
"""
from dataclasses import dataclass
from typing import Callable, Sequence, Union

import numpy as np

from dependency.centernet.src.lib.external.suppress import nms, soft_nms
from dependency.centernet.src.lib.utils.image import STRIDE, Placement, letterbox, pad_to_multiple, round_up
from dependency.errors import InputError

ORIGINAL = "original"
NMS_KINDS = ("soft", "hard")
COLUMNS = 15
SOFT_THRESHOLD = 0.001
# Left and right change places in a mirrored image: eyes 0, 1 and mouth corners 3, 4.
MIRRORED_LANDMARKS = [1, 0, 2, 4, 3]
# Without the peak test one face yields many rows before suppression: the first few must not use up a crowd's.
ROWS_PER_FACE = 20

Maps = Sequence[np.ndarray]


class NonFiniteMaps(InputError):
    """The network's output holds NaN or infinity: the weights are unusable."""


@dataclass(frozen=True)
class Faces:
    """Detected faces, best score first.

    boxes: [N, 4] float32 xyxy pixels of the original image (x2 - x1 is the width).
    scores: [N] float32.
    landmarks: [N, 5, 2] float32 pixels: left eye, right eye, nose, left mouth corner, right mouth corner.
    """
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self) -> np.ndarray:
        """[N, 15] float32: box xyxy, score, landmarks x0 y0 .. x4 y4."""
        parts = self.boxes, self.scores[:, None], self.landmarks.reshape(-1, 10)
        return np.concatenate(parts, axis=1, dtype=np.float32)

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> "Faces":
        """Faces from rows [N, 15] (see `rows`), put in order of score; equal scores keep their order."""
        rows = np.asarray(rows, np.float32).reshape(-1, COLUMNS)
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return cls(rows[:, :4], rows[:, 4], rows[:, 5:].reshape(-1, 5, 2))


class BaseDetector:
    """Pre-processing, forward, decoding, merging of scales and flips.

    Args:
        forward: images uint8 [B, H, W, 3] BGR -> tuple of maps, each [B, C, H / 4, W / 4].
        decode: (maps of one image, top_k, score_threshold, peaks) -> rows [M, 15] in input pixels.
        test_size: "original" (padded to a multiple of 32, no resampling) or the side of a square letterbox.
        test_scales: each makes its own letterbox or padded image; the results are merged.
        flip_test: look at the mirror image too.
        nms: "soft" (Gaussian, sigma 0.5, as in the manual) or "hard".
        nms_iou: overlap over which "hard" removes the weaker box; the Gaussian form has none.
        top_k: most faces returned; 200 is the manual's, WIDER has images with 709.
        score_threshold: weaker faces are left out; under 0.005 AP no longer changes (by 0.0001), files grow.
        peaks: decode only local maxima of the heatmap.
    """

    def __init__(self, forward: Callable[[np.ndarray], Maps], decode: Callable[..., np.ndarray],
                 test_size: Union[int, str] = 832, test_scales: Sequence[float] = (1.0,), flip_test: bool = False,
                 nms: str = "soft", nms_iou: float = 0.5, top_k: int = 1000, score_threshold: float = 0.005,
                 peaks: bool = True):
        if nms not in NMS_KINDS:
            raise InputError(f"nms '{nms}' is not one of {', '.join(NMS_KINDS)}")
        if not test_scales or min(test_scales) <= 0:
            raise InputError(f"test_scales {list(test_scales)}: expected one or more numbers over 0")
        if top_k < 1:
            raise InputError(f"top_k {top_k}: expected at least 1")
        self.forward = forward
        self.decode = decode
        self.test_size = parse_size(test_size)
        self.test_scales = tuple(test_scales)
        self.flip_test = flip_test
        self.nms = nms
        self.nms_iou = nms_iou
        self.top_k = top_k
        self.score_threshold = score_threshold
        self.peaks = peaks

    def run(self, image: np.ndarray) -> Faces:
        """Find the faces in one image uint8 [H, W, 3] BGR; results in its pixels."""
        found = []
        for scale in self.test_scales:
            canvas, placement = self.pre_process(image, scale)
            images = np.stack([canvas, canvas[:, ::-1]]) if self.flip_test else canvas[None]
            results = self.process(images)
            if self.flip_test:
                results[1] = mirror_rows(results[1], canvas.shape[1])
            found += [self.post_process(rows, placement, image.shape[:2]) for rows in results]
        return self.merge_outputs(found)

    def pre_process(self, image: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, Placement]:
        """The network's input uint8 [H, W, 3] (sides multiples of 32) and where the image lies on it."""
        if self.test_size == ORIGINAL:
            return pad_to_multiple(image, STRIDE, scale)
        return letterbox(image, round_up(self.test_size * scale, STRIDE))

    def process(self, images: np.ndarray) -> list[np.ndarray]:
        """Rows [M, 15] in input pixels for each of the inputs uint8 [B, H, W, 3]."""
        maps = self.forward(images)
        limit = self.top_k if self.peaks else self.top_k * ROWS_PER_FACE
        return [self.decode([each[index] for each in maps], limit, self.score_threshold, self.peaks)
                for index in range(len(images))]

    def post_process(self, rows: np.ndarray, placement: Placement, shape: tuple[int, int]) -> np.ndarray:
        """Rows [M, 15] in the pixels of the original image of (height, width) `shape`.

        Boxes are clipped to the image, as the annotated ones are; those wholly outside are dropped. Landmarks
        stay where they are.
        """
        rows = rows.copy()
        rows[:, :4] = placement.to_image(rows[:, :4].reshape(-1, 2, 2)).reshape(-1, 4)
        rows[:, 5:] = placement.to_image(rows[:, 5:].reshape(-1, 5, 2)).reshape(-1, 10)
        height, width = shape
        rows[:, :4] = rows[:, :4].clip(0, np.array((width, height, width, height), np.float32))
        return rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]

    def merge_outputs(self, found: Sequence[np.ndarray]) -> Faces:
        """Suppress duplicates among all rows of one image; at most `top_k` remain, best first."""
        rows = np.concatenate(found).astype(np.float32)
        if self.nms == "hard":
            rows = rows[nms(rows, float(self.nms_iou))]
        else:
            rows = soft_nms(rows, Nt=0.5, threshold=SOFT_THRESHOLD, method=2)
        rows = rows[rows[:, 4] > self.score_threshold]
        return Faces.from_rows(rows[np.argsort(-rows[:, 4], kind="stable")[:self.top_k]])


def parse_size(value: Union[int, str]) -> Union[int, str]:
    """"original" or a positive side in pixels, from a number or text."""
    if str(value) == ORIGINAL:
        return ORIGINAL
    try:
        size = int(value)
    except ValueError:
        size = 0
    if size < 1:
        raise InputError(f"--test_size '{value}': expected 'original' or the side of a square in pixels, as 832")
    return size


def mirror_rows(rows: np.ndarray, width: int) -> np.ndarray:
    """Rows [M, 15] found in a mirrored image of `width` pixels, as they lie in the image itself."""
    mirrored = rows.copy()
    mirrored[:, [0, 2]] = width - rows[:, [2, 0]]
    landmarks = rows[:, 5:].reshape(-1, 5, 2)[:, MIRRORED_LANDMARKS]
    landmarks[..., 0] = width - landmarks[..., 0]
    mirrored[:, 5:] = landmarks.reshape(-1, 10)
    return mirrored
