# SPDX-License-Identifier: Apache-2.0
"""MATLAB files: nested lists out of cell arrays; a file that is damaged or of another format is an InputError."""
import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from dependency.errors import InputError
from dependency.evaluate.mat_file import read_mat
from tests.dependency.mat_files import cells


@pytest.fixture(params=[False, True], ids=["-v6", "-v7"])
def path(request, tmp_path):
    content = {"events": cells(["0--Parade", "人 é"]), "files": cells([["a", "b"], []]),
               "boxes": cells([[np.arange(8).reshape(2, 4), np.uint8([[1]])], [np.empty((0, 4))]]),
               "other": np.arange(6.0)}
    savemat(tmp_path / "a.mat", content, do_compression=request.param)
    return tmp_path / "a.mat"


def test_cells_become_lists(path):
    content = read_mat(path, ["events", "files", "boxes", "absent"])
    assert set(content) == {"events", "files", "boxes"}
    assert content["events"] == ["0--Parade", "人 é"] and content["files"] == [["a", "b"], []]
    assert [[matrix.shape for matrix in event] for event in content["boxes"]] == [[(2, 4), (1, 1)], [(0, 4)]]
    np.testing.assert_array_equal(content["boxes"][0][0], np.arange(8).reshape(2, 4))


def test_numbers_are_those_of_scipy(tmp_path):
    rng, kinds = np.random.default_rng(0), ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
    content = {f"v{kind}{rows}": rng.integers(0, 99, (rows, 4)).astype(kind) for kind in kinds for rows in (0, 1, 7)}
    content = {name: cells([[value]]) for name, value in content.items()}
    savemat(tmp_path / "a.mat", content)
    for name, ((matrix,),) in read_mat(tmp_path / "a.mat", list(content)).items():
        expected = loadmat(tmp_path / "a.mat", variable_names=[name])[name][0, 0][0, 0]
        np.testing.assert_array_equal(matrix, expected, strict=True)


@pytest.mark.parametrize("content", [np.array([[1 + 2j]]), np.zeros((2, 2, 2)), {"a": 1}, np.array([[True]])],
                         ids=["complex", "three dimensions", "struct", "logical"])
def test_other_classes_are_refused_or_numbers(tmp_path, content):
    savemat(tmp_path / "a.mat", {"v": cells([content])})
    if isinstance(content, np.ndarray) and content.dtype == bool:
        assert read_mat(tmp_path / "a.mat", ["v"])["v"] == [[[1]]]
        return
    with pytest.raises(InputError, match="a.mat"):
        read_mat(tmp_path / "a.mat", ["v"])


def test_changed_bytes_never_end_in_another_error(path):
    whole, rng, refused = bytearray(path.read_bytes()), np.random.default_rng(0), 0
    for _ in range(1000):
        changed = bytearray(whole)
        for position in rng.integers(124, len(whole), rng.integers(1, 4)):
            changed[position] = rng.choice([0, 1, 14, 15, 127, 255, rng.integers(256)])
        path.write_bytes(changed[:rng.integers(100, len(whole))] if rng.random() < 0.1 else changed)
        try:
            read_mat(path, ["events", "files", "boxes"])
        except InputError:
            refused += 1
    assert 100 < refused < 1000


def test_a_compressed_file_with_a_changed_byte(tmp_path):
    path, rng = tmp_path / "a.mat", np.random.default_rng(0)
    savemat(path, {"boxes": cells([[rng.integers(0, 99, (30, 4))]])}, do_compression=True)
    whole = path.read_bytes()
    for position in range(150, len(whole), 5):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1:])
        with pytest.raises(InputError, match="a.mat"):
            read_mat(path, ["boxes"])


@pytest.mark.parametrize("content", [
    b"", b"PK\x03\x04" * 50, b"<html>not found</html>", b"\x89HDF\r\n\x1a\n".ljust(200),
    b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM".ljust(400),
    b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, 99),
    b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, 4) + b"abcd", None,
], ids=["empty", "zip", "page", "HDF5", "7.3", "cut off", "not zlib", "missing"])
def test_other_files(tmp_path, content):
    path = tmp_path / "a.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="a.mat"):
        read_mat(path, ["events"])
