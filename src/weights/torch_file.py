# SPDX-License-Identifier: Apache-2.0
"""Read the tensors of a PyTorch `.pth` file without PyTorch and without running anything in the file.

    read_tensors("mobilenet_v2-b0353104.pth")["features.0.0.weight"].shape   ->   (32, 3, 3, 3)

Written by hand because PyTorch is a download of more than 2 GB for a conversion that is done once. A `.pth` is a
pickle, and unpickling a stranger's file can run any program: here a pickle may only build dicts, lists, numbers, texts
and tensors, and everything else that it names is refused. Both layouts of `torch.save` are read: the zip archive (since
PyTorch 1.6) and the older stream of pickles followed by raw storages.
"""
from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Callable, Literal, NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.files import existing_file
from src.weights.ckpt_format import widen_bfloat16

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bf16",
             "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
             "ByteStorage": "u1", "BoolStorage": "?"}
# Where training scripts keep the weights beside the epoch and the optimizer.
_WRAPPERS = ("state_dict", "model", "net", "model_state_dict")


class _RefusedError(Exception):
    """The pickle names something that weights do not need; the text says what."""


class _Storage(NamedTuple):
    """A flat array of numbers stored beside the pickle; a tuple, because no pickle can alter it once it is checked."""
    key: str
    code: str
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, offset and strides in elements. A tuple for the same reason."""
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


def is_torch_file(path: str | Path) -> bool:
    """Return True if the file begins like a PyTorch file (a zip archive or a pickle)."""
    with open(path, "rb") as file:
        head = file.read(4)
    return head == b"PK\x03\x04" or head[:2] == b"\x80\x02"


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read the state dict of a `.pth` file, arrays by name, also where it is nested under `state_dict` or the like.

    BFloat16 is widened to float32. Entries that are no tensors (epoch, optimizer) are left out.

    Raises:
        InputError: no such file, not written by torch.save, damaged, a whole pickled model, or a pickle that
            names anything but tensors.
    """
    path = existing_file(path, "a .pth file")
    file = io.BytesIO(path.read_bytes())
    try:
        content, storages = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        return {name: _array(tensor, storages) for name, tensor in _state_dict(content).items()}
    except _RefusedError as error:
        raise InputError(f"{path}: refused, nothing of it was run: {error}. Only tensors are read; in "
                         f"PyTorch save the weights alone: torch.save(model.state_dict(), FILE)") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError, IndexError,
            AttributeError, ImportError, RuntimeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a whole PyTorch file ({reason:.200}); copy or download it again") from error


