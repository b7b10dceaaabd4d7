# SPDX-License-Identifier: Apache-2.0
"""Files whose numbers are of another layout are refused, with the layout's name; odd rows in good files are not."""
import numpy as np
import pytest

from dependency.errors import InputError
from src.annotations.read_write import read_annotations, repair, validate
from src.data.training_set import training_records
from tests.annotations.test_read_write import write_mat

# Fractions of e/one.jpg and e/two.jpg, 80 x 60: x y width height.
NORMALISED = [[0.125, 0.21, 0.19, 0.33], [0.5, 0.5, 0.25, 0.5], [0.0, 0.0, 1.0, 0.9]]
CORNERS = [[10, 20, 40, 50], [50, 30, 70, 55], [30, 35, 60, 58], [5, 4, 25, 24]]
SIZES = [[10, 20, 30, 30], [50, 30, 20, 25], [30, 35, 30, 23], [5, 4, 20, 20]]


def text(numbers):
    return " ".join(map(str, numbers))


def file_of(write, fmt, rows, size=""):
    """The first half of the rows is of e/one.jpg, the other of e/two.jpg."""
    parts = {"e/one.jpg": rows[:len(rows) // 2], "e/two.jpg": rows[len(rows) // 2:]}
    if fmt == "mat":
        return write_mat(write("", "own.mat"), file_list=[["one", "two"]], invalid_label_list=None,
                         face_bbx_list=[[np.array(part, float) for part in parts.values()]])
    if fmt == "coco":
        images = ", ".join(f'{{"id": {index}, "file_name": "{name}", "width": 80, "height": 60}}'
                           for index, name in enumerate(parts))
        faces = ", ".join(f'{{"id": {index}, "image_id": {index * 2 // len(rows)}, "category_id": 1, "bbox": {row}}}'
                          for index, row in enumerate(rows))
        return write(f'{{"images": [{images}], "annotations": [{faces}]}}', "own.json")
    header = {"label": "# {name}\n", "label_v2": "# {name} 80 60\n", "bbx_gt": "{name}\n{count}\n"}[fmt]
    return write("".join(header.format(name=name, count=len(part)) + "".join(text(row) + "\n" for row in part)
                         for name, part in parts.items()))


@pytest.mark.parametrize("fmt", ["label", "label_v2", "bbx_gt", "coco", "mat"])
def test_normalised_boxes_are_refused(write, images, fmt):
    rows = NORMALISED if fmt != "label_v2" else [[0.1, 0.2, 0.3, 0.5], [0.5, 0.5, 0.75, 1.0]]
    path = file_of(write, fmt, rows)
    for mode in ("raise", "collect"):
        with pytest.raises(InputError, match=f"{path.name}.* normalised"):
            read_annotations(path, fmt, on_problem=mode)


def test_a_few_boxes_below_a_pixel_are_counted(write):
    path = write("# e/one.jpg\n1 2 3 4\n5 6 7 8\n0.1 0.2 0.3 0.4\n9 9 9 9\n")
    records = read_annotations(path, on_problem="collect")
    (problem,) = records.problems
    assert len(records[0].boxes) == 3 and (problem.line, problem.kind) == (4, "below_pixel")


@pytest.mark.parametrize("fmt", ["label", "bbx_gt", "coco", "mat"])
def test_corners_in_place_of_sizes_are_refused(write, images, fmt):
    path = file_of(write, fmt, CORNERS)
    calls = [lambda: validate(path, images, fmt=fmt), lambda: training_records(path, images)]
    if fmt != "coco":       # it holds the sizes: refused when it is read
        records = read_annotations(path, fmt)
        calls.append(lambda: repair(records, images))
    for call in calls:
        with pytest.raises(InputError, match=f"{path.name}.* corners"):
            call()


def test_sizes_in_place_of_corners_are_refused(write):
    with pytest.raises(InputError, match="label.txt.* x y width height"):
        read_annotations(file_of(write, "label_v2", SIZES), on_problem="collect")


@pytest.mark.parametrize("rows", [
    SIZES, [[10, 10, 60, 45], [5, 15, 70, 40]], [[60, 40, 30, 30]] * 3,
    [[30, 20, 45, 38], [2, 2, 9, 9], [1, 5, 9, 9], [3, 3, 9, 9], [5, 9, 9, 12]]])
def test_boxes_over_the_border_are_not_corners(write, images, rows):
    assert len(training_records(file_of(write, "label", rows), images)) >= 1
    validate(file_of(write, "label", rows), images)


def test_eyes_of_the_persons_left_are_refused(write):
    points = {"seen": "60 80 0 40 80 0 50 90 0 58 99 0 42 99 0", "image": "40 80 0 60 80 0 50 90 0 42 99 0 58 99 0"}
    rows = {name: f"40 50 60 80 {each} 0.5\n" for name, each in points.items()}
    with pytest.raises(InputError, match="label.txt.* left eye"):
        read_annotations(write("# e/one.jpg\n" + rows["seen"] * 10))
    for count in (3, 12):
        records = read_annotations(write("# e/one.jpg\n" + rows["image"] * 12 + rows["seen"] * count))
        assert records[0].visibility.all()
