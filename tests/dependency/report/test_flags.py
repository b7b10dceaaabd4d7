# SPDX-License-Identifier: Apache-2.0
"""The attributes of faces, from both official files, and files that do not fit the ground truth."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from dependency.errors import InputError
from dependency.evaluate.ground_truth import TruthImage, load_ground_truth, write_ground_truth
from dependency.evaluate.report.flags import FLAGS, LEVELS, align_flags, find_flags, load_flags
from tests.dependency.mat_files import cells

TEXT = """0--A/a_1.jpg
2
10 20 30 40 2 0 1 0 1 0
50 60 7 8 0 1 0 1 2 1
0--A/empty.jpg
0
0 0 0 0 0 0 0 0 0 0
1--B/b.c_2.jpg
1
1 2 3 4 1 0 0 0 0 0
"""
LEVEL_ROWS = [[2, 0, 1, 0, 1, 0], [0, 1, 0, 1, 2, 1], [1, 0, 0, 0, 0, 0]]
NOTHING = dict.fromkeys(("easy", "medium", "hard"), np.empty(0, np.int64))


def truth_images():
    boxes = [[[10, 20, 30, 40], [50, 60, 7, 8]], [], [[1, 2, 3, 4]]]
    names = [("0--A", "a_1"), ("0--A", "empty"), ("1--B", "b.c_2")]
    return [TruthImage(event, name, np.array(rows, np.float64).reshape(-1, 4), NOTHING)
            for (event, name), rows in zip(names, boxes)]


def text_file(tmp_path, content=TEXT):
    path = tmp_path / "wider_face_val_bbx_gt.txt"
    path.write_bytes(content.encode())
    return path


def mat_file(tmp_path, change=None):
    """A ground truth whose main file has the attributes, as WIDER's own."""
    images = truth_images()
    write_ground_truth(tmp_path, [
        (event, [(image.name, image.boxes, [], [], []) for image in images if image.event == event])
        for event in ("0--A", "1--B")])
    path = tmp_path / "wider_face_val.mat"
    content = {key: value for key, value in loadmat(path).items() if not key.startswith("_")}
    rows = iter(LEVEL_ROWS)
    levels = [np.array([next(rows) for _ in image.boxes], np.uint8).reshape(-1, 6) for image in images]
    for column, name in enumerate(FLAGS):
        content[f"{name}_label_list"] = cells([[table[:, column:column + 1] for table in members]
                                               for members in (levels[:2], levels[2:])])
    if change:
        change(content)
    savemat(path, content)
    return path


@pytest.mark.parametrize("content", [TEXT, "\ufeff" + TEXT.replace("\n", " \r\n\r\n"),
                                     TEXT.replace("0\n0 0 0 0 0 0 0 0 0 0", "1\n0 0 0 0 0 0 0 0 0 0"),
                                     TEXT.replace("0\n0 0 0 0 0 0 0 0 0 0", "0")])
def test_text_file(tmp_path, content):
    flags = load_flags(text_file(tmp_path, content))
    assert list(flags.images) == ["0--A/a_1", "0--A/empty", "1--B/b.c_2"]
    levels = align_flags(flags, truth_images())
    assert levels.tolist() == LEVEL_ROWS and levels.dtype == np.int64
    assert align_flags(flags, truth_images()[::-1]).tolist() == [LEVEL_ROWS[2], *LEVEL_ROWS[:2]]
    assert align_flags(flags, []).shape == (0, 6)


def test_mat_file_has_the_same(tmp_path):
    path = mat_file(tmp_path)
    for flags in (load_flags(path), find_flags(tmp_path)):
        assert align_flags(flags, load_ground_truth(tmp_path).images).tolist() == LEVEL_ROWS


def test_a_ground_truth_without_flags(tmp_path):
    write_ground_truth(tmp_path, [("0--A", [("a", np.array([[1, 2, 3, 4]]), [0], [0], [0])])])
    assert find_flags(tmp_path) is None


@pytest.mark.parametrize("old, new, named", [
    ("2 0 1 0 1 0\n", "2 0 1 0 1\n", "txt:3:"), ("50 60 7 8 0 1 0 1 2 1", "50 60 7 8", "txt:4:"),
    ("50 60", "50 x", "txt:4:"), ("40 2 0 1", "40 3 0 1", "blur .*0--A/a_1"),
    ("40 2 0 1", "40 2 -1 1", "expression .*0--A/a_1"), ("1--B/b.c_2", "0--A/a_1", "txt:8:"),
    ("1--B/b.c_2.jpg\n1\n", "1--B/b.c_2.jpg\n", "txt:8:"), ("1--B/b.c_2.jpg\n1\n", "1--B/b.c_2.jpg\n3\n", "txt:8:"),
    ("0--A/a_1", "0--A/\xff", "txt: not UTF-8")])
def test_damaged_text(tmp_path, old, new, named):
    assert old in TEXT
    text_file(tmp_path).write_bytes(TEXT.replace(old, new).encode("latin-1"))
    with pytest.raises(InputError, match=named):
        load_flags(tmp_path / "wider_face_val_bbx_gt.txt")


@pytest.mark.parametrize("old, new, image", [
    ("1--B/b.c_2", "1--B/other", "1--B/b.c_2"), ("50 60 7 8 ", "50 61 7 8 ", "face 2 of 0--A/a_1"),
    ("2\n10 20 30 40 2 0 1 0 1 0\n", "1\n", "0--A/a_1")])
def test_flags_of_another_ground_truth(tmp_path, old, new, image):
    assert old in TEXT
    flags = load_flags(text_file(tmp_path, TEXT.replace(old, new)))
    with pytest.raises(InputError, match=image):
        align_flags(flags, truth_images())


@pytest.mark.parametrize("change", [
    lambda content: content.pop("pose_label_list"),
    lambda content: content.update(pose_label_list=np.arange(3)),
    lambda content: content["pose_label_list"][0, 0].__setitem__((0, 0), np.zeros((5, 1), np.uint8)),
])
def test_damaged_mat(tmp_path, change):
    with pytest.raises(InputError, match="wider_face_val.mat"):
        load_flags(mat_file(tmp_path, change))


def test_an_absent_file(tmp_path):
    with pytest.raises(InputError, match="--flags"):
        load_flags(tmp_path / "nowhere.txt")


def test_official_files_agree(shared_data):
    truth = load_ground_truth(shared_data / "wider" / "ground_truth")
    found = align_flags(find_flags(truth.folder), truth.images)
    text = align_flags(load_flags(shared_data / "wider" / "annotations" / "wider_face_val_bbx_gt.txt"), truth.images)
    assert found.shape == (39708, 6) and np.array_equal(found, text)
    counts = {name: np.bincount(found[:, column]).tolist() for column, name in enumerate(FLAGS)}
    assert all(len(counts[name]) == len(names) for name, names in LEVELS.items())
    assert counts["blur"] == [5686, 10381, 23641], "as awk counts them in the text file"
