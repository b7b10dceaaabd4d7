# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation: against a literal reading of the protocol, a published result, odd inputs."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import reference_evaluation
from dependency.errors import InputError
from dependency.evaluate import eval as wider
from dependency.evaluate.ground_truth import SUBSETS, GroundTruth, load_ground_truth, write_ground_truth
from dependency.evaluate.matching import corners
from dependency.evaluate.prediction_io import best_first
from dependency.evaluate.results import format_report, report_to_dict
from tests.conftest import ROOT
from tests.dependency.scored_sets import random_images, random_set, scored_set


def write_truth(folder, images):
    events = [("0--A", images[::2]), ("1--B", images[1::2])]
    write_ground_truth(folder, [(event, [(f"{event}_{i}", boxes, *(kept[s] for s in SUBSETS))
                                         for i, (boxes, kept) in enumerate(part)])
                                for event, part in events if part])
    return load_ground_truth(folder)


def write_rows(folder, truth, rows):
    for image, image_rows in zip(truth.images, rows):
        path = folder / image.event / f"{image.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{image.event}/{image.name}.jpg", str(len(image_rows))]
        lines += [" ".join(map(repr, map(float, row))) for row in image_rows]
        path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def small(tmp_path):
    """Three images in two events, each with one face that is found."""
    box = np.array([[10, 10, 20, 20]])
    kept = {subset: np.array([0]) for subset in SUBSETS}
    truth = write_truth(tmp_path / "gt", [(box, kept)] * 3)
    write_rows(tmp_path / "pred", truth,
               [[[10, 10, 20, 20, 0.9 - i / 10], [80, 80, 5, 5, 0.1]] for i in range(3)])
    return tmp_path


def test_equals_the_literal_port(tmp_path):
    """From the files on, at all thousand thresholds."""
    rng, compared = np.random.default_rng(7), 0
    for number in range(4):
        images, rows = random_set(rng)
        pred, gt = tmp_path / f"pred{number}", tmp_path / f"gt{number}"
        truth = write_truth(gt, images)
        rows = [rng.permutation(of_image) for of_image in rows[::2] + rows[1::2]]
        write_rows(pred, truth, rows)
        report = wider.evaluate(pred, gt, (0.5, 0.3))
        write_rows(pred, truth, map(best_first, rows))          # the port takes them in the file's order
        json.dumps(report_to_dict(report, curves=True), allow_nan=False)
        for iou in (0.5, 0.3):
            expected = reference_evaluation.evaluate(pred, gt, iou)
            for subset in SUBSETS:
                if report.faces[subset]:
                    assert report.ap[iou][subset] == pytest.approx(expected[subset], abs=1e-9)
                    compared += 1
                else:
                    assert np.isnan(report.ap[iou][subset])
                    assert report_to_dict(report)["ap"][f"{iou:g}"][subset] is None
    assert compared > 15


def test_perfect_and_empty(small):
    report = wider.evaluate(small / "pred", small / "gt")
    assert report.ap == {iou: dict.fromkeys(SUBSETS, 1.0) for iou in (0.5, 0.4)}
    assert (report.images, report.scored, report.missing, report.detections) == (3, 3, (), 6)
    for path in (small / "pred").rglob("*.txt"):
        path.write_text("e/a.jpg\n0\n")
    report = wider.evaluate(small / "pred", small / "gt")
    assert report.ap[0.5] == dict.fromkeys(SUBSETS, 0.0) and len(report.warnings) == 1


def test_missing_files(small):
    (small / "pred" / "0--A" / "0--A_1.txt").unlink()
    with pytest.raises(InputError, match="0--A/0--A_1.*--allow_missing"):
        wider.evaluate(small / "pred", small / "gt")
    allowed = wider.evaluate(small / "pred", small / "gt", allow_missing=True)
    assert allowed.missing == ("0--A/0--A_1",) and allowed.faces["hard"] == 3
    assert allowed.ap[0.5]["hard"] == pytest.approx(2 / 3)
    part = wider.evaluate(small / "pred", small / "gt", only_predicted=True)
    assert part.ap[0.5]["hard"] == 1.0 and part.faces["hard"] == 2
    with pytest.raises(InputError):
        wider.evaluate(small / "pred", small / "gt", allow_missing=True, only_predicted=True)
    (small / "pred" / "1--B" / "1--B_0.txt").unlink()
    (small / "pred" / "1--B").rmdir()
    assert wider.evaluate(small / "pred", small / "gt", allow_missing=True).missing == ("0--A/0--A_1", "1--B/1--B_0")


