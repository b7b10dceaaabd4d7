# SPDX-License-Identifier: Apache-2.0
"""The convolutions of an ONNX file: weights, what feeds them, and statistics of their outputs.

    convolutions, outputs = read_convolutions("model.onnx");  convolutions[0].weight.shape -> (32, 3, 3, 3)

Reads plain networks of convolutions, batch normalisations, activations and sums. Needs `onnx`, and `measure`
also `onnxruntime`.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.weights.onnx_file import read_model

_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid"}
_TRANSPARENT = {*_ACTIVATIONS, "Add", "BatchNormalization"}


@dataclass(frozen=True)
class Convolution:
    """One Conv or ConvTranspose node, in the graph's order.

    weight: [out, in / groups, kh, kw], transposed: [in, out / groups, kh, kw]. bias: [out] or None.
    norm: {"gamma", "beta", "moving_mean", "moving_variance" [out], "eps"} of a following BatchNormalization,
    or None.
    inputs: positions of the convolutions whose outputs, activated or not, are added up to this one's input.
    output: the name of its own output.
    activation: "relu" or "sigmoid" if all that reads it (or its `norm`) is that, "mixed" if a part is.
    """
    weight: np.ndarray
    bias: np.ndarray | None
    norm: dict[str, Any] | None
    inputs: frozenset[int]
    stride: int
    transposed: bool
    output: str
    activation: str


def read_convolutions(path: str | Path) -> tuple[list[Convolution], list[int]]:
    """All convolutions, and for each output of the graph the position of the one that makes it.

    Raises:
        InputError: unreadable, or a graph with other operators.
    """
    model = _load(path)
    from onnx import numpy_helper

    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    consumers: dict[str, list] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    sources: dict[str, frozenset[int]] = {}
    found: list[Convolution] = []
    for node in model.graph.node:
        feeding = frozenset().union(*(sources.get(name, frozenset()) for name in node.input))
        if node.op_type in ("Conv", "ConvTranspose"):
            found.append(_convolution(path, node, weights, consumers, feeding))
            feeding = frozenset([len(found) - 1])
        elif node.op_type not in _TRANSPARENT:
            raise InputError(f"{path}: its operator {node.op_type} is none of a plain convolutional network; "
                             f"give the network as released")
        sources.update({name: feeding for name in node.output})
    makers = [sorted(sources.get(output.name, ())) for output in model.graph.output]
    if not found or any(len(each) != 1 for each in makers):
        raise InputError(f"{path}: each output must come from one convolution; give the network as released")
    return found, [each[0] for each in makers]


def measure(path: str | Path, images: Iterable[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance by channel of each convolution's output without its bias, over all pixels.

    Args:
        images: float32 [1, 3, H, W] each, as the network expects them.

    Returns:
        (mean [C], variance [C]) float64 in the order of `read_convolutions`.
    """
    convolutions, _ = read_convolutions(path)
    session = open_session(path, [each.output for each in convolutions])
    feed = session.get_inputs()[0].name
    sums = [np.zeros((2, _channels(each))) for each in convolutions]
    counts = np.zeros(len(convolutions))
    for image in images:
        results = session.run([each.output for each in convolutions], {feed: image})
        for number, (each, result) in enumerate(zip(convolutions, results)):
            values = result[0].reshape(result.shape[1], -1)
            if each.bias is not None:
                values = values - each.bias[:, None]
            sums[number] += values.sum(1, dtype=np.float64), np.square(values).sum(1, dtype=np.float64)
            counts[number] += values.shape[1]
    if not counts.any():
        raise InputError("no image to measure the network on; give a folder with photographs")
    moments = [total / count for total, count in zip(sums, counts)]
    return [(mean, np.maximum(square - mean * mean, 0.0)) for mean, square in moments]


def open_session(path: str | Path, outputs: list[str]) -> Any:
    """An onnxruntime session of the graph with these values as outputs and an input of any size."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("running an ONNX file needs onnxruntime; type: pip install onnxruntime") from error
    model = _load(path)
    from onnx import helper

    for dimension, name in zip(model.graph.input[0].type.tensor_type.shape.dim, ("n", "c", "h", "w")):
        dimension.dim_param = name
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                        providers=["CPUExecutionProvider"])


def _convolution(path: str | Path, node: Any, weights: dict[str, np.ndarray],
                 consumers: dict[str, list], inputs: frozenset[int]) -> Convolution:
    """Read one node and what stands directly behind it."""
    attributes = {each.name: list(each.ints) for each in node.attribute if each.ints}
    if node.input[1] not in weights or any(size != 1 for size in attributes.get("dilations", [])):
        raise InputError(f"{path}: the convolution {node.output[0]} is computed or dilated; "
                         f"give the network as released")
    behind = consumers.get(node.output[0], [])
    norm = None
    if len(behind) == 1 and behind[0].op_type == "BatchNormalization":
        epsilon = next((each.f for each in behind[0].attribute if each.name == "epsilon"), 1e-5)
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        norm = {**{name: weights[key] for name, key in zip(names, behind[0].input[1:])}, "eps": epsilon}
        behind = consumers.get(behind[0].output[0], [])
    kinds = {_ACTIVATIONS.get(each.op_type, "none") for each in behind} or {"none"}
    return Convolution(weight=weights[node.input[1]],
                       bias=weights[node.input[2]] if len(node.input) > 2 else None,
                       norm=norm, inputs=inputs, stride=attributes.get("strides", [1])[0],
                       transposed=node.op_type == "ConvTranspose", output=node.output[0],
                       activation=kinds.pop() if len(kinds) == 1 else "mixed")


def _channels(each: Convolution) -> int:
    return each.weight.shape[1 if each.transposed else 0]


def _load(path: str | Path) -> Any:
    """The graph, its weights not among its inputs."""
    model = read_model(path)
    known = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in known]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model
