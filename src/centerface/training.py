# SPDX-License-Identifier: Apache-2.0
"""CenterFace as train.py sees it, see `src.models.TrainingSpec`."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
from mindspore import Tensor, nn

from dependency.centernet.src.lib.datasets.sample.multi_pose import IGNORED, STRIDE
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_targets
from dependency.errors import InputError
from src.centerface import config
from src.centerface.convert import read_backbone, read_pretrained, require_frozen
from src.centerface.dataset import Augmentation, CenterFaceSamples
from src.centerface.layers import BACKBONE, NETWORK_INPUT
from src.centerface.losses import TERMS, CenterFaceLoss
from src.centerface.network import CenterfaceMobilev2
from src.common.log import LOGGER
from src.common.normalise import Normalise
from src.data.training_set import own_records, training_records
from src.models import Metadata, TrainingSpec
from src.training.batch_norm import freeze_statistics
from src.training.lr_schedule import schedule
from src.training.settings import RunSettings
from src.weights.conversion import load_backbone, load_pretrained, starts_from_detector


def run_settings(cfg: Any, world_size: int, start_time: str) -> RunSettings:
    """Translate the options for train.py; each run has its own folder, named by `start_time`."""
    del world_size

    def rates(steps_per_epoch: int) -> list[float]:
        return schedule(cfg.lr_scheduler, lr=cfg.lr, steps_per_epoch=steps_per_epoch, max_epoch=cfg.epochs,
                        warmup_epochs=cfg.warmup_epochs, lr_epochs=cfg.lr_epochs, lr_gamma=cfg.lr_gamma,
                        eta_min=cfg.eta_min, t_max=cfg.t_max)

    return RunSettings(
        batch=cfg.batch_size, epochs=cfg.epochs, seed=cfg.seed, workers=cfg.workers, rates=rates,
        optimizer=cfg.optimizer, weight_decay=cfg.weight_decay, momentum=cfg.momentum, backbone_lr=cfg.backbone_lr,
        loss_scale=cfg.loss_scale, clip_norm=cfg.clip_norm, ema_decay=cfg.ema_decay, resume=cfg.resume,
        sync_bn=cfg.sync_bn, run_dir=Path(cfg.ckpt_path) / start_time, log_name=start_time, checkpoint_prefix="0",
        checkpoint_every=cfg.ckpt_interval,
        keep=cfg.keep_checkpoint_max, log_every=cfg.log_interval, bad_images=cfg.bad_images,
        patience=cfg.patience, from_detector=starts_from_detector(cfg.pretrained))


def build_samples(cfg: Any) -> CenterFaceSamples:
    """Read the training samples that the options name.

    Raises:
        InputError: a path does not exist, an annotation is bad, an annotated image is missing.
    """
    LOGGER.info("==> getting centerface key point train data.")
    if cfg.data:
        records, image_dir = own_records(cfg.data, cfg.background_images)
    else:
        image_dir = _inside("img_dir", cfg.img_dir, cfg.data_dir)
        path = _inside("annot_path", cfg.annot_path, cfg.data_dir)
        records = training_records(path, image_dir, cfg.only_existing, cfg.background_images)
    return CenterFaceSamples(records, image_dir, Augmentation(
        input_size=cfg.image_size, data_anchor=cfg.data_anchor, crop_scales=tuple(cfg.crop_scales), mosaic=cfg.mosaic,
        flip=cfg.flip, colour=cfg.color_aug, lighting=cfg.lighting, max_objs=cfg.max_objs, min_face=cfg.min_face,
        area_weights=cfg.area_weights, pixel_offset=cfg.pixel_offset))


def build_network(cfg: Any) -> CenterfaceMobilev2:
    """Build the network with its initial weights; load the pretrained ones where the options name some.

    Raises:
        InputError: their file is absent, damaged, of another network or with another activation.
    """
    network = CenterfaceMobilev2(cfg.head_conv, cfg.activation, cfg.hm_bias, seed=cfg.seed)
    if cfg.backbone_bn != "batch":
        freeze_statistics(network if cfg.backbone_bn == "all" else network.base)
    if cfg.pretrained not in ("", "none"):
        if not cfg.resume:
            weights = read_pretrained(cfg.pretrained, cfg.pretrained_backbone)
            require_frozen(cfg.pretrained, weights, cfg.backbone_bn)
            load_pretrained(network, cfg, weights)
    elif cfg.pretrained_backbone:
        backbone = read_backbone(cfg.pretrained_backbone, cfg.activation, cfg.backbone_bn != "batch")
        load_backbone(network, cfg.pretrained_backbone, backbone)
    elif not cfg.resume:
        LOGGER.warning("Not load pre-trained backbone, please be careful")
    return network


class CenterFaceWithLoss(nn.Cell):
    """uint8 BGR images [B, S, S, 3] and `CentreTargets` -> (total loss, its terms); normalisation runs in the graph."""

    def __init__(self, network: CenterfaceMobilev2, loss: CenterFaceLoss):
        super().__init__(auto_prefix=False)
        self.normalise = Normalise(**NETWORK_INPUT)
        self.network = network
        self.loss = loss

    def construct(self, image: Tensor, heatmap: Tensor, cells: Tensor, values: Tensor, weights: Tensor) -> tuple:
        outputs = tuple(each.astype("float32") for each in self.network.raw(self.normalise(image)))
        return self.loss(outputs, heatmap, cells, values, weights)


def build_loss_cell(cfg: Any, network: CenterfaceMobilev2, world_size: int = 1) -> CenterFaceWithLoss:
    """Put network and loss into one cell."""
    return CenterFaceWithLoss(network, CenterFaceLoss(cfg.hm_weight, cfg.wh_weight, cfg.off_weight, cfg.lm_weight,
                                                      world_size, cfg.box_loss))


def build_picture(cfg: Any) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return `draw_batch`, the function that draws a batch; it needs no options."""
    del cfg
    return draw_batch