class _Unpickler(pickle.Unpickler):
    """Builds plain containers and `_Tensor`s; only the names listed in `find_class` are resolved."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        builders = {"_rebuild_tensor": self._rebuild, "_rebuild_tensor_v2": self._rebuild,
                    "_rebuild_parameter": self._unwrap}
        if module == "torch._utils" and name in builders:
            return builders[name]
        raise _RefusedError(f"it names {f'{module}.{name}'!r:.80}")

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise _RefusedError(f"it holds a whole model, not only weights ({pid!r:.60})")
        if len(pid) > 5 and pid[5] is not None:
            raise _RefusedError("it holds views of storages in PyTorch's oldest format")
        _, code, key, _, size = pid[:5]
        if code not in _STORAGES.values() or not isinstance(size, int) or size < 0:
            raise ValueError("a storage without type or size")
        return _Storage(str(key), code, size)

    def _rebuild(self, storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
        """Replace `torch._utils._rebuild_tensor(_v2)`; gradients and hooks are ignored."""
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or len(shape) != len(strides) \
                or not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError("a tensor without storage, shape or strides")
        last = -1 if 0 in shape else offset + sum((size - 1) * step for size, step in zip(shape, strides))
        if last >= storage.size or math.prod(shape) > storage.size:
            raise ValueError("a tensor reaches beyond its storage")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    def _unwrap(self, tensor: _Tensor, *_: Any) -> _Tensor:
        """Replace `torch._utils._rebuild_parameter`."""
        return tensor


def _read_zip(file: BinaryIO) -> tuple[Any, Callable[[_Storage], np.ndarray]]:
    """Read (unpickled content, reader of a storage) of the zip layout."""
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive without one data.pkl")
        folder = pickles[0][:-len("data.pkl")]
        if f"{folder}constants.pkl" in names:
            raise _RefusedError("it is a TorchScript program, not weights")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("a compressed zip archive, which torch.save does not write")
        content = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()
        is_big = f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") == b"big"
        contents: dict[str, bytes] = {}
        for storage in _storages_of(content):
            entry = archive.getinfo(f"{folder}data/{storage.key}")
            if entry.file_size != storage.size * _item_size(storage.code):
                raise ValueError(f"storage {storage.key} has {entry.file_size} bytes")
            contents[storage.key] = archive.read(entry)
    return content, lambda storage: _numbers(contents[storage.key], storage.code, "big" if is_big else "little")


def _read_legacy(file: BinaryIO) -> tuple[Any, Callable[[_Storage], np.ndarray]]:
    """Read (unpickled content, reader of a storage) of the older layout."""
    file.seek(0)
    if file.read(2) != b"\x80\x02":
        raise ValueError("it begins neither like a zip archive nor like a pickle")
    file.seek(0)
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("a pickle that torch.save did not write")
    _Unpickler(file).load()                                          # version of the protocol
    system = _Unpickler(file).load()
    order: Literal["little", "big"] = "little" if system.get("little_endian", True) else "big"
    content = _Unpickler(file).load()
    storages = {storage.key: storage for storage in _storages_of(content)}
    contents: dict[str, bytes] = {}
    for key in _Unpickler(file).load():
        storage = storages.get(str(key))
        size = int.from_bytes(file.read(8), order)
        if storage is None or size != storage.size:
            raise ValueError(f"storage {key} has {size} numbers")
        contents[storage.key] = file.read(size * _item_size(storage.code))
        if len(contents[storage.key]) != size * _item_size(storage.code):
            raise ValueError("it ends early")
    return content, lambda storage: _numbers(contents[storage.key], storage.code, order)


def _state_dict(content: Any) -> dict[str, _Tensor]:
    """Select the dict of tensors in what was unpickled."""
    wrapped = [content[key] for key in _WRAPPERS if isinstance(content, dict) and key in content]
    for candidate in (*wrapped, content):
        tensors = ({str(name): value for name, value in candidate.items() if isinstance(value, _Tensor)}
                   if isinstance(candidate, dict) else {})
        if tensors:
            return tensors
    raise ValueError("no tensors in it")


def _storages_of(content: Any) -> list[_Storage]:
    """List all storages of tensors in nested dicts, lists and tuples (the stream holds the optimizer's too)."""
    storages, todo = {}, [content]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if isinstance(each, _Tensor):
            storages[each.storage.key] = each.storage
        elif isinstance(each, (dict, list, tuple)) and id(each) not in seen:
            seen.add(id(each))
            todo.extend(each.values() if isinstance(each, dict) else each)
    return list(storages.values())


def _array(tensor: _Tensor, storages: Callable[[_Storage], np.ndarray]) -> np.ndarray:
    """Copy a tensor out of its storage; bounds were checked when it was built."""
    flat = storages(tensor.storage)[tensor.offset:]
    if 0 in tensor.shape:
        return np.empty(tensor.shape, flat.dtype)
    steps = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, steps).copy()


def _numbers(data: bytes, code: str, order: Literal["little", "big"]) -> np.ndarray:
    """Convert a storage's bytes to a flat array in this machine's byte order."""
    dtype = np.dtype("u2" if code == "bf16" else code).newbyteorder(order)
    flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    return widen_bfloat16(flat) if code == "bf16" else flat


def _item_size(code: str) -> int:
    return 2 if code == "bf16" else np.dtype(code).itemsize
