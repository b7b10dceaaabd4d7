# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a file for inference engines, with a certificate that it finds what the checkpoint finds.

    export = Export("ONNX", (0, 0, 0))                   # batch, height, width; 0 = any
    print(export.run("0-140_27720.ckpt", read_images("photos"), "face"))

uint8 BGR images [B, H, W, 3] in; out come the raw float32 maps (CenterFace: [B, C, H / 4, W / 4]; RetinaFace: a row for
each anchor), or with `decode_rows` boxes, scores and landmarks.
"""
from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.files import atomic_write
from src.common import device
from src.export import certificate
from src.export.certificate import EXACT, INT8, fitted_detector
from src.export.certificate_text import format_block
from src.export.images import ImageSet
from src.inference.mindspore_backend import MindSporeBackend
from src.inference.onnx_builder import INPUT, IR_VERSION, OPSET
from src.inference.rows import ROW_OUTPUTS
from src.weights.checkpoint import set_parameters
from src.weights.known_files import sha256_of
from src.weights.metadata import metadata_path
from src.weights.network import Network, read_network

SUFFIXES = {"AIR": ".air", "MINDIR": ".mindir", "ONNX": ".onnx"}
CERTIFICATE = ".certificate.json"
# The float32 graph that a quantised one is made of.
PLAIN = "float32.onnx"

class ExportError(RuntimeError):
    """What was exported is not what the checkpoint computes."""


class Quantisation(NamedTuple):
    """INT8: images to calibrate on, and the longer side that they are brought to."""
    images: ImageSet
    size: int = 640


class Export:
    """Writes checkpoints in one format for one size of input.

    Args:
        file_format: "AIR", "MINDIR" or "ONNX".
        sizes: batch, height and width of the images; 0 is any (not for AIR).
        device_target: see `device.setup`.
        decode_rows: ONNX; so many decoded rows instead of raw maps, 0 gives the maps.
        quantisation: ONNX; 8-bit integers instead of float32.
        check_sizes: at which the file is compared with the checkpoint; see `certificate.compare`.
        certify: False writes an ONNX file without comparing it: all that works where there is no MindSpore.

    Raises:
        InputError: the format does not allow this.
    """

    def __init__(self, file_format: str, sizes: tuple[int, int, int], device_target: str = "auto", decode_rows: int = 0,
                 quantisation: Quantisation | None = None, check_sizes: Iterable[str] = certificate.SIZES,
                 certify: bool = True):
        if file_format != "ONNX" and (decode_rows or quantisation or not certify):
            raise InputError(f"--file_format {file_format}: --decode, --int8 and --certify 0 are for ONNX")
        if (sizes[1] == 0) != (sizes[2] == 0):
            raise InputError(f"--input_h {sizes[1]} --input_w {sizes[2]}: give both sides, or 0 for both")
        self.target = device.choose_target(device_target)
        if file_format == "AIR":
            if self.target != "Ascend":
                raise InputError("--file_format AIR: MindSpore writes AIR files only with an Ascend device, and "
                                 f"this is {self.target}. Run the same command on an Ascend host, or give "
                                 "--file_format MINDIR (for Ascend 310, MindSpore Lite converts it)")
            if not all(sizes):
                raise InputError("--file_format AIR: has one size of input; give --batch_size, --input_h and --input_w "
                                 "from 1")
        self.file_format, self.sizes, self.certify = file_format, sizes, certify
        self.decode_rows, self.quantisation, self.check_sizes = decode_rows, quantisation, tuple(check_sizes)

    def run(self, path: str | Path, images: ImageSet, name: str | None = None,
            model: str = "centerface", truth: str | Path | None = None) -> str:
        """Export a checkpoint to `<name>.onnx`, `.mindir` or `.air`, with `<file>.certificate.json` beside it.

        Args:
            path: the checkpoint.
            images: of the certificate.
            name: the file without its suffix, None = the model's name; an existing one is replaced once the new one
                is proven.
            model: what a checkpoint without metadata is.
            truth: folder of WIDER FACE's .mat files: AP of both networks on the images, too.

        Returns:
            what was written, how to feed it and how near it is, for the user.

        Raises:
            InputError: the checkpoint or an image cannot be used.
            ExportError: the exported network differs from the checkpoint; nothing was written.
        """
        path = Path(path)
        network = read_network(path, model)
        spec, metadata, _ = network
        self._require_sides(spec)
        suffix, name = SUFFIXES[self.file_format], name or metadata["model"]
        target = Path(name if name.lower().endswith(suffix) else name + suffix)
        if target.is_dir():
            raise InputError(f"{target}: is a folder; choose another --file_name")
        described = {**metadata, "export": self._describe(network, path)}
        reference = None
        if self.certify and self.file_format != "AIR":
            reference = MindSporeBackend(model, self.target)
            reference.load(path)
        with tempfile.TemporaryDirectory() as folder:       # MindSpore refuses names with spaces and umlauts
            written = Path(folder) / f"exported{suffix}"
            self._write(network, described, written)
            described["export"]["sha256"] = sha256_of(written)
            if self.file_format != "ONNX":          # which holds its metadata itself
                metadata_path(written).write_text(json.dumps(described), encoding="utf-8")
            proof = self._prove(reference, written, described, images, truth)
            content = written.read_bytes()
        beside = target.with_name(target.name + CERTIFICATE)
        with atomic_write(target, "wb") as file:
            file.write(content)
        beside.unlink(missing_ok=True)              # the former file's: it says nothing of this one
        if self.file_format != "ONNX":
            with atomic_write(metadata_path(target)) as file:
                json.dump(described, file, indent=2)
        with atomic_write(beside) as file:
            json.dump({"file": target.name, **proof}, file, indent=2)
        return format_block(target, proof)

    def _require_sides(self, spec: Any) -> None:
        _, height, width = self.sizes
        multiple = spec.side_multiple
        if height % multiple or width % multiple:
            raise InputError(f"--input_h {height} --input_w {width}: this model takes multiples of {multiple}, or 0 "
                             "for any")

    def _describe(self, network: Network, path: Path) -> dict[str, Any]:
        """What the metadata of the file says of the file itself."""
        fed = network.metadata["input"]
        order = "turns BGR into RGB, " if fed["channels"] == "RGB" else ""
        return {"format": self.file_format, "checkpoint": path.name, "checkpoint_sha256": sha256_of(path),
                "input": {"name": INPUT, "shape": [side or None for side in self.sizes] + [3], "layout": "NHWC",
                          "dtype": "uint8", "channels": "BGR", "side_multiple": network.spec.side_multiple,
                          "normalised": f"inside the network: it {order}subtracts {fed['mean']} and divides by "
                                        f"{fed['std']} (in the order {fed['channels']}, units of 0..255); feed images "
                                        "as cv2.imread gives them"},
                "outputs": list(ROW_OUTPUTS if self.decode_rows else network.spec.outputs),
                "decode_rows": self.decode_rows,
                "precision": "int8" if self.quantisation else "float32", "versions": device.versions()}

    def _write(self, network: Network, described: dict[str, Any], written: Path) -> None:
        if self.file_format == "ONNX":
            self._write_onnx(network, described, written)
        else:
            self._write_traced(network, written)

    def _write_onnx(self, network: Network, described: dict[str, Any], written: Path) -> None:
        """Made from the weights; MindSpore takes no part."""
        batch, height, width = self.sizes
        model = network.spec.onnx_graph(described, network.tensors, decode_rows=self.decode_rows, batch=batch,
                                          height=height, width=width)
        written.write_bytes(model.SerializeToString())
        if self.quantisation is None:
            return
        from src.export.quantise import quantise
        plain = written.rename(written.with_name(PLAIN))
        detector = fitted_detector(None, None, described, self.sizes, str(self.quantisation.size),
                                   network.spec.side_multiple)
        quantise(plain, written, (np.repeat(detector.pre_process(image.pixels)[0][None], batch or 1, axis=0)
                                  for image in self.quantisation.images))

    def _write_traced(self, network: Network, written: Path) -> None:
        """A cell of its own, written by MindSpore."""
        import mindspore as ms
        cell = network.spec.inference_cell(network.metadata)
        set_parameters(cell.network, network.tensors)
        shape = [side or None for side in self.sizes] + [3]
        example = (ms.Tensor(np.zeros(shape, np.uint8)) if all(self.sizes) else
                   ms.Tensor(shape=shape, dtype=ms.uint8))
        ms.export(cell, example, file_name=str(written.with_suffix("")), file_format=self.file_format)
        if not written.is_file():
            raise ExportError(f"MindSpore wrote no single file {written.name} but "
                              f"{sorted(each.name for each in written.parent.iterdir())}")

    def _prove(self, reference: Any, written: Path, described: dict[str, Any],
               images: ImageSet, truth: str | Path | None) -> dict[str, Any]:
        """The certificate.

        Raises:
            ExportError: it does not hold.
        """
        told = described["export"]
        proof = {"verdict": "not compared", "sha256": told["sha256"], "model": described["model"],
                 "options": described["options"], "decoder": described["decoder"],
                 **{key: value for key, value in told.items() if key != "sha256"}}
        if self.file_format == "ONNX":
            proof.update(opset=OPSET, ir_version=IR_VERSION)
        calibration = self.quantisation.images if self.quantisation else None
        if calibration is not None:
            proof["calibrated_on"] = {"folder": calibration.name, "images": len(calibration)}
        if reference is None:
            proof["why"] = ("MindSpore writes AIR files, but cannot load them" if self.file_format == "AIR" else
                            "as told by --certify 0")
            return proof
        from src.inference.backends import open_backend
        exported = open_backend(written, device_target=self.target)
        tolerance = INT8 if self.quantisation else EXACT
        found = certificate.compare(reference, exported, images, self.check_sizes, tolerance)
        proof.update(reference=reference.runtime, runtime=exported.runtime, tolerance=tolerance._asdict(), sizes=found,
                     compared_on={"folder": images.name, "images": len(images)})
        if calibration is not None:
            proof["compared_on"]["also_calibrated"] = images.shared_with(calibration)
        if truth is not None:
            known = load_ground_truth(truth)
            proof["ap"] = {side: certificate.average_precision(backend, images, known, exported.sizes)
                           for side, backend in (("checkpoint", reference), ("file", exported))}
        if self.quantisation:
            plain = open_backend(written.with_name(PLAIN))
            detector = fitted_detector(None, None, described, self.sizes, str(self.quantisation.size),
                                       plain.spec.side_multiple)
            canvas = detector.pre_process(next(iter(images)).pixels)[0]
            proof["speed"] = speed(plain, exported, np.repeat(canvas[None], self.sizes[0] or 1, axis=0))
        reasons = certificate.judge(found, tolerance, bool(self.decode_rows), proof.get("ap"))
        proof.update(verdict="does not hold" if reasons else "holds", reasons=reasons)
        if reasons:
            raise ExportError(f"the exported network is not what the checkpoint is: {'; '.join(reasons)}. Nothing was "
                              f"written\n{format_block(written, proof)}")
        return proof


def speed(one: Any, two: Any, images: np.ndarray, rounds: int = 15) -> dict[str, float]:
    """Median seconds of two backends on a batch, in turns, and the median of the ratios two / one."""
    times = np.empty((rounds, 2))
    for taken in times:
        for index, forward in enumerate((one, two)):
            start = time.perf_counter()
            forward(images)
            taken[index] = time.perf_counter() - start
    return {"float32_seconds": float(np.median(times[1:, 0])), "int8_seconds": float(np.median(times[1:, 1])),
            "int8_to_float32": float(np.median(times[1:, 1] / times[1:, 0]))}
