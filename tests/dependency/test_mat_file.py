# SPDX-License-Identifier: Apache-2.0
"""MATLAB files: the same as scipy reads, whatever the layout; damage of any kind is a ValueError."""
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from dependency.evaluate.mat_file import read_mat


def cells(values):
    """A column of MATLAB cells."""
    column = np.empty((len(values), 1), object)
    for row, value in enumerate(values):
        column[row, 0] = value
    return column


def random_content(rng):
    """Texts, texts in cells and matrices in cells, of every type that MATLAB stores whole numbers in."""
    types = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.uint64, np.float32, np.float64]
    groups = [[rng.integers(0, 100, rng.integers(0, 5, 2)).astype(types[rng.integers(len(types))])
               for _ in range(rng.integers(0, 5))] for _ in range(rng.integers(1, 5))]
    words = ["a", "abcde", "0--Parade", "人 é"]
    return {"events": cells([words[rng.integers(4)] for _ in groups]), "other": np.arange(6.0),
            "files": cells([cells([words[rng.integers(4)] for _ in group]) for group in groups]),
            "boxes": cells([cells(group) for group in groups])}


@pytest.mark.parametrize("compressed", [False, True])
def test_equals_scipy(tmp_path, compressed):
    rng, path = np.random.default_rng(int(compressed)), tmp_path / "a.mat"
    for _ in range(60):
        savemat(path, random_content(rng), do_compression=compressed)
        expected = loadmat(path)
        found = read_mat(path, ("events", "files", "boxes", "absent"))
        assert found["events"] == [str(cell[0]) for cell in expected["events"].ravel()]
        files = [[str(cell[0]) for cell in group.ravel()] for group in expected["files"].ravel()]
        assert list(found["files"]) == files and isinstance(found["files"], list) == any(files)
        matrices = [matrix for group in expected["boxes"].ravel() for matrix in group.ravel()]
        boxes = found["boxes"]
        assert boxes.groups == [group.size for group in expected["boxes"].ravel()] and "absent" not in found
        assert list(zip(boxes.rows, boxes.columns)) == [matrix.shape for matrix in matrices]
        np.testing.assert_array_equal(
            boxes.values, np.concatenate([np.empty(0), *(matrix.ravel("F") for matrix in matrices)]))
        for group, same in zip(boxes, expected["boxes"].ravel()):
            assert all(np.array_equal(one, other) for one, other in zip(group, same.ravel()))
        assert [len(boxes[place]) for place in range(-len(boxes), 0)] == boxes.groups


def test_real_files_equal_scipy(shared_data):
    for path in sorted((shared_data / "wider" / "ground_truth").glob("*.mat")):
        key = "face_bbx_list" if "face" in path.name else "gt_list"
        expected, found = loadmat(path), read_mat(path, ("event_list", "file_list", key))
        assert found["event_list"] == [str(cell[0]) for cell in expected["event_list"].ravel()]
        assert found["file_list"] == [[str(name[0]) for name in event.ravel()]
                                      for event in expected["file_list"].ravel()]
        matrices = [matrix for event in expected[key].ravel() for matrix in event.ravel()]
        assert [matrix.shape[0] for matrix in matrices] == found[key].rows.tolist()
        np.testing.assert_array_equal(found[key].values, np.concatenate([matrix.ravel("F") for matrix in matrices]))


@pytest.mark.parametrize("content, text", [
    (b"", "not a little-endian MATLAB 5 file"), (b"PK\x03\x04" * 50, "not a little-endian MATLAB 5"),
    (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI", "not a little-endian"),
    (b"MATLAB 7.3 MAT-file".ljust(600), "save it with -v7"), (b"\x89HDF\r\n\x1a\n".ljust(200), "save it with -v7"),
    (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, 99), "cut off: 235 bytes expected"),
    (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, 4) + b"abcd", "damaged: "),
], ids=["empty", "zip", "big-endian", "7.3", "HDF5", "cut off", "not zlib"])
def test_other_files(tmp_path, content, text):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        read_mat(path, ("events",))


@pytest.mark.parametrize("value", [
    np.arange(4.0), "text", {"a": 1}, cells([np.arange(3.0) + 1j]), cells([cells([1j])]),
    cells([cells([cells([1.0])])]), cells([cells([np.ones((2, 2, 2))])]),
    cells([1.0]), cells([cells([{"a": 1}])]), cells([cells([1.0]), cells(["a"])]), cells([cells([1.0]), "a"]),
    cells(["a", cells([1.0])]), cells(["a", 1.0]), cells([cells([cells(["a"])])])],
    ids=["matrix", "text", "struct", "complex cell", "complex matrix", "deeper", "3-D", "matrix cell", "structs",
         "then text", "then a text", "text, then matrices", "text, then a matrix", "deeper text"])
def test_what_is_no_list_of_matrices_or_texts(tmp_path, value):
    savemat(tmp_path / "a.mat", {"boxes": value})
    with pytest.raises(ValueError, match="damaged, or not "):
        read_mat(tmp_path / "a.mat", ["boxes"])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An uncompressed file whose bytes can be spoiled one by one, and a place to write it."""
    path = tmp_path_factory.mktemp("spoiled") / "a.mat"
    content = {"events": cells(["0--Parade", "b"]), "files": cells([cells(["a", "b"]), cells(["c"])]),
               "boxes": cells([cells([np.arange(8).reshape(2, 4), np.uint8([[1]])]), cells([np.empty((0, 4))])])}
    savemat(path, content, do_compression=False)
    return path, path.read_bytes()


@given(place=st.integers(124, 2000), value=st.integers(0, 255), cut=st.none() | st.integers(0, 2000),
       word=st.none() | st.sampled_from([0, 1, 8, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
def test_damage_is_a_value_error(plain, place, value, cut, word):
    path, content = plain
    place, spoiled = min(place, len(content) - 4), bytearray(content)
    if word is None:
        spoiled[place] = value
    else:
        spoiled[place & ~3:(place & ~3) + 4] = struct.pack("<I", word)
    path.write_bytes(bytes(spoiled[:cut]))
    try:
        found = read_mat(path, ("events", "files", "boxes"))
    except ValueError:
        return
    if "boxes" in found:
        assert len(found["boxes"].values) == (found["boxes"].rows * found["boxes"].columns).sum()


@given(st.binary(max_size=120))
def test_damage_inside_compressed_variables(plain, content):
    path, whole = plain
    data = zlib.compress(whole[128:170] + content)
    path.write_bytes(whole[:128] + struct.pack("<II", 15, len(data)) + data)
    try:
        assert set(read_mat(path, ("events", "boxes"))) <= {"events", "boxes"}
    except ValueError:
        pass
