# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a file for inference engines, verified to find what the checkpoint finds.

    export = Export("ONNX", (0, 0, 0))                   # batch, height, width; 0 = any
    print(export.run("0-140_27720.ckpt", read_images("photos"), "face"))

uint8 BGR images [B, H, W, 3] in; out come the raw float32 maps (CenterFace: [B, C, H / 4, W / 4]; RetinaFace: a row for
each anchor), or with `decode_rows` boxes, scores and landmarks.
"""
from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.files import atomic_write
from src.common import device
from src.export.images import ImageSet
from src.export.verification import (
    EXACT,
    INT8,
    average_precision,
    compare,
    compare_speed,
    fitted_detector,
    format_report,
    judge,
)
from src.inference.backend_base import BackendBase
from src.inference.backends import open_backend
from src.inference.detection_rows import ROW_OUTPUTS
from src.inference.onnx_builder import INPUT, IR_VERSION, OPSET
from src.models import Metadata
from src.weights.checkpoint import set_parameters
from src.weights.file_hashes import sha256_of
from src.weights.metadata import metadata_path
from src.weights.network import Network, read_network

SUFFIXES = {"AIR": ".air", "MINDIR": ".mindir", "ONNX": ".onnx"}
REPORT = ".verification.json"
# The float32 graph that a quantised one is made of.
PLAIN = "float32.onnx"
TEST_SIZES = ("320", "500", "640")
# Longer side of the images that a quantisation calibrates on.
CALIBRATION_SIZE = 640


class ExportError(RuntimeError):
    """The exported file does not compute what the checkpoint does."""


@dataclass(frozen=True)
class Export:
    """Writes checkpoints in one format for one size of input.

    Attributes:
        file_format: "AIR", "MINDIR" or "ONNX".
        sizes: batch, height and width of the images; 0 is any (not for AIR).
        device_target: see `device.setup`.
        decode_rows: ONNX; at most so many decoded rows instead of raw maps, 0 gives the maps.
        calibration: ONNX; images to calibrate 8-bit integers on, None = float32.
        test_sizes: of the verification, see `verification.compare`.
        deploy_score: score from which predict.py and FaceDetector report faces; None leaves it to them.
        verify: False writes an ONNX file without comparing it: all that works without MindSpore.

    Raises:
        InputError: the format does not allow this.
    """
    file_format: str
    sizes: tuple[int, int, int]
    device_target: str = "auto"
    decode_rows: int = 0
    calibration: ImageSet | None = None
    test_sizes: Sequence[str] = TEST_SIZES
    verify: bool = True
    deploy_score: float | None = None

    def __post_init__(self) -> None:
        _, height, width = self.sizes
        if self.file_format != "ONNX" and (self.decode_rows or self.calibration or not self.verify):
            raise InputError(f"--file_format {self.file_format}: --decode, --int8 and --verify 0 are for ONNX")
        if (height == 0) != (width == 0):
            raise InputError(f"--input_h {height} --input_w {width}: give both sides, or 0 for both")
        if self.file_format == "AIR":
            target = device.choose_target(self.device_target)
            if target != "Ascend":
                raise InputError("--file_format AIR: MindSpore writes AIR files only with an Ascend device, and "
                                 f"this is {target}. Run the same command on an Ascend host, or give "
                                 "--file_format MINDIR (for Ascend 310, MindSpore Lite converts it)")
            if not all(self.sizes):
                raise InputError("--file_format AIR: has one size of input; give --batch_size, --input_h and --input_w "
                                 "from 1")

    def run(self, path: str | Path, images: ImageSet, name: str | None = None, model: str = "centerface",
            truth: str | Path | None = None) -> str:
        """Export a checkpoint to `<name>.onnx`, `.mindir` or `.air`, with `<file>.verification.json` beside it.

        Args:
            path: the checkpoint.
            images: to compare on.
            name: the file without its suffix, None = the model's name; an existing one is replaced once the new one
                is verified.
            model: the model of a checkpoint without metadata.
            truth: folder of WIDER FACE's .mat files: also compare the AP of both networks on the images.

        Returns:
            text for the user: what was written, how to feed it, how it compares with the checkpoint.

        Raises:
            InputError: the checkpoint or an image cannot be used.
            ExportError: the exported network differs from the checkpoint; nothing was written.
        """
        path = Path(path)
        network = read_network(path, model)
        multiple = network.spec.side_multiple
        if any(side % multiple for side in self.sizes[1:]):
            raise InputError(f"--input_h {self.sizes[1]} --input_w {self.sizes[2]}: this model takes multiples of "
                             f"{multiple}, or 0 for any")
        suffix, name = SUFFIXES[self.file_format], name or network.spec.name
        target = Path(name if name.lower().endswith(suffix) else name + suffix)
        if target.is_dir():
            raise InputError(f"{target}: is a folder; choose another --file_name")
        metadata = {**network.metadata, "export": self._describe(network, path)}
        if self.deploy_score is not None:
            metadata["deploy"] = {"score_threshold": self.deploy_score}
        with tempfile.TemporaryDirectory() as folder:       # MindSpore refuses names with spaces and umlauts
            written = Path(folder) / f"exported{suffix}"
            if self.file_format == "ONNX":
                self._write_onnx(network, metadata, written)
            else:
                self._write_traced(network, written)
            metadata["export"]["sha256"] = sha256_of(written)
            if self.file_format != "ONNX":          # which holds its metadata itself
                metadata_path(written).write_text(json.dumps(metadata), encoding="utf-8")
            report = self._report(metadata)
            if "why" not in report:
                report.update(self._verify(path, model, written, metadata, images, truth))
            text = format_report(str(target), report)
            if report["verdict"] == "failed":
                raise ExportError("the exported network differs from the checkpoint: "
                                  f"{'; '.join(report['reasons'])}. Nothing was written\n{text}")
            content = written.read_bytes()
        report_path = target.with_name(target.name + REPORT)
        with atomic_write(target, "wb") as file:
            file.write(content)
        report_path.unlink(missing_ok=True)         # the former file's: it says nothing of this one
        if self.file_format != "ONNX":
            with atomic_write(metadata_path(target)) as file:
                json.dump(metadata, file, indent=2)
        with atomic_write(report_path) as file:
            json.dump({"file": target.name, **report}, file, indent=2)
        return text

    def _describe(self, network: Network, path: Path) -> dict[str, Any]:
        """Return the part of the metadata that describes the exported file itself."""
        network_input = network.metadata["input"]
        order = "turns BGR into RGB, " if network_input["channels"] == "RGB" else ""
        return {
            "format": self.file_format, "checkpoint": path.name, "checkpoint_sha256": sha256_of(path),
            "input": {
                "name": INPUT, "shape": [side or None for side in self.sizes] + [3], "layout": "NHWC",
                "dtype": "uint8", "channels": "BGR", "side_multiple": network.spec.side_multiple,
                "normalised": f"inside the network: it {order}subtracts {network_input['mean']} and divides by "
                              f"{network_input['std']} (in the order {network_input['channels']}, units of 0..255); "
                              "feed images as cv2.imread gives them"},
            "outputs": list(ROW_OUTPUTS if self.decode_rows else network.spec.outputs),
            "decode_rows": self.decode_rows,
            "precision": "int8" if self.calibration else "float32", "versions": device.versions()}

    def _write_onnx(self, network: Network, metadata: Metadata, written: Path) -> None:
        """Write the graph that is made from the weights; MindSpore takes no part."""
        batch, height, width = self.sizes
        model = network.spec.onnx_graph(metadata, network.tensors, decode_rows=self.decode_rows, batch=batch,
                                        height=height, width=width)
        written.write_bytes(model.SerializeToString())
        if self.calibration is not None:
            from src.export.quantise import quantise
            plain = written.rename(written.with_name(PLAIN))
            quantise(plain, written, self._batches(self.calibration, metadata))

    def _write_traced(self, network: Network, written: Path) -> None:
        """Let MindSpore write a cell."""
        import mindspore as ms
        cell = network.spec.inference_cell(network.metadata)
        set_parameters(cell.network, network.tensors)
        shape = *self.sizes, 3
        example = ms.Tensor(np.zeros(shape, np.uint8)) if all(shape) else ms.Tensor(
            shape=[side or None for side in shape], dtype=ms.uint8)
        ms.export(cell, example, file_name=str(written.with_suffix("")), file_format=self.file_format)
        if not written.is_file():
            raise ExportError(f"MindSpore wrote no single file {written.name} but "
                              f"{sorted(each.name for each in written.parent.iterdir())}")

    def _batches(self, images: ImageSet, metadata: Metadata) -> Iterator[np.ndarray]:
        """Yield each image as a quantised network gets it, uint8 [B, H, W, 3]."""
        multiple = metadata["export"]["input"]["side_multiple"]
        detector = fitted_detector(None, None, metadata, self.sizes, str(CALIBRATION_SIZE), multiple)
        for image in images:
            yield np.repeat(detector.pre_process(image.pixels)[0][None], self.sizes[0] or 1, axis=0)

    def _report(self, metadata: Metadata) -> dict[str, Any]:
        """Start the report: "not compared" so far; "why" gives the reason where the file will not be compared."""
        report = {"verdict": "not compared", **{key: metadata[key] for key in ("model", "options", "decoder")},
                  **metadata["export"]}
        if self.file_format == "ONNX":
            report.update(opset=OPSET, ir_version=IR_VERSION)
        if self.file_format == "AIR":
            report["why"] = "MindSpore writes AIR files, but cannot load them"
        elif not self.verify:
            report["why"] = "--verify 0"
        if self.calibration:
            report["calibrated_on"] = {"folder": self.calibration.name, "images": len(self.calibration)}
        return report

    def _verify(self, path: Path, model: str, written: Path, metadata: Metadata, images: ImageSet,
                truth: str | Path | None) -> dict[str, Any]:
        """Compare the file with its checkpoint in MindSpore; what the report says of it."""
        reference: BackendBase = open_backend(path, "mindspore", model, self.device_target)
        # An ONNX file is compared on the CPU, wherever the network was traced.
        exported = open_backend(written, device_target="auto" if self.file_format == "ONNX" else self.device_target)
        tolerance = INT8 if self.calibration else EXACT
        sizes = compare(reference, exported, images, self.test_sizes, tolerance)
        result: dict[str, Any] = {
            "reference": reference.runtime, "runtime": exported.runtime, "tolerance": tolerance._asdict(),
            "compared_on": {"folder": images.name, "images": len(images)}, "sizes": sizes}
        if truth is not None:
            ground_truth = load_ground_truth(truth)
            result["ap"] = {side: average_precision(backend, images, ground_truth, exported.sizes)
                            for side, backend in (("checkpoint", reference), ("file", exported))}
        if self.calibration:
            result["speed"] = compare_speed(open_backend(written.with_name(PLAIN)), exported,
                                            next(self._batches(images, metadata)))
        reasons = judge(sizes, tolerance, bool(self.decode_rows), result.get("ap"))
        return {**result, "verdict": "failed" if reasons else "passed", "reasons": reasons}
