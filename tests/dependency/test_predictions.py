# SPDX-License-Identifier: Apache-2.0
"""Predictions from a tree, a JSON file and memory: the same AP, every oddity said, damage named."""
import json
from types import SimpleNamespace

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.ground_truth import load_ground_truth, write_ground_truth
from dependency.evaluate.prediction_io import read_predictions_json, write_prediction, write_predictions_json
from dependency.evaluate.predictions import gather

NAMES = ("0--A/a", "0--A/b", "1--B/c.d")
@pytest.fixture
def truth(tmp_path):
    """Three images in two events, two faces each."""
    image = (np.array([[10, 10, 20, 20], [60, 10, 30, 40]]), [0], [0, 1], [0, 1])
    write_ground_truth(tmp_path / "gt", [("0--A", [("a", *image), ("b", *image)]), ("1--B", [("c.d", *image)])])
    return load_ground_truth(tmp_path / "gt")


def random_faces(rng, count):
    """Detections near the two faces, to tenths of pixels and thousandths of score, as files keep them."""
    corners = np.array([[10, 10, 30, 30], [60, 10, 90, 50]])[rng.integers(2, size=count)]
    boxes = corners + rng.integers(-90, 90, (count, 4)) / 10
    scores = np.sort(rng.permutation(1000)[:count])[::-1] / 1000
    return SimpleNamespace(boxes=boxes, scores=scores)


def write_tree(folder, predictions):
    for name, faces in predictions.items():
        write_prediction(folder / f"{name}.txt", f"{name}.jpg", faces)
    return folder


def test_tree_json_and_memory_give_the_same(truth, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        predictions = {name: random_faces(rng, count) for name, count in zip(NAMES, (30, 0, 12))}
        tree = write_tree(tmp_path / f"pred{number}", predictions)
        file = tmp_path / f"pred{number}.json"
        write_predictions_json(file, predictions)
        arrays = {name: np.column_stack([faces.boxes, faces.scores]) for name, faces in predictions.items()}
        reports = [evaluate(source, truth) for source in (tree, str(tree), file, str(file), predictions, arrays)]
        assert len({json.dumps(report.ap) for report in reports}) == 1 and 0 < reports[0].ap[0.5]["hard"] < 1
        assert [report.pred for report in reports] == [str(tree)] * 2 + [str(file)] * 2 + ["predictions in memory"] * 2
        assert all(report.detections == 42 and not report.warnings and not report.missing for report in reports)
        for path in tree.rglob("*.txt"):                                # the path says which image it is
            path.write_text("\n".join(["the_same_name.jpg", *path.read_text().splitlines()[1:]]) + "\n")
        assert evaluate(tree, truth).ap == reports[0].ap


@pytest.mark.parametrize("faces", [
    [[1, 2, 3, 4]], [1, 2, 3, 4, 5], "faces", None, [[1, 2, 3, 4, 5], [1]], [[1, 2, np.inf, 4, 5]],
    SimpleNamespace(boxes=np.zeros((2, 4)), scores=np.zeros(3)),
    SimpleNamespace(boxes=np.zeros((1, 4)), scores=[np.nan])])
def test_wrong_detections_in_memory_are_named(truth, faces):
    with pytest.raises(InputError, match="0--A/a"):
        gather({"0--A/a": faces}, truth.images)


@pytest.mark.parametrize("source", [{}, {"a": [[1, 2, 3, 4, 0.5]]}, {"0--A/a.jpg": []}])
def test_nothing_that_belongs_is_an_error(truth, source):
    with pytest.raises(InputError, match="<event>/<image>"):
        gather(source, truth.images)


def test_an_empty_list_is_not_a_missing_image(truth, tmp_path):
    faces = random_faces(np.random.default_rng(1), 3)
    for empty in ([], np.empty((0, 5)), np.empty((0, 15), np.float32), SimpleNamespace(boxes=[], scores=[])):
        predictions = {NAMES[0]: faces, NAMES[1]: empty}
        assert gather(predictions, truth.images).missing == ["1--B/c.d"]
        write_predictions_json(tmp_path / "a.json", predictions)
        assert gather(tmp_path / "a.json", truth.images).missing == ["1--B/c.d"]
        with pytest.raises(InputError, match="1--B/c.d"):
            evaluate(tmp_path / "a.json", truth)
        assert evaluate(tmp_path / "a.json", truth, allow_missing=True).faces["hard"] == 6
        assert evaluate(tmp_path / "a.json", truth, only_predicted=True).faces["hard"] == 4


def test_other_names_take_no_part_not_even_in_the_range_of_scores(truth):
    rng = np.random.default_rng(2)
    predictions = {name: random_faces(rng, 20) for name in NAMES}
    extra = {"0--A/z": [[1, 2, 3, 4, 700.0]], "9--Z/a": [[1, 2, 3, 4, -9.0]], "0--A/a.jpg": [[1, 2, 3, 4, 5]]}
    report = evaluate({**predictions, **extra}, truth)
    assert report.ap == evaluate(predictions, truth).ap and report.detections == 60
    assert len(report.warnings) == 1 and all(name in report.warnings[0] for name in extra)


def test_negative_sizes_are_said_and_find_nothing(truth):
    right = [[10, 10, 30, 30, 0.9], [60, 10, 90, 50, 0.8]]
    turned = [[30, 30, 10, 10, 1.0], [90, 10, 60, 50, 0.1]]
    good = evaluate({name: right for name in NAMES}, truth)
    report = evaluate({name: sorted(right + turned, key=lambda row: -row[4]) for name in NAMES}, truth)
    assert len(report.warnings) == 1 and all(name in report.warnings[0] for name in NAMES)
    assert good.ap[0.5]["hard"] == 1.0 and report.ap[0.5]["hard"] == pytest.approx(2 / 3)


def test_bytes_of_the_json(tmp_path):
    write_predictions_json(tmp_path / "deep" / "a.json", {
        "0--A/a": [[10, 20, 30.25, 60, 0.5], [1.04, 2, 3, 4, 0.9126]], "0--A/é \"b": [], "1--B/c": []}, suffix=".png")
    text = (tmp_path / "deep" / "a.json").read_text()
    assert text.splitlines()[1:3] == ['"0--A": {', ('"a": {"img_path": "0--A/a.png", "bboxes": '
                                      '[[1.0, 2.0, 2.0, 2.0, 0.913], [10.0, 20.0, 20.2, 40.0, 0.500]]},')]
    assert json.loads(text)["0--A"]["é \"b"] == {"img_path": "0--A/é \"b.png", "bboxes": []}
    assert set(read_predictions_json(tmp_path / "deep" / "a.json")) == {"0--A/a", "0--A/é \"b", "1--B/c"}
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["a.json"]
    write_predictions_json(tmp_path / "a.json", {"e/a": [[1, 2, 3, 4, 0.123456]]}, score_digits=5)
    assert "0.12346" in (tmp_path / "a.json").read_text()
    for wrong in ("/a", "e/"):
        with pytest.raises(InputError, match=wrong):
            write_predictions_json(tmp_path / "b.json", {wrong: []})
    with pytest.raises(InputError, match="e/a"):
        write_predictions_json(tmp_path / "b.json", {"e/a": [[1, 2, 3, 4, np.nan]]})
    assert not (tmp_path / "b.json").exists()


def test_json_as_the_reference_writes_it(tmp_path):
    (tmp_path / "a.json").write_text('{"0--A": {"a": {"img_path": "0--A/a.jpg", "bboxes": [[449, 330, 122, 149, '
                                     '0.9990752], [1, 2, 3, 4, 1e-3, 7, 8]]}, "b": {"img_path": "x", "bboxes": []}}}')
    rows = read_predictions_json(tmp_path / "a.json")
    np.testing.assert_array_equal(rows["0--A/a"], [[449, 330, 122, 149, 0.9990752], [1, 2, 3, 4, 0.001]])
    assert rows["0--A/b"].shape == (0, 5) and rows["0--A/a"].dtype == np.float64
    (tmp_path / "b.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.json").read_bytes())
    assert list(read_predictions_json(tmp_path / "b.json")) == list(rows)


