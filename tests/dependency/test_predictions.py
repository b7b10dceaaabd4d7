# SPDX-License-Identifier: Apache-2.0
"""Predictions from a tree, a JSON file and memory: the same AP, every oddity said, damage named."""
import json
from types import SimpleNamespace

import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate, main
from dependency.evaluate.ground_truth import SUBSETS, load_ground_truth, write_ground_truth
from dependency.evaluate.prediction_io import read_predictions_json, rows_of, write_prediction, write_predictions_json
from dependency.evaluate.predictions import gather

NAMES = ("0--A/a", "0--A/b", "1--B/c.d")
LAYOUT = 'expected {"<event>": {"<image>": '


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


def test_faces_of_the_detector_are_taken_as_they_are(truth):
    faces = Faces(np.array([[10, 10, 30, 30], [60, 10, 90, 50]], np.float32), np.array([0.9, 0.5], np.float32),
                  np.zeros((2, 5, 2), np.float32))
    report = evaluate({name: faces for name in NAMES}, truth)
    assert report.ap[0.5] == dict.fromkeys(SUBSETS, 1.0)
    np.testing.assert_array_equal(rows_of(faces, "a")[1], [60, 10, 30, 40, 0.5])
    # Rows with landmarks, as detectors pass them on.
    np.testing.assert_array_equal(rows_of(faces.rows(), "a"), rows_of(faces, "a"))


@pytest.mark.parametrize("faces, text", [
    ([[1, 2, 3, 4]], r"shape \(1, 4\)"), ([1, 2, 3, 4, 5], "no rows"), ("faces", "no rows"), (None, "no rows"),
    ([[1, 2, 3, 4, 5], [1]], "no rows"), ([[1, 2, np.inf, 4, 5]], "not finite"),
    (SimpleNamespace(boxes=np.zeros((2, 4)), scores=np.zeros(3)), "no rows"),
    (SimpleNamespace(boxes=np.zeros((1, 4)), scores=[np.nan]), "not finite")])
def test_wrong_detections_in_memory_are_named(truth, faces, text):
    with pytest.raises(InputError, match=f"the detections of 0--A/a .*{text}"):
        gather({"0--A/a": faces}, truth.images)


def test_an_empty_list_is_not_a_missing_image(truth, tmp_path):
    faces = random_faces(np.random.default_rng(1), 3)
    for empty in ([], np.empty((0, 5)), np.empty((0, 15), np.float32), SimpleNamespace(boxes=[], scores=[])):
        predictions = {NAMES[0]: faces, NAMES[1]: empty}
        assert gather(predictions, truth.images).missing == ["1--B/c.d"]
        write_predictions_json(tmp_path / "a.json", predictions)
        assert gather(tmp_path / "a.json", truth.images).missing == ["1--B/c.d"]
        with pytest.raises(InputError, match="1 of 3 images have no prediction in .*a.json, first: 1--B/c.d"):
            evaluate(tmp_path / "a.json", truth)
        assert evaluate(tmp_path / "a.json", truth, allow_missing=True).faces["hard"] == 6
        assert evaluate(tmp_path / "a.json", truth, only_predicted=True).faces["hard"] == 4


def test_other_names_take_no_part_not_even_in_the_range_of_scores(truth):
    rng = np.random.default_rng(2)
    predictions = {name: random_faces(rng, 20) for name in NAMES}
    extra = {"0--A/z": [[1, 2, 3, 4, 700.0]], "9--Z/a": [[1, 2, 3, 4, -9.0]], "0--A/a.jpg": [[1, 2, 3, 4, 5]]}
    report = evaluate({**predictions, **extra}, truth)
    assert report.ap == evaluate(predictions, truth).ap and report.detections == 60
    assert report.warnings == (("3 files, folders or entries belong to no image of the ground truth; they are "
                               "ignored, first: 0--A/a.jpg, 0--A/z, 9--Z/a"),)


@pytest.mark.parametrize("source", [{}, {"a": [[1, 2, 3, 4, 0.5]]}, {"0--A/a.jpg": []}])
def test_nothing_that_belongs_is_an_error(truth, tmp_path, source):
    with pytest.raises(InputError, match="predictions in memory holds no prediction: expected keys <event>/<image>"):
        gather(source, truth.images)
    (tmp_path / "a.json").write_text(json.dumps({"9--Z": {"a": {"bboxes": []}}} if source else {}))
    with pytest.raises(InputError, match="a.json holds no prediction: expected {event: .* found (9--Z/a|nothing)"):
        gather(tmp_path / "a.json", truth.images)


def test_negative_sizes_are_said_and_find_nothing(truth):
    right = [[10, 10, 30, 30, 0.9], [60, 10, 90, 50, 0.8]]
    turned = [[30, 30, 10, 10, 1.0], [90, 10, 60, 50, 0.1]]
    good = evaluate({name: right for name in NAMES}, truth)
    report = evaluate({name: sorted(right + turned, key=lambda row: -row[4]) for name in NAMES}, truth)
    assert report.warnings == (("3 images: a width or height is negative; from -1 down the row is a false alarm, "
                               "first: 0--A/a, 0--A/b, 1--B/c.d"),)
    assert good.ap[0.5]["hard"] == 1.0 and report.ap[0.5]["hard"] == pytest.approx(2 / 3)


