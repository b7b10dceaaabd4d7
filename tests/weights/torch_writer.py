# SPDX-License-Identifier: Apache-2.0
"""Writes `.pth` files byte by byte, so that their reader is tested without PyTorch.

    write_zip(path, {"weight": np.ones((2, 3), np.float32)});  write_legacy(path, ...)
"""
from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage",
            "int64": "LongStorage", "uint8": "ByteStorage", "bool": "BoolStorage"}


def write_zip(path: Path, tensors: dict[str, np.ndarray], wrap: bool = False, content: bytes | None = None,
              compression: int = zipfile.ZIP_STORED) -> None:
    """The layout since PyTorch 1.6; `content` replaces the pickle, `wrap` puts it under "state_dict"."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("weights/data.pkl", content or state_dict(tensors, False, wrap))
        archive.writestr("weights/byteorder", "little")
        for key, value in enumerate(tensors.values()):
            archive.writestr(f"weights/data/{key}", np.ascontiguousarray(value).tobytes())
        archive.writestr("weights/version", "3\n")


def write_legacy(path: Path, tensors: dict[str, np.ndarray], wrap: bool = False,
                 content: bytes | None = None) -> None:
    """The layout before 1.6: pickles, then each storage with its count."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [content or state_dict(tensors, True, wrap)]
    parts += [pickle.dumps([str(key) for key in range(len(tensors))], 2)]
    for value in tensors.values():
        parts += [value.size.to_bytes(8, "little"), np.ascontiguousarray(value).tobytes()]
    path.write_bytes(b"".join(parts))


def state_dict(tensors: dict[str, np.ndarray], legacy: bool, wrap: bool = False) -> bytes:
    """The pickle of a dict of tensors, their storages called 0, 1, ..."""
    items = b"".join(_plain(name) + tensor(str(key), value, legacy)
                     for key, (name, value) in enumerate(tensors.items()))
    body = b"ccollections\nOrderedDict\n)R(" + items + b"u"
    if wrap:
        body = b"}(" + _plain("epoch") + _plain(7) + _plain("state_dict") + body + b"u"
    return b"\x80\x02" + body + b"."


def tensor(key: str, value: np.ndarray, legacy: bool = False, offset: int = 0, shape: tuple | None = None,
           strides: tuple | None = None) -> bytes:
    """The pickle opcodes of one tensor."""
    if strides is None:
        strides = tuple(step // value.itemsize for step in np.empty(value.shape, value.dtype).strides)
    storage = (b"(" + _plain("storage") + f"ctorch\n{STORAGES[value.dtype.name]}\n".encode() + _plain(key)
               + _plain("cpu") + _plain(value.size) + (b"N" if legacy else b"") + b"tQ")
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _plain(offset)
            + _plain(value.shape if shape is None else shape) + _plain(strides)
            + b"\x89ccollections\nOrderedDict\n)RtR")


def _plain(value: Any) -> bytes:
    """The opcodes of a number, text or tuple, without header, memo or end."""
    if isinstance(value, tuple):
        return b"(" + b"".join(_plain(each) for each in value) + b"t"
    if isinstance(value, str):
        return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()
    return b"J" + value.to_bytes(4, "little", signed=True)