@pytest.mark.parametrize("options", [{}, {"allow_missing": True}, {"only_predicted": True}])
def test_a_folder_without_predictions_is_an_error(small, options):
    (small / "empty").mkdir()
    for folder in ("empty", "absent"):
        with pytest.raises(InputError, match=folder):
            wider.evaluate(small / folder, small / "gt", **options)
    (small / "pred").rename(small / "empty" / "140")
    with pytest.raises(InputError, match="found 140"):
        wider.evaluate(small / "empty", small / "gt", **options)


def test_oddities_are_warnings_and_do_no_harm(small):
    (small / "pred" / "metrics.jsonl").write_text("{}")
    (small / "pred" / "2--C").mkdir()
    (small / "pred" / "0--A" / "extra.txt").write_text("not even a prediction")
    (small / "pred" / "0--A" / "0--A_0.txt").write_text("x\n7\n80 80 5 5 0.1\n10 10 20 20 0.9\n")
    (small / "pred" / "1--B" / "1--B_0.txt").write_text("")
    report = wider.evaluate(small / "pred", small / "gt")
    named = ("0--A/0--A_0", "0--A/0--A_0", "1--B/1--B_0", "0--A/extra.txt")
    assert len(report.warnings) == len(named)
    assert all(any(name in warning for warning in report.warnings) for name in named)
    assert not any("metrics.jsonl" in warning for warning in report.warnings), "test.py writes it there"
    assert report.ap[0.5]["hard"] == pytest.approx(2 / 3), "the unsorted file's face is taken before its false box"


def test_damaged_prediction_has_file_and_line(small):
    (small / "pred" / "1--B" / "1--B_0.txt").write_text("x\n1\n1 2 3 4\n")
    with pytest.raises(InputError, match="1--B_0.txt:3: "):
        wider.evaluate(small / "pred", small / "gt")


@pytest.mark.parametrize("ious", [(), (0,), (1.5,), (0.5, float("nan"))])
def test_iou_thresholds_are_checked(small, ious):
    with pytest.raises(InputError, match="IoU thresholds"):
        wider.evaluate(small / "pred", small / "gt", ious)


@pytest.mark.parametrize("form", [["--pred", "P", "--gt", "G"], ["-p", "P", "-g", "G"], ["P", "G"],
                                  ["-p", "P", "G"], ["P", "--gt", "G"], ["P", "G", "--iou_thresh", "0.5,0.4"],
                                  ["P", "G", "--iou_thresh", "0.5", "--iou_thresh", ".4"]])
def test_every_form_of_the_command_line_prints_the_manuals_block(small, capsys, form):
    places = {"P": str(small / "pred"), "G": str(small / "gt")}
    assert wider.main([places.get(word, word) for word in form]) == 0
    lines = capsys.readouterr().out.splitlines()
    block = [f"==================== Results = ==================== {small / 'pred'}",
             "Easy   Val AP: 1.0", "Medium Val AP: 1.0", "Hard   Val AP: 1.0",
             "================================================="]
    assert lines[1:6] == lines[8:] == block
    assert "IoU 0.5, 3 of 3 images" in lines[0] and "IoU 0.4, 3 of 3 images" in lines[7]


@pytest.mark.parametrize("form", [[], ["P"], ["P", "G", "X"], ["-p", "P", "-g", "G", "X"]])
def test_wrong_number_of_folders(form):
    with pytest.raises(InputError, match="--pred PRED --gt GT"):
        wider.main(form)


