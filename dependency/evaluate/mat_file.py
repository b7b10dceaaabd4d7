# SPDX-License-Identifier: Apache-2.0
"""Reading the lists of WIDER FACE from MATLAB's version 5 files (`save -v6` and `-v7`): cells of text and numbers.

    lists = read_mat("wider_face_val.mat", ("event_list", "file_list", "face_bbx_list"))
    lists["event_list"][0]                              # "0--Parade"
    lists["file_list"][0][2]                            # the third image of the first event
    lists["face_bbx_list"][0][2]                        # its boxes [N, 4]
    lists["face_bbx_list"].values                       # all boxes of all images at once, see `Matrices`

Only the variables asked for are unpacked, by NumPy and the standard library: `scipy.io` reads the same, but its
import takes longer than the rest of an evaluation, and damaged bytes can crash it.  The layout is MathWorks'
"MAT-File Format", chapter 1, "Level 5 MAT-File Format".
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

import numpy as np

HEADER_SIZE = 128
MATRIX, COMPRESSED = 14, 15
CELL, CHAR, FIRST_NUMERIC, LAST_NUMERIC, COMPLEX = 1, 4, 6, 15, 0x800
STORED = {kind: np.dtype(f"<{code}") for kind, code in
          {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}.items()}
TEXT = {1: "ascii", 2: "utf-8", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
TAG = struct.Struct("<II")
# A matrix begins with its tag, flags (tag, class, sparse size), dimensions (tag, rows, columns) and name (tag, empty
# within cells); then come the tag of the numbers or letters, or the first cell.
START = struct.Struct("<14I")


@dataclass(frozen=True)
class Matrices:
    """The matrices of a cell array of cell arrays, such as one per image of every event.

    values: [V] float64, one matrix after the other, each column by column.
    rows, columns: [M] int64, the shape of each matrix.
    groups: [G] how many matrices each outer cell holds.
    """
    values: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    groups: list[int]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, group: int) -> list[np.ndarray]:
        """The matrices [rows, columns] of one outer cell."""
        begin = sum(self.groups[:range(len(self.groups))[group]])
        part = slice(begin, begin + self.groups[group])
        sizes = self.rows * self.columns
        ends = accumulate(sizes[part].tolist(), initial=int(sizes[:begin].sum()))
        return [self.values[start:end].reshape(shape, order="F")
                for shape, (start, end) in zip(zip(self.rows[part], self.columns[part]), _pairs(list(ends)))]


def read_mat(path: str | Path, names: Iterable[str]) -> dict[str, list | Matrices]:
    """The named variables of a file; those that it does not hold are absent.

    A cell array of text, or of cell arrays of text, becomes a list of `str` or of such lists, column by column; a
    cell array of cell arrays of real matrices becomes `Matrices`, and so does one that holds nothing.

    Raises:
        ValueError: the file is no MATLAB 5 file or is damaged, or a variable holds something else.
    """
    data, names, found = Path(path).read_bytes(), set(names), {}
    if data.startswith((b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n")):
        raise ValueError("MATLAB 7.3 format: save it with -v7")
    if data[124:128] != b"\x00\x01IM":
        raise ValueError("not a little-endian MATLAB 5 file")
    try:
        for kind, content in _elements(data):
            name = _name(zlib.decompressobj().decompress(content, 256) if kind == COMPRESSED else content)
            if name in names:
                # The tail lets a matrix be looked at that ends before its start is complete.
                found[name] = _lists((zlib.decompress(content) if kind == COMPRESSED else content) + bytes(START.size))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"damaged: {error}") from error
    return found


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The variables of a file: kind, and the matrix with its tag or the compressed bytes without."""
    position = HEADER_SIZE
    while position < len(data):
        kind, size = TAG.unpack_from(data, position)
        end = position + 8 + size
        if end > len(data):
            raise ValueError(f"cut off: {end} bytes expected, {len(data)} found")
        if kind in (MATRIX, COMPRESSED):
            yield kind, data[position:end] if kind == MATRIX else data[position + 8:end]
        position = end


def _name(matrix: bytes) -> str:
    """The variable's name; `matrix` is the beginning of a matrix with its tag."""
    kind, size = TAG.unpack_from(matrix, 40)
    return (matrix[44:44 + (kind >> 16)] if kind >> 16 else matrix[48:48 + size]).decode("ascii")


