# SPDX-License-Identifier: Apache-2.0
"""eval.py from the command line: one tree, several, a sweep."""
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src.evaluation.predict import predict_images
from tests.small_wider import BOX, IMAGES, SquareDetector, make_data_file, make_split
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


@pytest.mark.parametrize("form", [["--pred", "{p}", "--gt", "{g}"], ["{p}", "{g}"], ["{p}", "-g", "{g}"],
                                  ["-p={p}", "{g}"]], ids=" ".join)
def test_one_tree_in_every_spelling(entry, split, capsys, form):
    arguments = [part.format(p=split.sweep / "9", g=split.gt) for part in form]
    assert entry.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("Hard   Val AP: 1.0") == 2 and "IoU 0.4" in printed and "best" not in printed


def test_own_images_and_a_dry_run(entry, split, capsys, tmp_path):
    """A data file in place of the .mat files; the report finds its images there."""
    tree = tmp_path / "own"
    predict_images(SquareDetector(), [f"images/{name}" for name in IMAGES], tmp_path, tree)
    own = ["--pred", str(tree), "--data", str(make_data_file(split))]
    written = ["--report", str(tmp_path / "report"), "--json", str(tmp_path / "r.json")]
    assert entry.main([*own, *written, "--dry_run"]) == 0
    assert "dry run" in capsys.readouterr().out and not (tmp_path / "report").exists()
    assert not (tmp_path / "r.json").exists()
    assert entry.main([*own, *written]) == 0
    assert "Medium Val AP: 1.0" in capsys.readouterr().out
    predict_images(SquareDetector(30), [f"images/{name}" for name in IMAGES], tmp_path, tree)
    assert entry.main([*own, *written]) == 0        # with pictures of what is missed
    assert "data:image" in (tmp_path / "report/index.html").read_text()
    with pytest.raises(InputError, match="--gt works only without --data"):
        entry.main([*own, "--gt", str(split.gt)])


