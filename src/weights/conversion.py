# SPDX-License-Identifier: Apache-2.0
"""What the models' converters share: PyTorch files in and out, another input for a network, a pretrained backbone.

    read_source("mobilenet_v2-b0353104.pth").first_name   ->   "features.0.0.weight"
    save_torch("retinaface.pth", TorchWeights(tensors, "Pytorch_Retinaface"))
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from dependency.files import atomic_write, existing_file
from src.common.log import LOGGER
from src.weights import checkpoint
from src.weights.checkpoint import LoadReport
from src.weights.file_hashes import require_hash_in_name
from src.weights.onnx_file import is_onnx
from src.weights.torch_file import is_torch_file, read_tensors

# What ImageNet classifiers of torchvision, mindcv and the model zoo are fed, in units of 0..255.
TORCHVISION_INPUT = {"channels": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
# A BatchNorm's four tensors: MindSpore's names and PyTorch's.
TORCH_NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
NORM_SUFFIXES = tuple(TORCH_NORM_NAMES)
# PyTorch counts the batches of each BatchNorm; MindSpore does not.
COUNTER_SUFFIX = ".num_batches_tracked"
TORCH_SUFFIXES = (".pth", ".pt")


@dataclass(frozen=True)
class Conversion:
    """Tensors with our names, their metadata, how they fit the network, and what the source is."""
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    report: LoadReport
    origin: str


@dataclass(frozen=True)
class Source:
    """A file of weights as it was read.

    framework: "PyTorch", "MindSpore" or "ONNX".
    tensors: without the prefixes of training and the optimizer's state; of an ONNX file none.
    metadata, epoch: of a checkpoint that has them.
    """
    path: Path
    framework: str
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any] | None = None
    epoch: int = 0

    @property
    def first_name(self) -> str | None:
        """The name of the first tensor, for messages."""
        return next(iter(self.tensors), None)


@dataclass(frozen=True)
class TorchWeights:
    """A state dict under the names of a PyTorch project, and the epoch where that project's files hold one."""
    tensors: dict[str, np.ndarray]
    project: str
    epoch: int | None = None


def read_source(path: str | Path) -> Source:
    """Read a file of weights of any project; a hash in the name of a PyTorch file is verified.

    Raises:
        InputError: no such file, unreadable, or not the file that its name promises.
    """
    path = existing_file(path, "a .onnx, .pth or .ckpt file")
    if is_torch_file(path):
        require_hash_in_name(path)
        return Source(path, "PyTorch", checkpoint.strip_prefix(read_tensors(path)))
    if is_onnx(path):
        return Source(path, "ONNX", {})
    read = checkpoint.load(path)
    return Source(path, "MindSpore", checkpoint.network_tensors(read), read.metadata, read.bookkeeping.get("epoch", 0))


def read_checkpoint(path: str | Path) -> Source:
    """Read a file of weights that is to be written for PyTorch.

    Raises:
        InputError: as `read_source`, or it is not a checkpoint.
    """
    source = read_source(path)
    if source.framework != "MindSpore":
        raise InputError(f"{path}: not a .ckpt, and only these are written as PyTorch files; name the output "
                         "OUT.ckpt to convert it to a checkpoint")
    return source


def require_same_use(path: str | Path, metadata: dict[str, Any], expected: dict[str, Any], project: str) -> None:
    """Compare metadata with what `project` assumes of every file: a PyTorch file cannot say otherwise.

    Args:
        expected: keys of the metadata or of its options, and their values in `project`; absent keys agree.

    Raises:
        InputError: the network is fed, built or decoded in another way.
    """
    actual = {**metadata.get("options", {}), **metadata}
    for key, value in expected.items():
        if actual.get(key, value) != value:
            raise InputError(f"{path}: its metadata says {key} {actual[key]}, but {project} has {value} and a .pth "
                             "cannot say otherwise; only weights of that kind can be written as one")


def save_torch(path: str | Path, weights: TorchWeights) -> None:
    """Write the state dict, or {"epoch", "state_dict"}, with the package torch.

    Raises:
        InputError: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError("writing a PyTorch file needs PyTorch; type: pip install torch") from error
    state = {name: torch.from_numpy(value.copy()) for name, value in weights.tensors.items()}
    with atomic_write(path, "wb") as file:
        torch.save(state if weights.epoch is None else {"epoch": weights.epoch, "state_dict": state}, file)


def without_counters(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors without PyTorch's counters of batches."""
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTER_SUFFIX)}


def with_counters(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors with PyTorch's counters, at 0, each behind the last tensor of its BatchNorm."""
    counted = {}
    for name, value in tensors.items():
        counted[name] = value
        layer, _, word = name.rpartition(".")
        if word == "running_var":
            counted[layer + COUNTER_SUFFIX] = np.array(0, np.int64)
    return counted


def load_backbone(network: Any, path: str | Path, backbone: Conversion) -> None:
    """Copy a pretrained backbone into a MindSpore network; log the file and what matched."""
    checkpoint.set_parameters(network, backbone.tensors)
    LOGGER.info("load pre-trained backbone %s into network: %s, %s", path, backbone.origin, backbone.report.format())


def load_pretrained(network: Any, cfg: Any, weights: Conversion) -> None:
    """Copy the weights of --pretrained into a MindSpore network; log how many of its tensors they are.

    Raises:
        InputError: the file's network has other options or shapes than `cfg` and the network.
    """
    source = f"--pretrained {cfg.pretrained}"
    for name, value in weights.metadata["options"].items():
        if cfg.get(name, value) != value:
            raise InputError(f"{source}: was trained with --{name} {value}, this training has {cfg[name]}; leave out "
                             f"--{name}, or give other weights")
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    report = checkpoint.load_report(shapes, weights.tensors)
    if report.wrong_shape or not report.matched:
        report.require(source, weights.metadata)
    checkpoint.set_parameters(network, {name: weights.tensors[name] for name in report.matched})
    LOGGER.info("load %s: %s, %s%s", source, weights.origin, report.format().splitlines()[0],
                ": these start from random values" if report.missing else "")


def starts_from_detector(pretrained: str) -> bool:
    """Check whether --pretrained names a whole detector (or a file, which may hold one), not only a backbone."""
    return pretrained not in ("", "none", "backbone")


def file_of(pretrained: str) -> str:
    """Return the file that a --pretrained FILE or released=FILE names."""
    return pretrained.removeprefix("released=")


def change_input(tensors: dict[str, np.ndarray], stem: str, norm: str, old: dict[str, Any],
                 new: dict[str, Any]) -> dict[str, np.ndarray]:
    """Rewrite a network's first layer for an image that is normalised in another way.

    With x_old = (raw - mean_old) / std_old = (x_new std_new + mean_new - mean_old) / std_old the weight takes
    the factor std_new / std_old, and the constant sum of weight (mean_new - mean_old) / std_old leaves the
    moving mean. Only at the image's border the result differs: zero padding is another colour there.

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
