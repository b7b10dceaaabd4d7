# SPDX-License-Identifier: Apache-2.0
"""The ground truth's MATLAB files: round trip, the manual's file name, damage named with file and source."""
from itertools import groupby

import numpy as np
import pytest
from scipy.io import savemat

from dependency.errors import InputError
from dependency.evaluate.ground_truth import SUBSETS, load_ground_truth, load_image_list, write_ground_truth
from tests.dependency.mat_files import cells


@pytest.fixture
def folder(tmp_path):
    """Three images in two events, one face each."""
    image = (np.array([[10, 10, 20, 20]]), [0], [0], [0])
    write_ground_truth(tmp_path / "gt", [("0--A", [("a", *image), ("b", *image)]), ("1--B", [("c", *image)])])
    return tmp_path / "gt"


def test_ground_truth_round_trip(tmp_path):
    rng = np.random.default_rng(8)
    events = [(f"{e}--Event", [(f"name_{e}_{i}", rng.integers(0, 50, (n := [0, 1, 3, 300][(e + i) % 4], 4)),
                                *(np.flatnonzero(rng.random(n) < p) for p in (0, 0.5, 1)))
                               for i in range(1 + e)])
              for e in range(3)]
    write_ground_truth(tmp_path / "a", events)
    truth = load_ground_truth(tmp_path / "a")
    back = [(event, list(images)) for event, images in groupby(truth.images, key=lambda image: image.event)]
    assert [(event, [image[0] for image in images]) for event, images in events] \
        == [(event, [image.name for image in images]) for event, images in back] \
        == load_image_list(tmp_path / "a" / "wider_face_val.mat")
    for (_, images), (_, loaded) in zip(events, back):
        for image, other in zip(images, loaded):
            np.testing.assert_array_equal(other.boxes, image[1])
            for subset, index in zip(SUBSETS, image[2:]):
                np.testing.assert_array_equal(other.subsets[subset], index)
    write_ground_truth(tmp_path / "b", events)
    for file in (tmp_path / "b").iterdir():
        assert (tmp_path / "a" / file.name).read_bytes() == file.read_bytes()


def test_ground_truth_under_the_manual_name(folder):
    (folder / "wider_face_val.mat").rename(folder / "val.mat")
    by_folder, by_file = load_ground_truth(folder), load_ground_truth(folder / "val.mat")
    assert [image.name for image in by_folder.images] == [image.name for image in by_file.images]


@pytest.mark.parametrize("file", ["wider_face_val.mat", "wider_hard_val.mat"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(InputError, match=file):
        load_ground_truth(folder)


def test_ground_truth_files_of_different_sets_do_not_mix(folder):
    write_ground_truth(folder.parent / "other", [("0--A", [("x", np.zeros((1, 4)), [0], [0], [0])])])
    (folder.parent / "other" / "wider_easy_val.mat").replace(folder / "wider_easy_val.mat")
    with pytest.raises(InputError, match=str(folder)):
        load_ground_truth(folder)


def test_an_index_outside_the_boxes_is_not_written(tmp_path):
    with pytest.raises(InputError, match="e/x"):
        write_ground_truth(tmp_path, [("e", [("x", np.zeros((1, 4)), [1], [0], [0])])])


@pytest.mark.parametrize("change, text", [
    ({"face_bbx_list": [[np.zeros((1, 5))] * 2, [np.zeros((1, 4))]]}, "0--A/a"),
    ({"face_bbx_list": [[np.zeros((1, 4)), np.full((1, 4), np.nan)], [np.zeros((1, 4))]]}, "wider_face_val.mat"),
    ({"face_bbx_list": [[np.zeros((1, 4))] * 3, [np.zeros((1, 4))]]}, "gt: "),
    ({"file_list": [["a", "a"], ["c"]]}, "0--A/a"), ({"event_list": ["0--A"]}, "event_list"),
    ({"event_list": [["0--A"], ["1--B"]]}, "event_list"), ({"file_list": ["a", "c"]}, "file_list"),
    ({"face_bbx_list": [["a", "b"], ["c"]]}, "face_bbx_list")])
def test_what_a_ground_truth_must_hold(folder, change, text):
    content = {"event_list": ["0--A", "1--B"], "file_list": [["a", "b"], ["c"]],
               "face_bbx_list": [[np.zeros((1, 4))] * 2, [np.zeros((1, 4))]], **change}

    savemat(folder / "wider_face_val.mat", {key: cells(value) for key, value in content.items()})
    with pytest.raises(InputError, match=text):
        load_ground_truth(folder)


def test_a_counted_box_must_exist(folder):
    first, second = np.uint16([1]), np.uint16([2])
    savemat(folder / "wider_hard_val.mat", {"gt_list": cells([[first, second], [first]])})
    with pytest.raises(InputError, match="wider_hard_val.mat: 0--A/b"):
        load_ground_truth(folder)
