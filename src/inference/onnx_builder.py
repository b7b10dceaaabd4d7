# SPDX-License-Identifier: Apache-2.0
"""Build a network's ONNX graph from its layers and weights, without MindSpore and without tracing.

    graph = GraphBuilder(tensors, metadata["input"])
    x = graph.conv(graph.images(), layer)
    model = graph.finish({"heatmap": (x, ["batch", 1, "height / 4", "width / 4"])}, metadata)

Values are named by strings, as in ONNX. Every graph takes `images` uint8 [batch, height, width, 3] BGR and normalises
them itself; batch normalisations are folded into the convolutions before them. Needs the package `onnx`.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from src.inference.detection_rows import ROW_OUTPUTS
from src.weights.conversion import NORM_SUFFIXES
from src.weights.layers import LEAKY_SLOPE, Layer
from src.weights.metadata import METADATA_KEY
from src.weights.onnx_file import import_onnx

# ONNX 1.12: run by onnxruntime from 1.12 on, OpenCV, TensorRT and OpenVINO; every operator that is needed is in it.
OPSET, IR_VERSION = 17, 8
INPUT = "images"
# Names of the last convolutions start so; quantisation leaves them as they are.
HEADS = "heads"
PRODUCER = "mindspore-face-detection"
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}), "leaky": ("LeakyRelu", {"alpha": LEAKY_SLOPE}), "sigmoid": ("Sigmoid", {})}

Dims = Sequence[Union[int, str]]


class GraphBuilder:
    """Nodes and weights of one graph.

    Args:
        tensors: the network's weights by name.
        network_input: metadata's "input": channels, mean and std in units of 0..255.
    """

    def __init__(self, tensors: dict[str, np.ndarray], network_input: dict[str, Any]):
        self._onnx = import_onnx()
        self._tensors = tensors
        self._input = network_input
        self._nodes: list[Any] = []
        self._initialisers: dict[str, Any] = {}
        self._count = 0
        self._first = True

    def images(self) -> str:
        """Turn the input into float32 [batch, 3, height, width] BGR and subtract the mean.

        The order of channels and the division by std go into the first convolution. The mean cannot: that convolution
        pads with zeros, which stand for the mean colour.
        """
        x = self.op("Transpose", INPUT, perm=[0, 3, 1, 2])
        x = self.floats(x)
        mean = np.array(self._input["mean"], np.float32)
        if self._input["channels"] == "RGB":
            mean = mean[::-1]
        return self.op("Sub", x, self.constant(mean.reshape(1, 3, 1, 1), "mean")) if mean.any() else x

    def op(self, kind: str, *inputs: str, outputs: int = 1, name: str | None = None, **attributes: Any) -> Any:
        """Add a node and return its output's name, or a list of names where it has several."""
        self._count += 1
        name = name or f"{kind.lower()}_{self._count}"
        names = [name] if outputs == 1 else [f"{name}_{number}" for number in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, name: str | None = None) -> str:
        """Add a constant array; without a name, equal ones are stored once."""
        value = np.asarray(value)
        name = name or f"const_{value.dtype}_{'x'.join(map(str, value.shape))}_{'_'.join(map(str, value.ravel()))}"
        if name not in self._initialisers:
            self._initialisers[name] = self._onnx.numpy_helper.from_array(value, name)
        return name

    def conv(self, x: str, layer: Layer) -> str:
        """Add a layer: convolution, normalisation (folded into it), activation."""
        if layer.transposed:
            return self._upsample(x, layer)
        weight, bias = self._folded(layer, 0)
        if self._first:
            self._first = False
            scale = 1 / np.asarray(self._input["std"], np.float64)
            weight = weight * scale[:, None, None]
            weight = weight[:, ::-1] if self._input["channels"] == "RGB" else weight
        x = self._conv(x, layer.name, weight, bias, layer.stride, layer.groups)
        return self.activate(x, layer.activation)

    def heads(self, x: str, layers: Sequence[str], order: Sequence[int] | None = None) -> str:
        """Add the 1x1 convolutions `layers` as one convolution.

        `order` lists output channels, numbered through all the layers, in the order in which they come out.
        """
        name = f"{HEADS}.{layers[0]}"
        weight = np.concatenate([self._tensors[f"{layer}.weight"] for layer in layers])
        bias = np.concatenate([self._tensors[f"{layer}.bias"] for layer in layers])
        chosen = slice(None) if order is None else list(order)
        return self._conv(x, name, weight[chosen], bias[chosen])

    def best(self, scores: str, rows: int) -> tuple[str, str]:
        """Select the highest of scores [batch, M], at most `rows` of them: (values, positions).

        The best comes first; of equal scores, the one at the lower position.
        """
        count = self.op("Min", self.op("Shape", scores, start=1), self.constant(np.array([rows])))
        return tuple(self.op("TopK", scores, count, outputs=2, axis=1))

    def rows_of(self, table: str, positions: str) -> str:
        """Select the rows [batch, N, C] of a table [batch, M, C] at positions [batch, N]."""
        return self.op("GatherND", table, self.op("Unsqueeze", positions, self.constant(np.array([2]))), batch_dims=1)

    def points(self, x: str, y: str) -> str:
        """Join whole numbers x and y, each [batch, N], to float32 [batch, N, 2]."""
        last = self.constant(np.array([2]))
        pair = self.op("Concat", self.op("Unsqueeze", x, last), self.op("Unsqueeze", y, last), axis=2)
        return self.floats(pair)

    def floats(self, x: str) -> str:
        """Cast the values to float32."""
        return self.op("Cast", x, to=self._onnx.TensorProto.FLOAT)

    def boxes(self, centres: str, sizes: str) -> tuple[str, str]:
        """Compute (boxes xyxy [batch, N, 4], their top left corners) from centres and sizes [batch, N, 2]."""
        halves = self.op("Mul", sizes, self.constant(np.float32(0.5)))
        top_left = self.op("Sub", centres, halves)
        return self.op("Concat", top_left, self.op("Add", centres, halves), axis=2), top_left

    def landmarks(self, origins: str, offsets: str, sizes: str) -> str:
        """Compute points [batch, N, 5, 2]: offsets [batch, N, 5, 2] times sizes, from origins, each [batch, N, 2]."""
        axis = self.constant(np.array([2]))
        return self.op("Add", self.op("Unsqueeze", origins, axis),
                       self.op("Mul", offsets, self.op("Unsqueeze", sizes, axis)))

    def finish(self, outputs: dict[str, tuple[str, Dims]], metadata: dict[str, Any], batch: int = 0, height: int = 0,
               width: int = 0) -> Any:
        """Return the `onnx.ModelProto`.

        Args:
            outputs: public name -> (value, its dimensions: numbers, or names of unknown ones).
            metadata: what a program needs to feed and decode the network; it travels in the file.
            batch, height, width: fixed sizes of the input, 0 leaves one open.
        """
        helper, types = self._onnx.helper, self._onnx.TensorProto
        for name, (value, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        dims = [batch or "batch", height or "height", width or "width", 3]
        graph = helper.make_graph(
            self._nodes, metadata["model"], [helper.make_tensor_value_info(INPUT, types.UINT8, dims)],
            [helper.make_tensor_value_info(name, types.FLOAT, [batch or each if each == "batch" else each
                                                               for each in shape])
             for name, (_, shape) in outputs.items()],
            list(self._initialisers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                                  producer_name=PRODUCER)
        helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
        self._onnx.checker.check_model(model)
        return model

    def activate(self, x: str, activation: str) -> str:
        """Add an activation, named as in `Layer`."""
        if activation == "none":
            return x
        if activation == "relu6":
            return self.op("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)), name=f"{x}.relu6")
        kind, attributes = _ACTIVATIONS[activation]
        return self.op(kind, x, name=f"{x}.{activation}", **attributes)

    def _upsample(self, x: str, layer: Layer) -> str:
        """Add a transposed convolution of kernel 2 and stride 2.

        No outputs overlap, so it is a 1x1 convolution to the four pixels of each cell, which runtimes compute faster.
        """
        if (layer.kernel, layer.stride) != (2, 2):
            raise ValueError(f"{layer.name}: kernel {layer.kernel} and stride {layer.stride}, expected 2 and 2")
        weight, bias = self._folded(layer, 1)
        weight = weight.transpose(1, 2, 3, 0).reshape(4 * layer.channels, layer.in_channels, 1, 1)
        x = self.activate(self._conv(x, layer.name, weight, np.repeat(bias, 4)), layer.activation)
        return self.op("DepthToSpace", x, blocksize=2, mode="CRD")

    def _conv(self, x: str, layer: str, weight: np.ndarray, bias: np.ndarray, stride: int = 1, groups: int = 1) -> str:
        kernel = weight.shape[2]
        return self.op("Conv", x, self.constant(weight.astype(np.float32), f"{layer}.weight"),
                       self.constant(bias.astype(np.float32), f"{layer}.bias"), name=layer, kernel_shape=[kernel] * 2,
                       strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)

    def _folded(self, layer: Layer, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Return weight and bias in float64 with the normalisation inside; `axis` is that of the output channels."""
        weight = self._tensors[f"{layer.name}.weight"].astype(np.float64)
        if layer.norm is None:
            return weight, self._tensors[f"{layer.name}.bias"]
        gamma, beta, mean, variance = (self._tensors[f"{layer.norm}.{suffix}"].astype(np.float64)
                                       for suffix in NORM_SUFFIXES)
        scale = gamma / np.sqrt(variance + layer.eps)
        shape = [1] * weight.ndim
        shape[axis] = -1
        return weight * scale.reshape(shape), beta - mean * scale


def row_outputs(values: Sequence[str]) -> dict[str, tuple[str, Dims]]:
    """Name the outputs of a graph that decodes itself, for `finish`; `values` are its boxes, scores and landmarks."""
    dims: tuple[Dims, ...] = ["batch", "faces", 4], ["batch", "faces"], ["batch", "faces", 5, 2]
    return dict(zip(ROW_OUTPUTS, zip(values, dims)))
