# SPDX-License-Identifier: Apache-2.0
"""How predictions were made is written beside them and read again; what is no such file says nothing."""
import json
from pathlib import Path

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from src.evaluation.provenance import SETTINGS, date_and_commit, read_settings, write_settings


def test_settings_are_read_again(tmp_path):
    detector = BaseDetector(lambda images: (), lambda *_: (), test_size="1200/1600", nms="hard", nms_iou=0.3)
    write_settings(tmp_path / "run", Path("model/0-125_24750.ckpt"), detector)
    found = read_settings(tmp_path / "run")
    assert (found["checkpoint"], found["test_size"], found["nms"], found["nms_iou"]) == (
        "0-125_24750.ckpt", "1200/1600", "hard", 0.3)
    assert found["pad"] == "32" and found["flip_test"] is False and len(found["date"]) == 16
    (tmp_path / "run.json").write_text("{}")
    assert read_settings(tmp_path / "run.json") == found


def test_another_file_of_that_name_says_nothing(tmp_path):
    assert read_settings(tmp_path) == {} and read_settings("predictions in memory") == {}
    for content in ("{", "[]", json.dumps({"nms": "soft"})):
        (tmp_path / SETTINGS).write_text(content)
        assert read_settings(tmp_path) == {}
    assert set(date_and_commit()) <= {"date", "commit"}
