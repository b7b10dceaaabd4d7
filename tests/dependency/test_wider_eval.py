# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation: against a literal reading of the protocol, a published result, odd inputs."""
import json
import logging
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from benchmarks import literal_port
from dependency.errors import InputError
from dependency.evaluate import eval as wider
from dependency.evaluate import overlaps
from dependency.evaluate.ground_truth import SUBSETS, load_ground_truth, write_ground_truth
from dependency.evaluate.results import BANNER, FOOTER, format_report, report_to_dict
from tests.conftest import ROOT


def literal_iou(a, b):
    """Overlap of two xywh boxes, corners x + w, every width + 1."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]) + 1
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] + 1) * (a[3] + 1) + (b[2] + 1) * (b[3] + 1) - w * h)


def literal_ap(images, rows, subset, iou):
    """The protocol of the Python ports, one row and one threshold at a time."""
    scores = [row[4] for image_rows in rows for row in image_rows]
    low, high = min(scores), max(scores)
    totals, faces = np.zeros((1000, 2)), 0
    for (boxes, kept), image_rows in zip(images, rows):
        faces += len(kept[subset])
        if not len(boxes):
            continue
        recalled, state, proposal = [], np.zeros(len(boxes)), []
        for row in image_rows:
            overlap = [literal_iou(row, box) for box in boxes]
            best = int(np.argmax(overlap))
            proposal.append(1)
            if overlap[best] >= iou:
                if best not in kept[subset]:
                    state[best], proposal[-1] = -1, 0
                elif state[best] == 0:
                    state[best] = 1
            recalled.append(int((state == 1).sum()))
        for t in range(1000):
            reached = [k for k, row in enumerate(image_rows)
                       if (row[4] - low) / (high - low) >= 1 - (t + 1) / 1000]
            if reached:
                totals[t] += sum(proposal[:reached[-1] + 1]), recalled[reached[-1]]
    recall = [0.0, *(totals[:, 1] / faces), 1.0]
    precision = [0.0, *(found / max(proposals, 1) for proposals, found in totals), 0.0]
    for k in range(len(precision) - 2, -1, -1):
        precision[k] = max(precision[k], precision[k + 1])
    return sum((recall[k + 1] - recall[k]) * precision[k + 1] for k in range(len(recall) - 1))


def random_set(rng):
    """Ground truth and rows for a few images: jittered faces, false boxes, coarse unsorted scores."""
    images, rows = [], []
    for _ in range(rng.integers(1, 5)):
        n = rng.integers(0, 6)
        boxes = np.column_stack([rng.integers(0, 40, (n, 2)), rng.integers(0, 25, (n, 2))])
        kept = {subset: np.flatnonzero(rng.random(n) < 0.7) for subset in SUBSETS}
        source = boxes[rng.integers(n, size=rng.integers(0, 9))] if n else np.empty((0, 4))
        guesses = np.concatenate([source + rng.integers(-3, 4, source.shape), rng.integers(0, 40, (2, 4))])
        guesses[rng.random(guesses.shape) < 0.03] *= -1                 # sizes below 0 too
        guesses = np.column_stack([guesses, rng.integers(0, 12, len(guesses)) / 11])
        images.append((boxes, kept))
        rows.append(guesses[rng.permutation(len(guesses))] + (rng.random() if rng.integers(2) else 0) * 0.01)
    return images, rows


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


def test_files_give_the_same_as_arrays(tmp_path):
    rng = np.random.default_rng(7)
    for number in range(5):
        images, rows = random_set(rng)
        truth = write_truth(tmp_path / f"gt{number}", images)
        order = list(range(len(images)))[::2] + list(range(len(images)))[1::2]
        write_rows(tmp_path / f"pred{number}", truth, [rows[i] for i in order])
        report = wider.evaluate(tmp_path / f"pred{number}", tmp_path / f"gt{number}", (0.5, 0.3))
        for iou in (0.5, 0.3):
            for subset in SUBSETS:
                value = report.ap[iou][subset]
                if report.faces[subset]:
                    assert value == pytest.approx(literal_ap(images, rows, subset, iou), abs=1e-12)
                else:
                    assert np.isnan(value) and report_to_dict(report)["ap"][f"{iou:g}"][subset] is None
        json.dumps(report_to_dict(report, curves=True), allow_nan=False)


def test_perfect_and_empty(small):
    report = wider.evaluate(small / "pred", small / "gt")
    assert report.ap == {iou: dict.fromkeys(SUBSETS, 1.0) for iou in (0.5, 0.4)}
    assert (report.images, report.scored, report.missing, report.detections) == (3, 3, (), 6)
    for path in (small / "pred").rglob("*.txt"):
        path.write_text("e/a.jpg\n0\n")
    report = wider.evaluate(small / "pred", small / "gt")
    assert report.ap[0.5] == dict.fromkeys(SUBSETS, 0.0) and "no detection" in report.warnings[0]


def test_equal_scores_do_not_turn_to_nan(small):
    for path in (small / "pred").rglob("*.txt"):
        path.write_text("10 10 20 20 0.5\n")
    report = wider.evaluate(small / "pred", small / "gt")
    assert report.ap[0.5]["hard"] == 1.0 and "all scores are 0.5" in report.warnings[0]


def test_missing_files(small):
    (small / "pred" / "0--A" / "0--A_1.txt").unlink()
    with pytest.raises(InputError, match="1 of 3 images have no prediction .*0--A/0--A_1.*--allow_missing"):
        wider.evaluate(small / "pred", small / "gt")
    allowed = wider.evaluate(small / "pred", small / "gt", allow_missing=True)
    assert allowed.missing == ("0--A/0--A_1",) and allowed.faces["hard"] == 3
    assert allowed.ap[0.5]["hard"] == pytest.approx(2 / 3)
    assert "1 missing (their faces count as missed)" in format_report(allowed)
    part = wider.evaluate(small / "pred", small / "gt", only_predicted=True)
    assert part.ap[0.5]["hard"] == 1.0 and part.faces["hard"] == 2
    assert "2 of 3 images scored" in format_report(part)
    with pytest.raises(InputError, match="give one"):
        wider.evaluate(small / "pred", small / "gt", allow_missing=True, only_predicted=True)


def test_missing_event_folder_counts_its_images(small):
    (small / "pred" / "1--B" / "1--B_0.txt").unlink()
    (small / "pred" / "1--B").rmdir()
    with pytest.raises(InputError, match="1--B/1--B_0"):
        wider.evaluate(small / "pred", small / "gt")


@pytest.mark.parametrize("options", [{}, {"allow_missing": True}, {"only_predicted": True}])
def test_a_folder_without_predictions_is_an_error(small, options):
    (small / "empty").mkdir()
    with pytest.raises(InputError, match="holds no prediction.*found nothing"):
        wider.evaluate(small / "empty", small / "gt", **options)
    (small / "pred").rename(small / "empty" / "140")
    with pytest.raises(InputError, match="no prediction.*found 140; give the folder that holds the event"):
        wider.evaluate(small / "empty", small / "gt", **options)
    with pytest.raises(InputError, match="no such folder"):
        wider.evaluate(small / "absent", small / "gt", **options)


def test_oddities_are_said_once_and_do_no_harm(small, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("facedet"), "propagate", True)
    (small / "pred" / "metrics.jsonl").write_text("{}")
    (small / "pred" / "2--C").mkdir()
    (small / "pred" / "0--A" / "extra.txt").write_text("not even a prediction")
    (small / "pred" / "0--A" / "0--A_0.txt").write_text("x\n7\n80 80 5 5 0.1\n10 10 20 20 0.9\n")
    (small / "pred" / "1--B" / "1--B_0.txt").write_text("")
    with caplog.at_level(logging.WARNING, logger="facedet"):
        report = wider.evaluate(small / "pred", small / "gt")
    assert len(report.warnings) == len(caplog.records) == 4
    text = caplog.text
    assert "1 images: the count line disagrees" in text and "1 images: the rows are not sorted" in text
    assert "1 images: the file holds neither count nor rows" in text
    assert "3 files, folders or entries belong to no image" in text and "0--A/extra.txt" in text
    # The unsorted file's false box lies before its face, so it counts wherever the face does.
    assert report.ap[0.5]["hard"] < 2 / 3


def test_damaged_prediction_has_file_and_line(small):
    (small / "pred" / "1--B" / "1--B_0.txt").write_text("x\n1\n1 2 3 4\n")
    with pytest.raises(InputError, match="1--B_0.txt:3: "):
        wider.evaluate(small / "pred", small / "gt")


@pytest.mark.parametrize("ious", [(), (0,), (1.5,), (0.5, float("nan"))])
def test_iou_thresholds_are_checked(small, ious):
    with pytest.raises(InputError, match="IoU thresholds"):
        wider.evaluate(small / "pred", small / "gt", ious)


def test_printed_block_is_the_manual_one(small, capsys):
    pred = str(small / "pred")
    assert wider.main([pred, str(small / "gt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    block = [f"==================== Results = ==================== {pred}",
             "Easy   Val AP: 1.0", "Medium Val AP: 1.0", "Hard   Val AP: 1.0",
             "================================================="]
    assert lines[0] == "protocol: IoU 0.5, 3 of 3 images scored, 0 missing, 6 detections"
    assert lines[1:6] == block == [f"{BANNER} {pred}", *block[1:4], FOOTER]
    assert "IoU 0.4" in lines[6] and lines[8:] == block


@pytest.mark.parametrize("form", [["--pred", "P", "--gt", "G"], ["-p", "P", "-g", "G"], ["P", "G"],
                                  ["-p", "P", "G"], ["P", "--gt", "G"], ["P", "G", "--iou_thresh", "0.5,0.4"],
                                  ["P", "G", "--iou_thresh", "0.5", "--iou_thresh", ".4"]])
def test_command_line_forms(small, capsys, form):
    places = {"P": str(small / "pred"), "G": str(small / "gt")}
    wider.main([places.get(word, word) for word in form])
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("protocol")] == [
        f"protocol: IoU {iou}, 3 of 3 images scored, 0 missing, 6 detections" for iou in (0.5, 0.4)]


@pytest.mark.parametrize("form", [[], ["P"], ["P", "G", "X"], ["-p", "P", "-g", "G", "X"]])
def test_wrong_number_of_folders(form):
    with pytest.raises(InputError, match="--pred PRED --gt GT"):
        wider.main(form)


def test_script_runs_from_any_directory(small):
    script = ROOT / "dependency" / "evaluate" / "eval.py"
    command = [sys.executable, str(script), "--pred", "pred", "--gt", "gt", "--json", "report.json"]
    done = subprocess.run(command, cwd=small, capture_output=True, text=True, check=True)
    assert "Easy   Val AP: 1.0" in done.stdout
    assert json.loads((small / "report.json").read_text())["ap"]["0.5"] == dict.fromkeys(SUBSETS, 1.0)
    failed = subprocess.run([*command[:3], "absent", *command[4:]], cwd=small, capture_output=True, text=True,
                            check=False)
    assert failed.returncode == 2 and failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def published(shared_data, tmp_path_factory):
    """Detections of the released RetinaFace MobileNet-0.25 on all of WIDER val, and the ground truth."""
    folder, archive = tmp_path_factory.mktemp("published"), next((shared_data / "predictions").glob("*.tar.gz"))
    with tarfile.open(archive) as file:
        file.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / archive.name.replace(".tar.gz", ""), shared_data / "wider" / "ground_truth"


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
    assert report.ap[0.5] == pytest.approx(literal_port.evaluate(*published), abs=1e-9)


def test_published_result_without_the_compiled_module(published, monkeypatch):
    expected = wider.evaluate(*published)
    monkeypatch.setattr(overlaps, "kernels", lambda: None)
    assert wider.evaluate(*published).ap == expected.ap
