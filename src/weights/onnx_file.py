# SPDX-License-Identifier: Apache-2.0
"""Read ONNX files: is a file one, is it valid, and what is its metadata. Needs the package `onnx`.

    model = read_model("centerface.onnx");  metadata = metadata_of(model, "centerface.onnx")

A file is parsed and checked by `onnx.checker`, never executed, and no other file is opened for it. How much time and
memory its graph takes is not limited: whoever runs files of strangers limits the process (ulimit -v, a container).
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from dependency.errors import InputError
from dependency.files import existing_file
from src.common.device import share_protobuf
from src.weights.metadata import METADATA_KEY, OLD_METADATA_KEY, parse_metadata

_FIRST_BYTE = b"\x08"           # field 1 of an ONNX file is a number, that of a .ckpt is not
_LARGEST_FILE = (1 << 31) - 1   # protobuf reads no larger message
_ADVICE = "give a file that export.py wrote, or the authors' centerface.onnx"


def is_onnx(path: str | Path) -> bool:
    """Return True if the path ends with .onnx or is a file that begins like an ONNX file."""
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        return True
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(1) == _FIRST_BYTE


def import_onnx() -> ModuleType:
    """Import the package `onnx`, which training does not need.

    Raises:
        InputError: it is not installed.
    """
    share_protobuf()
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise InputError(f"ONNX files need the package onnx ({error}); type: pip install onnx onnxruntime") from error
    return onnx


def read_model(path: str | Path) -> Any:
    """Read and check an `onnx.ModelProto`.

    Raises:
        InputError: no such file, not ONNX, cut off, not valid, or with weights in another file.
    """
    onnx = import_onnx()
    path = existing_file(path, "an ONNX file")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes, more than an ONNX file can have; {_ADVICE}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
        outside = [tensor.name for tensor in _tensors(model) if tensor.external_data]
        if not outside:
            onnx.checker.check_model(model)
    except Exception as error:      # protobuf in pure Python raises nearly anything on damaged bytes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not an ONNX file, or cut off or damaged ({reason:.200}); {_ADVICE}") from error
    if outside:
        raise InputError(f"{path}: the values of {outside[0]} are in another file, which is never read; {_ADVICE}")
    if not model.graph.output:
        raise InputError(f"{path}: an ONNX file without a network; {_ADVICE}")
    return model


def metadata_of(model: Any, path: str | Path) -> dict[str, Any] | None:
    """Return the metadata in a model; None for a file that another project wrote.

    Raises:
        InputError: the metadata is not valid.
    """
    properties = {each.key: each.value for each in model.metadata_props}
    text = properties.get(METADATA_KEY, properties.get(OLD_METADATA_KEY))
    return None if text is None else parse_metadata(text, path)


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor in a message: weights, attributes of nodes, all of graphs and functions inside it."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in [value] if hasattr(value, "ListFields") else value:
            if field.message_type.name == "TensorProto":
                yield each
            else:
                yield from _tensors(each)
