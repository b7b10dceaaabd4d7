# SPDX-License-Identifier: Apache-2.0
"""RetinaFace's tensors by name and shape, for reading and writing weights without MindSpore.

    tensor_shapes("resnet50")["fpn.output1.0.weight"]   ->   (256, 512, 1, 1)
    backbone_of(tensors)                                ->   "resnet50", "mobilenet025" or None

Names are those of `RetinaFace`'s parameters. Weights are [out, in / groups, kh, kw]. The classifier that a backbone
may carry (`base.end_point`, `base.fc`) takes no part in detection and is not listed.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What the detector is fed: x - mean, in units of 0..255.
NETWORK_INPUT = {"channels": "BGR", "mean": [104.0, 117.0, 123.0], "std": [1.0, 1.0, 1.0]}
BACKBONE = "base."
NORM_SUFFIXES = ("gamma", "beta", "moving_mean", "moving_variance")
ANCHORS_PER_CELL = 2
# Numbers an anchor: face or not, box, five points.
HEADS = {"ClassHead": 2, "BboxHead": 4, "LandmarkHead": 10}
RESNET50_BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
# (channels, stride) of the depthwise-separable blocks of MobileNetV1 x0.25, by stage; its first layer has 8 channels.
MOBILENET_STEM = 8
MOBILENET_STAGES = (
    ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
    ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
    ((256, 2), (256, 1)),
)


@dataclass(frozen=True)
class Backbone:
    """What the detector needs to know of a backbone.

    channels: of C3, C4 and C5 (strides 8, 16 and 32). pyramid_channels: of the pyramid built on them.
    stem, stem_norm: names of the first convolution and of its normalisation. classifier: name of its last layer.
    """
    channels: tuple[int, int, int]
    pyramid_channels: int
    stem: str
    stem_norm: str
    classifier: str


BACKBONES = {
    "resnet50": Backbone((512, 1024, 2048), 256, "base.conv1", "base.bn1", "base.end_point"),
    "mobilenet025": Backbone((64, 128, 256), 64, "base.stage1.0.0", "base.stage1.0.1", "base.fc"),
}


def backbone_of(names: Iterable[str]) -> str | None:
    """Which backbone the tensors of these names belong to; None where they hold the first layer of neither."""
    names = set(names)
    found = [name for name, backbone in BACKBONES.items() if f"{backbone.stem}.weight" in names]
    return found[0] if len(found) == 1 else None


def tensor_shapes(backbone: str = "resnet50", part: str = "all") -> dict[str, tuple[int, ...]]:
    """Shapes by name; with part "backbone" only those of `base.`.

    "resnet50" has 383 tensors, 265 of them the backbone's; "mobilenet025" 253 and 135.
    """
    shapes = _resnet50() if backbone == "resnet50" else _mobilenet025()
    if part == "all":
        shapes.update(_detector(BACKBONES[backbone]))
    return shapes


def _resnet50() -> dict[str, tuple[int, ...]]:
    """ResNet-50 (He et al. 2016, table 1) by torchvision's layer names."""
    shapes = _conv_norm("base.conv1", "base.bn1", 64, 3, 7)
    channels = 64
    for stage, repeats in enumerate(RESNET50_BLOCKS, start=1):
        hidden = 32 << stage
        for index in range(repeats):
            block = f"base.layer{stage}.{index}"
            shapes.update(_conv_norm(f"{block}.conv1", f"{block}.bn1", hidden, channels, 1))
            shapes.update(_conv_norm(f"{block}.conv2", f"{block}.bn2", hidden, hidden, 3))
            shapes.update(_conv_norm(f"{block}.conv3", f"{block}.bn3", hidden * EXPANSION, hidden, 1))
            if index == 0:
                skip = f"{block}.down_sample_layer"
                shapes.update(_conv_norm(f"{skip}.0", f"{skip}.1", hidden * EXPANSION, channels, 1))
            channels = hidden * EXPANSION
    return shapes


def _mobilenet025() -> dict[str, tuple[int, ...]]:
    """MobileNetV1 (Howard et al. 2017, table 1) with width 0.25."""
    shapes = _conv_norm("base.stage1.0.0", "base.stage1.0.1", MOBILENET_STEM, 3, 3)
    channels = MOBILENET_STEM
    for stage, blocks in enumerate(MOBILENET_STAGES, start=1):
        for index, (out_channels, _) in enumerate(blocks, start=1 if stage == 1 else 0):
            block = f"base.stage{stage}.{index}"
            shapes.update(_conv_norm(f"{block}.0", f"{block}.1", channels, 1, 3))
            shapes.update(_conv_norm(f"{block}.3", f"{block}.4", out_channels, channels, 1))
            channels = out_channels
    return shapes


def _detector(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Pyramid, context modules and heads."""
    width = backbone.pyramid_channels
    shapes: dict[str, tuple[int, ...]] = {}
    for number, channels in enumerate(backbone.channels, start=1):
        shapes.update(_conv_norm(f"fpn.output{number}.0", f"fpn.output{number}.1", width, channels, 1))
    for number in (1, 2):
        shapes.update(_conv_norm(f"fpn.merge{number}.0", f"fpn.merge{number}.1", width, width, 3))
    half, quarter = width // 2, width // 4
    for number in (1, 2, 3):
        for name, out_channels, channels in (("conv3X3", half, width), ("conv5X5_1", quarter, width),
                                             ("conv5X5_2", quarter, quarter), ("conv7X7_2", quarter, quarter),
                                             ("conv7X7_3", quarter, quarter)):
            module = f"ssh{number}.{name}"
            shapes.update(_conv_norm(f"{module}.0", f"{module}.1", out_channels, channels, 3))
    for head, numbers in HEADS.items():
        for level in range(3):
            shapes[f"{head}.{level}.conv1x1.weight"] = (ANCHORS_PER_CELL * numbers, width, 1, 1)
            shapes[f"{head}.{level}.conv1x1.bias"] = (ANCHORS_PER_CELL * numbers,)
    return shapes


def _conv_norm(conv: str, norm: str, out_channels: int, channels: int, kernel: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{conv}.weight": (out_channels, channels, kernel, kernel)}
    shapes.update({f"{norm}.{suffix}": (out_channels,) for suffix in NORM_SUFFIXES})
    return shapes
