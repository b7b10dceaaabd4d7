# SPDX-License-Identifier: Apache-2.0
"""RetinaFace as train.py sees it, see `src.models.TrainingSpec`."""
from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable

import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_targets
from dependency.errors import InputError
from src.common import log
from src.common.log import LOGGER
from src.data.training_set import own_records, training_records
from src.models import Metadata, TrainingSpec
from src.retinaface.anchors import VARIANCE, anchor_count, decode_bbox, decode_landm, prior_box
from src.retinaface.config import LR_IMAGES
from src.retinaface.convert import read_backbone, read_pretrained
from src.retinaface.dataset import RetinaFaceSamples, SampleOptions
from src.retinaface.layers import BACKBONE
from src.retinaface.loss import TERMS, MultiBoxLoss, RetinaFaceTerms
from src.retinaface.lr_schedule import adjust_learning_rate
from src.retinaface.matching import BACKGROUND, IGNORED
from src.retinaface.network import RetinaFace, build_backbone
from src.retinaface.spec import DEFAULT_METADATA
from src.training.batch_norm import freeze_statistics
from src.training.settings import RunSettings
from src.weights.conversion import load_backbone, load_pretrained, starts_from_detector

CLASSES = 2
# Initial score of every anchor with a focal loss: with 0.5 thousands of background anchors would rule the first steps.
PRIOR = 0.01
HOW_TO_CONVERT = {"resnet50": "resnet50-19c8e357.pth", "mobilenet025": "mobilenetV1X0.25_pretrain.tar"}


def run_settings(cfg: Any, world_size: int, start_time: str) -> RunSettings:
    """Translate the options for train.py; all runs share one folder."""
    del start_time
    folder = Path(cfg.ckpt_path)

    def rates(steps_per_epoch: int) -> list[float]:
        return adjust_learning_rate(cfg.lr, cfg.lr_gamma, (cfg.decay1, cfg.decay2), steps_per_epoch, cfg.epochs,
                                    cfg.warmup_epochs, cfg.lr_scheduler)

    return RunSettings(
        batch=cfg.batch_size, epochs=cfg.epochs, seed=cfg.seed, workers=min(cfg.workers, os.cpu_count() or 1),
        rates=rates, optimizer=cfg.optimizer, weight_decay=cfg.weight_decay, momentum=cfg.momentum,
        backbone_lr=cfg.backbone_lr, loss_scale=cfg.loss_scale, clip_norm=cfg.clip_norm, ema_decay=cfg.ema_decay,
        sync_bn=cfg.sync_bn, resume=cfg.resume or "", run_dir=folder / "ckpt_0" if world_size > 1 else folder,
        log_name="train",
        checkpoint_prefix="RetinaFace", unique_run_dir=False, step_in_epoch=True,
        checkpoint_every=cfg.ckpt_interval,
        keep=cfg.keep_checkpoint_max, iteration_line=log.LOSS_MONITOR, log_every=cfg.log_interval,
        bad_images=cfg.bad_images,
        patience=cfg.patience, from_detector=starts_from_detector(cfg.pretrained))


def build_samples(cfg: Any) -> RetinaFaceSamples:
    """Read the training samples that the options name.

    Raises:
        InputError: a path does not exist, an annotation is bad, an annotated image is missing.
    """
    if cfg.data:
        records, image_dir = own_records(cfg.data, cfg.background_images)
    else:
        path = Path(cfg.annot_path)
        image_dir = Path(cfg.img_dir) if cfg.img_dir else path.parent / "images"
        records = training_records(path, image_dir, cfg.only_existing, cfg.background_images)
    return RetinaFaceSamples(records, image_dir, SampleOptions.of(cfg))


def build_network(cfg: Any) -> RetinaFace:
    """Build the network with its initial weights; load the pretrained ones unless --pretrain 0 or --resume is given.

    Raises:
        InputError: their file is absent, damaged, or of another network.
    """
    backbone = build_backbone(cfg.backbone, cfg.seed)
    network = RetinaFace("train", backbone, seed=cfg.seed, prior=None if cfg.class_loss == "cross_entropy" else PRIOR)
    if cfg.backbone_bn != "batch":
        freeze_statistics(network if cfg.backbone_bn == "all" else backbone)
    if cfg.resume:
        return network
    if cfg.pretrained not in ("", "none"):
        load_pretrained(network, cfg, read_pretrained(cfg.pretrained, cfg.pretrained_backbone, cfg.backbone))
        return network
    if not cfg.pretrain or cfg.pretrained:
        LOGGER.warning("no pretrained backbone: training starts from random weights")
        return network
    if not Path(cfg.pretrained_backbone).is_file():
        raise InputError(f"--pretrained_backbone: no file '{cfg.pretrained_backbone}'; convert one: python -m "
                         f"src.tools.convert {HOW_TO_CONVERT[cfg.backbone]} {cfg.pretrained_backbone} --part backbone; "
                         "or start from random weights: --pretrain 0")
    load_backbone(network, cfg.pretrained_backbone, read_backbone(cfg.pretrained_backbone, cfg.backbone))
    return network