def draw_batch(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Draw every sample of a batch: its image, heatmap (red), ignored cells (dark) and target faces.

    Args:
        batch: image [B, S, S, 3] uint8 BGR, heatmap, cells, values and weights as in `CentreTargets`, stacked.

    Returns:
        uint8 BGR [S, S, 3] each.
    """
    return [draw_targets(_overlay(image, heatmap), target_faces(cells, values, weights, heatmap.shape[1]))
            for image, heatmap, cells, values, weights in zip(*batch[:5])]


def val_layout(cfg: Any) -> tuple[Path, Path]:
    """Return where the manual's data folder holds the ground truth and the images of the val set."""
    folder = _inside("annot_path", cfg.annot_path, cfg.data_dir).parent.parent
    return folder / "ground_truth", folder / "images" / "val" / "images"


def target_faces(cells: np.ndarray, values: np.ndarray, weights: np.ndarray, grid: int) -> Faces:
    """Compute the faces that a sample's targets describe, in input pixels; landmarks without weight are zeros.

    Args:
        cells [M], values [M, 14], weights [M, 14]: see `CentreTargets`. grid: cells in a row.
    """
    used = weights[:, 0] > 0
    cell = np.stack([cells[used] % grid, cells[used] // grid], axis=1).astype(np.float32)
    size = np.exp(values[used, :2]) * STRIDE
    centre = cell + values[used, 2:4]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * STRIDE
    landmarks = (values[used, 4:].reshape(-1, 5, 2) * size[:, None] + cell[:, None]) * STRIDE
    landmarks *= weights[used, 4:].reshape(-1, 5, 2) > 0
    return Faces(boxes.astype(np.float32), np.ones(len(boxes), np.float32), landmarks.astype(np.float32))


def build_metadata(cfg: Any) -> Metadata:
    """Build the metadata of this run's checkpoints; they are tested as the detector is that training starts from."""
    detect = {}
    if starts_from_detector(cfg.pretrained):
        detect = read_pretrained(cfg.pretrained, cfg.pretrained_backbone).metadata.get("detect", {})
    return {
        "model": "centerface",
        "options": {"head_conv": cfg.head_conv, "activation": cfg.activation},
        "input": dict(NETWORK_INPUT),
        "decoder": "centerface",
        "detect": detect,
        "train": dict(cfg),
    }


def _inside(name: str, path: str, data_dir: str) -> Path:
    """Find a path: inside `data_dir`, else as it is given."""
    candidates = [Path(data_dir) / path] + ([Path(path)] if data_dir else [])
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise InputError(f"--{name}: neither {' nor '.join(map(str, candidates))} exists; see docs/formats.md, or make "
                     "one: python -m src.tools.prepare_wider --help")


def _overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Blend the image with its heatmap in red, and darken ignored cells."""
    large = cv2.resize(heatmap, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    strength = 0.6 * large.clip(0, 1)
    blend = image * (1 - strength) + np.array([0, 0, 255], np.float32) * strength
    return np.where(large == IGNORED, blend * 0.4, blend).astype(np.uint8)


TRAINING = TrainingSpec(terms=TERMS, lr_images=config.LR_IMAGES, backbone_prefix=BACKBONE, run_settings=run_settings,
                        build_samples=build_samples, build_network=build_network, build_loss_cell=build_loss_cell,
                        build_picture=build_picture, build_metadata=build_metadata, val_layout=val_layout)
