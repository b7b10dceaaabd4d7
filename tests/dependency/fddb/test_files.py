# SPDX-License-Identifier: Apache-2.0
"""FDDB's files in both directions, and damaged ones."""
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.fddb.files import load_fddb, read_detections, write_fold_files
from dependency.evaluate.fddb.protocol import evaluate_fddb
from tests.dependency.fddb.example_set import write_small_set


@pytest.fixture
def small(tmp_path):
    return write_small_set(tmp_path)


@pytest.mark.parametrize("where", ["FDDB-folds", ".", "FDDB-folds/FDDB-fold-01-ellipseList.txt"])
def test_folds_are_found(small, where):
    images = load_fddb(small / where)
    assert [image.name[-5:] for image in images][:2] == ["img_0", "img_2"] and images[0].size == (90, 120)
    assert images[0].fold == 1 and images[0].ellipses.tolist() == [[30, 20, np.pi / 2, 60, 45]]
    assert len(images) == (2 if where.endswith("txt") else 3)


def test_sizes_are_optional_unless_the_folder_is_named(small):
    (small / "originalPics" / "2002/08/01/big/img_1.jpg").unlink()
    assert [image.size for image in load_fddb(small)] == [(90, 120), (90, 120), None]      # fold 1, fold 1, fold 2
    with pytest.raises(InputError, match="img_1.jpg"):
        load_fddb(small, small / "originalPics")


@pytest.mark.parametrize("text, line", [
    ("a\n1\n9 8 0 5 5 1\nb\n2\n9 8 0 5 5\n", 4), ("a\n2\n9 8 0 5 5 1\nb\n1\n9 8 0 5 5\n", 4),
    ("a\n1\n9 8 0 5 5 1\n9 8 0 5 5 1\n", 4), ("a\nmany\n", 1), ("a\n", 1), ("a\n1\n9 8 0 5\n", 3),
    ("a\n1\n9 0 0 5 5 1\n", 3), ("a\n1\n9 8 nan 5 5 1\n", 3), ("a\n1\n9 8 x 5 5 1\n", 3),
    ("a\n1\n1e9 8 0 5 5 1\n", 3), ("a\n1\n9 8 0 5 5 1\na\n1\n9 8 0 5 5 1\n", 4), (b"\xff\xfe\x00a", None)])
def test_damaged_lists_are_named_by_line(tmp_path, text, line):
    path = tmp_path / "FDDB-fold-01-ellipseList.txt"
    path.write_bytes(text if line is None else text.encode())
    with pytest.raises(InputError, match="ellipseList.txt:" + (f"{line}:" if line else "")):
        load_fddb(tmp_path)


def test_fold_files_round_trip_and_score_the_same(small):
    images = load_fddb(small)
    paths = write_fold_files(small / "pred", images, small / "out")
    assert [path.name for path in paths] == ["fold-01-out.txt", "fold-02-out.txt"]
    assert paths[1].read_text() == "2002/08/01/big/img_1\n2\n40.0 15.0 40.0 60.0 0.8\n0.0 0.0 20.0 20.0 0.7\n"
    first, second = (evaluate_fddb(pred, images) for pred in (small / "pred", small / "out"))
    np.testing.assert_array_equal(first.discrete, second.discrete)
    np.testing.assert_array_equal(first.continuous, second.continuous)
    whole = small / "all.txt"
    whole.write_text("".join(path.read_text() for path in paths))
    np.testing.assert_array_equal(evaluate_fddb(whole, images).discrete, first.discrete)
    (small / "pred" / "2002/08/01/big/img_1.txt").unlink()
    with pytest.raises(InputError, match="2002/08/01/big/img_1"):
        write_fold_files(small / "pred", images, small / "out2")
    write_fold_files(small / "pred", images, small / "out2", allow_missing=True)
    assert (small / "out2" / "fold-02-out.txt").read_text() == "2002/08/01/big/img_1\n0\n"


@pytest.mark.parametrize("text, line", [
    ("1 2 3 4 .5\n1 2 3 4 5 .5", 4), ("1 2 3 4", 3), ("1 2 3 4 nan", 3), ("0 2 3 4 5 .5", 3), ("1 2 3 4 5 6 7", 3)])
def test_damaged_fold_files_are_named_by_line(small, text, line):
    path = small / "fold-01-out.txt"
    path.write_text(f"2002/08/00/big/img_0\n{len(text.splitlines())}\n{text}\n")
    with pytest.raises(InputError, match=f"fold-01-out.txt:{line}:"):
        read_detections(path, load_fddb(small))


def test_ambiguous_absent_and_stray_predictions(small):
    images = load_fddb(small)
    with pytest.raises(InputError):
        read_detections(small / "absent", images)
    (small / "empty").mkdir()
    with pytest.raises(InputError):
        read_detections(small / "empty", images)
    (small / "pred" / "2004").mkdir()
    (small / "pred" / "2004" / "img_1.txt").write_text("1 2 3 4 .5\n")
    detections, remarks = read_detections(small / "pred", images)
    assert [len(rows) for rows in detections] == [1, 1, 2] and "2004/img_1" in remarks[0]
    write_fold_files(small / "pred", images, small / "pred")
    with pytest.raises(InputError, match="fold-01-out.txt"):
        read_detections(small / "pred", images)
    twice = small / "fold-01-out.txt"
    twice.write_text("a\n0\n" + (small / "pred" / "fold-01-out.txt").read_text() + "a.jpg\n0\n")
    with pytest.raises(InputError, match="fold-01-out.txt:9:"):
        read_detections(twice, images)