def build_loss_cell(cfg: Any, network: RetinaFace, world_size: int = 1) -> RetinaFaceTerms:
    """Put network and loss into one cell.

    Raises:
        InputError: --num_anchor is given and does not follow from --image_size.
    """
    anchors = anchor_count(cfg.image_size)
    if cfg.num_anchor not in (0, anchors):
        raise InputError(f"--num_anchor {cfg.num_anchor}: images of {cfg.image_size} x {cfg.image_size} pixels have "
                         f"{anchors} anchors; give --num_anchor {anchors}, or leave it out")
    loss = MultiBoxLoss(CLASSES, anchors, cfg.neg_pos_ratio, world_size=world_size,
                        background_images=cfg.background_images, box_loss=cfg.box_loss, class_loss=cfg.class_loss,
                        variance=cfg.variance)
    return RetinaFaceTerms(network, loss, (cfg.loc_weight, cfg.class_weight, cfg.lm_weight))


def build_picture(cfg: Any) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return the function that draws a batch: `draw_batch` with the anchors and offsets that the options name."""
    return partial(draw_batch, variance=cfg.variance, clip=cfg.clip)


def draw_batch(batch: Sequence[np.ndarray], variance: Sequence[float] = VARIANCE,
               clip: bool = False) -> list[np.ndarray]:
    """Draw every sample of a batch with its target faces, ignored anchors darkened.

    Args:
        batch: image [B, S, S, 3] uint8 BGR, loc, conf and landm as `match` gives them, stacked.
        variance: scale of the offsets. clip: of the anchors.

    Returns:
        uint8 BGR [S, S, 3] each.
    """
    return [draw_targets(_darken(image, conf), target_faces(loc, conf, landm, image.shape[0], variance, clip))
            for image, loc, conf, landm in zip(*batch[:4])]


def val_layout(cfg: Any) -> tuple[Path, Path]:
    """Return where the options say that the ground truth and the images of the val set are."""
    folder = Path(cfg.val_dataset_folder)
    return Path(cfg.val_gt_dir), folder / "images" if (folder / "images").is_dir() else folder


def target_faces(loc: np.ndarray, conf: np.ndarray, landm: np.ndarray, size: int,
                 variance: Sequence[float] = VARIANCE, clip: bool = False) -> Faces:
    """Compute the different faces that a sample's targets describe, in pixels of the input of side `size`.

    Args:
        loc [N, 4], conf [N], landm [N, 10]: see `match`. Landmarks of faces without any are zeros.
    """
    has_face = (conf != BACKGROUND) & (conf != IGNORED)
    priors = prior_box((size, size), clip=clip)[has_face]
    boxes = decode_bbox(loc[has_face], priors, variance) * size
    landmarks = decode_landm(landm[has_face], priors, variance).reshape(-1, 5, 2) * size
    landmarks[conf[has_face] < 0] = 0
    _, first = np.unique(np.round(boxes, 1), axis=0, return_index=True)
    return Faces(boxes[first].astype(np.float32), np.ones(len(first), np.float32), landmarks[first].astype(np.float32))


def build_metadata(cfg: Any) -> Metadata:
    """Build the metadata of this run's checkpoints."""
    return {**DEFAULT_METADATA, "options": {"backbone": cfg.backbone, "variance": cfg.variance, "clip": cfg.clip},
            "train": dict(cfg)}


def _darken(image: np.ndarray, conf: np.ndarray) -> np.ndarray:
    """Darken the squares of ignored anchors to 40 % brightness, in a copy of the image."""
    size = image.shape[0]
    dark = image.copy()
    for x, y, width, height in prior_box((size, size))[conf == IGNORED] * size:
        rows = slice(int(max(0, y - height / 2)), int(y + height / 2) + 1)
        columns = slice(int(max(0, x - width / 2)), int(x + width / 2) + 1)
        dark[rows, columns] = (0.4 * image[rows, columns]).astype(np.uint8)
    return dark


TRAINING = TrainingSpec(terms=TERMS, lr_images=LR_IMAGES, backbone_prefix=BACKBONE, run_settings=run_settings,
                        build_samples=build_samples, build_network=build_network, build_loss_cell=build_loss_cell,
                        build_picture=build_picture, build_metadata=build_metadata, val_layout=val_layout)
