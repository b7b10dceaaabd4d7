# SPDX-License-Identifier: Apache-2.0
"""The README's "How to use" runs as written, with MindSpore's own Model and callbacks."""
import subprocess
import sys

import numpy as np
import pytest

from src.weights import checkpoint
from tests.conftest import ROOT
from tests.retinaface.small_faces import write_small_faces

PREAMBLE = """
import mindspore as ms
from src.common import device
device.setup("CPU")
from src.config import cfg_res50
cfg_res50.update({settings})
"""


def readme_code():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split("### Continue Training on the Pretrained Model", 1)[1].split("```python\n", 1)[1].split("```")[0]


def run(folder, **settings):
    settings = {"training_dataset": str(folder / "label.txt"), "image_size": 64, "num_anchor": 168, "batch_size": 2,
                "num_workers": 1, "epoch": 2, "initial_lr": 1e-4, "ckpt_path": str(folder / "checkpoint"), **settings}
    return subprocess.run([sys.executable, "-c", PREAMBLE.format(settings=settings) + readme_code()], cwd=ROOT,
                          capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.soak
def test_the_readme_trains_and_goes_on(tmp_path):
    write_small_faces(tmp_path, images=5)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch: 2 step: 2, loss is " in done.stdout and "per step time" in done.stdout
    saved = tmp_path / "checkpoint" / "RetinaFace-2_2.ckpt"
    first = checkpoint.network_tensors(checkpoint.load(saved))
    assert "base.layer4.2.conv3.weight" in first and all(np.isfinite(value).all() for value in first.values())
    again = run(tmp_path, resume_net=str(saved), epoch=1, ckpt_path=str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr[-3000:]


@pytest.mark.soak
def test_a_wrong_number_of_anchors_names_the_right_one(tmp_path):
    write_small_faces(tmp_path, images=2)
    done = run(tmp_path, num_anchor=29126, epoch=1)
    assert done.returncode != 0 and "cfg['num_anchor'] = 168" in done.stderr
