# SPDX-License-Identifier: Apache-2.0
"""The "How to use" of docs/retinaface.md runs as written, with MindSpore's own Model and callbacks."""
import os
import subprocess
import sys

import numpy as np
import pytest

from src.weights import checkpoint
from tests.conftest import ROOT
from tests.retinaface.small_faces import write_small_faces

# Nothing but small settings goes before the manual's code: it imports mindspore first, in its default mode.
SETTINGS = """
from src.config import {cfg}
{cfg}.update({settings})
"""


def manual_code():
    text = (ROOT / "docs/retinaface.md").read_text(encoding="utf-8")
    return text.split("### Continue Training on the Pretrained Model", 1)[1].split("```python\n", 1)[1].split("```")[0]


def run(folder, mobilenet=False, **settings):
    code, cfg = manual_code(), "cfg_res50"
    if mobilenet:
        code, cfg = code.replace("cfg_res50", "cfg_mnet025").replace("resnet50", "mobilenet025"), "cfg_mnet025"
    settings = {"training_dataset": str(folder / "label.txt"), "image_size": 64, "num_anchor": 168, "batch_size": 2,
                "num_workers": 1, "epoch": 2, "initial_lr": 1e-4, "ckpt_path": str(folder / "checkpoint"), **settings}
    code = SETTINGS.format(cfg=cfg, settings=settings) + code + "\nimport os; print(os.environ['ONEDNN_MAX_CPU_ISA'])"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=500,
                          check=False, env={name: value for name, value in os.environ.items() if "ONEDNN" not in name})


@pytest.mark.soak
def test_the_manual_trains_and_goes_on(tmp_path):
    write_small_faces(tmp_path, images=5)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch: 2 step: 2, loss is " in done.stdout and "per step time" in done.stdout
    saved = tmp_path / "checkpoint" / "RetinaFace-2_2.ckpt"
    first = checkpoint.network_tensors(checkpoint.load(saved))
    assert "base.layer4.2.conv3.weight" in first and all(np.isfinite(value).all() for value in first.values())
    again = run(tmp_path, resume_net=str(saved), epoch=1, ckpt_path=str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr[-3000:]


def test_mobilenet_trains_as_the_manual_says_capped(tmp_path):
    write_small_faces(tmp_path, images=2)
    done = run(tmp_path, mobilenet=True, epoch=1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch: 1 step: 1, loss is " in done.stdout and done.stdout.split()[-1] == "AVX2"


@pytest.mark.soak
def test_a_wrong_number_of_anchors_names_the_right_one(tmp_path):
    write_small_faces(tmp_path, images=2)
    done = run(tmp_path, num_anchor=29126, epoch=1)
    assert done.returncode != 0 and "cfg['num_anchor'] = 168" in done.stderr
