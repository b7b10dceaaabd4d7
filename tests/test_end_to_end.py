# SPDX-License-Identifier: Apache-2.0
"""The whole way as a user goes it, small: draw data, train, sweep, score, look."""
import json
import subprocess
import sys

import cv2
import pytest

from src.weights.checkpoint import list_checkpoints
from tests.conftest import ROOT

pytestmark = pytest.mark.soak


def python(*words, cwd):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=400,
                          env=None, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_draw_train_sweep_score_and_look(tmp_path):
    data = tmp_path / "data"
    python("-m", "src.tools.synthetic", data, "--train", 16, "--val", 8, cwd=ROOT)
    python(ROOT / "train.py", f"--annot_path={data}/annotations/train.json", f"--img_dir={data}/images/train/images",
           "--input_res=128", "--per_batch_size=4", "--max_epoch=3", "--lr=1e-3", "--head_conv=24", "--mosaic=0.5",
           "--device_target=CPU", f"--ckpt_path={tmp_path}/model", cwd=tmp_path)
    run = next((tmp_path / "model").iterdir())
    table = python(ROOT / "test.py", f"--test_model={run}", f"--data_dir={data}/images/val/images",
                   f"--ground_truth_mat={data}/ground_truth/val.mat", "--test_size=256", f"--save_dir={tmp_path}/found",
                   "--eval=1", "--device_target=CPU", cwd=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "found/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert "best by sum" in table and (tmp_path / "found/ap.png").stat().st_size > 1000
    scored = python(ROOT / "eval.py", tmp_path / "found/3", data / "ground_truth", cwd=tmp_path)
    easy = float(scored.split("Easy   Val AP: ")[1].split()[0])
    assert easy == pytest.approx(lines[2]["ap"]["0.5"]["easy"], abs=1e-9)
    photo = next((data / "images/val/images").rglob("*.jpg"))
    python(ROOT / "predict.py", photo, f"--ckpt={list_checkpoints(run)[-1]}", f"--out={tmp_path}/seen",
           "--device_target=CPU", cwd=tmp_path)
    assert cv2.imread(str(tmp_path / "seen" / photo.name)).shape == cv2.imread(str(photo)).shape
