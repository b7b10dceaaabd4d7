# SPDX-License-Identifier: Apache-2.0
"""RetinaFace for use, not for training: uint8 images in, raw predictions out, as a checkpoint's metadata says.

    cell = RetinaFaceInference(metadata)      # construct(uint8 BGR [B, H, W, 3]) -> bbox, conf (softmax), landm
"""
from typing import Any

from mindspore import Tensor, nn

from dependency.errors import InputError
from src.common.normalise import Normalise
from src.retinaface.layers import BACKBONES
from src.retinaface.mobilenet import mobilenet025
from src.retinaface.network import RetinaFace
from src.retinaface.resnet import resnet50

BUILDERS = {"resnet50": resnet50, "mobilenet025": mobilenet025}


class RetinaFaceInference(nn.Cell):
    """Normalisation and network in one graph; the network's parameters carry their plain names.

    Args:
        metadata: "options" (backbone) and "input" (channels, mean, std in units of 0..255).
    """

    def __init__(self, metadata: dict[str, Any]):
        super().__init__()
        fed = metadata["input"]
        if fed["channels"] not in ("BGR", "RGB"):
            raise InputError(f"the checkpoint's metadata says input channels '{fed['channels']}': expected BGR or RGB")
        self.normalise = Normalise(fed["channels"], fed["mean"], fed["std"])
        self.network = RetinaFace("predict", build_backbone(metadata.get("options", {}).get("backbone", "resnet50")))
        self.set_train(False)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.network(self.normalise(images))


def build_backbone(name: str, seed: int = 1) -> nn.Cell:
    """The backbone of this name with initial weights, without classifier.

    Raises:
        InputError: there is no such backbone.
    """
    if name not in BACKBONES:
        raise InputError(f"no backbone '{name}': expected one of {', '.join(BACKBONES)}")
    return BUILDERS[name](None, seed)
