# SPDX-License-Identifier: Apache-2.0
"""train.py with a val set, as a user runs it: what its folder holds, and that its last lines run as they stand."""
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, write_coco
from dependency.evaluate.ground_truth import write_ground_truth
from src.weights import checkpoint
from tests.conftest import ROOT

pytestmark = pytest.mark.soak
BOX = [40, 20, 32, 40]


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Six images to train on and four to validate on, in the layout of the CenterFace manual."""
    folder = tmp_path_factory.mktemp("a layout")
    x, y, width, height = BOX
    for split, count in (("train", 6), ("val", 4)):
        (folder / f"images/{split}/images/0--Ellipse").mkdir(parents=True)
        records = []
        for number in range(count):
            image = np.full((96, 128, 3), 30 + 5 * number, np.uint8)
            cv2.ellipse(image, (x + width // 2, y + height // 2), (width // 2, height // 2), 0, 0, 360, (200, 210, 240),
                        cv2.FILLED)
            name = f"0--Ellipse/{split}_{number}.jpg"
            cv2.imwrite(str(folder / f"images/{split}/images" / name), image)
            records.append(Record(name, np.array([[x, y, x + width, y + height]], np.float32),
                                  np.zeros((1, 5, 2), np.float32), np.zeros((1, 5), np.uint8), np.zeros(1, bool), 96,
                                  128))
        (folder / "annotations").mkdir(exist_ok=True)
        write_coco(folder / f"annotations/{split}.json", records)
    write_ground_truth(folder / "ground_truth", [("0--Ellipse", [(f"val_{number}", [BOX], [0], [0], [0])
                                                                 for number in range(4)])])
    return folder


def train(layout, out, *options):
    done = subprocess.run([sys.executable, str(ROOT / "train.py"), "--model=centerface", f"--data_dir={layout}",
                           f"--ckpt_path={out}", "--input_res=64", "--per_batch_size=2", "--head_conv=24",
                           "--device_target=CPU", "--workers=1", "--lr=1e-3", "--max_epoch=2", "--ema_decay=0.9",
                           *options], cwd=layout, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_run_with_validation_and_its_last_lines(layout, tmp_path):
    shown = train(layout, tmp_path / "out", "--eval_every=1")
    (run,) = (tmp_path / "out").iterdir()
    names = {path.name for path in run.iterdir()}
    assert {"best.ckpt", "last.ckpt", "metrics.jsonl", "train_batch_0.jpg", "train_batch_2.jpg",
            "val_batch_0.jpg"} <= names
    lines = shown.split("what to type next:\n")[1].splitlines()
    assert len(lines) == 4
    for line in lines:
        done = subprocess.run(line, shell=True, cwd=layout, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, line + done.stdout[-2000:] + done.stderr[-2000:]
    shown = train(layout, tmp_path / "plain", "--eval_every=0")
    (plain,) = (tmp_path / "plain").iterdir()
    assert str(plain / "0-2_6.ckpt") in shown.split("what to type next:\n")[1]
    assert not (plain / "last.ckpt").exists() and not (plain / "best.ckpt").exists()
    tensors, expected = (checkpoint.load(folder / "0-2_6.ckpt").tensors for folder in (run, plain))
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


def test_a_dry_run_leaves_nothing(layout, tmp_path):
    before = sorted(layout.rglob("*"))
    shown = train(layout, tmp_path / "out", "--dry_run")
    assert "dry run: data, training step, validation, pictures and checkpoint work" in shown
    assert not list(tmp_path.iterdir()) and sorted(layout.rglob("*")) == before
