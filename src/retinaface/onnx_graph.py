# SPDX-License-Identifier: Apache-2.0
"""RetinaFace as an ONNX graph, from the names and shapes of its tensors.

    model = build(metadata, tensors, OUTPUTS)                       # images -> boxes, scores, landmarks of anchors
    model = build(metadata, tensors, OUTPUTS, decode_rows=5000)     # images -> boxes, scores, landmarks of faces

Those of anchors are the MindSpore network's outputs, offsets from the anchors; images may have any sides.
"""
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from src.inference.detection_rows import MAX_LOG_SIZE
from src.inference.onnx_builder import INPUT, GraphBuilder, row_outputs
from src.retinaface.anchors import MIN_SIZES, POINTS, STEPS, VARIANCE
from src.retinaface.layers import ANCHORS_PER_CELL, BACKBONES, HEADS, backbone_layers, detector_layers
from src.weights.layers import Layer

# The order in which `_head` puts an anchor's numbers.
_HEAD_NAMES = ("BboxHead", "ClassHead", "LandmarkHead")
_NUMBERS = tuple(HEADS[name] for name in _HEAD_NAMES)


def build(metadata: dict[str, Any], tensors: dict[str, np.ndarray], names: Sequence[str], decode_rows: int = 0,
          **sizes: int) -> Any:
    """Build the graph as an `onnx.ModelProto`; arguments as CenterFace's `build`."""
    graph = GraphBuilder(tensors, metadata["input"])
    name = metadata.get("options", {}).get("backbone", "resnet50")
    taps = (_resnet50 if name == "resnet50" else _mobilenet025)(graph, backbone_layers(name))
    maps = _pyramid(graph, taps, detector_layers(BACKBONES[name].channels, BACKBONES[name].pyramid_channels))
    flat = [graph.op("Reshape", graph.op("Transpose", each, perm=[0, 2, 3, 1]),
                     graph.constant(np.array([0, -1, sum(_NUMBERS)]))) for each in maps]
    anchors = graph.op("Concat", *flat, axis=1)
    if decode_rows:
        return graph.finish(row_outputs(_decode(graph, anchors, maps, metadata, decode_rows)), metadata, **sizes)
    boxes, scores, landmarks = graph.op("Split", anchors, graph.constant(np.array(_NUMBERS)), outputs=3, axis=2)
    values = boxes, graph.op("Softmax", scores, axis=2), landmarks
    return graph.finish({name: (value, ["batch", "anchors", numbers])
                         for name, value, numbers in zip(names, values, _NUMBERS)}, metadata, **sizes)


