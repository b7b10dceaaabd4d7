# SPDX-License-Identifier: Apache-2.0
"""The authors' released CenterFace (ONNX, github.com/Star-Clouds/CenterFace) as tensors of our network.

    tensors, metadata = read_release("centerface.onnx")
    tensors, metadata = unfold(tensors, metadata, "centerface.onnx", "dataset/centerface/images/train/images")

The release takes RGB 0..255, has 24 pyramid channels and plain ReLU, its batch normalisations are folded into
biases, and its maps are encoded differently (metadata: decoder "centerface_release").
"""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dependency.errors import InputError
from src.centerface.layers import BACKBONE, NETWORK_INPUT, Layer, change_input, layers
from src.common.log import LOGGER
from src.weights.onnx_weights import Convolution, measure, read_convolutions

RELEASE_INPUT = {"channels": "RGB", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
# The authors' protocol on WIDER FACE: native size, greedy suppression at 0.3, no test for local maxima.
RELEASE_DETECT = {"test_size": "original", "nms": "hard", "nms_iou": 0.3, "score_threshold": 0.05,
                  "peaks": False}
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_STEP = 32

Weights = tuple[dict[str, np.ndarray], dict[str, Any]]


def read_release(path: str | Path) -> Weights:
    """(tensors, metadata) that reproduce the ONNX file; 303 tensors, for inference.

    A convolution with bias b becomes one without, and a normalisation with gamma = sqrt(1 + eps), beta = b,
    mean 0, variance 1.

    Raises:
        InputError: the graph is not that of CenterFace; the message names the first layer that differs.
    """
    path = Path(path)
    convolutions, outputs = read_convolutions(path)
    described = _match(path, convolutions, outputs)
    tensors: dict[str, np.ndarray] = {}
    for layer, given in zip(described, convolutions):
        tensors[f"{layer.name}.weight"] = given.weight
        if layer.norm is None:
            tensors[f"{layer.name}.bias"] = given.bias
            continue
        if given.norm is not None:
            values = given.norm
        else:
            values = {"gamma": np.full(layer.channels, np.sqrt(1 + layer.eps)), "beta": given.bias,
                      "moving_mean": np.zeros(layer.channels), "moving_variance": np.ones(layer.channels)}
        tensors.update({f"{layer.norm}.{key}": value for key, value in values.items() if key != "eps"})
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    head_conv = described[-1].shape[1]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return tensors, {"model": "centerface", "options": {"head_conv": head_conv, "activation": "relu"},
                     "input": dict(RELEASE_INPUT), "decoder": "centerface_release",
                     "detect": dict(RELEASE_DETECT), "source": f"{path.name}, sha256 {digest}"}


def unfold(tensors: dict[str, np.ndarray], metadata: dict[str, Any], path: str | Path,
           folder: str | Path, limit: int = 50) -> Weights:
    """The same function, ready to be trained: with batch statistics, and for our network's input.

    Where a convolution's bias was folded, its output without bias is measured on images: mean m and variance
    v of each channel. Moving mean m, moving variance v, gamma = sqrt(v + eps) and beta = bias + m give the
    former output, and a normalisation by a batch's own statistics starts from the same place. Then
    `change_input` to `NETWORK_INPUT`.

    Args:
        tensors, metadata: from `read_release(path)`.
        folder: photographs, searched in subfolders too.
        limit: so many of them are used, evenly spread over the sorted names.
    """
    described = layers(metadata["options"]["head_conv"])
    convolutions, _ = read_convolutions(path)
    out = dict(tensors)
    moments = measure(path, _images(Path(folder), limit))
    for layer, given, (mean, variance) in zip(described, convolutions, moments):
        if layer.norm is None or given.norm is not None:
            continue
        values = {"moving_mean": mean, "moving_variance": variance, "gamma": np.sqrt(variance + layer.eps),
                  "beta": given.bias + mean}
        out.update({f"{layer.norm}.{key}": value.astype(np.float32) for key, value in values.items()})
    out = change_input(out, metadata["input"], NETWORK_INPUT)
    return out, {**metadata, "input": dict(NETWORK_INPUT), "source": f"{metadata['source']}, unfolded"}


def only_backbone(tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> Weights:
    """The 255 tensors of MobileNetV2 and metadata that says so."""
    kept = ("model", "options", "input", "source")
    options = {"activation": metadata.get("options", {}).get("activation", "relu6")}
    return ({name: value for name, value in tensors.items() if name.startswith(BACKBONE)},
            {**{key: metadata[key] for key in kept if key in metadata}, "options": options, "part": "backbone"})


def _match(path: Path, convolutions: list[Convolution], outputs: list[int]) -> list[Layer]:
    """Our layers in the file's order, once kind, shape, stride and connections of all have been compared.

    The four heads come in the order of the graph's outputs: heatmap, size, offset, landmarks.
    """
    widths = [each.weight.shape[0] for each in convolutions if each.transposed]
    described = layers(widths[0] if widths else 24)
    if len(convolutions) != len(described) or outputs != list(range(len(described) - 4, len(described))):
        raise InputError(f"{path}: {len(convolutions)} convolutions and {len(outputs)} outputs, expected "
                         f"{len(described)} and 4: not the released CenterFace; give its centerface.onnx")
    for layer, given in zip(described, convolutions):
        feeding = {described[position].name for position in given.inputs}
        one_shift = (given.bias is None) != (given.norm is None) and (layer.norm or given.norm is None)
        same_eps = given.norm is None or abs(given.norm["eps"] - layer.eps) < 1e-6
        same_kind = (given.weight.shape, given.stride, given.transposed, given.activation) == (
            layer.shape, layer.stride, layer.transposed, layer.activation)
        if not (same_kind and feeding == set(layer.inputs) and one_shift and same_eps):
            raise InputError(f"{path}: the convolution {given.output} {list(given.weight.shape)} is not "
                             f"CenterFace's {layer.name} {list(layer.shape)}; give the released file")
    return described


def _images(folder: Path, limit: int) -> Any:
    """Yield float32 [1, 3, H, W] RGB 0..255, at most 640 long, sides stretched to multiples of 32."""
    if not folder.is_dir():
        raise InputError(f"--unfold {folder}: no such folder; give a folder with photographs")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
    chosen = [paths[number] for number in np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int)]
    for path in chosen:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            LOGGER.warning("%s cannot be read as an image, left out", path)
            continue
        scale = min(1.0, 640 / max(image.shape[:2]))
        height, width = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in image.shape[:2])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        yield np.ascontiguousarray(resized[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