def test_unsorted_rows_are_said_by_image(truth):
    falling = [[10, 10, 30, 30, 0.9], [60, 10, 90, 50, 0.8]]
    gathered = gather({NAMES[0]: falling, NAMES[1]: falling[::-1], NAMES[2]: falling}, truth.images)
    assert gathered.remarks == [("1 images: the rows are not sorted by score; the protocol takes them in their order, "
                                "first: 0--A/b")]
    np.testing.assert_array_equal(gathered.rows[1][:, 4], [0.8, 0.9])


def test_first_lines_need_not_name_the_image(truth, tmp_path):
    tree = write_tree(tmp_path / "pred", {name: random_faces(np.random.default_rng(3), 9) for name in NAMES})
    expected = evaluate(tree, truth)
    for path in tree.rglob("*.txt"):
        path.write_text("\n".join(["the_same_name.jpg", *path.read_text().splitlines()[1:]]) + "\n")
    assert evaluate(tree, truth).ap == expected.ap and not evaluate(tree, truth).warnings


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
    for wrong in ("a", "/a", "e/"):
        with pytest.raises(InputError, match=f"the image `{wrong}` has no event"):
            write_predictions_json(tmp_path / "b.json", {wrong: []})
    with pytest.raises(InputError, match="e/a are not finite"):
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


@pytest.mark.parametrize("content, text", [
    ("", "cannot be read as JSON .*" + LAYOUT), ("{", "cannot be read as JSON .*line 1 column 2"),
    ("[]", "the file holds no images"), ("3", "the file holds no images"), ('{"e": []}', "e holds no images"),
    ('{"e": {"a": []}}', "e/a has no list `bboxes`"), ('{"e": {"a": {"img_path": "e/a.jpg"}}}', "e/a has no list"),
    ('{"e": {"a": {"bboxes": {}}}}', "e/a has no list `bboxes`"), ('{"e": {}, "e": {}}', "`e` stands twice"),
    ('{"e": {"a": {"bboxes": []}, "a": {"bboxes": []}}}', "`a` stands twice"),
    ('{"e": {"a": {"bboxes": [[1, 2, 3, 4, 0.5], [1, 2, 3, 4]]}}}', r"e/a, row 2: \[1, 2, 3, 4\] is not a detection"),
    ('{"e": {"a": {"bboxes": [[1, 2, 3, NaN, 0.5]]}}}', r"e/a, row 1: \[1, 2, 3, NaN"),
    ('{"e": {"a": {"bboxes": [[1, 2, 3, 4, Infinity]]}}}', "e/a, row 1: "),
    ('{"e": {"a": {"bboxes": [[1, 2, 3, 4, 1e999]]}}}', "e/a, row 1: "),
    ('{"e": {"a": {"bboxes": [[1, 2, 3, 4, 1%s]]}}}' % ("0" * 400), "e/a, row 1: .*[.][.][.] is not a detection"),
    ('{"e": {"a": {"bboxes": [["1", 2, 3, 4, 0.5]]}}}', "e/a, row 1: "),
    ('{"e": {"a": {"bboxes": [[true, 2, 3, 4, 0.5]]}}}', "e/a, row 1: "),
    ('{"e": {"a": {"bboxes": [[null, 2, 3, 4, 0.5]]}}}', "e/a, row 1: "),
    ('{"e": {"a": {"bboxes": [7]}}}', "e/a, row 1: 7 is not"), ("[" * 100000, "cannot be read as JSON"),
])
def test_odd_json_is_named(tmp_path, content, text):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=f"a.json: .*{text}"):
        read_predictions_json(tmp_path / "a.json")


def test_json_of_another_encoding(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"e": {"\xff": {}}}')
    with pytest.raises(InputError, match="a.json: cannot be read as JSON"):
        read_predictions_json(tmp_path / "a.json")


def test_a_folder_may_be_called_json(truth, tmp_path):
    predictions = {name: random_faces(np.random.default_rng(4), 9) for name in NAMES}
    tree = write_tree(tmp_path / "pred.json", predictions)
    assert evaluate(tree, truth).detections == 27


def test_command_line_takes_a_json_file(truth, tmp_path, capsys):
    write_predictions_json(tmp_path / "p.json", {name: [[10, 10, 30, 30, 0.5]] for name in NAMES})
    assert main([str(tmp_path / "p.json"), str(tmp_path / "gt")]) == 0
    assert "3 of 3 images scored, 0 missing, 3 detections" in capsys.readouterr().out
    with pytest.raises(OSError, match="absent.json"):
        main([str(tmp_path / "absent.json"), str(tmp_path / "gt")])
