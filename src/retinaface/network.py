# SPDX-License-Identifier: Apache-2.0
"""RetinaFace (Deng et al. 2020): a backbone, a top-down pyramid of three levels, context modules (SSH), 1x1 heads.

    RetinaFace("predict", resnet50())(images float32 [B, 3, H, W], BGR 0..255 minus (104, 117, 123))
        -> bbox [B, N, 4], conf [B, N, 2], landm [B, N, 10]

N is two anchors a cell, levels of stride 8, 16, 32 in this order, cells row by row. bbox and landm are encoded relative
to the anchors; class 0 is background, 1 face. Any input size; a level has ceil(side / stride) cells.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from dependency.errors import InputError
from src.retinaface.layers import ANCHORS_PER_CELL, BACKBONES, HEADS
from src.retinaface.mobilenet import mobilenet025
from src.retinaface.resnet import resnet50
from src.retinaface.var_init import fan_in_uniform

PHASES = ("train", "predict", "test")
BACKBONE_BUILDERS = {"resnet50": resnet50, "mobilenet025": mobilenet025}


class FPN(nn.Cell):
    """Pyramid of (C3, C4, C5): 1x1 laterals; the merged coarse map is what goes on down.

    Args:
        in_channels: of C3, C4 and C5. channels: of all three outputs.
    """

    def __init__(self, in_channels: tuple[int, int, int], channels: int):
        super().__init__()
        self.output1 = conv_norm(in_channels[0], channels, 1, active=True, slope=_slope(channels))
        self.output2 = conv_norm(in_channels[1], channels, 1, active=True, slope=_slope(channels))
        self.output3 = conv_norm(in_channels[2], channels, 1, active=True, slope=_slope(channels))
        self.merge1 = conv_norm(channels, channels, 3, active=True, slope=_slope(channels))
        self.merge2 = conv_norm(channels, channels, 3, active=True, slope=_slope(channels))

    def construct(self, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p3, p4, p5 = self.output1(c3), self.output2(c4), self.output3(c5)
        p4 = self.merge2(p4 + resize_to(p5, p4))
        return self.merge1(p3 + resize_to(p4, p3)), p4, p5


class SSH(nn.Cell):
    """Context module (Najibi et al. 2017): 3x3, 5x5 and 7x7 views made of 3x3 convolutions, side by side."""

    def __init__(self, channels: int):
        super().__init__()
        half, quarter, slope = channels // 2, channels // 4, _slope(channels)
        self.conv3X3 = conv_norm(channels, half, 3)
        self.conv5X5_1 = conv_norm(channels, quarter, 3, active=True, slope=slope)
        self.conv5X5_2 = conv_norm(quarter, quarter, 3)
        self.conv7X7_2 = conv_norm(quarter, quarter, 3, active=True, slope=slope)
        self.conv7X7_3 = conv_norm(quarter, quarter, 3)

    def construct(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        views = (self.conv3X3(x), self.conv5X5_2(shared), self.conv7X7_3(self.conv7X7_2(shared)))
        return ops.relu(ops.concat(views, axis=1))


class Head(nn.Cell):
    """1x1 convolution of a level [B, C, h, w] -> [B, h * w * anchors, numbers]."""

    def __init__(self, channels: int, numbers: int):
        super().__init__()
        self.numbers = numbers
        self.conv1x1 = nn.Conv2d(channels, ANCHORS_PER_CELL * numbers, 1, pad_mode="pad", padding=0, has_bias=True)

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
    """

    def __init__(self, phase: str = "train", backbone: nn.Cell | None = None, cfg: dict[str, Any] | None = None,
                 seed: int = 1):
        super().__init__()
        if phase not in PHASES:
            raise InputError(f"RetinaFace: phase '{phase}' is none of {', '.join(PHASES)}")
        # Not `self.phase`: that is nn.Cell's own, and `set_train` writes to it.
        self._head_mode = phase
        self.base = resnet50(None, seed) if backbone is None else backbone
        channels = (cfg or {}).get("out_channel") or self.base.pyramid_channels
        self.fpn = FPN(self.base.channels, channels)
        self.ssh1, self.ssh2, self.ssh3 = SSH(channels), SSH(channels), SSH(channels)
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.CellList([Head(channels, numbers) for _ in range(3)]) for numbers in HEADS.values())
        rng = np.random.default_rng(seed)
        for cell in (self.fpn, self.ssh1, self.ssh2, self.ssh3, self.ClassHead, self.BboxHead, self.LandmarkHead):
            fan_in_uniform(cell, rng)

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
    """The backbone of this name with initial weights, without classifier; InputError for an unknown name."""
    if name not in BACKBONE_BUILDERS:
        raise InputError(f"no backbone '{name}': expected one of {', '.join(BACKBONES)}")
    return BACKBONE_BUILDERS[name](None, seed)


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Nearest neighbour to the height and width of `like`: cell i takes floor(i * in / out)."""
    return ops.ResizeNearestNeighbor(like.shape[2:])(x)


def conv_norm(channels: int, out_channels: int, kernel: int, active: bool = False,
              slope: float = 0.0) -> nn.SequentialCell:
    """Convolution without bias, BatchNorm, and with `active` a (leaky) ReLU."""
    cells = [nn.Conv2d(channels, out_channels, kernel, pad_mode="pad", padding=kernel // 2),
             nn.BatchNorm2d(out_channels)]
    if active:
        cells.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
    return nn.SequentialCell(cells)


def _slope(channels: int) -> float:
    """Slope of the activation below zero: the narrow pyramid leaks, the wide one does not."""
    return 0.1 if channels <= 64 else 0.0


def _over_levels(heads: nn.CellList, levels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return ops.concat((heads[0](levels[0]), heads[1](levels[1]), heads[2](levels[2])), axis=1)
