# SPDX-License-Identifier: Apache-2.0
"""The images that a test uses and their faces, of a data file and of WIDER FACE."""
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.ground_truth import load_ground_truth
from src.annotations.read_write import read_annotations
from src.evaluation.evaluation_set import EvaluationSet, truth_images
from src.tools.make_ground_truth import make
from tests.small_wider import BOX, IMAGES, make_data_file, make_split

LABELS = """# a/one.jpg
10.4 10.6 20 60
10 10 20 30
10 10 20 29.9
10 10 20 9
# two.jpg
"""


def test_the_val_images_of_a_data_file(tmp_path):
    split = make_split(tmp_path)
    own = EvaluationSet.of_data_file(make_data_file(split))
    assert own.images == [f"images/{name}" for name in IMAGES] and own.image_dir == tmp_path
    assert [image.path for image in own.truth.images] == [name[:-4] for name in own.images]
    np.testing.assert_array_equal(own.truth.images[0].boxes, [BOX])
    assert {name: index.tolist() for name, index in own.truth.images[0].subsets.items()} == {
        "easy": [], "medium": [0], "hard": [0]}
    for name in IMAGES:
        (split.images / name).with_suffix(".txt").write_text("")
    with pytest.raises(InputError, match="no val image shows a face"):
        EvaluationSet.of_data_file(tmp_path / "my.yaml")


def test_the_images_of_wider_that_are_there(tmp_path):
    split = make_split(tmp_path)
    wider = EvaluationSet.of_wider(split.gt, split.images)
    assert wider.images == IMAGES and len(wider.truth.images) == 3
    (split.images / IMAGES[1]).unlink()
    with pytest.raises(InputError, match=IMAGES[1]):
        EvaluationSet.of_wider(split.gt, split.images)
    part = EvaluationSet.of_wider(split.gt, split.images, only_existing=True)
    assert part.images == [IMAGES[0], IMAGES[2]] == [f"{image.path}.jpg" for image in part.truth.images]


def test_faces_are_as_in_the_files_that_make_ground_truth_writes(tmp_path):
    (tmp_path / "label.txt").write_text(LABELS)
    records = read_annotations(tmp_path / "label.txt")
    make(records, tmp_path / "gt")
    for image, other in zip(truth_images(records), load_ground_truth(tmp_path / "gt").images):
        assert image[:2] == other[:2]
        np.testing.assert_array_equal(image.boxes, other.boxes)
        for name in ("easy", "medium", "hard"):
            np.testing.assert_array_equal(image.subsets[name], other.subsets[name])
    assert [len(index) for index in truth_images(records)[0].subsets.values()] == [1, 2, 3]
