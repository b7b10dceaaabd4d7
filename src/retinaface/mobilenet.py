# SPDX-License-Identifier: Apache-2.0
"""MobileNetV1 x0.25 (Howard et al. 2017) as RetinaFace's small backbone, with LeakyReLU.

    mobilenet025()(images float32 [N, 3, H, W], normalised)
        -> C3 [N, 64, H/8, W/8], C4 [N, 128, H/16, W/16], C5 [N, 256, H/32, W/32], sizes rounded up
"""
from __future__ import annotations

from mindspore import Tensor, nn

from src.retinaface.layers import BACKBONES, MOBILENET_STAGES, MOBILENET_STEM
from src.retinaface.var_init import he_normal
from src.training.batch_norm import freeze_statistics

SLOPE = 0.1


class MobileNet(nn.Cell):
    """The backbone; 135 tensors, 213,072 trainable parameters without the classifier.

    Args:
        class_num: the classifier `fc` is there under its name, so that checkpoints that hold it load; it is neither
            computed nor trained. None leaves it out.
    """
    channels = BACKBONES["mobilenet025"].channels
    pyramid_channels = BACKBONES["mobilenet025"].pyramid_channels

    def __init__(self, class_num: int | None):
        super().__init__()
        stem = nn.SequentialCell([*_conv_norm(3, MOBILENET_STEM, 3, 2), nn.LeakyReLU(SLOPE)])
        stages, channels = [], MOBILENET_STEM
        for blocks in MOBILENET_STAGES:
            cells = [] if stages else [stem]
            for out_channels, stride in blocks:
                cells.append(_separable(channels, out_channels, stride))
                channels = out_channels
            stages.append(nn.SequentialCell(cells))
        self.stage1, self.stage2, self.stage3 = stages
        if class_num is not None:
            self.fc = nn.Dense(channels, class_num)
            for parameter in self.fc.get_parameters():
                parameter.requires_grad = False

    def freeze_statistics(self) -> None:
        """Normalise with the moving statistics in training too, and leave them as they are."""
        freeze_statistics(self)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = self.stage1(x)
        c4 = self.stage2(c3)
        return c3, c4, self.stage3(c4)


def mobilenet025(class_num: int | None = 1000, seed: int = 1) -> MobileNet:
    """MobileNetV1 x0.25 with initial weights.

    Args:
        class_num: outputs of the unused classifier; None leaves it out.
        seed: of the initial weights.
    """
    network = MobileNet(class_num)
    he_normal(network, seed)
    return network


def _separable(channels: int, out_channels: int, stride: int) -> nn.SequentialCell:
    """Depthwise 3x3, then 1x1."""
    return nn.SequentialCell([*_conv_norm(channels, channels, 3, stride, channels), nn.LeakyReLU(SLOPE),
                              *_conv_norm(channels, out_channels, 1), nn.LeakyReLU(SLOPE)])


def _conv_norm(channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Cell]:
    return [nn.Conv2d(channels, out_channels, kernel, stride, pad_mode="pad", padding=kernel // 2, group=groups),
            nn.BatchNorm2d(out_channels)]
