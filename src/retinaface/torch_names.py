# SPDX-License-Identifier: Apache-2.0
"""Names of RetinaFace's weights in other projects, and ours.

    our_name("body.layer1.0.downsample.0.weight")    ->   "base.layer1.0.down_sample_layer.0.weight"
    our_name("ssh1.conv7x7_3.0.weight")              ->   "ssh1.conv7X7_3.0.weight"
    torch_name("base.stage1.0.1.gamma")              ->   "body.stage1.0.1.weight"

Known are the PyTorch original (biubug6/Pytorch_Retinaface), torchvision's resnet50, mindcv, the model zoo and mindface.
"""
import re

import numpy as np

from dependency.errors import InputError
from src.retinaface.layers import BACKBONE
from src.weights.conversion import with_counters, without_counters

# A backbone stands alone, under `body.` (PyTorch) or under `base.`.
_BACKBONE_LAYERS = re.compile(r"^(?:body\.|base\.)?(?=(?:conv1|bn1|layer[1-4]|stage[1-3]|fc|end_point|classifier)\.)")
_DOWN_SAMPLE = re.compile(r"\.(?:downsample|down_sample)\.")
_CONTEXT = re.compile(r"(?<=\.)conv([357])[xX]([357])(?=[._])")
_HEADS = re.compile(r"^(class|bbox|landmark)head(?=\.)", re.IGNORECASE)
_CLASSIFIER = re.compile(rf"^{re.escape(BACKBONE)}(?:fc|end_point|classifier)\.")
_NORM_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_TORCH_NORM_NAMES = {ours: torch for torch, ours in _NORM_NAMES.items()}


def our_name(name: str) -> str:
    """Our name of a tensor, but for the last word: PyTorch's and MindSpore's words of BatchNorm stay."""
    name = _BACKBONE_LAYERS.sub(BACKBONE, name)
    name = _DOWN_SAMPLE.sub(".down_sample_layer.", name)
    name = _CONTEXT.sub(r"conv\1X\2", name)
    return _HEADS.sub(lambda match: f"{match[1].capitalize()}Head", name)


def torch_name(name: str) -> str:
    """The name of one of our tensors in Pytorch_Retinaface."""
    layer, _, word = name.rpartition(".")
    if layer.startswith(BACKBONE):
        layer = f"body.{layer[len(BACKBONE):]}"
    layer = layer.replace(".down_sample_layer.", ".downsample.").replace(".conv7X7_3.", ".conv7x7_3.")
    return f"{layer}.{_TORCH_NORM_NAMES.get(word, word)}"


def own_names(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors under our names, without the backbone's classifier.

    Raises:
        InputError: two of the names are the same tensor's.
    """
    found: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        ours = our_name(name)
        if ours in found:
            raise InputError(f"two tensors of the file are both {ours}, one of them {name}; give a file of one network")
        if not _CLASSIFIER.match(ours):
            found[ours] = value
    return found


def from_torch(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's tensors under our names, in float32; counters and the backbone's classifier are left out.

    What stands beside a `running_mean` is a BatchNorm.
    """
    renamed = {}
    for name, value in without_counters(tensors).items():
        layer, _, word = name.rpartition(".")
        is_norm = f"{layer}.running_mean" in tensors
        renamed[f"{layer}.{_NORM_NAMES[word]}" if is_norm and word in _NORM_NAMES else name] = value
    return {name: value.astype(np.float32, copy=False) for name, value in own_names(renamed).items()}


def to_torch(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A whole RetinaFace as the state dict of Pytorch_Retinaface, in its order; the reverse of `from_torch`."""
    return with_counters({torch_name(name): value for name, value in tensors.items()})
