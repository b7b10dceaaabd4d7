# SPDX-License-Identifier: Apache-2.0
"""Several devices compute what one computes: two CPU ranks with batch B against one with batch 2B, for both models,
started by the manuals' launchers.

Shared BatchNorm statistics, the losses' divisors over all devices, averaged gradients, dealt out images and the
learning rate all have to be right for it. Augmentation is on: a sample depends on seed, epoch and image only.
"""
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import write_coco
from src.annotations.read_write import read_annotations
from src.weights import checkpoint
from tests.conftest import ROOT

pytestmark = pytest.mark.soak
IMAGES, EPOCHS = 8, 2
# Sums over 2 x 2 and over 4 images round differently. How much that shows was measured on one rank with two instruction
# sets: with random weights and batch statistics all through the backbone gradients of the first layers differ by
# several percent after four steps, with frozen ones there by 4e-4 of the largest. Hence those, and small steps.
# tests/training/test_batch_norm.py looks at the shared statistics alone, to 2e-5.
LOSS_RTOL, WEIGHT_ATOL, GRADIENT_RTOL = 1e-5, 2e-6, 2e-3
MODELS = {
    "centerface": {"batch": "--per_batch_size", "epochs": "--max_epoch", "annotations": "--annot_path", "options": [
        "--input_res=128", "--head_conv=24", "--backbone_bn=frozen", "--optimizer=momentum", "--lr=1e-5"]},
    "retinaface": {"batch": "--batch_size", "epochs": "--epoch", "annotations": "--training_dataset", "options": [
        "--backbone=mobilenet025", "--pretrain=0", "--backbone_bn=frozen", "--image_size=128", "--warmup_epoch=0",
        "--initial_lr=1e-5"]}}


LAUNCHERS = {"centerface": ("train_distribute.sh", lambda data: ["", "none", data, "few.json", "images/train/images"]),
             "retinaface": ("run_distribute_gpu_train.sh", lambda data: ["2", "0,1"])}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight synthetic images with faces, 320 pixels wide."""
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    subprocess.run([sys.executable, "-m", "src.tools.synthetic", folder, "--train=14", "--val=1", "--size=320"],
                   cwd=ROOT, check=True, capture_output=True)
    usable = [record for record in read_annotations(folder / "annotations/train.json") if (~record.ignore).any()]
    write_coco(folder / "few.json", usable[:IMAGES])
    return folder


def command(name, data, folder, batch, *options):
    model = MODELS[name]
    return ["train.py", f"--model={name}", f"{model['annotations']}={data}/few.json", f"{model['batch']}={batch}",
            f"{model['epochs']}={EPOCHS}", f"--img_dir={data}/images/train/images", f"--ckpt_path={folder}/run",
            "--device_target=CPU", *model["options"], *options]


def run(words, status=0):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def start(name, data, copy, options):
    """The manual's launcher, for real, with two processes on the CPU; a copy of it, as it logs beside itself."""
    shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("device*", "output", "dataset"))
    for part in ("src", "dependency", "train.py"):
        (copy / part).symlink_to(ROOT / part)
    script, words = LAUNCHERS[name]
    environment = {**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "DEVICE_NUM": "2",
                   "BACKGROUND": "0"}
    done = subprocess.run(["sh", copy / "scripts" / script, *words(data), "--", *options], env=environment,
                          capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def result(folder):
    """(losses of the epochs, tensors of the last checkpoint)"""
    metrics, = (folder / "run").rglob("*metrics.jsonl")
    last = checkpoint.list_checkpoints(metrics.parent)[-1]
    return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()], checkpoint.load(last).tensors


@pytest.mark.parametrize("name", MODELS)
def test_two_ranks_compute_what_one_does(name, data, tmp_path):
    run(command(name, data, tmp_path / "one", 4))
    options = command(name, data, tmp_path / "two", 2, "--sync_bn=1")[1:]
    shown = start(name, data, tmp_path / "a copy", options)
    assert f"training {name} on 2 x CPU" in shown and "4 images a step" in shown
    (losses, weights), (expected, straight) = result(tmp_path / "two"), result(tmp_path / "one")
    assert len(losses) == EPOCHS
    np.testing.assert_allclose(losses, expected, rtol=LOSS_RTOL)
    assert set(weights) == set(straight)
    sums = {tensor for tensor in straight if tensor.startswith(("moments.", "accum."))}    # of the gradients
    largest = max(np.abs(straight[tensor]).max() for tensor in sums)
    for tensor, value in straight.items():
        atol = GRADIENT_RTOL * largest if tensor in sums else WEIGHT_ATOL * max(1.0, np.abs(value).max())
        np.testing.assert_allclose(weights[tensor], value, rtol=0, atol=atol, err_msg=tensor)
