# SPDX-License-Identifier: Apache-2.0
"""Rows of another layout are read in it and named, or refused; an AP near 0 has a reason."""
import json
import re

import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.fddb.overlap import ellipse_boxes
from dependency.evaluate.fddb.protocol import evaluate_fddb
from dependency.evaluate.ground_truth import load_ground_truth, write_ground_truth
from dependency.evaluate.results import format_report
from tests.dependency.fddb.example_set import write_set

IMAGES, FACES, SIZE = 8, 3, 1000
LAYOUTS = {
    "x1 y1 x2 y2 score": lambda x, y, w, h, s: (x, y, x + w, y + h, s),
    "cx cy w h score": lambda x, y, w, h, s: (x + w / 2, y + h / 2, w, h, s),
    "y1 x1 y2 x2 score": lambda x, y, w, h, s: (y, x, y + h, x + w, s),
    "class x y w h score": lambda x, y, w, h, s: (3, x, y, w, h, s),
    "class x1 y1 x2 y2 score": lambda x, y, w, h, s: (0, x, y, x + w, y + h, s),
    "score x y w h": lambda x, y, w, h, s: (s, x, y, w, h),
    "class score x1 y1 x2 y2": lambda x, y, w, h, s: (0, s, x, y, x + w, y + h),
    "x1 y1 x2 y2 score, 0..1": lambda x, y, w, h, s: (x / SIZE, y / SIZE, (x + w) / SIZE, (y + h) / SIZE, s),
    "class cx cy w h score, 0..1": lambda x, y, w, h, s: (
        0, (x + w / 2) / SIZE, (y + h / 2) / SIZE, w / SIZE, h / SIZE, s),
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    rng, index = np.random.default_rng(0), np.arange(FACES)
    boxes = [np.column_stack([[40, 340, 640] + rng.integers(0, 90, FACES), rng.integers(50, 700, FACES),
                              rng.integers(30, 200, (FACES, 2))]) for _ in range(IMAGES)]
    write_ground_truth(folder, [("0--A", [(f"a{number}", of_image, index, index, index)
                                          for number, of_image in enumerate(boxes)])])
    return load_ground_truth(folder)


def rows_of(image, layout=lambda *row: row, scores=(0.9, 0.8, 0.7)):
    return [tuple(map(float, layout(*box, score))) for box, score in zip(image.boxes, scores)]


def write_tree(folder, truth, rows):
    for image, of_image in zip(truth.images, rows):
        path = folder / image.event / f"{image.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([image.name, str(len(of_image)), *(" ".join(map(repr, row)) for row in of_image)]))
    return folder


@pytest.fixture(scope="module")
def image_dir(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "0--A").mkdir()
    for image in truth.images:
        assert cv2.imwrite(str(folder / f"{image.path}.png"), np.zeros((SIZE, SIZE), np.uint8))
    return folder


@pytest.mark.parametrize("named", LAYOUTS)
def test_another_layout_is_read_and_named(truth, image_dir, tmp_path, named):
    rows = [rows_of(image, LAYOUTS[named]) for image in truth.images]
    tree = write_tree(tmp_path / "tree", truth, rows)
    (tmp_path / "a.json").write_text(json.dumps({"0--A": {
        image.name: {"img_path": "", "bboxes": of_image} for image, of_image in zip(truth.images, rows)}}))
    for source in (tree, tmp_path / "a.json"):
        report = evaluate(source, truth, image_dir=image_dir)
        assert report.ap[0.5]["hard"] == 1 and report.protocol["layout"] == named and report.warnings == ()
        assert f"rows read as `{named}`" in format_report(report)
    if "0..1" in named:
        with pytest.raises(InputError, match="normalised.*--image_dir"):
            evaluate(tree, truth)
    plain = evaluate(write_tree(tmp_path / "plain", truth, map(rows_of, truth.images)), truth)
    assert "layout" not in plain.protocol


def test_rows_that_may_be_two_layouts_are_refused(tmp_path):
    """Squares on the diagonal have the same two corners in either order."""
    boxes, index = np.array([[100 * k, 100 * k, 60, 60] for k in range(1, 5)]), np.arange(4)
    write_ground_truth(tmp_path / "gt", [("0--A", [("a", boxes, index, index, index)])])
    truth = load_ground_truth(tmp_path / "gt")
    rows = [[LAYOUTS["x1 y1 x2 y2 score"](*map(float, box), 0.9 - k / 10) for k, box in enumerate(boxes)]]
    with pytest.raises(InputError, match="may be `x1 y1 x2 y2 score` or `y1 x1 y2 x2 score`"):
        evaluate(write_tree(tmp_path / "tree", truth, rows), truth)


def test_in_memory_it_is_x1_y1_x2_y2(truth):
    keys = [f"{image.event}/{image.name}" for image in truth.images]
    corners = {key: rows_of(image, LAYOUTS["x1 y1 x2 y2 score"]) for key, image in zip(keys, truth.images)}
    assert evaluate(corners, truth).ap[0.5]["hard"] == 1
    wrong = {key: rows_of(image) for key, image in zip(keys, truth.images)}
    with pytest.raises(InputError, match="look like `x y w h score`, not like `x1 y1 x2 y2 score`"):
        evaluate(wrong, truth)
    assert evaluate(wrong, truth, check_layout=False).ap[0.5]["hard"] < 0.5, "test.py goes on with its own files"


def test_a_poor_detector_is_no_other_layout(truth):
    """Boxes at random, from few to thousands, and boxes that find a fifth of the faces."""
    rng = np.random.default_rng(1)
    for count in (1, 10, 300, 1000):
        predictions = {}
        for image in truth.images:
            corner, side = rng.uniform(0, 900, (count, 2)), np.repeat(rng.uniform(20, 200, (count, 1)), 2, axis=1)
            rows = np.hstack([corner, corner + side, rng.uniform(size=(count, 1))])
            predictions[f"{image.event}/{image.name}"] = rows
        report = evaluate(predictions, truth)
        assert report.detections == count * IMAGES
        for image in truth.images[::5]:
            found = LAYOUTS["x1 y1 x2 y2 score"](*image.boxes[0], 1.0)
            predictions[f"{image.event}/{image.name}"] = np.vstack([predictions[f"{image.event}/{image.name}"], found])
        assert evaluate(predictions, truth).ap[0.5]["hard"] > 0


@pytest.mark.parametrize("change, reason", [
    (lambda rows, number: [(x + 5000, y, w, h, s) for x, y, w, h, s in rows], "0 of 24 faces"),
    (lambda rows, number: [] if number else [(900, 900, 20, 20, 0.9)], "only 1 detections for 24 faces"),
    (lambda rows, number: [(950, 950, 9, 9, 0.9)] * 2000 + [(*row[:4], 0.1) for row in rows], "24 of 24 .*score")])
def test_an_ap_near_0_has_a_reason(truth, tmp_path, change, reason):
    rows = [change(rows_of(image), number) for number, image in enumerate(truth.images)]
    report = evaluate(write_tree(tmp_path / "tree", truth, rows), truth)
    assert report.ap[0.4]["hard"] < 0.01
    assert re.search(reason, " ".join(report.warnings))


def test_fddb_boxes_too(tmp_path):
    rng = np.random.default_rng(2)
    table = []
    for _ in range(6):
        axes, angle = rng.uniform(15, 20, (2, 2)), rng.uniform(-1, 1, 2)
        ellipses = np.column_stack([axes, angle, [30, 90], rng.uniform(30, 60, 2)])
        table.append((ellipses, np.column_stack([ellipse_boxes(ellipses), [0.9, 0.8]])))
    write_set(tmp_path, table)
    with pytest.raises(InputError, match="x1 y1 x2 y2"):
        evaluate_fddb(tmp_path / "pred", tmp_path / "FDDB-folds")
