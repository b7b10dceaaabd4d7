# SPDX-License-Identifier: Apache-2.0
"""The entries of a MindSpore `.ckpt` file, read and written with the package protobuf, without MindSpore.

    data = encode("hm_head.0.bias", bias);  decode(data)   ->   {"hm_head.0.bias": bias}

The file is MindSpore's protobuf message `Checkpoint`; one that is written with a checksum ends with `crc_num` and the
CRC-32 of all bytes before it, as ten bytes, big-endian. Numbers are little-endian. A text is UTF-32 of the type "str".
A large tensor may be split over several entries of the same tag.
"""
from __future__ import annotations

import math
from functools import cache
from typing import Any, Union

import numpy as np

from src.common.device import share_protobuf

CRC_MARK = b"crc_num"
CRC_SIZE = len(CRC_MARK) + 10
_TYPES = {"Int8": "i1", "UInt8": "u1", "Int16": "<i2", "UInt16": "<u2", "Int32": "<i4", "UInt32": "<u4",
          "Int64": "<i8", "UInt64": "<u8", "Float16": "<f2", "Float32": "<f4", "Float64": "<f8", "Bool": "?",
          "BFloat16": "<u2"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items() if name != "BFloat16"}

Entry = Union[np.ndarray, str]


class DamagedError(Exception):
    """The bytes are not a MindSpore checkpoint, or they were cut off or changed."""


def encode(tag: str, value: Entry) -> bytes:
    """Serialise one entry; the entries of a file follow each other without a separator.

    Raises:
        ValueError: an empty tensor or text, or a type that MindSpore cannot store (a mistake of the program).
    """
    if isinstance(value, str):
        dims, kind, content = [0], "str", value.encode("utf-32-le")
    else:
        dtype = value.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise ValueError(f"{tag}: a MindSpore checkpoint cannot hold the type {value.dtype}")
        dims, kind, content = list(value.shape), _NAMES[dtype], value.astype(dtype, copy=False).tobytes()
    if not content:
        raise ValueError(f"{tag}: a MindSpore checkpoint cannot hold a value without elements")
    message = _message()
    entry = message.value.add(tag=tag)
    entry.tensor.dims.extend(dims)
    entry.tensor.tensor_type = kind
    entry.tensor.tensor_content = content
    return message.SerializeToString()


def decode(data: bytes | memoryview) -> dict[str, Entry]:
    """Parse all entries of a file, in its order; arrays are copies, BFloat16 is widened to float32.

    Args:
        data: the file without the trailing checksum.

    Raises:
        DamagedError: the bytes are not such a message; the text says which entry is wrong.
    """
    message = _message()
    pieces: dict[str, list[Any]] = {}
    try:
        message.ParseFromString(data)
        for entry in message.value:
            pieces.setdefault(entry.tag, []).append(entry)
    except Exception as error:      # protobuf in pure Python raises nearly anything on damaged bytes
        raise DamagedError(" ".join(str(error).split()) or type(error).__name__) from error
    return {tag: _value(tag, entries) for tag, entries in pieces.items()}


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return the float32 numbers of BFloat16 ones, which NumPy does not have; they come as uint16 of any shape."""
    return np.left_shift(bits.astype(np.uint32), np.uint32(16)).view(np.float32)


def _value(tag: str, entries: list[Any]) -> Entry:
    """Join the pieces of one tensor or text."""
    first = entries[0].tensor
    dims, kind = list(first.dims), first.tensor_type
    content = b"".join(entry.tensor.tensor_content for entry in entries)
    if kind == "str":
        try:
            return content.decode("utf-32-le")
        except UnicodeDecodeError as error:
            raise DamagedError(f"{tag!r:.80} is not a text") from error
    if kind not in _TYPES:
        raise DamagedError(f"{tag!r:.80} has the unknown type {kind!r:.80}")
    dtype = np.dtype(_TYPES[kind])
    shape = () if dims == [0] else tuple(dims)               # older MindSpore writes a scalar as dims [0]
    if min(shape, default=0) < 0 or len(content) != dtype.itemsize * math.prod(shape):
        raise DamagedError(f"{tag!r:.80} {list(shape)} {kind} has {len(content)} bytes")
    array = np.frombuffer(content, dtype).reshape(shape)
    return widen_bfloat16(array) if kind == "BFloat16" else array.astype(dtype.newbyteorder("="))


def _message() -> Any:
    """Make an empty `Checkpoint` message."""
    return _message_class()()


@cache
def _message_class() -> Any:
    """Build the class of MindSpore's checkpoint.proto; in a pool of its own, for MindSpore registers the same names."""
    share_protobuf()
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="checkpoint.proto", syntax="proto2")
    checkpoint = file.message_type.add(name="Checkpoint")
    checkpoint.field.add(name="value", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE,
                         type_name=".Checkpoint.Value")
    value = checkpoint.nested_type.add(name="Value")
    value.field.add(name="tag", number=1, label=field.LABEL_REQUIRED, type=field.TYPE_STRING)
    value.field.add(name="tensor", number=2, label=field.LABEL_REQUIRED, type=field.TYPE_MESSAGE,
                    type_name=".TensorProto")
    tensor = file.message_type.add(name="TensorProto")
    tensor.field.add(name="dims", number=1, label=field.LABEL_REPEATED, type=field.TYPE_INT64)
    tensor.field.add(name="tensor_type", number=2, label=field.LABEL_REQUIRED, type=field.TYPE_STRING)
    tensor.field.add(name="tensor_content", number=3, label=field.LABEL_REQUIRED, type=field.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Checkpoint"))
