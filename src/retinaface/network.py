# SPDX-License-Identifier: Apache-2.0
"""RetinaFace (Deng et al. 2020): a backbone, a top-down pyramid of three levels, context modules (SSH), 1x1 heads.

    RetinaFace("predict", resnet50())(images float32 [B, 3, H, W], BGR 0..255 minus (104, 117, 123))
        -> bbox [B, N, 4], conf [B, N, 2], landm [B, N, 10]

N is two anchors a cell, levels of stride 8, 16, 32 in this order, cells row by row. bbox and landm are encoded relative
to the anchors; class 0 is background, 1 face. Any input size; a level has ceil(side / stride) cells, since padding is
symmetric throughout, as in PyTorch. All numbers come from the table in src/retinaface/layers.py.
"""
from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from dependency.errors import InputError
from src.inference.layer_cells import cells_of, convolution, set_normal, set_uniform
from src.retinaface.layers import ANCHORS_PER_CELL, BACKBONES, HEADS, LEVELS, backbone_layers, detector_layers
from src.weights.layers import Layer

PHASES = ("train", "predict", "test")


class Bottleneck(nn.Cell):
    """1x1, 3x3 (with the stride), 1x1 to four times the width; the first of a stage has weights in its skip connection.

    Args:
        rows: the block's layers; a fourth one is that of the skip connection.
    """

    def __init__(self, rows: list[Layer]):
        super().__init__()
        self.conv1, self.bn1, self.relu = cells_of(rows[0])
        self.conv2, self.bn2, _ = cells_of(rows[1])
        self.conv3, self.bn3 = cells_of(rows[2])
        self.has_down_sample = len(rows) == 4
        if self.has_down_sample:
            self.down_sample_layer = nn.SequentialCell(cells_of(rows[3]))

    def construct(self, x: Tensor) -> Tensor:
        skip = self.down_sample_layer(x) if self.has_down_sample else x
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + skip)


class ResNet(nn.Cell):
    """ResNet-50 (He et al. 2016, arXiv 1512.03385), the stride of a block on its 3x3 convolution; see `resnet50`.

    [N, 3, H, W] -> C3 [N, 512, H/8, W/8], C4 [N, 1024, H/16, W/16], C5 [N, 2048, H/32, W/32], sizes rounded up; 265
    tensors, 23,508,032 trainable parameters without the classifier `end_point`.
    """
    channels = BACKBONES["resnet50"].channels
    pyramid_channels = BACKBONES["resnet50"].pyramid_channels

    def __init__(self, class_num: int | None):
        super().__init__()
        stem, *rest = backbone_layers("resnet50")
        self.conv1, self.bn1, self.relu = cells_of(stem)
        self.maxpool = nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.SequentialCell(list(map(Bottleneck, blocks))) for blocks in _stages(rest))
        if class_num is not None:
            self.end_point = _unused_classifier(self.channels[-1], class_num)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


class MobileNet(nn.Cell):
    """MobileNetV1 x0.25 (Howard et al. 2017, arXiv 1704.04861) with LeakyReLU; see `mobilenet025`.

    [N, 3, H, W] -> C3 [N, 64, H/8, W/8], C4 [N, 128, H/16, W/16], C5 [N, 256, H/32, W/32], sizes rounded up; 135
    tensors, 213,072 trainable parameters without the classifier `fc`.
    """
    channels = BACKBONES["mobilenet025"].channels
    pyramid_channels = BACKBONES["mobilenet025"].pyramid_channels

    def __init__(self, class_num: int | None):
        super().__init__()
        self.stage1, self.stage2, self.stage3 = (
            nn.SequentialCell([nn.SequentialCell([cell for layer in block for cell in cells_of(layer)])
                               for block in blocks])
            for blocks in _stages(backbone_layers("mobilenet025")))
        if class_num is not None:
            self.fc = _unused_classifier(self.channels[-1], class_num)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = self.stage1(x)
        c4 = self.stage2(c3)
        return c3, c4, self.stage3(c4)


def resnet50(class_num: int | None = 10, seed: int = 1) -> ResNet:
    """Build ResNet-50 with initial weights.

    Args:
        class_num: outputs of the classifier, 1001 in the manual; None leaves it out. It is there under its name so that
            checkpoints of classification networks load, and is neither computed nor trained.
        seed: of the initial weights.
    """
    network = ResNet(class_num)
    _initialise_backbone(network, seed)
    return network


def mobilenet025(class_num: int | None = 1000, seed: int = 1) -> MobileNet:
    """Build MobileNetV1 x0.25 with initial weights; arguments as `resnet50`."""
    network = MobileNet(class_num)
    _initialise_backbone(network, seed)
    return network


