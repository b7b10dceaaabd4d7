# SPDX-License-Identifier: Apache-2.0
"""AP of a checkpoint on the val set, during training: the same as test.py's, by the fastest runtime that is there.

    validator = Validator(evaluation_set, ["--data", "my.yaml"], "retinaface")
    validation = validator.run(Path("last.ckpt"))
    validation.ap, validation.describe()

On a CPU ONNX Runtime computes, where it is installed, else MindSpore.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps, format_size
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import score_set
from dependency.evaluate.ground_truth import MAIN_FILES, SUBSETS
from dependency.evaluate.matching import THRESHOLDS
from src.common import device
from src.common.log import LOGGER
from src.common.progress import progress_bar
from src.evaluation.evaluation_set import EvaluationSet
from src.evaluation.predict import detect_images
from src.inference.backend_base import BackendBase
from src.inference.backends import build_detector, new_backend

IOU = 0.5
# RetinaFace tests images at their own size by default: photographs of 12 megapixels would take minutes each. The
# images of WIDER FACE are 1024 pixels wide.
DEFAULT_SIZES: dict[str, dict[str, Any]] = {"centerface": {}, "retinaface": {"test_size": 1024, "pad": "32"}}


class Validation(NamedTuple):
    """The result of a validation.

    ap: by "easy", "medium", "hard", and "mean", that of the subsets that have faces; None without faces.
    test_size: as test.py's --test_size. images: their number. seconds: they took. runtime: what computed.
    score: the minimum score at which faces of the hard subset are found best (highest F1), and what is then reached:
    precision, recall.
    faces: of each image, by its name in the set.
    """
    ap: dict[str, float | None]
    test_size: str
    images: int
    seconds: float
    runtime: str
    score: float
    precision: float
    recall: float
    faces: dict[str, Faces]

    def line(self) -> dict[str, Any]:
        """Return what metrics.jsonl keeps."""
        return {"ap": self.ap, "iou": IOU, "test_size": self.test_size, "images": self.images, "score": self.score,
                "precision": self.precision, "recall": self.recall, "seconds": self.seconds, "time": time.time()}

    def describe(self) -> str:
        """Return the log line."""
        return (f"val AP {format_ap(self.ap)} at IoU {IOU:g}, test size {self.test_size}, {self.images} images in "
                f"{self.seconds:.1f} s ({self.runtime}); from score {self.score:.2f} on {self.recall:.0%} of the faces "
                f"are found, {self.precision:.0%} of what is found are faces")


class Validator:
    """Finds the faces of the val set with a checkpoint, and scores them.

    Args:
        evaluation_set: the val set.
        set_options: of test.py, that name it.
        model: the model's name.
        test_size: None takes the default, see `DEFAULT_SIZES`.
    """

    def __init__(self, evaluation_set: EvaluationSet, set_options: Sequence[str], model: str, test_size: Any = None):
        self.set, self.set_options = evaluation_set, set_options
        self.model = model
        self.options = dict(DEFAULT_SIZES[model])
        if test_size is not None:
            self.options["test_size"] = test_size
        self._backend: BackendBase | None = None

    def run(self, checkpoint: Path, should_stop: Callable[[], bool] = bool) -> Validation | None:
        """Validate a checkpoint.

        Args:
            checkpoint: its file.
            should_stop: asked after each image.

        Returns:
            None where `should_stop` said so.

        Raises:
            InputError: no image can be read, or the network gives NaN.
        """
        start = time.monotonic()
        backend = self._backend = self._backend or self._open()
        detector = build_detector(backend, backend.load(checkpoint), **self.options)
        images = self.set.images
        faces: dict[str, Faces] = {}
        try:
            with progress_bar(len(images), "images", "validating", seconds=300) as bar:
                for name, found, _ in detect_images(detector, images, self.set.image_dir):
                    faces[name] = found
                    bar.update()
                    if should_stop():
                        return None
        except InputError as error:
            if isinstance(error, NonFiniteMaps) or not faces:
                raise
            LOGGER.warning("validation without some images: %s", error)
        return self._score(faces, format_size(detector.test_size), time.monotonic() - start, backend.runtime)

    def keep_first_image(self) -> None:
        """Leave out all images but the first one."""
        self.set = replace(self.set, images=self.set.images[:1])

    def test_options(self) -> list[str]:
        """Return the options of test.py that make the same AP of the same images."""
        backend = ["--backend", "onnx"] if _has_onnx_runtime() and device.is_cpu() else []
        detector = [word for name, value in self.options.items() for word in (f"--{name}", str(value))]
        return [*self.set_options, *detector, *backend]

    def _open(self) -> BackendBase:
        """Start the runtime; MindSpore on the device that is in use."""
        import mindspore as ms
        if device.is_cpu():
            return new_backend("onnx" if _has_onnx_runtime() else "mindspore", self.model, "CPU")
        # Elsewhere MindSpore compiles a graph for each size of an image.
        self.options.setdefault("test_size", 832)
        self.options["pad"] = "square"
        return new_backend("mindspore", self.model, ms.get_context("device_target"), ms.get_context("device_id"))

    def _score(self, faces: dict[str, Faces], size: str, seconds: float, runtime: str) -> Validation:
        report, scored = score_set({str(PurePosixPath(name).with_suffix("")): each for name, each in faces.items()},
                                   self.set.truth, (IOU,), only_predicted=True, check_layout=False, warn=False)
        ap = {subset: None if np.isnan(report.ap[IOU][subset]) else report.ap[IOU][subset] for subset in SUBSETS}
        known = [value for value in ap.values() if value is not None]
        recall, precision = np.nan_to_num(report.curves[IOU]["hard"]).T
        best = int(np.argmax(recall * precision / np.maximum(recall + precision, 1e-9)))
        raw = np.concatenate([rows[:, 4] for rows in scored.rows] or [np.zeros(1)])
        low, high = (float(raw.min()), float(raw.max())) if len(raw) else (0.0, 1.0)
        return Validation({**ap, "mean": sum(known) / len(known) if known else None}, size, len(faces), seconds,
                          runtime.split(" (")[0], low + float(THRESHOLDS[best]) * (high - low),
                          float(precision[best]), float(recall[best]), faces)


def open_validator(model: str, cfg: Any, layout: Callable[[Any], tuple[Path, Path]]) -> Validator | None:
    """Open the val set of a training: that of --data, or of the manual's layout where its files are there.

    Args:
        model: its name; cfg: the options of train.py; layout: see `TrainingSpec.val_layout`.

    Returns:
        None where there is no val set, or --eval_every is 0 (logged).

    Raises:
        InputError: the val set of --data cannot be used; --patience without a val set.
    """
    why = "--eval_every is 0"
    if cfg.eval_every != 0:
        try:
            val_set, words = _open_set(cfg, layout)
            LOGGER.info("validation: %d images in %s", len(val_set.images), val_set.image_dir)
            return Validator(val_set, words, model, cfg.eval_size)
        except InputError as error:
            if cfg.get("data"):
                raise
            why = str(error)
    if cfg.patience:
        raise InputError(f"--patience {cfg.patience} needs validation: {why}")
    LOGGER.info("no validation: %s", why)
    return None


def _open_set(cfg: Any, layout: Callable[[Any], tuple[Path, Path]]) -> tuple[EvaluationSet, list[str]]:
    """Open the val set, and return it with the options of test.py that name it."""
    if cfg.get("data"):
        return EvaluationSet.of_data_file(cfg.data), ["--data", str(cfg.data)]
    truth, image_dir = layout(cfg)
    main = next((truth / name for name in MAIN_FILES if (truth / name).is_file()), None)
    if main is None or not image_dir.is_dir():
        raise InputError(f"no val set: no {MAIN_FILES[0]} in {truth}, or no images in {image_dir}")
    words = ["--ground_truth_mat", str(main), "--data_dir", str(image_dir)]
    return EvaluationSet.of_wider(main, image_dir, cfg.only_existing), [
        *words, *(["--only_existing"] if cfg.only_existing else [])]


def _has_onnx_runtime() -> bool:
    return bool(find_spec("onnx") and find_spec("onnxruntime"))


def format_ap(ap: dict[str, float | None]) -> str:
    """Write the AP of each subset that has faces."""
    return ", ".join(f"{name}:{value:.4f}" for name, value in ap.items() if value is not None) or "none (no faces)"
