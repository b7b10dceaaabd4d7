# SPDX-License-Identifier: Apache-2.0
"""What training needs to know of CenterFace: samples, network with loss, card.

    samples = build_samples(cfg)                # callable by the loader; .count, .describe(index)
    loss_cell = build_loss_cell(cfg, network)   # construct(*columns) -> (total, terms)
"""
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn

from dependency.errors import InputError
from src.centerface import config
from src.centerface.backbone import backbone_tensors
from src.centerface.batch_picture import batch_picture
from src.centerface.dataset import COLUMNS, Augmentation, CenterFaceSamples
from src.centerface.losses import TERMS, CenterFaceLoss
from src.centerface.network import CenterfaceMobilev2, Normalise
from src.common.annotation import read_annotations
from src.common.log import LOGGER

BACKBONE_PREFIX = "base."

__all__ = ["BACKBONE_PREFIX", "COLUMNS", "TERMS", "batch_picture", "build_card", "build_loss_cell", "build_network",
           "build_samples"]


def build_samples(cfg: Any) -> CenterFaceSamples:
    """The training samples that the options name; images without a usable face are left out.

    Raises:
        InputError: a path does not exist, an annotation is bad, an annotated image is missing.
    """
    image_dir = _inside("img_dir", cfg.img_dir, cfg.data_dir)
    path = _inside("annot_path", cfg.annot_path, cfg.data_dir)
    if not image_dir.is_dir():
        raise InputError(f"--img_dir: {image_dir} is a file, not a folder of images")
    LOGGER.info("==> getting centerface key point train data.")
    records = read_annotations(path)
    present = [record for record in records if (image_dir / record.path).is_file()]
    if len(present) < len(records):
        missing = next(record.path for record in records if not (image_dir / record.path).is_file())
        if not cfg.only_existing:
            raise InputError(f"{len(records) - len(present)} of {len(records)} annotated images are not in "
                             f"{image_dir}, the first is {missing}; give the right --img_dir, or --only_existing to "
                             "train on those that are there")
        LOGGER.info("training on %d of %d annotated images", len(present), len(records))
    usable = [record for record in present if (~record.ignore).any()]
    LOGGER.info("Loaded train %d samples", len(usable))
    return CenterFaceSamples(usable, image_dir, Augmentation(
        input_size=cfg.input_res, data_anchor=cfg.data_anchor, crop_scales=tuple(cfg.crop_scales), mosaic=cfg.mosaic,
        flip=cfg.flip, colour=cfg.color_aug, lighting=cfg.lighting, max_objs=cfg.max_objs, min_face=cfg.min_face,
        area_weights=cfg.area_weights))


def build_network(cfg: Any) -> CenterfaceMobilev2:
    """The network with its initial weights, and the pretrained backbone where one is named."""
    network = CenterfaceMobilev2(cfg.head_conv, cfg.activation, cfg.hm_bias, seed=cfg.seed)
    if cfg.backbone_bn == "frozen":
        network.base.freeze_statistics()
    if not cfg.pretrained_backbone:
        if not cfg.resume:
            LOGGER.warning("Not load pre-trained backbone, please be careful")
        return network
    tensors = backbone_tensors(cfg.pretrained_backbone, build_card(cfg)["input"])
    parameters = dict(network.parameters_and_names())
    for name, value in tensors.items():
        parameters[name].set_data(Tensor(value, ms.float32))
    LOGGER.info("load pre-trained backbone %s into network", cfg.pretrained_backbone)
    return network


class CenterFaceWithLoss(nn.Cell):
    """uint8 images and targets -> (total loss, its terms); normalisation runs in the graph."""

    def __init__(self, network: CenterfaceMobilev2, loss: CenterFaceLoss):
        super().__init__(auto_prefix=False)
        self.normalise = Normalise("BGR", config.MEAN, config.STD)
        self.network = network
        self.loss = loss

    def construct(self, image: Tensor, heatmap: Tensor, cells: Tensor, values: Tensor, weights: Tensor) -> tuple:
        return self.loss(self.network(self.normalise(image)), heatmap, cells, values, weights)


def build_loss_cell(cfg: Any, network: CenterfaceMobilev2) -> CenterFaceWithLoss:
    """Network and loss in one cell."""
    return CenterFaceWithLoss(network, CenterFaceLoss(cfg.hm_weight, cfg.wh_weight, cfg.off_weight, cfg.lm_weight))


def build_card(cfg: Any) -> dict[str, Any]:
    """What test, export and predict need to know of the checkpoints of this run."""
    return {
        "model": "centerface",
        "options": {"head_conv": cfg.head_conv, "activation": cfg.activation},
        "input": {"channels": "BGR", "mean": config.MEAN, "std": config.STD},
        "decoder": "centerface",
        "detect": {},
        "train": dict(cfg),
    }


def _inside(name: str, path: str, data_dir: str) -> Path:
    """The path as given, else inside data_dir."""
    candidates = [Path(data_dir) / path] + ([Path(path)] if data_dir else [])
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise InputError(f"--{name}: neither {' nor '.join(map(str, candidates))} exists; see docs/formats.md, or make "
                     "one: python -m src.tools.prepare_wider --help")
