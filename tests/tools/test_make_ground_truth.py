# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.prediction_io import write_prediction
from src.tools.make_ground_truth import main, make


def record(path, *heights, ignore=()):
    boxes = np.array([[10 + 100 * i, 20, 10 + 100 * i + h * .8, 20 + h] for i, h in enumerate(heights)], np.float32)
    count = len(heights)
    return Record(path, boxes.reshape(-1, 4), np.zeros((count, 5, 2), np.float32), np.zeros((count, 5), np.uint8),
                  np.isin(np.arange(count), ignore), 200, 900)


def test_perfect_predictions_score_one_in_every_subset(tmp_path):
    records = [record("a--A/1.jpg", 100, 35, 12, 5), record("a--A/2.jpg"), record("b--B/x.y.png", 60, 60, ignore=[1])]
    assert make(records, tmp_path / "gt") == {"images": 3, "easy": 2, "medium": 3, "hard": 4}
    for each in records:
        boxes = np.rint(each.boxes)
        scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
        stem = each.path.rsplit(".", 1)[0]
        faces = Faces(boxes, scores, np.zeros((len(boxes), 5, 2)))
        write_prediction(tmp_path / "pred" / f"{stem}.txt", each.path, faces)
    report = evaluate(tmp_path / "pred", tmp_path / "gt")
    assert all(value == pytest.approx(1) for value in report.ap[0.5].values())


def test_paths_need_an_event_and_files_must_exist(tmp_path):
    with pytest.raises(InputError, match="'1.jpg'.*<event>/<image>"):
        make([record("1.jpg", 50)], tmp_path)
    with pytest.raises(InputError, match="no image"):
        make([], tmp_path)
    with pytest.raises((InputError, OSError), match="absent.json"):
        main([str(tmp_path / "absent.json"), str(tmp_path)])