def test_a_sweeps_folder_is_scored_in_order_of_epoch(entry, split, capsys, tmp_path):
    assert entry.main([str(split.sweep), str(split.gt), "--json", str(tmp_path / "r.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("sweep/9\n") < printed.index("sweep/10\n") < printed.index("sweep/100\n")
    assert "best by easy  : 9 " in printed
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["best"] == dict.fromkeys(["easy", "medium", "hard", "sum"], "9") and len(content["reports"]) == 3
    assert entry.main(["--sweep", str(split.sweep), "--gt", str(split.gt)]) == 0
    assert entry.main(["--pred", *(str(split.sweep / each) for each in ("9", "10")), "--gt", str(split.gt)]) == 0


def test_intervals_and_comparisons(entry, split, capsys, tmp_path):
    written = ["--report", str(tmp_path / "report"), "--json", str(tmp_path / "r.json")]
    assert entry.main([str(split.sweep), str(split.gt), "--bootstrap", "200", "--iou_thresh", "0.5", *written]) == 0
    printed = capsys.readouterr().out
    assert printed.count("95 % interval: easy") == 3 and "best by hard" in printed and "with probability" in printed
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["reports"][0]["interval"]["0.5"]["hard"] == [1, 1]
    assert {each["best"] for each in content["comparisons"]} == {"9"} and len(content["comparisons"]) == 8
    assert json.loads((tmp_path / "report/analysis.json").read_text())["comparisons"] == content["comparisons"]
    assert "probability that it is in truth behind" in (tmp_path / "report/index.html").read_text()
    numbers = json.loads((tmp_path / "report/summary.json").read_text())
    assert numbers["9/ap/0.5/hard"] == numbers["9/mean_ap/hard"] == numbers["9/interval/0.5/hard/low"] == 1
    assert all(isinstance(value, (int, float)) for value in numbers.values())
    assert entry.main([str(split.sweep / "9"), str(split.gt), "--want", "precision=0.9", *written]) == 0
    assert "score to deploy for precision 0.9: " in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["deploy"]["9"]["precision"] == 1
    numbers = json.loads((tmp_path / "report/summary.json").read_text())
    assert numbers["error_budget/missed"] == 0 and numbers["deploy/precision=0.9/precision"] == 1
    with pytest.raises(InputError, match="--seed works only with --bootstrap"):
        entry.main([str(split.sweep), str(split.gt), "--seed", "1"])


def test_an_unfinished_tree_of_a_sweep_is_left_out(entry, split, capsys):
    (split.sweep / "10" / "0--Parade" / "0_Parade_1.txt").unlink()
    (split.sweep / "11").mkdir()
    assert entry.main([str(split.sweep), str(split.gt)]) == 1
    printed = capsys.readouterr().out
    assert "1 of 3 images have no prediction" in printed and "best by sum   : 9 " in printed
    assert entry.main([str(split.sweep / "10"), str(split.gt), "--only_predicted"]) == 0
    assert "2 of 3 images scored" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, named", [
    (["--iou_thresh=0.5"], "--pred"), (["{p}"], "--pred"), (["{p}/none", "{g}"], "none"),
    (["{p}", "{p}"], "wider_face_val.mat"), (["{p}/9/0--Parade", "{g}"], "0--Parade"),
    (["--sweep", "{p}/9", "-g", "{g}"], "9"),
    # Without predictions it is the evaluation of RetinaFace.
    ([], "wider_face_val.mat"), (["--val_gt_dir={g}", "--val_model=nowhere.ckpt"], "data/widerface/val"),
    (["--val_modle=x"], "--val_model"), (["--model=centerface"], "test.py"),
    (["--val_origin_size=1", "--pad=everywhere"], "--pad everywhere"),
    # Options of the other protocol.
    (["--protocol=fddb", "--sweep", "{p}", "--gt={g}"], "--checkpoint_evaluation"),
    (["--protocol=fddb", "--pred", "{p}", "--gt={g}", "--report=r"], "--report"),
    (["--protocol=fddb", "--pred", "{p}", "--gt={g}", "--iou_thresh=0.3"], "--iou_thresh"),
    (["--protocol=fddb", "--pred", "{p}", "{p}", "--gt={g}", "--fold_files=f"], "one prediction tree"),
    (["{p}", "{g}", "--fold_files=f"], "--fold_files"), (["{p}", "{g}", "--flags=f"], "--flags .*--report")])
def test_wrong_input_is_named(entry, split, arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=named):
        entry.main([part.format(p=split.sweep, g=split.gt) for part in arguments])


def test_the_report_shows_what_is_missed(entry, split, tmp_path):
    trees = [str(split.sweep / epoch) for epoch in ("9", "100")]
    assert entry.main(["--pred", *trees, "--gt", str(split.gt), "--report", str(tmp_path / "report"),
                       "--image_dir", str(split.images)]) == 0
    analysis = json.loads((tmp_path / "report" / "analysis.json").read_text())
    assert [run["name"] for run in analysis["runs"]] == ["9", "100"]
    assert "data:image/webp" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_landmarks_are_scored_where_they_are_kept(entry, split, tmp_path):
    label = tmp_path / "label.txt"
    x, y, width, height = BOX
    points = " ".join(f"{x + width / 2 + 3} {y + height / 2 + 3} 0.0" for _ in range(5))
    label.write_text("".join(f"# {name}\n{x} {y} {width} {height} {points} 0.9\n" for name in IMAGES))
    tree, report = tmp_path / "tree", tmp_path / "report"
    words = ["--pred", str(tree), "--gt", str(split.gt), "--report", str(report), "--landmarks", str(label)]
    predict_images(SquareDetector(0), IMAGES, split.images, tree)
    with pytest.raises(InputError, match="--save_landmarks 1"):
        entry.main(words)
    predict_images(SquareDetector(0), IMAGES, split.images, tree, landmarks=True)
    assert entry.main(words) == 0
    found = json.loads((report / "analysis.json").read_text())["runs"][0]["landmarks"]
    assert found["faces"] == 3 and found["nme"] == pytest.approx(np.hypot(3, 3) / np.sqrt(width * height), abs=0.03)
    data = tmp_path / "my.yaml"
    data.write_text("path: images\nval: .\nlabels: ../label.txt\n")
    words = ["--pred", str(tree), "--data", str(data), "--report", str(report)]
    assert entry.main([*words, "--landmarks", str(data)]) == 0
    assert json.loads((report / "analysis.json").read_text())["runs"][0]["landmarks"] == found
