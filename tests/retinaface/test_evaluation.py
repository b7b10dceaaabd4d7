# SPDX-License-Identifier: Apache-2.0
"""`python eval.py` of RetinaFace: log lines, saved files, AP, and what it says when something is missing."""
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from easydict import EasyDict

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.prediction_io import read_predictions_json
from src.cli.options import defaults_of
from src.retinaface import evaluation
from src.retinaface.config import OPTIONS
from src.weights import checkpoint
from tests.conftest import ROOT, read_prediction
from tests.retinaface.test_detector import make_checkpoint
from tests.small_wider import BOX, IMAGES, make_data_file, make_split


def white_square(maps, shape, *_):
    """One row around the bright pixels, 0.4 pixels too far to the right and below."""
    y, x = np.nonzero(maps[0][..., 0] > 127)
    rows = np.zeros((1, 15), np.float32)
    rows[0, :5] = x.min() + 0.4, y.min() + 0.4, x.max() + 1.4, y.max() + 1.4, 0.75
    return rows


@pytest.fixture
def split(tmp_path):
    made = make_split(tmp_path)
    (tmp_path / "stub.ckpt").touch()
    made.cfg = EasyDict({**defaults_of(OPTIONS), "val_model": str(tmp_path / "stub.ckpt"),
                         "val_dataset_folder": str(tmp_path), "val_gt_dir": str(made.gt),
                         "val_predict_save_folder": str(tmp_path / "saved"), "device_target": "CPU"})
    return made


@pytest.fixture
def stub(monkeypatch):
    detector = BaseDetector(lambda images: (images,), white_square, "original", nms="hard", pad="none")
    monkeypatch.setattr(evaluation, "load_detector", lambda cfg, given, model: detector)
    return detector


@pytest.fixture
def lines(caplog, monkeypatch):
    """The logged messages so far, whatever an earlier test has done to the logger."""
    monkeypatch.setattr(evaluation.LOGGER, "propagate", True)
    caplog.set_level(logging.INFO, "facedet")
    return lambda: [record.message for record in caplog.records]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_manuals_lines_are_printed_and_logged(split, stub, lines, capsys, batch_size):
    assert evaluation.run(split.cfg, set(), batch_size) == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    protocol, *result = capsys.readouterr().out.splitlines()
    assert result == ["Easy   Val AP : 1.0000", "Medium Val AP : 1.0000", "Hard   Val AP : 1.0000"]
    assert "IoU 0.5, 3 of 3 images scored, 3 detections" in protocol and "pad none, NMS hard 0.5" in protocol
    said = [line for line in lines() if "im_detect" in line or line in (
        "Predict box starting", "Predict box done.", "Eval starting", "Eval done.")]
    assert said[0] == "Predict box starting" and said[-3:] == ["Predict box done.", "Eval starting", "Eval done."]
    assert [line.split(" forward")[0] for line in said[1:-3]] == [f"im_detect: {i}/3" for i in (1, 2, 3)]
    assert all(line.split()[2] == "forward_pass_time:" and line.split()[4] == "misc:" for line in said[1:-3])


def test_own_images(split, stub, capsys):
    split.cfg.update(data=str(make_data_file(split)), val_gt_dir="absent", val_dataset_folder="absent")
    assert evaluation.run(split.cfg, set())["medium"] == 1.0
    split.cfg.dry_run = True
    assert evaluation.run(split.cfg, set())["medium"] == 1.0 and "1 of 3 images scored" in capsys.readouterr().out
    with pytest.raises(InputError, match="--val_gt_dir works only without --data"):
        evaluation.run(split.cfg, {"val_gt_dir"})


def test_saved_files_hold_whole_pixels_and_score_the_same(split, stub, tmp_path, capsys):
    split.cfg.val_save_result = True
    ap = evaluation.run(split.cfg, set())
    saved, = (tmp_path / "saved").glob("predict_*.json")
    expected = [[*BOX, 0.75]]
    for name in IMAGES:
        np.testing.assert_array_equal(read_predictions_json(saved)[name[:-4]], expected)
        np.testing.assert_array_equal(read_prediction(saved.with_suffix("") / f"{name[:-4]}.txt"), expected)
    capsys.readouterr()
    for source in (saved, saved.with_suffix("")):
        split.cfg.predictions = str(source)
        assert evaluation.run(split.cfg, set()) == ap == evaluate(source, split.gt, (0.5,)).ap[0.5]
        assert capsys.readouterr().out.startswith(f"protocol: saved predictions {source}; IoU 0.5")


def test_the_overlap_that_counts_is_an_option(split, stub, capsys):
    split.cfg.val_iou_threshold = 0.4
    evaluation.run(split.cfg, set())
    assert "IoU 0.4" in capsys.readouterr().out


