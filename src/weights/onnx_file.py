# SPDX-License-Identifier: Apache-2.0
"""Reading ONNX files that nobody vouches for: what a file may hold, and its metadata.

    model = read_model("centerface.onnx");  metadata = metadata_of(model, "centerface.onnx")

A file is parsed, never executed, before all of it is known to be a plain feed-forward graph of known operators whose
weights lie in the file itself, in the sizes that it declares: it can open no other file and run no code. It can still
ask for much time and memory: what makes much out of little is refused where one operator shows it, but several
together can do the same (additions that broadcast, for example). Whoever runs files of strangers limits the process
(ulimit -v, a container). Needs the package `onnx`.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from dependency.errors import InputError
from src.common.device import share_protobuf
from src.weights.metadata import parse_metadata

# Of the metadata.
METADATA_KEY = "metadata"
# What `GraphBuilder` and quantisation write, and the released network; not Expand, Tile, ConstantOfShape, Range, Pad.
OPERATORS = frozenset(["Add", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "BatchNormalization", "DepthToSpace", "DequantizeLinear", "Div", "Equal", "Exp", "Gather", "GatherND", "GreaterOrEqual", "Identity", "LeakyRelu", "MaxPool", "Min", "Mod", "Mul", "QuantizeLinear", "ReduceProd", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sub", "TopK", "Transpose", "Unsqueeze", "Where"])
_WINDOW_ATTRIBUTES = {"pads", "kernel_shape", "strides", "dilations", "output_padding", "output_shape", "blocksize"}
_LARGEST_WINDOW = 64
_LARGEST_SIDE = 1 << 14
# protobuf reads no larger message.
_LARGEST_FILE = (1 << 31) - 1
_ADVICE = "give a file that export.py wrote, or the authors' centerface.onnx"


def import_onnx() -> ModuleType:
    """The package `onnx`, which is no requirement of training.

    Raises:
        InputError: it is not installed.
    """
    share_protobuf()
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise InputError(f"ONNX files need the package onnx ({error}); type: pip install onnx onnxruntime") from error
    return onnx


def read_model(path: str | Path) -> Any:
    """The `onnx.ModelProto` in a file, all of it looked through.

    Raises:
        InputError: no such file, not ONNX, cut off, with weights outside the file or of other sizes than declared,
            with operators that none of our networks has.
    """
    onnx = import_onnx()
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder, not an ONNX file; give one file")
    if not path.is_file():
        raise InputError(f"{path}: no such ONNX file")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes, more than an ONNX file can have; {_ADVICE}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:      # protobuf in pure Python raises nearly anything on damaged bytes
        raise InputError(f"{path}: not an ONNX file, or cut off or damaged; copy it again") from error
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise InputError(f"{path}: not an ONNX file, or one without a network; {_ADVICE}")
    trouble = next(_troubles(onnx, model), None)
    if trouble:
        raise InputError(f"{path}: {trouble}; {_ADVICE}")
    return model


def metadata_of(model: Any, path: str | Path) -> dict[str, Any] | None:
    """The metadata that travels in the file; None for a file of others.

    Raises:
        InputError: what stands in its place is no metadata.
    """
    found = [each.value for each in model.metadata_props if each.key == METADATA_KEY]
    if not found:
        return None
    return parse_metadata(found[0], path)


def _troubles(onnx: Any, model: Any) -> Iterator[str]:
    """What forbids to run a model, the first of each kind."""
    if model.functions:
        yield "defines functions of its own"
    if model.graph.sparse_initializer:
        yield "holds sparse weights"
    weights = {each.name for each in model.graph.initializer}
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            yield f"the values of {tensor.name} are in another file, which is never read"
        declared, held = _declared(onnx, tensor), _held(onnx, tensor)
        if declared != held:
            yield f"{tensor.name} is declared as {list(tensor.dims)}, but holds {held} bytes"
    for value in model.graph.input:
        sides = [each.dim_value for each in value.type.tensor_type.shape.dim]
        if max(sides, default=0) > _LARGEST_SIDE and value.name not in weights:
            yield f"its input {value.name} is declared as {sides}"
    for node in model.graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            yield f"its operator {node.op_type} is in none of the networks here"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield f"its operator {node.op_type} holds a graph of its own"
            windows = attribute.name in _WINDOW_ATTRIBUTES
            if windows and max([*attribute.ints, attribute.i], default=0) > _LARGEST_WINDOW:
                yield f"{node.op_type} {node.name} has {attribute.name} {list(attribute.ints) or attribute.i}"
        if node.op_type == "Concat" and len(set(node.input)) < len(node.input):
            yield f"Concat {node.name} doubles its input"
        if node.op_type == "Resize" and weights.intersection(node.input[1:]):
            yield f"Resize {node.name} enlarges by a number of its own"


def _tensors(model: Any) -> Iterator[Any]:
    """Every array in the file."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _declared(onnx: Any, tensor: Any) -> int:
    """Bytes that an array of its type and shape takes; -1 for a type or shape that is none of ours."""
    size = _item_size(onnx, tensor)
    return math.prod(tensor.dims) * size if size and all(side >= 0 for side in tensor.dims) else -1


def _held(onnx: Any, tensor: Any) -> int:
    """Bytes of its values that are in the file."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    numbers = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    return sum(map(len, numbers)) * _item_size(onnx, tensor)


def _item_size(onnx: Any, tensor: Any) -> int:
    """Bytes of one number, 0 for an unknown type."""
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        return 0
