# SPDX-License-Identifier: Apache-2.0
"""The proof that an exported file finds what its checkpoint finds: both run on images, all differences are measured.

    found = compare(reference, exported, images, sizes=("320", "500", "640"))
    reasons = judge(found, EXACT)                           # none: it holds

`reference` and `exported` are backends (src/inference/backends.py). At every size each image goes through the
detector's own way, so both networks get the same pixels; what they give is compared, and the faces found.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.ground_truth import GroundTruth
from dependency.evaluate.overlaps import box_overlaps
from src.common.log import progress_bar
from src.export.images import Image
from src.inference.backends import build_detector
from src.inference.fixed_size import FixedSizeDetector, fill_batch
from src.inference.rows import ROW_OUTPUTS, join_rows

SIZES = ("320", "500", "640")
# Faces that score more must be in both.
STRONG = 0.3
# Rows of a decoding graph with almost equal scores may change places.
_NEIGHBOURS = 8


class Tolerance(NamedTuple):
    """What may differ.

    maps: largest difference of any number that the network gives; None where that says nothing (quantised).
    pixels: the same of boxes and landmarks where the graph decodes.
    iou: overlap of the two boxes of one face. matched: least share of faces over 0.3 that have a partner, both ways.
    partner: score that a partner must have; less than 0.3, so that none falls just under a threshold.
    ap: largest loss of average precision in a subset, where it is measured.
    """
    maps: float | None
    pixels: float | None
    iou: float
    matched: float
    partner: float
    ap: float


EXACT = Tolerance(maps=1e-3, pixels=0.1, iou=0.95, matched=1.0, partner=0.25, ap=1e-3)
INT8 = Tolerance(maps=None, pixels=None, iou=0.6, matched=0.9, partner=0.1, ap=0.03)


def compare(reference: Any, exported: Any, images: Collection[Image], sizes: Sequence[str],
            tolerance: Tolerance = EXACT) -> list[dict[str, Any]]:
    """Run both networks and count.

    Args:
        reference: backend with the checkpoint.
        exported: backend with the file.
        images: to run on; the first one also goes through as a batch of two, with its mirror image.
        sizes: of the networks' input, see `BaseDetector`'s test_size; a file for one size is run at that one.
        tolerance: its `iou` decides which boxes are one face.

    Returns:
        for each size: {"size", "images", "largest_difference": by output, "faces": {"checkpoint", "file", "matched",
        "unmatched": [...], "largest_box_difference"}}; faces over 0.3 only.
    """
    fixed = bool(exported.sizes[1] and exported.sizes[2])
    sizes = [f"{exported.sizes[2]} x {exported.sizes[1]}"] if fixed else list(sizes)
    pairs = [(_detector(reference, exported, size, tolerance.partner),
              _detector(exported, exported, size, tolerance.partner)) for size in sizes]
    tallies = [_Tally(size) for size in sizes]
    if not len(images):
        raise InputError("no image to compare on; give --images with a folder that holds some")
    with progress_bar(len(images), "images", "comparing") as bar:
        for number, image in enumerate(images):
            for (ours, theirs), tally in zip(pairs, tallies):
                ours.flip_test = theirs.flip_test = number == 0
                one, two = ours.run(image.pixels), theirs.run(image.pixels)
                tally.add_outputs(_differences(ours, theirs, reference.spec.outputs))
                tally.add_faces(image.name, one, two, tolerance.iou)
            bar.update()
    return [tally.told() for tally in tallies]


def judge(found: Sequence[dict[str, Any]], tolerance: Tolerance, decoded: bool = False,
          ap: dict[str, dict[str, float]] | None = None) -> list[str]:
    """Why the file is not what the checkpoint is; an empty list where it is.

    Args:
        found: from `compare`.
        tolerance: what may differ.
        decoded: whether the file gives rows instead of raw maps.
        ap: by side ("checkpoint", "file") and subset, where it was measured.
    """
    reasons = []
    if (decoded or tolerance.maps is None) and not sum(each["faces"]["checkpoint"] for each in found):
        reasons.append("no face is in these images, so nothing was compared; give --images with photographs")
    for each in found:
        for name, value in each["largest_difference"].items():
            limit = tolerance.pixels if decoded and name != "scores" else tolerance.maps
            if limit is not None and not value <= limit:
                reasons.append(f"at size {each['size']} {name} differs by {value:.3g}, more than {limit:g}")
        faces = each["faces"]
        for side in ("checkpoint", "file"):
            lonely = [name for name in faces["unmatched"] if name["only_in"] == side]
            if faces[side] - len(lonely) < tolerance.matched * faces[side] - 1e-9:
                reasons.append(f"at size {each['size']} {len(lonely)} of the {side}'s {faces[side]} faces over "
                               f"{STRONG} have no partner at IoU {tolerance.iou}, first in {lonely[0]['image']}")
    for subset, value in (ap or {}).get("checkpoint", {}).items():
        if not value - ap["file"][subset] <= tolerance.ap and not np.isnan(value):
            reasons.append(f"AP {subset} falls from {value:.4f} to {ap['file'][subset]:.4f}, "
                           f"more than {tolerance.ap:g}")
    return reasons


def average_precision(backend: Any, images: Collection[Image], truth: GroundTruth,
                      sizes: Sequence[int] = (0, 0, 0)) -> dict[str, float]:
    """AP by subset at IoU 0.5 on those images of a ground truth that are given, with the metadata's own detector.

    Args:
        backend: the network.
        images: named "event/name.jpg" as in the ground truth.
        truth: the ground truth.
        sizes: batch, height and width of the exported file, 0 = any; images are fitted into them, whichever network.
    """
    detector = build_detector(backend, backend.metadata)
    if sizes[1] and sizes[2] and not backend.sizes[1]:
        detector = FixedSizeDetector(tuple(sizes[1:]), backend, backend.spec.decoder(backend.metadata),
                                     **backend.metadata.get("detect", {}))
    found = {}
    with progress_bar(len(images), "images", f"AP in {backend.runtime}") as bar:
        for image in images:
            found[image.name.rsplit(".", 1)[0]] = detector.run(image.pixels)
            bar.update()
    return {subset: float(value) for subset, value in
            evaluate(found, truth, (0.5,), only_predicted=True).ap[0.5].items()}


class _Recorder:
    """A network that keeps what it gave last."""

    def __init__(self, forward: Any):
        self.forward = forward
        self.outputs: Sequence[np.ndarray] = ()
        self.shape = (0, 0)

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        self.outputs, self.shape = self.forward(images), images.shape[1:3]
        return self.outputs


class _Tally:
    """Counts of one size."""

    def __init__(self, size: str):
        self.size = size
        self.images = 0
        self.differences: dict[str, float] = {}
        self.counts = {"checkpoint": 0, "file": 0, "matched": 0}
        self.unmatched: list[dict[str, Any]] = []
        self.pixels = 0.0

    def add_outputs(self, differences: dict[str, float]) -> None:
        """Keep the largest of each output; NaN stays."""
        for name, value in differences.items():
            self.differences[name] = float(np.maximum(self.differences.get(name, 0.0), value))

    def add_faces(self, name: str, ours: Faces, theirs: Faces, iou: float) -> None:
        """Count the strong faces of one image, and those without a partner."""
        self.images += 1
        overlaps = box_overlaps(ours.boxes, theirs.boxes, offset=0.0)
        for side, faces, table, others in (("checkpoint", ours, overlaps, theirs), ("file", theirs, overlaps.T, ours)):
            strong = np.flatnonzero(faces.scores > STRONG)
            self.counts[side] += len(strong)
            best = table[strong].max(axis=1) if len(others) else np.zeros(len(strong))
            for index, value in zip(strong, best):
                if value < iou:
                    self.unmatched.append({"image": name, "only_in": side, "box": faces.boxes[index].tolist(),
                                           "score": float(faces.scores[index]), "best_iou": float(value)})
            if side == "checkpoint":
                met = strong[best >= iou]
                self.counts["matched"] += len(met)
                if len(met):
                    moved = np.abs(faces.boxes[met] - others.boxes[table[met].argmax(axis=1)])
                    self.pixels = max(self.pixels, float(moved.max()))

    def told(self) -> dict[str, Any]:
        """As `compare` returns it."""
        return {"size": self.size, "images": self.images, "largest_difference": self.differences,
                "faces": {**self.counts, "unmatched": self.unmatched, "largest_box_difference": self.pixels}}


def fitted_detector(forward: Any, decode: Any, metadata: dict[str, Any], sizes: Sequence[int], size: str,
                    multiple: int, threshold: float = STRONG) -> BaseDetector:
    """The metadata's detector, one look without mirror image, at this size or at the one that a file is for.

    Args:
        forward, decode, metadata: as `BaseDetector` and `build_detector` take them.
        sizes: batch, height and width of the file, 0 = any.
        size: see `BaseDetector`'s test_size.
        multiple: of which the sides of the network's input must be.
        threshold: weaker faces are left out.
    """
    options = {**metadata.get("detect", {}), "score_threshold": threshold, "test_scales": (1.0,), "flip_test": False}
    if sizes[1] and sizes[2]:
        return FixedSizeDetector((sizes[1], sizes[2]), forward, decode, **options)
    return BaseDetector(forward, decode, **{**options, "test_size": size, "pad": "none" if multiple == 1 else "32"})


def _detector(backend: Any, exported: Any, size: str, threshold: float) -> BaseDetector:
    """`fitted_detector` with the network in a `_Recorder`, for the sizes of the exported file."""
    batch = exported.sizes[0] if backend is exported else 0
    forward = _Recorder(fill_batch(backend, batch) if batch else backend)
    return fitted_detector(forward, backend.spec.decoder(backend.metadata), backend.metadata, exported.sizes, size,
                           backend.spec.side_multiple, threshold)


def _differences(ours: BaseDetector, theirs: BaseDetector, names: Sequence[str]) -> dict[str, float]:
    """Largest difference by output of what the two detectors' networks gave last.

    Raises:
        InputError: NaN, or shapes that differ.
    """
    one, two = ours.forward.outputs, theirs.forward.outputs
    if theirs.decode is not join_rows:
        shapes = [each.shape for each in one], [each.shape for each in two]
        if shapes[0] != shapes[1]:
            raise InputError(f"the exported network gives shapes {shapes[1]}, the checkpoint {shapes[0]}")
        return {name: float(np.abs(a - b).max()) for name, a, b in zip(names, one, two)}
    rows = len(two[1][0])
    found: dict[str, float] = {}
    for index in range(len(two[0])):
        expected = ours.decode([each[index] for each in one], ours.forward.shape, rows, 0.0, ours.peaks)
        given = theirs.decode([each[index] for each in two], theirs.forward.shape, rows, 0.0)
        for name, value in zip(ROW_OUTPUTS, _row_differences(expected, given)):
            found[name] = float(np.maximum(found.get(name, 0.0), value))
    return found


def _row_differences(expected: np.ndarray, given: np.ndarray) -> tuple[float, float, float]:
    """(boxes, scores, landmarks): scores place by place, the others for strong rows, each to the nearest neighbour."""
    count = min(len(expected), len(given))
    if abs(len(expected) - len(given)) > _NEIGHBOURS:
        return np.inf, np.inf, np.inf
    scores = float(np.abs(expected[:count, 4] - given[:count, 4]).max(initial=0.0))
    strong = int((expected[:count, 4] > STRONG).sum())
    if not strong:
        return 0.0, scores, 0.0
    padded = np.pad(given, ((_NEIGHBOURS, _NEIGHBOURS + max(0, len(expected) - len(given))), (0, 0)),
                    constant_values=np.inf)
    shifted = np.stack([padded[shift:shift + strong] for shift in range(2 * _NEIGHBOURS + 1)])
    nearest = np.abs(shifted - expected[:strong]).max(axis=2).argmin(axis=0)
    moved = np.abs(shifted[nearest, np.arange(strong)] - expected[:strong])
    return float(moved[:, :4].max()), scores, float(moved[:, 5:].max())