class FPN(nn.Cell):
    """Pyramid of (C3, C4, C5): 1x1 laterals; the merged coarse map is what goes on down."""

    def __init__(self, table: dict[str, Layer]):
        super().__init__()
        self.output1, self.output2, self.output3, self.merge1, self.merge2 = (
            nn.SequentialCell(cells_of(table[f"fpn.{name}.0"]))
            for name in ("output1", "output2", "output3", "merge1", "merge2"))

    def construct(self, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p3, p4, p5 = self.output1(c3), self.output2(c4), self.output3(c5)
        p4 = self.merge2(p4 + resize_to(p5, p4))
        return self.merge1(p3 + resize_to(p4, p3)), p4, p5


class SSH(nn.Cell):
    """Context module (Najibi et al. 2017, arXiv 1708.03979): 3x3, 5x5 and 7x7 views of 3x3 convolutions, side by side.

    Args:
        table: layers by name. name: of this module in the table.
    """

    def __init__(self, table: dict[str, Layer], name: str):
        super().__init__()
        self.conv3X3, self.conv5X5_1, self.conv5X5_2, self.conv7X7_2, self.conv7X7_3 = (
            nn.SequentialCell(cells_of(table[f"{name}.{view}.0"]))
            for view in ("conv3X3", "conv5X5_1", "conv5X5_2", "conv7X7_2", "conv7X7_3"))

    def construct(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        views = (self.conv3X3(x), self.conv5X5_2(shared), self.conv7X7_3(self.conv7X7_2(shared)))
        return ops.relu(ops.concat(views, axis=1))


class Head(nn.Cell):
    """1x1 convolution of a level [B, C, h, w] -> [B, h * w * anchors, numbers]."""

    def __init__(self, layer: Layer):
        super().__init__()
        self.numbers = layer.channels // ANCHORS_PER_CELL
        self.conv1x1 = convolution(layer)

    def construct(self, x: Tensor) -> Tensor:
        return self.conv1x1(x).transpose(0, 2, 3, 1).reshape(x.shape[0], -1, self.numbers)


class RetinaFace(nn.Cell):
    """The detector: 27,293,600 trainable parameters on ResNet-50, 426,608 on MobileNetV1 x0.25.

    Args:
        phase: "train" returns the logits of the classes, "predict" and "test" their softmax. It holds for the cell's
            life, whatever `set_train` says; that decides on BatchNorm only.
        backbone: gives (C3, C4, C5); its `channels` say their widths, its `pyramid_channels` that of the pyramid.
            None is ResNet-50 without classifier.
        cfg: its "out_channel", where there is one, is the pyramid's width instead.
        seed: of the initial weights of everything but the backbone.
        prior: probability of a face that the initial biases of ClassHead stand for (Lin et al. 2017, arXiv 1708.02002,
            section 3.3); None: they are random.
    """

    def __init__(self, phase: str = "train", backbone: nn.Cell | None = None, cfg: dict[str, Any] | None = None,
                 seed: int = 1, prior: float | None = None):
        super().__init__()
        if phase not in PHASES:
            raise InputError(f"RetinaFace: phase '{phase}' is none of {', '.join(PHASES)}")
        # Not `self.phase`: that is nn.Cell's own, and `set_train` writes to it.
        self._head_mode = phase
        self.base = resnet50(None, seed) if backbone is None else backbone
        width = (cfg or {}).get("out_channel") or self.base.pyramid_channels
        table = {layer.name: layer for layer in detector_layers(self.base.channels, width)}
        self.fpn = FPN(table)
        self.ssh1, self.ssh2, self.ssh3 = (SSH(table, f"ssh{number}") for number in (1, 2, 3))
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.CellList([Head(table[f"{name}.{level}.conv1x1"]) for level in range(LEVELS)]) for name in HEADS)
        rng = np.random.default_rng(seed)
        for cell in (self.fpn, self.ssh1, self.ssh2, self.ssh3, self.ClassHead, self.BboxHead, self.LandmarkHead):
            for _, inner in cell.cells_and_names():
                if isinstance(inner, nn.Conv2d):
                    set_uniform(inner, rng)
        if prior is not None:
            for head in self.ClassHead:
                bias = np.array([0, math.log(prior / (1 - prior))] * ANCHORS_PER_CELL, np.float32)
                head.conv1x1.bias.set_data(Tensor(bias))

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p3, p4, p5 = self.fpn(*self.base(images))
        levels = (self.ssh1(p3), self.ssh2(p4), self.ssh3(p5))
        bbox = _over_levels(self.BboxHead, levels)
        conf = _over_levels(self.ClassHead, levels)
        landm = _over_levels(self.LandmarkHead, levels)
        if self._head_mode != "train":
            conf = ops.softmax(conf, axis=-1)
        return bbox, conf, landm


def build_backbone(name: str, seed: int = 1) -> nn.Cell:
    """Build the named backbone with initial weights, without classifier; raise InputError for an unknown name."""
    if name not in BACKBONES:
        raise InputError(f"no backbone '{name}': expected one of {', '.join(BACKBONES)}")
    return resnet50(None, seed) if name == "resnet50" else mobilenet025(None, seed)


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Resize by nearest neighbour to the height and width of `like`: cell i takes floor(i * in / out)."""
    return ops.ResizeNearestNeighbor(like.shape[2:])(x)


def _stages(table: list[Layer]) -> list[list[list[Layer]]]:
    """Group layers by stage, then by block; their names begin with `base.<stage>.<block>.`."""
    return [[list(block) for _, block in groupby(stage, key=lambda layer: layer.name.split(".")[2])]
            for _, stage in groupby(table, key=lambda layer: layer.name.split(".")[1])]


def _unused_classifier(channels: int, class_num: int) -> nn.Dense:
    classifier = nn.Dense(channels, class_num)
    for parameter in classifier.get_parameters():
        parameter.requires_grad = False
    return classifier


def _initialise_backbone(backbone: nn.Cell, seed: int) -> None:
    """Set initial weights: convolutions as He et al. 2015; classifiers N(0, 0.01), their biases 0."""
    rng = np.random.default_rng(seed)
    for _, cell in backbone.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            set_normal(cell, rng)
        elif isinstance(cell, nn.Dense):
            set_normal(cell, rng, 0.01)


def _over_levels(heads: nn.CellList, levels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return ops.concat((heads[0](levels[0]), heads[1](levels[1]), heads[2](levels[2])), axis=1)
