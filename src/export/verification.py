# SPDX-License-Identifier: Apache-2.0
"""Verification of an exported file: it runs in its own runtime on images, and is compared with its checkpoint.

    sizes = compare(reference, exported, images, ("320", "500", "640"), EXACT)
    reasons = judge(sizes, EXACT)                       # empty: the file finds what the checkpoint finds

`reference` and `exported` are backends (src/inference/backend_base.py). At every size both networks get the same
pixels; their outputs are compared value by value, and the faces that the detector makes of them face by face.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.ground_truth import GroundTruth
from dependency.evaluate.overlaps import box_overlaps
from src.common.progress import progress_bar
from src.export.images import ImageSet
from src.inference.backend_base import BackendBase
from src.inference.detection_rows import ROW_OUTPUTS, join_rows
from src.inference.fixed_size_detector import FixedSizeDetector, fill_batch
from src.models import Metadata

Sizes = tuple[int, int, int]

# Faces with a higher score must be in both.
STRONG = 0.3


class Tolerance(NamedTuple):
    """Largest differences that pass.

    values: of any number of the network's outputs; None: not compared (quantised).
    pixels: of boxes and landmarks of a graph that decodes itself; None: not compared.
    iou: least overlap of the two boxes of one face. matched: least share of the strong faces that have a partner, in
    both directions. partner: least score of a partner; below STRONG, so that none falls just under a threshold.
    ap: largest loss of average precision in a subset.
    """
    values: float | None
    pixels: float | None
    iou: float
    matched: float
    partner: float
    ap: float


EXACT = Tolerance(values=1e-3, pixels=0.1, iou=0.95, matched=1.0, partner=0.25, ap=1e-3)
INT8 = Tolerance(values=None, pixels=None, iou=0.6, matched=0.9, partner=0.1, ap=0.03)


def compare(reference: BackendBase, exported: BackendBase, images: ImageSet, test_sizes: Sequence[str],
            tolerance: Tolerance) -> list[dict[str, Any]]:
    """Run both networks on the images at every size; the first image also with its mirror image, as a batch of two.

    Args:
        reference: backend with the checkpoint. exported: backend with the file.
        test_sizes: of the networks' input, see `BaseDetector`; a file for one size is run at that one.
        tolerance: its `iou` and `partner` decide which boxes are one face.

    Returns:
        for each size: {"size", "images", "largest_difference": by output, "faces": {"checkpoint", "file", "matched",
        "unmatched": [...], "largest_box_difference"}}; strong faces only.

    Raises:
        InputError: no images, or outputs of other shapes.
    """
    if not len(images):
        raise InputError("no image to compare on; give --images with a folder that holds some")
    _, height, width = exported.sizes
    test_sizes = [f"{width} x {height}"] if height and width else test_sizes
    networks = _Recorder(reference), _Recorder(exported)
    results = []
    with progress_bar(len(images) * len(test_sizes), "images", "comparing") as bar:
        for size in test_sizes:
            detectors = [fitted_detector(network, network.decode, network.metadata, exported.sizes, size,
                                         exported.spec.side_multiple, tolerance.partner) for network in networks]
            differences: dict[str, float] = {}
            faces: dict[str, Any] = {"checkpoint": 0, "file": 0, "matched": 0, "unmatched": [],
                                     "largest_box_difference": 0.0}
            for number, image in enumerate(images):
                for detector in detectors:
                    detector.flip_test = number == 0
                ours, theirs = (detector.run(image.pixels) for detector in detectors)
                for name, value in _differences(*networks):
                    differences[name] = float(np.maximum(differences.get(name, 0.0), value))
                _count_faces(faces, image.name, ours, theirs, tolerance.iou)
                bar.update()
            results.append({"size": size, "images": len(images), "largest_difference": differences, "faces": faces})
    return results


def judge(sizes: Sequence[dict[str, Any]], tolerance: Tolerance, decoded: bool = False,
          ap: dict[str, dict[str, float]] | None = None) -> list[str]:
    """List what differs by more than the tolerance.

    Args:
        sizes: from `compare`.
        decoded: whether the file decodes itself.
        ap: {"checkpoint": AP by subset, "file": the same}, where it was measured.
    """
    reasons = []
    if (decoded or tolerance.values is None) and not sum(each["faces"]["checkpoint"] for each in sizes):
        reasons.append("no face is in these images, so nothing was compared; give --images with photographs")
    for each in sizes:
        for name, value in each["largest_difference"].items():
            limit = tolerance.pixels if decoded and name != "scores" else tolerance.values
            if limit is not None and not value <= limit:
                reasons.append(f"at size {each['size']} {name} differ by {value:.3g}, more than {limit:g}")
        for side in ("checkpoint", "file"):
            count = each["faces"][side]
            alone = [face for face in each["faces"]["unmatched"] if face["only_in"] == side]
            if count - len(alone) < tolerance.matched * count - 1e-9:
                reasons.append(f"at size {each['size']} {len(alone)} of the {side}'s {count} faces over {STRONG} have "
                               f"no partner at IoU {tolerance.iou}, first in {alone[0]['image']}")
    ap = ap or {"checkpoint": {}}
    for subset, before in ap["checkpoint"].items():
        after = ap["file"][subset]
        if not before - after <= tolerance.ap and not np.isnan(before):
            reasons.append(f"AP {subset} falls from {before:.4f} to {after:.4f}, more than {tolerance.ap:g}")
    return reasons


def average_precision(backend: BackendBase, images: ImageSet, truth: GroundTruth, sizes: Sizes) -> dict[str, float]:
    """Compute AP by subset at IoU 0.5 on these images of a ground truth, with the metadata's detector.

    The images are named "event/name.jpg".

    Args:
        sizes: batch, height and width of the exported file, 0 = any; images are fitted into them, whichever network.
    """
    network = _Recorder(backend)
    detector = _detector(network, network.decode, network.metadata, sizes, {})
    predictions: dict[str, Faces] = {}
    with progress_bar(len(images), "images", f"AP in {backend.runtime}") as bar:
        for image in images:
            predictions[image.name.rsplit(".", 1)[0]] = detector.run(image.pixels)
            bar.update()
    return {subset: float(value) for subset, value in
            evaluate(predictions, truth, (0.5,), only_predicted=True, check_layout=False).ap[0.5].items()}


def compare_speed(plain: BackendBase, int8: BackendBase, images: np.ndarray, rounds: int = 15) -> dict[str, float]:
    """Time two backends on a batch in turns: median seconds, and the median of their ratios; the first round is cut."""
    seconds = np.empty((rounds, 2))
    for row in seconds:
        for index, backend in enumerate((plain, int8)):
            start = time.perf_counter()
            backend(images)
            row[index] = time.perf_counter() - start
    return {"float32_seconds": float(np.median(seconds[1:, 0])), "int8_seconds": float(np.median(seconds[1:, 1])),
            "int8_to_float32": float(np.median(seconds[1:, 1] / seconds[1:, 0]))}


def fitted_detector(network: Any, decode: Any, metadata: Metadata, sizes: Sizes, test_size: str, side_multiple: int,
                    score_threshold: float = STRONG, flip_test: bool = False) -> BaseDetector:
    """Build the metadata's detector at one scale, for the file's own size, or for `test_size` if it takes any size.

    Args:
        network, decode, metadata: as `BaseDetector` and `build_detector` take them.
        sizes: batch, height and width of the file, 0 = any.
        side_multiple: the sides of the network's input must be multiples of it.
    """
    return _detector(network, decode, metadata, sizes, {
        "score_threshold": score_threshold, "test_scales": (1.0,), "flip_test": flip_test, "test_size": test_size,
        "pad": "none" if side_multiple == 1 else "32"})


def format_report(file_name: str, report: dict[str, Any]) -> str:
    """Format a report (see `Export.run`) as text: what was written, how to feed it, how near the checkpoint it is."""
    network_input, dims = report["input"], ("batch", "height", "width", "")
    kind = [report["format"], *(f"{name} {report[name]}" for name in ("opset", "ir_version") if name in report)]
    content = "faces, best first, in pixels of the input" if report["decode_rows"] else f"raw, for {report['decoder']}"
    lines = [
        f"{file_name}: {report['model']} from {report['checkpoint']} ({', '.join(kind)}, {report['precision']})",
        f"  input   {network_input['name']}: uint8 "
        + " x ".join(str(side or name) for side, name in zip(network_input["shape"], dims))
        + f", sides multiples of {network_input['side_multiple']}; normalised {network_input['normalised']}",
        f"  output  {', '.join(report['outputs'])}: {content}",
        f"  sha256  {report['sha256']} (checkpoint {report['checkpoint_sha256']})"]
    if "calibrated_on" in report:
        lines.append("  calibrated on {images} images of {folder}".format(**report["calibrated_on"]))
    if "sizes" not in report:
        return "\n".join([*lines, f"  NOT compared with the checkpoint: {report['why']}"])
    lines.append(f"  compared with the checkpoint: {report['runtime']} against {report['reference']}, on "
                 "{images} images of {folder}".format(**report["compared_on"]))
    for each in report["sizes"]:
        differences = ", ".join(f"{name} {value:.1e}" for name, value in each["largest_difference"].items())
        faces = "{checkpoint} and {file}, {matched} the same, boxes within {largest_box_difference:.2g} px".format(
            **each["faces"])
        lines.append(f"    size {each['size']}, {each['images']} images: {differences}; faces over {STRONG}: {faces}")
    for subset, value in report["ap"]["checkpoint"].items() if "ap" in report else ():
        lines.append(f"    AP {subset} at IoU 0.5: {value:.4f} -> {report['ap']['file'][subset]:.4f}")
    if "speed" in report:
        lines.append("    time: {int8_seconds:.4f} s, float32 {float32_seconds:.4f} s, ratio {int8_to_float32:.2f}"
                     .format(**report["speed"]))
    return "\n".join([*lines, f"  verification {report['verdict']}", *(f"    {each}" for each in report["reasons"])])


class _Recorder:
    """A network for any number of images that keeps its last outputs, and the shape of the images behind them."""

    def __init__(self, backend: BackendBase):
        batch = backend.sizes[0]
        self.spec, self.metadata = backend.spec, backend.metadata
        self.decode = backend.spec.decoder(backend.metadata)
        self._forward = fill_batch(backend, batch) if batch else backend
        self.outputs: Sequence[np.ndarray] = ()
        self.shape = (0, 0)

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        self.outputs, self.shape = self._forward(images), images.shape[1:3]
        return self.outputs


def _differences(ours: _Recorder, theirs: _Recorder) -> list[tuple[str, float]]:
    """List (output, largest difference) of what both networks gave last; raise InputError if the shapes differ."""
    if theirs.decode is join_rows:
        return _row_differences(ours, theirs)
    shapes = [each.shape for each in ours.outputs], [each.shape for each in theirs.outputs]
    if shapes[0] != shapes[1]:
        raise InputError(f"the exported network gives shapes {shapes[1]}, the checkpoint {shapes[0]}")
    return [(name, float(np.abs(one - two).max()))
            for name, one, two in zip(ours.spec.outputs, ours.outputs, theirs.outputs)]


def _row_differences(ours: _Recorder, theirs: _Recorder) -> list[tuple[str, float]]:
    """Compare a graph that decodes itself: all scores in their order, boxes and landmarks of strong rows.

    Rows of almost equal score may change places: a strong row is compared with that of the nearest box.
    """
    differences = [(name, 0.0) for name in ROW_OUTPUTS]
    limit, peaks = theirs.outputs[1].shape[1], ours.metadata.get("detect", {}).get("peaks", True)
    for index in range(len(theirs.outputs[0])):
        one = ours.decode([each[index] for each in ours.outputs], ours.shape, limit, 0.0, peaks)
        two = theirs.decode([each[index] for each in theirs.outputs], theirs.shape, limit)
        strong, count = one[one[:, 4] > STRONG], min(len(one), len(two))
        differences.append(("scores", float(np.abs(one[:count, 4] - two[:count, 4]).max(initial=0.0))))
        if len(strong) and count:
            nearest = two[np.abs(strong[:, None, :4] - two[None, :, :4]).max(axis=2).argmin(axis=1)]
            moved = np.abs(strong - nearest)
            differences += [("boxes", float(moved[:, :4].max())), ("landmarks", float(moved[:, 5:].max()))]
    return differences


def _count_faces(counts: dict[str, Any], image: str, ours: Faces, theirs: Faces, iou: float) -> None:
    """Add the strong faces of one image to the counts that `compare` returns, and those without a partner."""
    overlaps = box_overlaps(ours.boxes, theirs.boxes, offset=0.0)
    for side, faces, others, table in (("checkpoint", ours, theirs, overlaps), ("file", theirs, ours, overlaps.T)):
        is_strong, best = faces.scores > STRONG, table.max(axis=1, initial=0.0)
        counts[side] += int(is_strong.sum())
        counts["unmatched"] += [{"image": image, "only_in": side, "box": faces.boxes[index].tolist(),
                                 "score": float(faces.scores[index])}
                                for index in np.flatnonzero(is_strong & (best < iou))]
        matched = np.flatnonzero(is_strong & (best >= iou))
        if side == "checkpoint" and len(matched):
            counts["matched"] += len(matched)
            moved = np.abs(faces.boxes[matched] - others.boxes[table[matched].argmax(axis=1)])
            counts["largest_box_difference"] = max(counts["largest_box_difference"], float(moved.max()))


def _detector(network: Any, decode: Any, metadata: Metadata, sizes: Sizes, options: dict[str, Any]) -> BaseDetector:
    """Build the metadata's detector with these options, for the file's own size if it takes only one."""
    _, height, width = sizes
    arguments = {**metadata.get("detect", {}), **options}
    if height and width:
        return FixedSizeDetector((height, width), network, decode, **arguments)
    return BaseDetector(network, decode, **arguments)
