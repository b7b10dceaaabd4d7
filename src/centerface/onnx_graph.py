# SPDX-License-Identifier: Apache-2.0
"""CenterFace as an ONNX graph, from its table of layers.

    model = build(metadata, tensors, OUTPUTS)                       # images -> heatmap, size, offset, landmarks (raw)
    model = build(metadata, tensors, OUTPUTS, decode_rows=5000)     # images -> boxes, scores, landmarks of faces

Raw maps are those of the MindSpore network; images must have sides that are multiples of 32.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

from src.centerface.decoder import CELL, LANDMARKS
from src.centerface.layers import HEADS, LAST, layers
from src.inference.detection_rows import MAX_LOG_SIZE
from src.inference.onnx_builder import Dims, GraphBuilder, row_outputs
from src.weights.layers import Layer


def build(metadata: dict[str, Any], tensors: dict[str, np.ndarray], names: Sequence[str], decode_rows: int = 0,
          **sizes: int) -> Any:
    """Build the graph as an `onnx.ModelProto`.

    Args:
        metadata: of the checkpoint.
        tensors: of the checkpoint, by our names.
        names: of the outputs that are raw maps.
        decode_rows: give so many rows instead of maps, see `_decode`; 0 gives the maps.
        **sizes: batch, height, width where they are fixed.
    """
    options = metadata.get("options", {})
    graph = GraphBuilder(tensors, metadata["input"])
    heads = _network(graph, layers(options.get("head_conv", 64), options.get("activation", "relu6")))
    if decode_rows:
        return graph.finish(row_outputs(_decode(graph, heads, metadata, decode_rows)), metadata, **sizes)
    lengths = graph.constant(np.array(list(HEADS.values()), np.int64))
    heat, *rest = graph.op("Split", heads, lengths, outputs=len(HEADS), axis=1)
    outputs: dict[str, tuple[str, Dims]] = {
        name: (value, ["batch", channels, "rows", "columns"])
        for name, value, channels in zip(names, [graph.activate(heat, "sigmoid"), *rest], HEADS.values())}
    return graph.finish(outputs, metadata, **sizes)


def _network(graph: GraphBuilder, table: Sequence[Layer]) -> str:
    """Add the network to the graph; return its four heads, before the sigmoid, side by side.

    The result is [batch, 15, rows, columns].
    """
    outputs: dict[tuple[str, ...], str] = {(): graph.images()}
    for layer in table:
        if layer.name not in HEADS:
            outputs[(layer.name,)] = graph.conv(_sum(graph, outputs, layer.inputs), layer)
    return graph.heads(outputs[(LAST,)], list(HEADS))


def _sum(graph: GraphBuilder, outputs: dict[tuple[str, ...], str], names: tuple[str, ...]) -> str:
    """Add up these layers' outputs; the sum of all but the last is the output of the block before."""
    if names not in outputs:
        outputs[names] = graph.op("Add", _sum(graph, outputs, names[:-1]), outputs[names[-1:]])
    return outputs[names]


def _decode(graph: GraphBuilder, heads: str, metadata: dict[str, Any], rows: int) -> Sequence[str]:
    """Decode the network's maps to faces in the input's pixels, best first.

    These are boxes [batch, N, 4] xyxy, scores [batch, N] and landmarks [batch, N, 5, 2]; N is the smaller one of `rows`
    and the number of cells. The formulas are those of `decoder.decode_centerface` and `decode_release`. Where the
    metadata's detector takes only peaks, the score of all other cells is 0.
    """
    released = metadata["decoder"] == "centerface_release"
    width = graph.op("Shape", heads, start=3)
    first = graph.op("Slice", heads, *(graph.constant(np.array([each])) for each in (0, 1, 1)))
    heat = graph.activate(first, "sigmoid")
    if metadata.get("detect", {}).get("peaks", True):
        best = graph.op("MaxPool", heat, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        heat = graph.op("Where", graph.op("Equal", heat, best), heat, graph.constant(np.float32(0)))
    scores, cells = graph.best(graph.op("Reshape", heat, graph.constant(np.array([0, -1]))), rows)
    flat = graph.op("Reshape", graph.op("Transpose", heads, perm=[0, 2, 3, 1]),
                    graph.constant(np.array([0, -1, sum(HEADS.values())])))
    _, wh, off, kps = graph.op("Split", graph.rows_of(flat, cells), graph.constant(np.array(list(HEADS.values()))),
                               outputs=len(HEADS), axis=2)
    kps = graph.op("Reshape", kps, graph.constant(np.array([0, 0, LANDMARKS, 2])))
    if released:                                                # y before x
        swap = graph.constant(np.array([1, 0]))
        wh, off, kps = (graph.op("Gather", each, swap, axis=-1) for each in (wh, off, kps))
    # A size is 4 exp(wh) pixels in the release, 4 exp(wh) cells in ours.
    unit = np.float32(CELL if released else CELL * CELL)
    sizes = graph.op("Mul", graph.op("Exp", graph.op("Min", wh, graph.constant(np.float32(MAX_LOG_SIZE)))),
                     graph.constant(unit))
    corner = graph.points(graph.op("Mod", cells, width), graph.op("Div", cells, width))
    moved = graph.op("Add", corner, off)
    if released:
        moved = graph.op("Add", moved, graph.constant(np.float32(0.5)))
    boxes, top_left = graph.boxes(graph.op("Mul", moved, graph.constant(np.float32(CELL))), sizes)
    origin = top_left if released else graph.op("Mul", corner, graph.constant(np.float32(CELL)))
    return boxes, scores, graph.landmarks(origin, kps, sizes)
