# SPDX-License-Identifier: Apache-2.0
"""Read the cell arrays of a MATLAB file, such as the WIDER FACE ground truth, as nested lists.

    content = read_mat("wider_face_val.mat", ["event_list", "file_list", "face_bbx_list"])
    content["event_list"][0]                            # "0--Parade"
    content["file_list"][0][2]                          # name of the third image of the first event
    content["face_bbx_list"][0][2]                      # its boxes, [N, 4]

By hand, for two reasons: scipy's compiled reader can crash the process on damaged bytes, and with NumPy 2 importing it
takes longer than all of eval.py does without.  tests/dependency/test_mat_file.py compares the two.
Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf ("Level 5 MAT-File Format").
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError

HEADER_SIZE = 128
MATRIX, COMPRESSED = 14, 15                         # types of an element
CELL, CHAR, FIRST_NUMERIC, LAST_NUMERIC = 1, 4, 6, 15   # classes of a matrix
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16*", 16: "utf-8", 17: "utf-16*", 18: "utf-32*"}   # *: byte order
COMPLEX = 0x800
MOST_HEAD = 256                                     # bytes of a matrix that hold its name
DEEPEST = 8                                         # cell arrays within cell arrays


def read_mat(path: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Read the named variables of a MATLAB 5 file (`save -v6` or `-v7`).

    Args:
        path: the file.
        names: the variables to read; those that the file does not hold are absent from the result.

    Returns:
        variable -> its value: a cell array as a list (column by column), text as `str`, a matrix as an array.

    Raises:
        InputError: the file is missing, damaged, or of another format, or a variable is neither cell array, text nor
            real matrix.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if data.startswith((b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n")):
        raise InputError(f"{path}: is a MATLAB 7.3 file, which cannot be read: save it with -v7")
    if data[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise InputError(f"{path}: is not a MATLAB 5 file")
    try:
        return _Reader("<" if data[126:128] == b"IM" else ">").variables(data, names)
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: is damaged or not a MATLAB file ({type(error).__name__}: {error})") from error


class _Reader:
    """Reads a file whose numbers are stored in one byte order.

    A file is a list of elements: type and size, 4 bytes each, then the content, filled up to a multiple of 8 bytes.
    The content of a matrix is: flags, shape, name, values; each an element again.
    """

    def __init__(self, order: str):
        self.tag = struct.Struct(order + "II").unpack_from
        self.head = struct.Struct(order + "10I").unpack_from
        self.types = {code: np.dtype(order + name) for code, name in NUMBERS.items()}
        self.texts = {code: name.replace("*", "-le" if order == "<" else "-be") for code, name in TEXTS.items()}

    def variables(self, data: bytes, names: Sequence[str]) -> dict[str, Any]:
        """Read the variables of these names from a whole file."""
        values, position = {}, HEADER_SIZE
        while position < len(data):
            kind, start, size, position = self.element(data, position, len(data))
            if kind == COMPRESSED:
                compressed = data[start:start + size]
                if self.name(zlib.decompressobj().decompress(compressed, MOST_HEAD), 8) in names:
                    content = zlib.decompress(compressed)
                    _, start, size, _ = self.element(content, 0, len(content))
                    values[self.name(content, start)] = self.matrix(content, start, start + size, 0)
            elif kind == MATRIX and self.name(data, start) in names:
                values[self.name(data, start)] = self.matrix(data, start, start + size, 0)
        return values

    def name(self, data: bytes, start: int) -> str:
        """Read the name of the matrix that starts at a position."""
        _, position, size, _ = self.element(data, start + 32, len(data))
        return data[position:position + size].decode("latin-1")

    def element(self, data: bytes, position: int, limit: int) -> tuple[int, int, int, int]:
        """Read the tag at a position: type, start and size of the content, and the position after it."""
        kind, size = self.tag(data, position)
        if kind >> 16:                              # up to 4 bytes of content, within the tag
            kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        else:
            start = position + 8
            end = start + size if kind == COMPRESSED else start + (size + 7 & ~7)
        if start + size > min(limit, end):
            raise ValueError(f"an element of {size} bytes at byte {position} of {limit}")
        return kind, start, size, end

    def matrix(self, data: bytes, start: int, end: int, depth: int) -> Any:
        """Read the cell array, text or real matrix between two positions; nothing there is an empty matrix."""
        if start == end:
            return np.empty((0, 0))
        flags_type, flags_size, flags, _, shape_type, shape_size, rows, columns, name_type, name_size = \
            self.head(data, start)
        if (flags_type, flags_size, shape_type, shape_size) != (6, 8, 5, 8):
            raise ValueError("an array that has not two dimensions")
        position = start + 40
        if name_size or name_type >> 16:
            position = self.element(data, start + 32, end)[3]
        kind = flags & 0xFF
        if kind == CELL:
            if rows * columns * 8 > end - position or depth == DEEPEST:
                raise ValueError(f"{rows} x {columns} cells in {end - position} bytes, {depth} deep")
            cells = []
            for _ in range(rows * columns):
                cell_type, cell, size, position = self.element(data, position, end)
                if cell_type != MATRIX:
                    raise ValueError(f"a cell of type {cell_type}")
                cells.append(self.matrix(data, cell, cell + size, depth + 1))
            return cells
        stored, values, size, _ = self.element(data, position, end)
        if kind == CHAR:
            return data[values:values + size].decode(self.texts[stored])
        dtype = self.types[stored]
        if flags & COMPLEX or not FIRST_NUMERIC <= kind <= LAST_NUMERIC or size != rows * columns * dtype.itemsize:
            raise ValueError(f"{size} bytes for {rows} x {columns} values of class {kind}")
        return np.ndarray((rows, columns), dtype, data, values, order="F")