def test_script_runs_from_any_directory(small):
    script = ROOT / "dependency" / "evaluate" / "eval.py"
    command = [sys.executable, str(script), "--gt", "gt", "--json", "report.json", "--pred"]
    subprocess.run([*command, "pred"], cwd=small, capture_output=True, check=True)
    assert json.loads((small / "report.json").read_text())["ap"]["0.5"] == dict.fromkeys(SUBSETS, 1.0)
    failed = subprocess.run([*command, "absent"], cwd=small, capture_output=True, text=True, check=False)
    assert failed.returncode == 2 and failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1


ALONE = """
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("src", "mindspore", "cv2", "PIL", "yaml", "easydict", "jinja2", "matplotlib"):
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
sys.modules.update({"dependency.evaluate.box_overlaps": None, "dependency.evaluate.decimal_rows": None})
sys.argv = ["evaluate", "--pred", "pred", "--gt", "gt", "--mean_ap", "--bootstrap", "100", "--json", "alone.json"]
runpy.run_module("dependency.evaluate", run_name="__main__")
"""


def test_alone_it_needs_numpy_and_scipy_only(small):
    subprocess.run([sys.executable, "-c", ALONE], cwd=small, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
                   capture_output=True)
    report = json.loads((small / "alone.json").read_text())
    assert report["ap"]["0.5"] == report["mean_ap"] == dict.fromkeys(SUBSETS, 1.0)
    assert report["interval"]["0.5"]["hard"] == [1, 1]


def test_mean_ap_is_the_mean_of_ten(tmp_path):
    rng = np.random.default_rng(2)
    _, scored = scored_set(random_images(rng))
    rows = {image.path: np.column_stack([corners([of_image]), of_image[:, 4]])
            for image, of_image in zip(scored.images, scored.rows)}
    made = wider.evaluate(rows, GroundTruth(scored.images, tmp_path), wider.MEAN_IOUS, mean_ap=True, check_layout=False)
    assert len(made.ap) == 10 and min(made.ap) == 0.5 and max(made.ap) == 0.95
    for subset in SUBSETS:
        assert made.mean_ap[subset] == pytest.approx(np.mean([of_iou[subset] for of_iou in made.ap.values()]))


def test_published_result(published):
    """Its authors publish 90.70 / 88.16 / 73.82."""
    report, scored = wider.score_set(*published)
    assert (report.images, report.scored, report.detections) == (3226, 3226, 297333)
    assert report.faces == {"easy": 7211, "medium": 13319, "hard": 31958}
    assert list(report.ap[0.5].values()) == pytest.approx([0.90696, 0.88158, 0.73829], abs=1e-5)
    assert all(report.ap[0.4][subset] > report.ap[0.5][subset] for subset in SUBSETS)
    assert report.warnings == ()
    assert len(scored.images) == len(scored.rows) == len(scored.scores) == 3226
    assert len(scored.matches.row) == 297333 and scored.matches.face.max() < 39708


@pytest.mark.soak
def test_published_result_equals_the_literal_port(published):
    report = wider.evaluate(*published, iou_thresholds=(0.5,))
    assert report.ap[0.5] == pytest.approx(reference_evaluation.evaluate(*published), abs=1e-9)


@pytest.mark.parametrize("factor, offset, name", [
    (100, 0, "0..100"), (1, 0, None), (20, -10, "-8 to 8"), (1, 0.2, "0.3 to 1.1")])
def test_scores_beyond_0_to_1_are_named_and_change_nothing(small, factor, offset, name):
    truth = load_ground_truth(small / "gt")
    rows = [np.array([[10, 10, 20, 20, 0.9 - i / 10], [80, 80, 5, 5, 0.1]]) for i in range(3)]
    expected = wider.evaluate(small / "pred", truth).ap
    for of_image in rows:
        of_image[:, 4] = of_image[:, 4] * factor + offset
    write_rows(small / "scaled", truth, rows)
    report = wider.evaluate(small / "scaled", truth)
    assert report.ap == expected and report.protocol.get("scores") == name
    assert (f", scores {name}\n" in format_report(report)) == (name is not None)
