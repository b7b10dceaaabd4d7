# SPDX-License-Identifier: Apache-2.0
"""RetinaFace with MobileNetV1 x0.25 in plain PyTorch, to race against; takes the weights of Pytorch_Retinaface.

    network = build(torch, "mobilenet0.25_Final.pth")
    bbox, conf, landm = network(images)             # float32 [B, 3, H, W], mean subtracted

Layers have the names of the weights' file, which is read without executing anything of it.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

from src.retinaface.layers import ANCHORS_PER_CELL, HEADS, MOBILENET_STAGES, MOBILENET_STEM, to_torch
from src.weights import checkpoint
from src.weights.torch_file import read_tensors

WIDTH = 64
SLOPE = 0.1
_TAPS = (64, 128, 256)


def build(torch: Any, path: str) -> Any:
    """Build the network for inference with the weights of a .pth file; every tensor of the file must fit."""
    network = _network(torch)
    network.load_state_dict(_named(torch, checkpoint.strip_prefix(read_tensors(path))), strict=True)
    return network.eval()


def build_for_training(torch: Any, tensors: dict[str, np.ndarray]) -> Any:
    """Build the network for training with weights under our names; its second output are logits."""
    network = _network(torch)
    missing, unexpected = network.load_state_dict(_named(torch, to_torch(tensors)), strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return network.train()


def _named(torch: Any, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}


def _network(torch: Any) -> Any:
    nn, functional = torch.nn, torch.nn.functional

    def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, active: bool = True) -> Any:
        layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
        return nn.Sequential(*layers, *([nn.LeakyReLU(SLOPE, inplace=True)] if active else []))

    def separable(inputs: int, outputs: int, stride: int) -> Any:
        return nn.Sequential(nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                             nn.BatchNorm2d(inputs), nn.LeakyReLU(SLOPE, inplace=True),
                             nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
                             nn.LeakyReLU(SLOPE, inplace=True))

    def body() -> Any:
        made, channels = nn.Module(), MOBILENET_STEM
        for number, blocks in enumerate(MOBILENET_STAGES, start=1):
            stage = [unit(3, MOBILENET_STEM, 3, 2)] if number == 1 else []
            for outputs, stride in blocks:
                stage.append(separable(channels, outputs, stride))
                channels = outputs
            made.add_module(f"stage{number}", nn.Sequential(*stage))
        return made

    class Context(nn.Module):
        """Three views of a level, side by side."""

        def __init__(self) -> None:
            super().__init__()
            half, quarter = WIDTH // 2, WIDTH // 4
            self.conv3X3 = unit(WIDTH, half, 3, active=False)
            self.conv5X5_1 = unit(WIDTH, quarter, 3)
            self.conv5X5_2 = unit(quarter, quarter, 3, active=False)
            self.conv7X7_2 = unit(quarter, quarter, 3)
            self.conv7x7_3 = unit(quarter, quarter, 3, active=False)

        def forward(self, x: Any) -> Any:
            shared = self.conv5X5_1(x)
            views = self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))
            return functional.relu(torch.cat(views, 1))

    class Network(nn.Module):
        """Backbone, pyramid, context, heads."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.fpn = body(), nn.Module()
            for number, channels in enumerate(_TAPS, start=1):
                self.fpn.add_module(f"output{number}", unit(channels, WIDTH, 1))
                self.add_module(f"ssh{number}", Context())
            self.fpn.merge1, self.fpn.merge2 = unit(WIDTH, WIDTH, 3), unit(WIDTH, WIDTH, 3)
            for name, numbers in HEADS.items():
                heads = []
                for _ in _TAPS:
                    heads.append(nn.Module())
                    heads[-1].conv1x1 = nn.Conv2d(WIDTH, ANCHORS_PER_CELL * numbers, 1)
                self.add_module(name, nn.ModuleList(heads))

        def forward(self, x: Any) -> tuple[Any, Any, Any]:
            taps = []
            for stage in (self.body.stage1, self.body.stage2, self.body.stage3):
                x = stage(x)
                taps.append(x)
            p3, p4, p5 = (output(tap) for output, tap in
                          zip((self.fpn.output1, self.fpn.output2, self.fpn.output3), taps))
            p4 = self.fpn.merge2(p4 + functional.interpolate(p5, size=p4.shape[2:], mode="nearest"))
            p3 = self.fpn.merge1(p3 + functional.interpolate(p4, size=p3.shape[2:], mode="nearest"))
            levels = self.ssh1(p3), self.ssh2(p4), self.ssh3(p5)
            bbox, conf, landm = (self._head(name, levels) for name in ("BboxHead", "ClassHead", "LandmarkHead"))
            return bbox, conf if self.training else functional.softmax(conf, dim=-1), landm

        def _head(self, name: str, levels: Sequence[Any]) -> Any:
            numbers = HEADS[name]
            maps = [head.conv1x1(level).permute(0, 2, 3, 1) for head, level in zip(getattr(self, name), levels)]
            return torch.cat([each.reshape(len(each), -1, numbers) for each in maps], 1)

    return Network()
