# SPDX-License-Identifier: Apache-2.0
"""CenterFace (Xu et al. 2019, arXiv 1911.03599): MobileNetV2, a top-down pyramid, four 1x1 heads at stride 4.

    CenterfaceMobilev2()(images float32 [N, 3, H, W], normalised; H and W multiples of 32)
        -> hm [N, 1, H/4, W/4] after the sigmoid, wh [N, 2, ..], off [N, 2, ..], kps [N, 10, ..]

All numbers come from the table in src/centerface/layers.py.
"""
from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np
from mindspore import Tensor, nn

from src.centerface.layers import BACKBONE, HEADS, layers
from src.inference.layer_cells import cells_of, convolution, set_normal, set_uniform
from src.weights.layers import Layer


class ConvBNReLU(nn.Cell):
    """Convolution without bias, batch normalisation, activation."""

    def __init__(self, layer: Layer):
        super().__init__()
        self.features = nn.SequentialCell(cells_of(layer))

    def construct(self, x: Tensor) -> Tensor:
        return self.features(x)


class InvertedResidual(nn.Cell):
    """Expand (1x1), depthwise 3x3, linear projection; a skip connection where the shape stays.

    Args:
        rows: the block's layers; without the expansion where its factor is 1.
    """

    def __init__(self, rows: list[Layer]):
        super().__init__()
        *inner, projection = rows
        self.conv = nn.SequentialCell([*map(ConvBNReLU, inner), *cells_of(projection)])
        self.has_skip = inner[-1].stride == 1 and rows[0].in_channels == projection.channels

    def construct(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_skip else self.conv(x)


class MobileNetV2(nn.Cell):
    """The backbone (Sandler et al. 2018, arXiv 1801.04381): 24, 32, 96 and 320 channels at strides 4, 8, 16 and 32.

    Args:
        table: its layers; the cells `need_fp1` to `need_fp4` are its four stages.
    """

    def __init__(self, table: Iterable[Layer]):
        super().__init__()
        self.need_fp1, self.need_fp2, self.need_fp3, self.need_fp4 = (
            _stage(rows) for _, rows in groupby(table, key=lambda layer: layer.name.split(".")[1]))

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x1 = self.need_fp1(x)
        x2 = self.need_fp2(x1)
        x3 = self.need_fp3(x2)
        return x1, x2, x3, self.need_fp4(x3)


class IDAUp(nn.Cell):
    """One step of the pyramid: upsample the coarse map twofold and add the lateral map."""

    def __init__(self, up: Layer, lateral: Layer):
        super().__init__()
        self.up = nn.SequentialCell(cells_of(up))
        self.conv = nn.SequentialCell(cells_of(lateral))

    def construct(self, coarse: Tensor, lateral: Tensor) -> Tensor:
        return self.up(coarse) + self.conv(lateral)


class MobileNetUp(nn.Cell):
    """The pyramid: stride 32 down to stride 4, then one 3x3 convolution.

    Its last normalisation has momentum 0.9. The reference keeps 0.99: statistics of 100 steps ago, wrong box sizes
    after a short training.
    """

    def __init__(self, table: dict[str, Layer]):
        super().__init__()
        self.conv = nn.SequentialCell(cells_of(table["dla_up.conv.0"]))
        self.up1, self.up2, self.up3 = (
            IDAUp(table[f"dla_up.up{step}.up.0"], table[f"dla_up.up{step}.conv.0"]) for step in (1, 2, 3))
        self.conv_last = nn.SequentialCell(cells_of(table["dla_up.conv_last.0"]))

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
        table = {layer.name: layer for layer in layers(head_conv, activation)}
        self.base = MobileNetV2(layer for name, layer in table.items() if name.startswith(BACKBONE))
        self.dla_up = MobileNetUp(table)
        self.hm_head = nn.SequentialCell(cells_of(table["hm_head.0"]))
        self.wh_head, self.off_head, self.kps_head = (
            convolution(table[name]) for name in ("wh_head", "off_head", "kps_head"))
        self._initialise(hm_bias, seed)

    def _initialise(self, hm_bias: float, seed: int) -> None:
        """Initialise heads N(0, 0.001), transposed convolutions uniform, the others He et al. 2015; gamma 1, beta 0."""
        rng = np.random.default_rng(seed)
        for name, cell in self.cells_and_names():
            if isinstance(cell, nn.Conv2dTranspose):
                set_uniform(cell, rng)
            elif name in HEADS:
                set_normal(cell, rng, 0.001, hm_bias if name == "hm_head.0" else 0.0)
            elif isinstance(cell, nn.Conv2d):
                set_normal(cell, rng)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.dla_up(*self.base(images))
        return self.hm_head(x), self.wh_head(x), self.off_head(x), self.kps_head(x)

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the same maps with hm before the sigmoid, for the loss."""
        x = self.dla_up(*self.base(images))
        return self.hm_head[0](x), self.wh_head(x), self.off_head(x), self.kps_head(x)


def _stage(rows: Iterable[Layer]) -> nn.SequentialCell:
    """Build the blocks of a stage; a block of one layer is the network's first convolution."""
    blocks = [list(block) for _, block in groupby(rows, key=lambda layer: layer.name.split(".")[2])]
    return nn.SequentialCell([InvertedResidual(block) if len(block) > 1 else ConvBNReLU(*block) for block in blocks])
