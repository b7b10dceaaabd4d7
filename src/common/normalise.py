# SPDX-License-Identifier: Apache-2.0
"""Normalisation of the images that go into a network.

    Normalise("BGR", (104, 117, 123), (1, 1, 1))(uint8 [N, H, W, 3])   ->   float32 [N, 3, H, W]
    NormalisedNetwork(network, metadata["input"])(uint8 [N, H, W, 3])  ->   what the network gives
"""
from collections.abc import Sequence
from typing import Any

from mindspore import Tensor, nn, ops


class Normalise(nn.Cell):
    """uint8 BGR images [N, H, W, 3] -> float32 [N, 3, H, W], (x - mean) / std.

    Args:
        channels: "BGR" or "RGB", the order that the network was trained with.
        mean, std: three numbers each, in units of 0..255 and in the order of `channels`.
    """

    def __init__(self, channels: str, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.reverse = channels == "RGB"
        self.scale = Tensor([[[[1.0 / value]] for value in std]])
        self.shift = Tensor([[[[-m / s]] for m, s in zip(mean, std)]])

    def construct(self, images: Tensor) -> Tensor:
        x = images.astype("float32").transpose(0, 3, 1, 2)
        if self.reverse:
            x = ops.flip(x, (1,))
        return x * self.scale + self.shift


class NormalisedNetwork(nn.Cell):
    """Normalisation and a network in one graph, for use, not for training.

    Args:
        network: takes float32 images [N, 3, H, W]; its parameters keep their names in `network`.
        network_input: "channels", "mean" and "std" as in `Normalise`, from the metadata of the weights.
    """

    def __init__(self, network: nn.Cell, network_input: dict[str, Any]):
        super().__init__()
        self.normalise = Normalise(network_input["channels"], network_input["mean"], network_input["std"])
        self.network = network
        self.set_train(False)

    def construct(self, images: Tensor) -> Any:
        return self.network(self.normalise(images))
