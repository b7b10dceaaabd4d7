# SPDX-License-Identifier: Apache-2.0
"""Convert weights of other projects to RetinaFace, with the metadata that says how to use them, and back.

    converted = convert("mobilenet0.25_Final.pth");  print(converted.report.format())
    backbone = read_backbone("resnet50-19c8e357.pth", "resnet50").tensors       # for --pretrain_path
    weights = to_torch("RetinaFace-100_402.ckpt")                               # Pytorch_Retinaface's state dict

Sources, recognised by their content: detectors of Pytorch_Retinaface, of mindface, of the model zoo (their
training checkpoints too) and of this project; ImageNet backbones ResNet-50 (torchvision, mindcv, model zoo) and
MobileNetV1 x0.25.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.common.log import LOGGER
from src.retinaface import layers
from src.retinaface.anchors import VARIANCE
from src.retinaface.layers import (
    BACKBONE,
    BACKBONES,
    NETWORK_INPUT,
    backbone_of,
    from_torch,
    our_name,
    own_names,
    tensor_shapes,
)
from src.weights.checkpoint import load_report
from src.weights.conversion import (
    TORCHVISION_INPUT,
    Conversion,
    TorchWeights,
    change_input,
    file_of,
    read_checkpoint,
    read_source,
    require_same_use,
)
from src.weights.file_hashes import sha256_of

OPTIONS = ("fold_input_norm",)
PROJECT = "Pytorch_Retinaface"
_KNOWN = "a RetinaFace (ResNet-50 or MobileNetV1 x0.25), a ResNet-50 or a MobileNetV1 x0.25"


def recognises(names: Iterable[str]) -> bool:
    """Return True if tensors of these names (without prefixes of training) are a RetinaFace or a backbone of one."""
    return backbone_of(our_name(name) for name in names) is not None


def convert(path: str | Path, part: str = "all", fold_input_norm: bool | None = None) -> Conversion:
    """Read a file of weights.

    ImageNet backbones were trained on RGB in another scale than the detector feeds. With `fold_input_norm` their first
    layer is rewritten, so that their statistics hold from the first step; without it they are copied unchanged, as
    Pytorch_Retinaface and the model zoo do.

    Args:
        path: a .pth or .ckpt file.
        part: "all", or "backbone" for the tensors of `base.` alone.
        fold_input_norm: None folds ImageNet backbones; detectors have our input already.

    Raises:
        InputError: unreadable, of another model, or a tensor missing, unknown, of another shape or not finite.
    """
    source = read_source(path)
    metadata = source.metadata
    model = (metadata or {}).get("model", "retinaface")
    if model != "retinaface":
        raise InputError(f"{path}: the file's metadata says model {model}, not retinaface; give --model {model} or "
                         "another checkpoint")
    tensors = from_torch(source.tensors) if source.framework == "PyTorch" else own_names(source.tensors)
    backbone = backbone_of(tensors)
    if backbone is None:
        raise InputError(f"{path}: not {_KNOWN} as a .pth or .ckpt (its first tensor is {source.first_name}); give one "
                         "of these")
    only_backbone = all(name.startswith(BACKBONE) for name in tensors)
    is_imagenet = only_backbone and metadata is None
    if fold_input_norm and not is_imagenet:
        raise InputError(f"{path}: --fold_input_norm is for ImageNet backbones, which come with another input; this "
                         "file's input is known; leave the option out")
    network_input = dict(TORCHVISION_INPUT if is_imagenet else (metadata or {}).get("input", NETWORK_INPUT))
    part = "backbone" if only_backbone else part
    if part == "backbone":
        tensors = {name: value for name, value in tensors.items() if name.startswith(BACKBONE)}
    report = load_report(tensor_shapes(backbone, part), tensors)
    report.require(path, metadata)
    _require_finite(path, tensors)
    if part == "backbone":
        if fold_input_norm is not False and network_input != NETWORK_INPUT:
            stem = BACKBONES[backbone]
            tensors = change_input(tensors, stem.stem, stem.stem_norm, network_input, NETWORK_INPUT)
        network_input = dict(NETWORK_INPUT)
    origin = f"{'ImageNet' if is_imagenet else 'RetinaFace'} {backbone} ({source.framework})"
    return Conversion(tensors, _metadata(source.path, metadata or {}, backbone, network_input, part), report, origin)


def read_backbone(path: str | Path, backbone: str = "resnet50", fold_input_norm: bool | None = None) -> Conversion:
    """Read the tensors `base.*` for a network in training, from a backbone or a whole detector.

    Args:
        path: whatever `convert` reads.
        backbone: the one that the network has.
        fold_input_norm: see `convert`.

    Raises:
        InputError: as `convert`, or the file holds the other backbone.
    """
    converted = convert(path, "backbone", fold_input_norm)
    actual = converted.metadata["options"]["backbone"]
    if actual != backbone:
        raise InputError(f"{path}: holds the backbone {actual}, the network has {backbone}; give weights of "
                         f"{backbone}, or --backbone={actual}")
    return converted


def read_pretrained(choice: str, backbone_file: str = "", backbone: str = "resnet50") -> Conversion:
    """Read the weights that --pretrained names, for a network in training: with our input.

    Args:
        choice: "backbone", or a file of a detector or a backbone.
        backbone_file, backbone: of --pretrained_backbone and --backbone, for "backbone".

    Raises:
        InputError: as `convert`; "released" without its file.
    """
    if choice == "backbone":
        return read_backbone(backbone_file, backbone)
    if choice == "released":
        raise InputError("--pretrained released: RetinaFace's released weights are a file to download; give it: "
                         "--pretrained released=mobilenet0.25_Final.pth (github.com/biubug6/Pytorch_Retinaface)")
    weights = convert(file_of(choice))
    network_input, stem = weights.metadata["input"], BACKBONES[weights.metadata["options"]["backbone"]]
    if network_input == NETWORK_INPUT:
        return weights
    return replace(weights, tensors=change_input(weights.tensors, stem.stem, stem.stem_norm, network_input,
                                                 NETWORK_INPUT))


def to_torch(path: str | Path) -> TorchWeights:
    """Read a checkpoint of a whole RetinaFace as the state dict of Pytorch_Retinaface.

    Raises:
        InputError: as `convert`; or no checkpoint, only a backbone, fed or read in another way than there.
    """
    read_checkpoint(path)
    converted = convert(path)
    metadata, options = converted.metadata, converted.metadata["options"]
    if metadata.get("part") == "backbone":
        raise InputError(f"{path}: holds only the backbone; give a checkpoint of a whole RetinaFace")
    require_same_use(path, metadata, {"input": NETWORK_INPUT, "decoder": "retinaface"}, PROJECT)
    for key, usual in (("variance", list(VARIANCE)), ("clip", False)):
        if options.get(key, usual) != usual:
            LOGGER.warning("%s was trained with %s %s: set it in data/config.py of %s", path, key, options[key],
                           PROJECT)
    return TorchWeights(layers.to_torch(converted.tensors), PROJECT)


def _metadata(path: Path, metadata: dict[str, Any], backbone: str, network_input: dict[str, Any],
              part: str) -> dict[str, Any]:
    """Complete the file's own metadata."""
    source = f"{path.name}, sha256 {sha256_of(path)}"
    options = {**metadata.get("options", {}), "backbone": backbone}
    completed = {"model": "retinaface", "decoder": "retinaface", "source": source, **metadata, "options": options,
                 "input": network_input}
    if part == "all":
        return completed
    return {**{key: completed[key] for key in ("model", "options", "input", "source")}, "part": "backbone"}


def _require_finite(path: str | Path, tensors: dict[str, np.ndarray]) -> None:
    """Raise InputError for NaN and infinity: a .pth of the older layout has no checksum that would show damage."""
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise InputError(f"{path}: {name} holds numbers that are not finite: the file is damaged, or its training "
                             "diverged; copy it again or give another")
