# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 (Sandler et al. 2018, table 2), width 1.0, cut into four stages for a feature pyramid.

    MobileNetV2()(images [N, 3, H, W]) -> 24, 32, 96 and 320 channels at strides 4, 8, 16 and 32

The 1280-channel convolution and the classifier are left out.
"""
from mindspore import Tensor, nn

from src.training.batch_norm import freeze_statistics

# (expansion, channels, repeats, first stride) of each stage's rows.
STAGES = (
    ((1, 16, 1, 1), (6, 24, 2, 2)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
STEM_CHANNELS = 32
STAGE_CHANNELS = (24, 32, 96, 320)
ACTIVATIONS = {"relu6": nn.ReLU6, "relu": nn.ReLU}


class ConvBNReLU(nn.Cell):
    """Convolution without bias, batch normalisation, activation."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int, groups: int, activation: str):
        super().__init__()
        self.features = nn.SequentialCell([
            nn.Conv2d(channels, out_channels, kernel, stride, pad_mode="pad", padding=kernel // 2, group=groups),
            nn.BatchNorm2d(out_channels, eps=1e-5, momentum=0.9),
            ACTIVATIONS[activation](),
        ])

    def construct(self, x: Tensor) -> Tensor:
        return self.features(x)


class InvertedResidual(nn.Cell):
    """Expand (1x1), depthwise 3x3, linear projection; a skip connection where the shape stays."""

    def __init__(self, channels: int, out_channels: int, stride: int, expansion: int, activation: str):
        super().__init__()
        hidden = channels * expansion
        layers = [ConvBNReLU(channels, hidden, 1, 1, 1, activation)] if expansion != 1 else []
        layers += [
            ConvBNReLU(hidden, hidden, 3, stride, hidden, activation),
            nn.Conv2d(hidden, out_channels, 1, pad_mode="pad", padding=0),
            nn.BatchNorm2d(out_channels, eps=1e-5, momentum=0.9),
        ]
        self.conv = nn.SequentialCell(layers)
        self.has_skip = stride == 1 and channels == out_channels

    def construct(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_skip else self.conv(x)


class MobileNetV2(nn.Cell):
    """The backbone; cells `need_fp1` to `need_fp4` are the four stages."""

    def __init__(self, activation: str = "relu6"):
        super().__init__()
        channels = STEM_CHANNELS
        stages = []
        for number, rows in enumerate(STAGES):
            layers = [ConvBNReLU(3, STEM_CHANNELS, 3, 2, 1, activation)] if number == 0 else []
            for expansion, out_channels, repeats, first_stride in rows:
                for index in range(repeats):
                    stride = first_stride if index == 0 else 1
                    layers.append(InvertedResidual(channels, out_channels, stride, expansion, activation))
                    channels = out_channels
            stages.append(nn.SequentialCell(layers))
        self.need_fp1, self.need_fp2, self.need_fp3, self.need_fp4 = stages

    def freeze_statistics(self) -> None:
        """Normalise with the moving statistics in training too, and leave them as they are."""
        freeze_statistics(self)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x1 = self.need_fp1(x)
        x2 = self.need_fp2(x1)
        x3 = self.need_fp3(x2)
        return x1, x2, x3, self.need_fp4(x3)