def _resnet50(graph: GraphBuilder, table: Sequence[Layer]) -> list[str]:
    """Build ResNet-50 and return its C3, C4 and C5."""
    stem, *rest = table
    x = graph.op("MaxPool", graph.conv(graph.images(), stem), kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    taps = []
    for _, stage in groupby(rest, key=lambda layer: layer.name.split(".")[1]):
        for _, block in groupby(stage, key=lambda layer: layer.name.split(".")[2]):
            *convolutions, last = block
            skip = x
            if "down_sample" in last.name:
                skip = graph.conv(x, last)
            else:
                convolutions.append(last)
            for layer in convolutions:
                x = graph.conv(x, layer)
            x = graph.activate(graph.op("Add", x, skip), "relu")
        taps.append(x)
    return taps[1:]


def _mobilenet025(graph: GraphBuilder, table: Sequence[Layer]) -> list[str]:
    """Build MobileNetV1 and return its C3, C4 and C5, the ends of its three stages."""
    x, taps = graph.images(), []
    for _, stage in groupby(table, key=lambda layer: layer.name.split(".")[1]):
        for layer in stage:
            x = graph.conv(x, layer)
        taps.append(x)
    return taps


def _pyramid(graph: GraphBuilder, taps: Sequence[str], table: Sequence[Layer]) -> list[str]:
    """Add pyramid, context modules and heads; return the heads of each level, [batch, 2 x 16, rows, columns]."""
    layers = {layer.name: layer for layer in table}
    p3, p4, p5 = (graph.conv(each, layers[f"fpn.output{number}.0"]) for number, each in enumerate(taps, start=1))
    p4 = graph.conv(graph.op("Add", p4, _resize_to(graph, p5, p4)), layers["fpn.merge2.0"])
    p3 = graph.conv(graph.op("Add", p3, _resize_to(graph, p4, p3)), layers["fpn.merge1.0"])
    return [_head(graph, _context(graph, each, f"ssh{level + 1}", layers), level)
            for level, each in enumerate((p3, p4, p5))]


def _resize_to(graph: GraphBuilder, x: str, like: str) -> str:
    """Resize by nearest neighbour to the rows and columns of `like`: cell i takes floor(i * in / out)."""
    sizes = graph.op("Concat", graph.op("Shape", x, end=2), graph.op("Shape", like, start=2), axis=0)
    return graph.op("Resize", x, "", "", sizes, mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric")


def _context(graph: GraphBuilder, x: str, name: str, layers: dict[str, Layer]) -> str:
    """Put three views of a level side by side; see `network.SSH`."""
    def conv(y: str, layer: str) -> str:
        return graph.conv(y, layers[f"{name}.{layer}.0"])
    shared = conv(x, "conv5X5_1")
    views = conv(x, "conv3X3"), conv(shared, "conv5X5_2"), conv(conv(shared, "conv7X7_2"), "conv7X7_3")
    return graph.activate(graph.op("Concat", *views, axis=1, name=f"{name}.views"), "relu")


def _head(graph: GraphBuilder, x: str, level: int) -> str:
    """Add the three heads of a level as one convolution; the 16 numbers of an anchor stand together."""
    starts = np.cumsum([0, *(ANCHORS_PER_CELL * numbers for numbers in _NUMBERS)])
    order = [start + anchor * numbers + number for anchor in range(ANCHORS_PER_CELL)
             for start, numbers in zip(starts, _NUMBERS) for number in range(numbers)]
    return graph.heads(x, [f"{name}.{level}.conv1x1" for name in _HEAD_NAMES], order)


def _decode(graph: GraphBuilder, anchors: str, maps: Sequence[str], metadata: dict[str, Any],
            rows: int) -> Sequence[str]:
    """Decode the network's outputs to faces in the input's pixels, best first.

    These are boxes [batch, N, 4] xyxy, scores [batch, N] and landmarks [batch, N, 5, 2]; N is the smaller one of `rows`
    and the number of anchors. The formulas are those of `decoder.decode_retinaface`, in pixels; an anchor's place
    follows from its position among all.
    """
    options = metadata.get("options", {})
    centre_scale, size_scale = options.get("variance", VARIANCE)
    _, conf, _ = graph.op("Split", anchors, graph.constant(np.array(_NUMBERS)), outputs=3, axis=2)
    face = graph.op("Slice", graph.op("Softmax", conf, axis=2),
                    *(graph.constant(np.array([each])) for each in (1, 2, 2)))
    scores, chosen = graph.best(graph.op("Reshape", face, graph.constant(np.array([0, -1]))), rows)
    bbox, _, landm = graph.op("Split", graph.rows_of(anchors, chosen), graph.constant(np.array(_NUMBERS)), outputs=3,
                              axis=2)
    middles, sides = _anchors(graph, chosen, maps)
    if options.get("clip", False):
        whole = graph.floats(graph.op("Gather", graph.op("Shape", INPUT), graph.constant(np.array([2, 1]))))
        middles, sides = graph.op("Min", middles, whole), graph.op("Min", sides, whole)
    shift, log_size = graph.op("Split", bbox, graph.constant(np.array([2, 2])), outputs=2, axis=2)
    unit = graph.op("Mul", sides, graph.constant(np.float32(centre_scale)))
    log_size = graph.op("Min", log_size, graph.constant(np.float32(MAX_LOG_SIZE / size_scale)))
    sizes = graph.op("Mul", sides, graph.op("Exp", graph.op("Mul", log_size, graph.constant(np.float32(size_scale)))))
    boxes, _ = graph.boxes(graph.op("Add", middles, graph.op("Mul", shift, unit)), sizes)
    landm = graph.op("Reshape", landm, graph.constant(np.array([0, 0, POINTS, 2])))
    return boxes, scores, graph.landmarks(middles, landm, unit)


def _anchors(graph: GraphBuilder, chosen: str, maps: Sequence[str]) -> tuple[str, str]:
    """Compute (centres, sides) of the anchors at these positions, each [batch, N, 2] in pixels."""
    per_cell, zero = graph.constant(np.int64(ANCHORS_PER_CELL)), graph.constant(np.int64(0))
    axis, last = graph.constant(np.array([0])), graph.constant(np.array([2]))
    starts, level = [zero], zero
    for each in maps[:-1]:
        cells = graph.op("ReduceProd", graph.op("Shape", each, start=2), keepdims=0)
        starts.append(graph.op("Add", starts[-1], graph.op("Mul", cells, per_cell)))
        # One level further for every position behind its start.
        later = graph.op("Where", graph.op("GreaterOrEqual", chosen, starts[-1]), graph.constant(np.int64(1)), zero)
        level = graph.op("Add", level, later)
    begins = graph.op("Concat", *(graph.op("Unsqueeze", start, axis) for start in starts), axis=0)
    inside = graph.op("Sub", chosen, graph.op("Gather", begins, level))
    cell, kind = graph.op("Div", inside, per_cell), graph.op("Mod", inside, per_cell)
    widths = graph.op("Concat", *(graph.op("Shape", each, start=3) for each in maps), axis=0)
    columns = graph.op("Gather", widths, level)
    corner = graph.points(graph.op("Mod", cell, columns), graph.op("Div", cell, columns))
    step = graph.op("Gather", graph.constant(np.array(STEPS, np.float32)), level)
    side = graph.op("Gather", graph.constant(np.array(MIN_SIZES, np.float32).ravel()),
                    graph.op("Add", graph.op("Mul", level, per_cell), kind))
    middle = graph.op("Add", corner, graph.constant(np.float32(0.5)))
    return graph.op("Mul", middle, graph.op("Unsqueeze", step, last)), graph.op("Unsqueeze", side, last)
