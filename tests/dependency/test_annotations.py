# SPDX-License-Identifier: Apache-2.0
"""Records in a few arrays: the same Records come out again, as views."""
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations, face_indices
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from tests.annotations.annotation_files import same

PATHS = ["e/a.jpg", "e/人 b.jpg", "c.png", "e/\udcff\ud800.jpg", "", "e/a.jpg"]


@pytest.fixture
def records():
    rng = np.random.default_rng(0)
    return [Record(path, rng.random((count, 4), np.float32), rng.random((count, 5, 2), np.float32),
                   rng.integers(0, 3, (count, 5)).astype(np.uint8), rng.random(count) < 0.5, 10 * count, 7)
            for path, count in zip(PATHS, (2, 0, 3, 1, 0, 4))]


def test_the_same_records_come_out_as_views(records):
    annotations = Annotations(records, "label.txt")
    same(annotations, records)
    assert len(annotations) == 6 and annotations.paths == PATHS and annotations.boxes.shape == (10, 4)
    assert np.shares_memory(annotations[2].landmarks, annotations.landmarks)
    same([annotations[-1]], records[-1:])
    same(annotations[1:4], records[1:4])
    same(annotations[::-2], records[::-2])
    with pytest.raises(IndexError):
        annotations[6]
    assert annotations.lines(2) == (0, [0, 0, 0], "")
    assert Annotations.of(annotations) is annotations
    same(Annotations.of(records), records)


def test_no_record_at_all():
    empty = Annotations([])
    assert not empty and list(empty) == [] and empty.boxes.shape == (0, 4) and empty.landmarks.shape == (0, 5, 2)
    assert not empty.select([]) and not empty.renamed({"a": "b"})


@pytest.mark.parametrize("chosen", [[], [1], [5, 0, 0], [4, 3, 2, 1], range(6)])
def test_some_of_the_records(records, chosen):
    annotations = Annotations(records, "label.txt", [Problem("label.txt", 3, "c.png", "size", "x")], "shown")
    annotations.image_lines[:], annotations.face_lines[:] = np.arange(1, 7), np.arange(11, 21)
    found = annotations.select(chosen)
    same(found, [records[index] for index in chosen])
    assert [found.lines(index) for index in range(len(found))] == [annotations.lines(index) for index in chosen]
    assert (found.file, found.problems, found.exif) == ("label.txt", annotations.problems, "shown")


def test_new_names_leave_the_other_images_out(records):
    problems = [Problem("label.txt", line, image, "size", "x")
                for line, image in ((3, "c.png"), (4, ""), (5, "e/a.jpg"))]
    found = Annotations(records, "label.txt", problems).renamed({"c.png": "d.png", "": "f.png"})
    assert found.paths == ["d.png", "f.png"] and [len(record.boxes) for record in found] == [3, 0]
    assert [problem.image for problem in found.problems] == ["d.png", "f.png"]


def test_numbers_of_runs():
    assert face_indices(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert face_indices(np.array([], int), np.array([], int)).tolist() == []
