# SPDX-License-Identifier: Apache-2.0
"""The bytes of a MindSpore `.ckpt` file: a protobuf message, read and written without MindSpore or protobuf.

    data = b"".join(encode_entry("hm_head.0.bias", bias)); dict(decode(data))   ->   {"hm_head.0.bias": bias}

The message: Checkpoint { repeated Value { tag = 1; tensor = 2 { repeated int64 dims = 1; tensor_type = 2;
tensor_content = 3 } } }; behind it, if the writer wished, `crc_num` and the CRC-32 of all before as ten
bytes, big-endian. Numbers are little-endian; a text is UTF-32 of type "str"; a large tensor may be cut over
Values of the same tag.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Union

import numpy as np

CRC_MARK = b"crc_num"
CRC_SIZE = len(CRC_MARK) + 10
_TYPES = {"Int8": "i1", "UInt8": "u1", "Int16": "<i2", "UInt16": "<u2", "Int32": "<i4", "UInt32": "<u4",
          "Int64": "<i8", "UInt64": "<u8", "Float16": "<f2", "Float32": "<f4", "Float64": "<f8", "Bool": "?"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}

Entry = Union[np.ndarray, str]


class DamagedError(Exception):
    """The bytes are no MindSpore checkpoint, or one that was cut or changed."""


def encode_entry(tag: str, value: Entry) -> list[bytes]:
    """One Value message as byte pieces to be written one after the other.

    Raises:
        ValueError: an empty tensor or text, or a type that MindSpore cannot store (a mistake of the program).
    """
    if isinstance(value, str):
        dims, kind, content = [0], "str", value.encode("utf-32-le")
    else:
        if value.dtype.newbyteorder("<") not in _NAMES:
            raise ValueError(f"{tag}: a MindSpore checkpoint cannot hold the type {value.dtype}")
        dims, kind = list(value.shape), _NAMES[value.dtype.newbyteorder("<")]
        content = np.asarray(value, value.dtype.newbyteorder("<")).tobytes()
    if not content:
        raise ValueError(f"{tag}: a MindSpore checkpoint cannot hold a value without elements")
    head = b"".join(b"\x08" + _varint(size) for size in dims)
    head += _block(2, kind.encode()) + _key(3, len(content))
    tag_block = _block(1, tag.encode())
    tensor_size = len(head) + len(content)
    tensor_key = _key(2, tensor_size)
    return [_key(1, len(tag_block) + len(tensor_key) + tensor_size) + tag_block + tensor_key + head, content]


def decode(data: bytes | memoryview) -> Iterator[tuple[str, Entry]]:
    """Yield (tag, value) in file order; the arrays are copies, BFloat16 is widened to float32.

    Args:
        data: the file without the trailing checksum.

    Raises:
        DamagedError: the bytes are not such a message; the text says where.
    """
    pending: list = []                                       # [tag, dims, type, pieces] not finished yet
    for field, block, position in _fields(memoryview(data), 0):
        if field != 1 or not isinstance(block, memoryview):
            raise DamagedError(f"unexpected content at byte {position}")
        tag, dims, kind, content = _value(block, position)
        if pending and pending[0] == tag:
            pending[3].append(content)
            continue
        if pending:
            yield pending[0], _entry(*pending)
        pending = [tag, dims, kind, [content]]
    if pending:
        yield pending[0], _entry(*pending)


def _entry(tag: str, dims: list[int], kind: str, pieces: list[memoryview]) -> Entry:
    """Join the pieces of one tensor or text."""
    content = b"".join(pieces)
    if kind == "str":
        try:
            return content.decode("utf-32-le")
        except UnicodeDecodeError as error:
            raise DamagedError(f"{tag} is not a text") from error
    if kind not in _TYPES and kind != "BFloat16":
        raise DamagedError(f"{tag} has the unknown type {kind!r}")
    dtype = np.dtype("<u2" if kind == "BFloat16" else _TYPES[kind])
    shape = () if dims == [0] else tuple(dims)               # older MindSpore writes a scalar as dims [0]
    if len(content) != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise DamagedError(f"{tag} {list(shape)} {kind} has {len(content)} bytes")
    array = np.frombuffer(content, dtype).reshape(shape)
    if kind == "BFloat16":
        return np.left_shift(array.astype(np.uint32), np.uint32(16)).view(np.float32)
    return array.astype(dtype.newbyteorder("="))


def _value(block: memoryview, start: int) -> tuple[str, list[int], str, memoryview]:
    """Take apart one Value message."""
    parts = {field: content for field, content, _ in _fields(block, start)}
    if 3 in parts:
        raise DamagedError(f"a map parameter at byte {start}, which this project has no use for")
    if not all(isinstance(parts.get(field), memoryview) for field in (1, 2)):
        raise DamagedError(f"unexpected content at byte {start}")
    dims: list[int] = []
    tensor: dict = {}
    for field, content, position in _fields(parts[2], start):
        if field == 1:
            dims += [content] if isinstance(content, int) else _packed(content, position)
        else:
            tensor[field] = content
    if not all(isinstance(tensor.get(field), memoryview) for field in (2, 3)):
        raise DamagedError(f"unexpected content at byte {start}")
    try:
        return bytes(parts[1]).decode(), dims, bytes(tensor[2]).decode(), tensor[3]
    except UnicodeDecodeError as error:
        raise DamagedError(f"a name that is not UTF-8 at byte {start}") from error


def _fields(data: memoryview, start: int) -> Iterator[tuple[int, int | memoryview, int]]:
    """Yield (field number, varint or bytes, position in the file) of one message that begins at `start`."""
    position = 0
    while position < len(data):
        begin = start + position
        key, position = _read_varint(data, position, start)
        number, position = _read_varint(data, position, start)
        if key & 7 == 0:
            yield key >> 3, number, begin
        elif key & 7 == 2:
            if position + number > len(data):
                raise DamagedError(f"the entry at byte {begin} is cut off")
            yield key >> 3, data[position:position + number], begin
            position += number
        else:
            raise DamagedError(f"unexpected content at byte {begin}")


def _packed(data: memoryview, start: int) -> list[int]:
    numbers, position = [], 0
    while position < len(data):
        number, position = _read_varint(data, position, start)
        numbers.append(number)
    return numbers


def _read_varint(data: memoryview, position: int, start: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise DamagedError(f"the file ends inside the entry at byte {start}")
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise DamagedError(f"unexpected content at byte {start + position}")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _key(field: int, size: int) -> bytes:
    return _varint(field << 3 | 2) + _varint(size)


def _block(field: int, content: bytes) -> bytes:
    return _key(field, len(content)) + content
