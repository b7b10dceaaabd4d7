# SPDX-License-Identifier: Apache-2.0
"""CenterFace for use, not for training: uint8 images in, raw maps out, as a checkpoint's metadata says.

    cell = CenterfaceInference(metadata)      # construct(uint8 BGR [B, H, W, 3]) -> hm, wh, off, kps
"""
from typing import Any

from mindspore import Tensor, nn

from dependency.errors import InputError
from src.centerface.network import CenterfaceMobilev2
from src.common.normalise import Normalise

NETWORK_OPTIONS = ("head_conv", "activation")


class CenterfaceInference(nn.Cell):
    """Normalisation and network in one graph; the network's parameters carry their plain names.

    Args:
        metadata: "options" (head_conv, activation) and "input" (channels, mean, std in units of 0..255).
    """

    def __init__(self, metadata: dict[str, Any]):
        super().__init__()
        options = {name: value for name, value in metadata.get("options", {}).items() if name in NETWORK_OPTIONS}
        fed = metadata["input"]
        if fed["channels"] not in ("BGR", "RGB"):
            raise InputError(f"the checkpoint's metadata says input channels '{fed['channels']}': expected BGR or RGB")
        self.normalise = Normalise(fed["channels"], fed["mean"], fed["std"])
        self.network = CenterfaceMobilev2(**options)
        self.set_train(False)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.network(self.normalise(images))
