# SPDX-License-Identifier: Apache-2.0
"""RetinaFace's `python eval.py`: find the faces of WIDER val with a checkpoint, save them if asked, score them.

    ap = run(cfg, given)                  # {"easy": 0.9422, "medium": 0.9325, "hard": 0.89}; prints the same

`cfg` holds the manual's options (src/retinaface/config.py) and those of `src.evaluation.options.DETECTOR`, which win
over the manual's where the user set them. As in the manual's program boxes are cut to whole pixels before they are
saved and scored: WIDER's own boxes are whole, and small faces count as found more often (hard AP + 0.003).
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import MissingPredictions, evaluate
from dependency.evaluate.ground_truth import MAIN_FILES, GroundTruth, load_ground_truth
from dependency.evaluate.prediction_io import write_prediction, write_predictions_json
from dependency.evaluate.results import Report
from dependency.files import new_folder
from src.common.log import LOGGER
from src.evaluation.evaluation_set import EvaluationSet
from src.evaluation.options import detector_options
from src.evaluation.predict import detect_images
from src.evaluation.provenance import write_settings
from src.evaluation.split_images import list_images, prediction_path
from src.retinaface.spec import backbone_name
from src.weights.checkpoint import list_checkpoints

SHORT_SIDE = 1600
LABELS = "label.txt"
SCORE_DIGITS = 6
FOLDER_NAME = "predict_%Y_%m_%d_%H_%M_%S"
# Two options for the same thing.
SAME = (("test_size", "val_origin_size", "the size of the test images"),
        ("test_size", "val_max_size", "the size of the test images"),
        ("val_origin_size", "val_max_size", "the size of the test images"),
        ("score_threshold", "val_confidence_threshold", "the score threshold"),
        ("nms_iou", "val_nms_threshold", "the overlap that NMS removes"))
# The manual's lines.
START_PREDICT, END_PREDICT = "Predict box starting", "Predict box done."
START_EVAL, END_EVAL = "Eval starting", "Eval done."
IMAGE = "im_detect: {done}/{total} forward_pass_time: {forward:.4f}s misc: {misc:.4f}s"


def run(cfg: Any, names: set[str], batch_size: int = 1) -> dict[str, float]:
    """Predict and score as the options say; print the protocol and the three `Val AP` lines.

    Args:
        cfg: val_model, val_dataset_folder, val_origin_size, val_max_size, val_confidence_threshold,
            val_nms_threshold, val_iou_threshold, val_save_result, val_predict_save_folder, val_gt_dir, predictions,
            only_existing, device_target; data, in place of val_dataset_folder and val_gt_dir; dry_run.
        names: the options that the user set.
        batch_size: most images of one size that go through the network together.

    Returns:
        average precision by subset; empty without ground truth, when the predictions were only saved.

    Raises:
        InputError: a file or folder is missing or damaged, options contradict each other.
    """
    if cfg.data:
        for name in ("val_gt_dir", "val_dataset_folder", "only_existing"):
            if name in names:
                raise InputError(f"--{name} works only without --data; leave it out here")
        own = EvaluationSet.of_data_file(cfg.data)
    gt = Path(cfg.val_gt_dir)
    has_truth = bool(cfg.data) or any((gt / name).is_file() for name in MAIN_FILES)
    truth = None
    if has_truth or cfg.predictions or not cfg.val_save_result:
        truth = own.truth if cfg.data else load_ground_truth(gt)
    if truth and cfg.predictions:
        return score(cfg.predictions, truth, cfg.val_iou_threshold, cfg.only_existing,
                     f"saved predictions {cfg.predictions}")
    images, data_dir = (own.images, own.image_dir) if cfg.data else find_images(cfg, has_truth)
    images = images[:1] if cfg.dry_run else images
    model = choose_model(cfg, names)
    detector = load_detector(cfg, names, model)
    folder = None
    if cfg.val_save_result:
        folder = new_folder(Path(cfg.val_predict_save_folder) / time.strftime(FOLDER_NAME))
    faces = predict(detector, images, data_dir, batch_size, folder)
    if folder is not None:
        write_settings(folder, model, detector)
        path = folder.with_name(f"{folder.name}.json")
        write_predictions_json(path, faces, SCORE_DIGITS)
        LOGGER.info("predictions are in %s and %s", path, folder)
    if truth is None:
        LOGGER.warning("--val_gt_dir %s holds no %s: the predictions are saved, not scored", gt, MAIN_FILES[0])
        return {}
    return score(faces, truth, cfg.val_iou_threshold, cfg.only_existing or cfg.dry_run,
                 f"{model.name}, {describe(detector)}")


def find_images(cfg: Any, has_truth: bool) -> tuple[list[str], Path]:
    """List the images of the ground truth (without it, of label.txt) as "<event>/<name>.jpg", and give their folder."""
    folder = Path(cfg.val_dataset_folder)
    data_dir = folder / "images" if (folder / "images").is_dir() else folder
    labels = folder / LABELS
    if not has_truth and not labels.is_file():
        raise InputError(f"no list of images: expected {Path(cfg.val_gt_dir) / MAIN_FILES[0]} (--val_gt_dir) or "
                         f"{labels} (--val_dataset_folder)")
    split = Path(cfg.val_gt_dir) if has_truth else labels
    return list_images(split, data_dir, cfg.only_existing, ("--val_gt_dir", "--val_dataset_folder")), data_dir


def choose_model(cfg: Any, names: set[str]) -> Path:
    """Return `val_model`; if it is not set and its default is absent, the newest checkpoint of `ckpt_path`.

    Raises:
        InputError: there is no checkpoint.
    """
    path = Path(cfg.val_model)
    if "val_model" in names or path.is_file():
        return path
    folders = [Path(cfg.ckpt_path), Path(cfg.ckpt_path) / "ckpt_0"]
    checkpoints = [each for folder in folders if folder.is_dir() for each in list_checkpoints(folder)]
    if not checkpoints:
        raise InputError(f"no checkpoint: {path} does not exist, and {cfg.ckpt_path} holds none; "
                         "give one by --val_model")
    newest = max(checkpoints, key=lambda each: each.stat().st_mtime)
    LOGGER.info("--val_model is not given: the newest checkpoint of %s is %s", cfg.ckpt_path, newest)
    return newest


def load_detector(cfg: Any, names: set[str], model: Path) -> BaseDetector:
    """Start the device and make the detector of a checkpoint.

    Raises:
        InputError: two options set the same thing; the checkpoint is of another model or backbone.
    """
    for one, other, what in SAME:
        if {one, other} <= names:
            raise InputError(f"--{one} and --{other} both set {what}; give one of them")
    size = "original" if cfg.val_origin_size else (min(SHORT_SIDE, cfg.val_max_size), cfg.val_max_size)
    manual = {"test_size": size, "score_threshold": cfg.val_confidence_threshold, "nms_iou": cfg.val_nms_threshold}
    from src.inference.backends import build_detector, new_backend
    backend = new_backend(cfg.backend, "retinaface", cfg.device_target)
    metadata = backend.load(model)
    if metadata["model"] != "retinaface":
        raise InputError(f"{model} is a checkpoint of {metadata['model']}; test it with test.py --eval 1 (see --help)")
    backbone = backbone_name(metadata)
    if "backbone" in names and cfg.backbone != backbone:
        raise InputError(f"--backbone {cfg.backbone}: {model} has {backbone}; leave the option out, the file says it")
    return build_detector(backend, metadata, **{**manual, **detector_options(cfg, names)})


def predict(detector: BaseDetector, images: Sequence[str], data_dir: Path, batch_size: int = 1,
            tree: Path | None = None) -> dict[str, Faces]:
    """Find the faces of every image, by "<event>/<name>", boxes in whole pixels; log the manual's line for each.

    With `tree` the faces of each image are also written at once, as `<tree>/<event>/<name>.txt`.
    """
    timed = TimedNetwork(detector.forward)
    detector.forward = timed
    passes = len(detector.test_scales) * (2 if detector.flip_test else 1)
    faces_by_image: dict[str, Faces] = {}
    total_seconds = 0.0
    LOGGER.info(START_PREDICT)
    for name, faces, seconds in detect_images(detector, images, data_dir, batch_size):
        faces = faces_by_image[_key(name)] = whole_pixels(faces)
        if tree:
            write_prediction(prediction_path(tree, name), name, faces, SCORE_DIGITS)
        total_seconds += seconds
        forward = timed.seconds * passes / timed.images
        LOGGER.info(IMAGE.format(done=len(faces_by_image), total=len(images), forward=forward,
                                 misc=max(0.0, total_seconds / len(faces_by_image) - forward)))
    detector.forward = timed.forward
    LOGGER.info(END_PREDICT)
    return faces_by_image


def score(source: Any, truth: GroundTruth, iou: float, only_existing: bool, protocol: str) -> dict[str, float]:
    """Evaluate predictions (see `evaluate`), print the result and return average precision by subset."""
    LOGGER.info(START_EVAL)
    try:
        report = evaluate(source, truth, (iou,), only_predicted=only_existing,
                          check_layout=not isinstance(source, dict))
    except MissingPredictions as error:
        raise InputError(f"{str(error).split('; ')[0]}; run over all images, or leave them out with "
                         "--only_existing") from error
    print(format_result(report, protocol), flush=True)
    LOGGER.info(END_EVAL)
    return report.ap[iou]


def format_result(report: Report, protocol: str) -> str:
    """Format the protocol's line and the manual's three lines."""
    (iou, values), = report.ap.items()
    scored = f"{report.scored} of {report.images} images scored, {report.detections} detections"
    return "\n".join([f"protocol: {protocol}; IoU {iou:g}, {scored}",
                      *(f"{subset.capitalize():<6} Val AP : {value:.4f}" for subset, value in values.items())])


def describe(detector: BaseDetector) -> str:
    """Describe the test settings of a detector in a few words."""
    size = detector.test_size
    parts = [f"size {'/'.join(map(str, size)) if isinstance(size, tuple) else size}", f"pad {detector.pad}"]
    if detector.test_scales != (1.0,):
        parts.append(f"scales {','.join(f'{scale:g}' for scale in detector.test_scales)}")
    if detector.flip_test:
        parts.append("flipped too")
    nms = detector.nms if detector.nms == "soft" else f"{detector.nms} {detector.nms_iou:g}"
    return ", ".join([*parts, f"NMS {nms}", f"scores over {detector.score_threshold:g}", "boxes in whole pixels"])


def whole_pixels(faces: Faces) -> Faces:
    """Cut the corners of the boxes to whole pixels."""
    return Faces(np.trunc(faces.boxes), faces.scores, faces.landmarks)


class TimedNetwork:
    """A network that counts its images and seconds."""

    def __init__(self, forward: Any):
        self.forward = forward
        self.seconds = 0.0
        self.images = 0

    def __call__(self, images: np.ndarray) -> Any:
        start = time.perf_counter()
        maps = self.forward(images)
        self.seconds += time.perf_counter() - start
        self.images += len(images)
        return maps


def _key(image: str) -> str:
    return str(PurePosixPath(image).with_suffix(""))
