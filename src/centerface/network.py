# SPDX-License-Identifier: Apache-2.0
"""CenterFace (Xu et al. 2019, arXiv 1911.03599): MobileNetV2, a top-down pyramid, four 1x1 heads at stride 4.

    CenterfaceMobilev2()(images float32 [N, 3, H, W], normalised; H and W multiples of 32)
        -> hm [N, 1, H/4, W/4] after the sigmoid, wh [N, 2, ..], off [N, 2, ..], kps [N, 10, ..]
"""
from mindspore import Tensor, nn

from src.centerface.mobile_v2 import STAGE_CHANNELS, MobileNetV2
from src.centerface.var_init import initialise


class IDAUp(nn.Cell):
    """One step of the pyramid: upsample the coarse map twofold and add the lateral map."""

    def __init__(self, channels: int, lateral_channels: int):
        super().__init__()
        self.up = nn.SequentialCell([
            nn.Conv2dTranspose(channels, channels, 2, stride=2, pad_mode="pad", padding=0),
            nn.BatchNorm2d(channels, eps=1e-3),
            nn.ReLU(),
        ])
        self.conv = _lateral(lateral_channels, channels)

    def construct(self, coarse: Tensor, lateral: Tensor) -> Tensor:
        return self.up(coarse) + self.conv(lateral)


class MobileNetUp(nn.Cell):
    """The pyramid: stride 32 down to stride 4, then one 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        x1, x2, x3, x4 = STAGE_CHANNELS
        self.conv = _lateral(x4, channels)
        self.up1 = IDAUp(channels, x3)
        self.up2 = IDAUp(channels, x2)
        self.up3 = IDAUp(channels, x1)
        self.conv_last = nn.SequentialCell([
            nn.Conv2d(channels, channels, 3, pad_mode="pad", padding=1),
            # The reference keeps 0.99: statistics of 100 steps ago, wrong box sizes after a short training.
            nn.BatchNorm2d(channels, eps=1e-5, momentum=0.9),
            nn.ReLU(),
        ])

    def construct(self, x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor) -> Tensor:
        x = self.up1(self.conv(x4), x3)
        x = self.up2(x, x2)
        return self.conv_last(self.up3(x, x1))


class CenterfaceMobilev2(nn.Cell):
    """The detector: 303 tensors, 1,929,935 trainable parameters with head_conv 64.

    Args:
        head_conv: channels of the pyramid; 64 in the manual, 24 in the authors' release.
        activation: "relu6" (manual) or "relu" (authors' release), in the backbone.
        hm_bias: initial bias of the heatmap; -2.19 = log(0.1/0.9) starts from probability 0.1, 0 is the reference.
        seed: of the initial weights.
    """

    def __init__(self, head_conv: int = 64, activation: str = "relu6", hm_bias: float = -2.19, seed: int = 123):
        super().__init__()
        self.base = MobileNetV2(activation)
        self.dla_up = MobileNetUp(head_conv)
        self.hm_head = nn.SequentialCell([_head(head_conv, 1), nn.Sigmoid()])
        self.wh_head = _head(head_conv, 2)
        self.off_head = _head(head_conv, 2)
        self.kps_head = _head(head_conv, 10)
        initialise(self, seed, {"hm_head.0.bias": hm_bias})

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.dla_up(*self.base(images))
        return self.hm_head(x), self.wh_head(x), self.off_head(x), self.kps_head(x)


def _lateral(channels: int, out_channels: int) -> nn.SequentialCell:
    return nn.SequentialCell([
        nn.Conv2d(channels, out_channels, 1, pad_mode="pad", padding=0),
        nn.BatchNorm2d(out_channels, eps=1e-3),
        nn.ReLU(),
    ])


def _head(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 1, pad_mode="pad", padding=0, has_bias=True)