def _cells(data: bytes, start: int, limit: int) -> list[int]:
    """Where the cells of the cell array at `start` begin, and where the last one ends."""
    matrix, size, _, flags, kind, _, _, sizes, rows, columns, name, name_size, _, _ = START.unpack_from(data, start)
    end = start + 8 + size
    if matrix != MATRIX or flags != 8 or sizes != 8 or kind & 0xFF != CELL or end > limit:
        raise ValueError("damaged, or not a cell array of two dimensions")
    position = start + 48 + (0 if name >> 16 else name_size + 7 & ~7)
    if rows * columns > size // 8:
        raise ValueError("damaged: more cells than bytes")
    positions = [position]
    for _ in range(rows * columns):
        matrix, size = TAG.unpack_from(data, position)
        position += 8 + size + 7 & ~7
        if matrix != MATRIX or position > end:
            raise ValueError("damaged: a cell is not an array, or ends early")
        positions.append(position)
    return positions


def _lists(data: bytes) -> list | Matrices:
    """What the cell array at the beginning of `data` holds."""
    outer = _cells(data, 0, len(data) - START.size)
    inner = [_cells(data, start, end) if data[start + 16] == CELL and TAG.unpack_from(data, start)[1] else None
             for start, end in _pairs(outer)]
    leaves = chain.from_iterable(outer[place:place + 1] if cells is None else cells[:-1]
                                 for place, cells in enumerate(inner))
    first = next((start for start in leaves if TAG.unpack_from(data, start)[1]), None)
    if first is not None and data[first + 16] == CHAR:
        return [_text(data, start, end) if cells is None else [_text(data, *ends) for ends in _pairs(cells)]
                for (start, end), cells in zip(_pairs(outer), inner)]
    return _matrices(data, outer, inner)


def _text(data: bytes, start: int, end: int) -> str:
    _, size, _, flags, kind, _, _, sizes, _, _, _, name, stored, length = START.unpack_from(data, start)
    begin = start + 56
    if stored >> 16:                                # up to four bytes stand within the tag itself
        begin, length, stored = begin - 4, stored >> 16, stored & 0xFFFF
    if not size or flags != 8 or sizes != 8 or name or kind & 0xFF != CHAR or stored not in TEXT \
            or begin + length > end:
        raise ValueError("damaged, or not text")
    return str(data[begin:begin + length], TEXT[stored])


def _matrices(data: bytes, outer: list[int], inner: list[list[int] | None]) -> Matrices:
    if any(cells is None and TAG.unpack_from(data, start)[1] for start, cells in zip(outer, inner)):
        raise ValueError("damaged, or not cell arrays of matrices")
    inner = [cells or [0] for cells in inner]       # an empty cell holds no matrix
    ends = [end for cells in inner for end in cells[1:]]
    starts = np.array([start for cells in inner for start in cells[:-1]], np.int64)
    words = np.frombuffer(data, "<u4", len(data) // 4)[starts[:, None] // 4 + np.arange(14)].astype(np.int64)
    filled, small = words[:, 1] > 0, words[:, 12] >> 16 > 0
    rows, columns = (np.where(filled, words[:, column], 0) for column in (8, 9))
    stored = np.where(small, words[:, 12] & 0xFFFF, words[:, 12])
    length = np.where(small, words[:, 12] >> 16, words[:, 13])
    begin = starts + np.where(small, 52, 56)
    kind, item = words[:, 4] & 0xFF, np.zeros(len(starts), np.int64)
    for code, dtype in STORED.items():
        item[stored == code] = dtype.itemsize
    good = ((words[:, [3, 7, 11]] == (8, 8, 0)).all(axis=1) & (kind >= FIRST_NUMERIC) & (kind <= LAST_NUMERIC)
            & (words[:, 4] & COMPLEX == 0) & (item > 0) & (rows * columns.astype(float) <= len(data))
            & (length == rows * columns * item) & (begin + length <= ends))
    if not (good | ~filled).all():
        raise ValueError("damaged, or not real matrices of two dimensions")
    return Matrices(_values(data, begin, stored, rows * columns), rows, columns, [len(cells) - 1 for cells in inner])


def _values(data: bytes, begin: np.ndarray, stored: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers of matrices that begin at the bytes `begin`, in one array."""
    values, first = np.empty(counts.sum()), np.cumsum(counts) - counts
    for kind in set(stored[counts > 0].tolist()):
        dtype, chosen = STORED[kind], np.flatnonzero((stored == kind) & (counts > 0))
        size = counts[chosen]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        source = np.frombuffer(data, dtype, len(data) // dtype.itemsize)
        values[np.repeat(first[chosen], size) + within] = source[
            np.repeat(begin[chosen] // dtype.itemsize, size) + within]
    return values


def _pairs(positions: list[int]) -> Iterator[tuple[int, int]]:
    return zip(positions, positions[1:])