def test_images_may_lie_in_the_folder_itself_or_be_a_part_of_the_set(split, stub, capsys):
    split.cfg.val_dataset_folder = str(split.images)
    (split.images / IMAGES[0]).unlink()
    with pytest.raises(InputError, match=f"--val_dataset_folder.*1 of 3 images.*{IMAGES[0]}.*--only_existing"):
        evaluation.run(split.cfg, set())
    split.cfg.only_existing = True
    assert evaluation.run(split.cfg, set())["hard"] == 1.0
    assert "2 of 3 images scored" in capsys.readouterr().out


def test_without_ground_truth_label_txt_names_the_images_and_nothing_is_scored(split, stub, lines, tmp_path):
    split.cfg.update(val_gt_dir=str(tmp_path / "absent"), val_save_result=True)
    with pytest.raises(InputError, match="no list of images.*label.txt"):
        evaluation.run(split.cfg, set())
    (tmp_path / "label.txt").write_text(f"# {IMAGES[2]}\n{' '.join(map(str, BOX))}\n")
    assert evaluation.run(split.cfg, set()) == {}
    assert any("saved, not scored" in line for line in lines())
    saved, = (tmp_path / "saved").glob("predict_*.json")
    assert list(read_predictions_json(saved)) == [IMAGES[2][:-4]]
    split.cfg.val_save_result = False
    with pytest.raises(InputError, match="wider_face_val.mat"):
        evaluation.run(split.cfg, set())


def test_the_manuals_options_reach_the_detector_and_the_users_win(split, tmp_path):
    split.cfg.update(val_model=str(make_checkpoint(tmp_path / "a.ckpt")), val_confidence_threshold=0.3,
                     val_nms_threshold=0.25, val_max_size=2150)
    found = evaluation.load_detector(split.cfg, {"val_max_size"}, Path(split.cfg.val_model))
    assert (found.test_size, found.score_threshold, found.nms_iou, found.pad) == ((1600, 2150), 0.3, 0.25, "none")
    split.cfg.val_max_size = 1000
    assert evaluation.load_detector(split.cfg, set(), Path(split.cfg.val_model)).test_size == (1000, 1000)
    split.cfg.update(val_origin_size=True, pad="32", nms="vote", nms_iou=0.5)
    found = evaluation.load_detector(split.cfg, {"val_origin_size", "pad", "nms", "nms_iou"}, Path(split.cfg.val_model))
    assert (found.test_size, found.nms, found.nms_iou, found.pad) == ("original", "vote", 0.5, "32")
    with pytest.raises(InputError, match="--test_size and --val_origin_size"):
        evaluation.load_detector(split.cfg, {"test_size", "val_origin_size"}, Path(split.cfg.val_model))
    split.cfg.val_model = str(tmp_path / "absent.ckpt")
    with pytest.raises(InputError, match="absent.ckpt"):
        evaluation.load_detector(split.cfg, set(), Path(split.cfg.val_model))


def test_a_checkpoint_is_evaluated_from_end_to_end(split, tmp_path, capsys):
    split.cfg.update(val_model=str(make_checkpoint(tmp_path / "a.ckpt")), val_origin_size=True)
    ap = evaluation.run(split.cfg, {"val_origin_size"})
    assert all(0 <= value <= 1 for value in ap.values())
    assert "a.ckpt, size original, pad none, NMS hard 0.4, scores over 0.02" in capsys.readouterr().out


def test_corners_lose_their_fractions():
    boxes = np.array([[0.9, 1.2, 10.99, 20.5]], np.float32)
    cut = evaluation.whole_pixels(Faces(boxes, np.ones(1, np.float32), np.full((1, 5, 2), 0.5, np.float32)))
    np.testing.assert_array_equal(cut.boxes, [[0, 1, 10, 20]])
    np.testing.assert_array_equal(cut.landmarks, 0.5)


def test_scoring_saved_predictions_needs_no_mindspore():
    code = "import sys, src.retinaface.evaluation; assert 'mindspore' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_without_a_model_the_newest_checkpoint_is_taken(split, tmp_path, monkeypatch, lines):
    monkeypatch.chdir(tmp_path)
    split.cfg.update(ckpt_path="checkpoint", val_model="checkpoint/ckpt_0/RetinaFace-100_536.ckpt")
    with pytest.raises(InputError, match="checkpoint holds none; give one by --val_model"):
        evaluation.choose_model(split.cfg, set())
    for index, name in enumerate(("ckpt_0/RetinaFace-7_2.ckpt", "RetinaFace-3_2.ckpt")):
        path = tmp_path / "checkpoint" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (index, index))
    assert evaluation.choose_model(split.cfg, set()) == Path("checkpoint/RetinaFace-3_2.ckpt")
    assert evaluation.choose_model(split.cfg, {"val_model"}) == Path(split.cfg.val_model)


def test_a_checkpoint_of_another_model_is_refused(split, tmp_path):
    path = tmp_path / "centerface.ckpt"
    from src.centerface.layers import tensor_shapes
    from src.centerface.spec import DEFAULT_METADATA
    checkpoint.save(path, {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(64).items()},
                    DEFAULT_METADATA)
    with pytest.raises(InputError, match="checkpoint of centerface; test it with test.py"):
        evaluation.load_detector(split.cfg, set(), path)
