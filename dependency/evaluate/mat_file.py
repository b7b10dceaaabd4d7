# SPDX-License-Identifier: Apache-2.0
"""Read the cell arrays of a MATLAB file, such as the WIDER FACE ground truth, as nested lists.

    content = read_mat("wider_face_val.mat", ["event_list", "file_list", "face_bbx_list"])
    content["event_list"][0]                            # "0--Parade"
    content["file_list"][0][2]                          # name of the third image of the first event
    content["face_bbx_list"][0][2]                      # its boxes, [N, 4]
"""
from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError

HEADER_SIZE = 128
COMPRESSED = 15


def read_mat(path: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Read the named variables of a MATLAB 5 file (`save -v6` or `-v7`).

    Args:
        path: the file.
        names: the variables to read; those that the file does not hold are absent from the result.

    Returns:
        variable -> its value: a cell array as a list (column by column), text as `str`, a matrix as an array.

    Raises:
        InputError: the file is missing, damaged, or of another format.
    """
    from scipy.io import loadmat  # importing it takes longer than reading the files

    try:
        content = loadmat(io.BytesIO(_decompress(Path(path).read_bytes())), variable_names=list(names))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except NotImplementedError as error:
        raise InputError(f"{path}: is a MATLAB 7.3 file, which cannot be read: save it with -v7") from error
    except Exception as error:          # on damaged bytes scipy raises almost anything
        raise InputError(f"{path}: is damaged or not a MATLAB file ({type(error).__name__}: {error})") from error
    return {name: _as_lists(content[name]) for name in names if name in content}


def _decompress(data: bytes) -> bytes:
    """Unpack the compressed variables of a MATLAB 5 file, which proves that all of it is there and undamaged.

    The file is 128 bytes of header and then variables, each with a type, a size in bytes and the content.  Without
    this check scipy would read damaged bytes as far as they go, and may crash on them.
    """
    parts, position = [data[:HEADER_SIZE]], HEADER_SIZE
    order = ">" if data[126:128] == b"MI" else "<"
    while position < len(data) and data.startswith(b"MATLAB 5.0"):
        kind, size = struct.unpack_from(f"{order}II", data, position)
        end = position + 8 + size
        if end > len(data):
            raise ValueError(f"cut off: {end} bytes expected, {len(data)} found")
        parts.append(zlib.decompress(data[position + 8:end]) if kind == COMPRESSED else data[position:end])
        position = end
    return b"".join(parts) if len(parts) > 1 else data


def _as_lists(value: np.ndarray) -> Any:
    """Turn a variable as scipy gives it into lists, texts and arrays."""
    if value.dtype == object:
        return [_as_lists(cell) for cell in value.ravel("F")]
    if value.dtype.kind == "U":
        return "".join(value.ravel())
    return value
