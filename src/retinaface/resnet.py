# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 (He et al. 2016) as RetinaFace's backbone, the stride of a block on its 3x3 convolution.

    resnet50()(images float32 [N, 3, H, W], normalised)
        -> C3 [N, 512, H/8, W/8], C4 [N, 1024, H/16, W/16], C5 [N, 2048, H/32, W/32], sizes rounded up
"""
from __future__ import annotations

from mindspore import Tensor, nn

from src.retinaface.layers import BACKBONES, EXPANSION, RESNET50_BLOCKS
from src.retinaface.var_init import he_normal
from src.training.batch_norm import freeze_statistics


class Bottleneck(nn.Cell):
    """1x1, 3x3 (with the stride), 1x1 to four times the width; `down_sample` gives the skip connection weights."""

    def __init__(self, channels: int, hidden: int, stride: int, down_sample: bool):
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, hidden, 1), nn.BatchNorm2d(hidden)
        self.conv2, self.bn2 = _conv(hidden, hidden, 3, stride), nn.BatchNorm2d(hidden)
        self.conv3, self.bn3 = _conv(hidden, hidden * EXPANSION, 1), nn.BatchNorm2d(hidden * EXPANSION)
        self.relu = nn.ReLU()
        self.has_down_sample = down_sample
        if down_sample:
            self.down_sample_layer = nn.SequentialCell([_conv(channels, hidden * EXPANSION, 1, stride),
                                                        nn.BatchNorm2d(hidden * EXPANSION)])

    def construct(self, x: Tensor) -> Tensor:
        skip = self.down_sample_layer(x) if self.has_down_sample else x
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + skip)


class ResNet(nn.Cell):
    """The backbone; 265 tensors, 23,508,032 trainable parameters without the classifier.

    Padding is symmetric throughout, as in PyTorch, so that the maps have ceil(side / stride) cells for any input size.

    Args:
        blocks: number of blocks of each of the four stages.
        class_num: the classifier `end_point` is there under its name, so that checkpoints of classification networks
            load; it is neither computed nor trained. None leaves it out.
    """
    channels = BACKBONES["resnet50"].channels
    pyramid_channels = BACKBONES["resnet50"].pyramid_channels

    def __init__(self, blocks: tuple[int, int, int, int], class_num: int | None):
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)
        stages, channels = [], 64
        for number, repeats in enumerate(blocks):
            hidden = 64 << number
            cells = []
            for index in range(repeats):
                stride = 2 if index == 0 and number > 0 else 1
                cells.append(Bottleneck(channels, hidden, stride, index == 0))
                channels = hidden * EXPANSION
            stages.append(nn.SequentialCell(cells))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        if class_num is not None:
            self.end_point = _unused_classifier(channels, class_num)

    def freeze_statistics(self) -> None:
        """Normalise with the moving statistics in training too, and leave them as they are."""
        freeze_statistics(self)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


def resnet50(class_num: int | None = 10, seed: int = 1) -> ResNet:
    """ResNet-50 with initial weights.

    Args:
        class_num: outputs of the unused classifier; 1001 in the manual. None leaves it out.
        seed: of the initial weights.
    """
    network = ResNet(RESNET50_BLOCKS, class_num)
    he_normal(network, seed)
    return network


def _conv(channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, kernel, stride, pad_mode="pad", padding=kernel // 2)


def _unused_classifier(channels: int, class_num: int) -> nn.Dense:
    classifier = nn.Dense(channels, class_num)
    for parameter in classifier.get_parameters():
        parameter.requires_grad = False
    return classifier
