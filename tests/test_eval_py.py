# SPDX-License-Identifier: Apache-2.0
"""eval.py from the command line: one tree, several, a sweep."""
import json

import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.errors import InputError
from src.data.annotations import write_label_txt
from src.evaluation.predict import predict_images
from src.evaluation.scoring import epoch_of
from tests.small_wider import BOX, IMAGES, SquareDetector, make_split
from tests.test_test_py import script


@pytest.fixture(scope="module")
def entry():
    return script("eval")


@pytest.fixture
def split(tmp_path):
    """A sweep of three epochs; epoch 9 is the best."""
    made = make_split(tmp_path)
    made.sweep = tmp_path / "sweep"
    for epoch, shift in ((9, 0), (10, 12), (100, 30)):
        predict_images(SquareDetector(shift), IMAGES, made.images, made.sweep / str(epoch))
    return made


@pytest.mark.parametrize("form", [["--pred", "{p}", "--gt", "{g}"], ["{p}", "{g}"], ["{p}", "-g", "{g}"], ["-p={p}", "{g}"]],
                         ids=" ".join)
def test_one_tree_in_every_spelling(entry, split, capsys, form):
    arguments = [part.format(p=split.sweep / "9", g=split.gt) for part in form]
    assert entry.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("Hard   Val AP: 1.0") == 2 and "IoU 0.4" in printed and "best" not in printed


def test_a_sweeps_folder_is_scored_in_order_of_epoch(entry, split, capsys, tmp_path):
    assert entry.main([str(split.sweep), str(split.gt), "--json", str(tmp_path / "r.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("sweep/9\n") < printed.index("sweep/10\n") < printed.index("sweep/100\n")
    assert "best by easy  : 9 " in printed
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["best"] == dict.fromkeys(["easy", "medium", "hard", "sum"], "9") and len(content["reports"]) == 3
    assert entry.main(["--sweep", str(split.sweep), "--gt", str(split.gt)]) == 0
    assert entry.main(["--pred", *(str(split.sweep / each) for each in ("9", "10")), "--gt", str(split.gt)]) == 0


def test_filters_can_leave_no_best(entry, split, capsys):
    assert entry.main([str(split.sweep), str(split.gt), "--filter_sum", "3"]) == 0
    assert capsys.readouterr().out.count("none passes") == 4


def test_an_unfinished_tree_of_a_sweep_is_left_out(entry, split, capsys):
    (split.sweep / "10" / "0--Parade" / "0_Parade_1.txt").unlink()
    (split.sweep / "11").mkdir()
    assert entry.main([str(split.sweep), str(split.gt)]) == 1
    printed = capsys.readouterr().out
    assert "1 of 3 images have no prediction" in printed and "best by sum   : 9 " in printed
    assert entry.main([str(split.sweep / "10"), str(split.gt), "--only_predicted"]) == 0
    assert "2 of 3 images scored" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["--iou_thresh=0.5"], "python eval.py --pred"), (["{p}"], "python eval.py --pred"), (["{p}/none", "{g}"], "no such folder"),
    (["{p}", "{p}"], "wider_face_val.mat"), (["{p}/9/0--Parade", "{g}"], "holds no prediction"),
    (["--sweep", "{p}/9", "-g", "{g}"], "named by an epoch"),
])
def test_wrong_input_is_named(entry, split, arguments, message):
    with pytest.raises(InputError, match=message):
        entry.main([part.format(p=split.sweep, g=split.gt) for part in arguments])


def test_epochs_are_read_from_folder_names():
    assert [epoch_of(name) for name in ("125", "0-125_24750", "best")] == [125, 125, None]


@pytest.mark.parametrize("arguments, message", [
    ([], "no wider_face_val.mat"), (["--val_gt_dir={g}", "--val_model=nowhere.ckpt"], "no folder data/widerface/val"),
    (["--val_modle=x"], "did you mean --val_model"), (["--model=centerface"], "tested by test.py"),
    (["--val_origin_size=1", "--pad=everywhere"], "--pad everywhere")])
def test_without_predictions_it_is_retinafaces_evaluation(entry, split, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        entry.main([part.format(g=split.gt) for part in arguments])


def test_the_report_names_what_is_missed(entry, split, tmp_path, capsys):
    folder = tmp_path / "report"
    trees = [str(split.sweep / epoch) for epoch in ("9", "100")]
    assert entry.main(["--pred", *trees, "--gt", str(split.gt), "--report", str(folder),
                       "--image_dir", str(split.images)]) == 0
    analysis = json.loads((folder / "analysis.json").read_text())
    assert [run["name"] for run in analysis["runs"]] == ["9", "100"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "0--Parade" in page and "data:image/jpeg" in page and str(folder / "index.html") in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["--protocol=fddb", "--sweep", "{p}", "--gt={g}"], "--checkpoint_evaluation"),
    (["--protocol=fddb", "--pred", "{p}", "--gt={g}", "--report=r"], "--report"),
    (["--protocol=fddb", "--pred", "{p}", "--gt={g}", "--iou_thresh=0.3"], "--iou_thresh"),
    (["--protocol=fddb", "--pred", "{p}", "{p}", "--gt={g}", "--fold_files=f"], "expected one prediction tree, got 2"),
    (["{p}", "{g}", "--fold_files=f"], "--fold_files"),
    (["{p}", "{g}", "--image_dir=f"], "--image_dir .*--report")])
def test_options_of_the_other_protocol_are_refused(entry, split, arguments, message):
    with pytest.raises(InputError, match=message):
        entry.main([part.format(p=split.sweep, g=split.gt) for part in arguments])


def test_landmarks_are_scored_where_they_are_kept(entry, split, tmp_path):
    """The detector's landmarks are the middle of its boxes: so are the annotated ones, shifted by 3 pixels."""
    x, y, width, height = BOX
    records = []
    for name in IMAGES:
        boxes = np.array([[x, y, x + width, y + height]], np.float32)
        points = np.tile((boxes[:, None, :2] + boxes[:, None, 2:]) / 2, (1, 5, 1)) + np.float32(3)
        records.append(Record(name, boxes, points, np.full((1, 5), 2, np.uint8), np.zeros(1, bool), 64, 96))
    write_label_txt(tmp_path / "label.txt", records)
    tree, report = tmp_path / "tree", tmp_path / "report"
    arguments = ["--pred", str(tree), "--gt", str(split.gt), "--report", str(report), "--landmarks",
                 str(tmp_path / "label.txt")]
    predict_images(SquareDetector(0), IMAGES, split.images, tree)
    with pytest.raises(InputError, match="--save_landmarks 1"):
        entry.main(arguments)
    predict_images(SquareDetector(0), IMAGES, split.images, tree, landmarks=True)
    assert entry.main(arguments) == 0
    found = json.loads((report / "analysis.json").read_text())["runs"][0]["landmarks"]
    assert found["faces"] == 3
    assert found["nme"] == pytest.approx(np.hypot(3, 3) / np.sqrt(width * height), abs=0.03)
