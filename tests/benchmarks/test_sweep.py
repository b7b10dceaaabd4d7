# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the sweep: its bars, and one real race over drawn images."""
import pytest

from benchmarks.sweep import Sweep, main, table
from dependency.errors import InputError
from tests.small_wider import IMAGES, make_checkpoint, make_split

AP = {"easy": 0.9, "medium": 0.8, "hard": 0.7}


def runs(onnx=0.1, ap=AP):
    return {"mindspore": [Sweep(0.4, 100, [AP, AP]), Sweep(0.5, 100, [AP, AP])],
            "onnx": [Sweep(onnx, 100, [AP, ap]), Sweep(onnx, 100, [AP, ap])]}


def test_table():
    lines, missed = table(runs())
    assert missed == [] and lines[1].split() == ["mindspore", "450.0", "0.9000,", "0.8000,", "0.7000"]
    assert lines[3] == "onnx is 4.50 times faster (4.00, 5.00)"


@pytest.mark.parametrize("changes, text", [
    ({"onnx": 0.2}, "the bar is 3.0 times"), ({"ap": {**AP, "hard": 0.6985}}, "an average precision is 0.0015 off"),
    ({"ap": {**AP, "easy": float("nan")}}, "is nan off")])
def test_missed_bars(changes, text):
    _, missed = table(runs(**changes))
    assert len(missed) == 1 and text in missed[0]


def test_wrong_input(tmp_path):
    places = ["--data_dir", str(tmp_path), "--ground_truth_mat", str(tmp_path / "val.mat")]
    with pytest.raises(InputError, match="no such checkpoint"):
        main([str(tmp_path / "absent.ckpt"), *places])
    with pytest.raises(InputError, match="expected 1 or more"):
        main([str(tmp_path / "absent.ckpt"), *places, "--copies", "0"])
    with pytest.raises(InputError, match=r"test.py .* ended with 2:\n.*no file"):
        main([str(make_checkpoint(tmp_path / "a.ckpt")), *places])


@pytest.mark.slow
def test_a_real_race(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    split = make_split(tmp_path)
    status = main([str(make_checkpoint(tmp_path / "a.ckpt")), "--data_dir", str(split.images), "--ground_truth_mat",
                   str(split.gt / "wider_face_val.mat"), "--copies", "2", "--repeats", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"2 checkpoints, {len(IMAGES)} images, 1 runs of each in turns")
    assert status == int(lines[-1].startswith("missed")) and "off" not in lines[-1]
