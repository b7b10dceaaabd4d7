# SPDX-License-Identifier: Apache-2.0
"""train.py for RetinaFace as a user runs it: a whole run, its resumption, and one clear error for bad input."""
import subprocess
import sys

import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from src.weights import checkpoint
from tests.conftest import ROOT
from tests.retinaface.small_faces import write_small_faces

FAST = ["--backbone=mobilenet025", "--pretrain=0", "--image_size=64", "--batch_size=2", "--num_workers=1",
        "--device_target=CPU", "--initial_lr=1e-3", "--warmup_epoch=0"]


def train(folder, *options, status=0):
    command = [sys.executable, str(ROOT / "train.py"), f"--training_dataset={folder}/label.txt", *FAST, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
    return done


@pytest.fixture
def data(tmp_path):
    write_small_faces(tmp_path)
    return tmp_path


@pytest.mark.soak
def test_a_run_of_four_epochs_equals_two_and_two(data):
    options = ["--lr_type=standard_lr", "--epoch=4", "--decay1=2", "--decay2=3", "--ema_decay=0.9"]
    done = train(data, *options)
    for line in ("training retinaface on CPU", "epoch: 4 step: 2, loss is ", "epoch[4], loss:", "loc:"):
        assert line in done.stdout
    whole = checkpoint.load(data / "checkpoint" / "RetinaFace-4_2.ckpt")
    assert [path.name for path in checkpoint.list_checkpoints(data / "checkpoint")] == ["RetinaFace-4_2.ckpt"]
    train(data, *options, "--epoch=2", "--ckpt_path=half")
    done = train(data, *options, "--epoch=2", "--resume_net=half/RetinaFace-2_2.ckpt", status=2)
    assert "--epoch" in done.stderr
    train(data, *options, "--resume_net=half/RetinaFace-2_2.ckpt", "--ckpt_path=half")
    rest = checkpoint.load(data / "half" / "RetinaFace-4_2.ckpt")
    assert set(whole.tensors) == set(rest.tensors)
    for name, value in whole.tensors.items():
        np.testing.assert_array_equal(value, rest.tensors[name], err_msg=name)
    assert rest.metadata["model"] == "retinaface" and rest.metadata["options"]["backbone"] == "mobilenet025"


@pytest.mark.soak
def test_a_few_steps_of_resnet50_lower_its_loss(data):
    done = train(data, "--backbone=resnet50", "--epoch=4", "--optim=sgd", "--initial_lr=2e-3", "--flip=0",
                 "--color_distort=0", "--seed=2")
    losses = [float(line.rsplit("loss is ", 1)[1]) for line in done.stdout.splitlines() if "loss is " in line]
    assert len(losses) == 8 and np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])


@pytest.mark.parametrize("options, message", [
    (["--training_dataset=nowhere.txt"], "nowhere.txt"),
    (["--num_anchor=29126"], "--num_anchor 168"),
    (["--pretrain=1", "--pretrain_path=nowhere.ckpt"], "--pretrained_backbone"),
    (["--per_batch_size=2"], "--model"),
])
def test_bad_input_is_one_clear_error(data, options, message):
    done = train(data, *options, status=2)
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_batch_as_a_picture(data):
    from src.retinaface.dataset import RetinaFaceSamples, SampleOptions
    from src.retinaface.training import draw_batch, target_faces
    records = write_small_faces(data / "more")
    samples = RetinaFaceSamples(records, data / "more/images", SampleOptions(image_size=128, color_distort=False))
    batch = [np.stack(column) for column in zip(*(samples(i, np.random.default_rng(i)) for i in range(2)))]
    assert [picture.shape for picture in draw_batch(batch)] == [(128, 128, 3)] * 2
    faces = target_faces(*(column[0] for column in batch[1:]), 128)
    assert isinstance(faces, Faces) and len(faces) == 1
    x1, y1, x2, y2 = faces.boxes[0].astype(int)
    assert batch[0][0][y1 + 4:y2 - 4, (x1 + x2) // 2].mean() > 150, "the box lies on the bright ellipse"


def test_options_that_go_with_the_small_backbone(data):
    from src import models
    from src.cli.arguments import parse
    cfg, _ = parse(models.options("retinaface"), ["--backbone=mobilenet025"], "", presets=models.presets("retinaface"))
    assert cfg.image_size == 640 and "mobilenet" in cfg.pretrain_path
    cfg, _ = parse(models.options("retinaface"), ["--backbone=mobilenet025", "--image_size=320"], "",
                   presets=models.presets("retinaface"))
    assert cfg.image_size == 320
    done = train(data, "--pretrain=1", status=2)
    assert "mobilenetV1X0.25_pretrain.tar" in done.stderr