@pytest.mark.parametrize("content, place", [
    ("", ""), ("{", "line 1"), ("[]", ""), ("3", ""), ("[" * 100000, ""), ("\udcff", ""), ('{"e": {}, "e": {}}', "e"),
    ('{"e": []}', "e"), ('{"e": {"a": []}}', "e/a"), ('{"e": {"a": {"img_path": "e/a.jpg"}}}', "e/a"),
    ('{"e": {"a": {"bboxes": {}}}}', "e/a"), ('{"e": {"a": {"bboxes": []}, "a": {"bboxes": []}}}', "a")])
def test_odd_json_is_named(tmp_path, content, place):
    (tmp_path / "a.json").write_text(content, errors="surrogateescape")
    with pytest.raises(InputError, match=f"a.json: .*{place}"):
        read_predictions_json(tmp_path / "a.json")


@pytest.mark.parametrize("row", [
    "[1, 2, 3, 4]", "[1, 2, 3, NaN, 0.5]", "[1, 2, 3, 4, Infinity]", "[1, 2, 3, 4, 1e999]",
    f"[1, 2, 3, 4, 1{'0' * 400}]", '["1", 2, 3, 4, 0.5]', "[true, 2, 3, 4, 0.5]", "[null, 2, 3, 4, 0.5]", "7"])
def test_an_odd_row_of_json_is_named(tmp_path, row):
    (tmp_path / "a.json").write_text('{"e": {"a": {"bboxes": [[1, 2, 3, 4, 0.5], ROW]}}}'.replace("ROW", row))
    with pytest.raises(InputError, match="a.json: e/a, row 2: "):
        read_predictions_json(tmp_path / "a.json")
