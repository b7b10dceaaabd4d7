# SPDX-License-Identifier: Apache-2.0
"""No program calls what MindSpore announces to remove: its log and Python's warnings say nothing of the kind."""
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ANNOUNCED = re.compile(r"deprecat|will be removed", re.IGNORECASE)
# MindSpore's own call of Python's threading, at its end.
NOT_OURS = "getName() is deprecated"
# Announced in documents only.
STATIC_PARALLEL = re.compile(r"(set|get|reset)_auto_parallel_context\(|DistributedGradReducer\(|AutoParallel\(")
MODELS = {
    "centerface": ["--model=centerface", "--input_res=64", "--head_conv=24", "--max_epoch=1", "--annot_path={data}"],
    "retinaface": ["--model=retinaface", "--image_size=64", "--backbone=mobilenet025", "--pretrain=0", "--epoch=1",
                   "--training_dataset={data}"]}


def run(folder, *words):
    """Run a program with all warnings on; return the announcements in what it prints, and in the logs of ranks."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=500,
                          env={**os.environ, "GLOG_v": "2", "PYTHONWARNINGS": "always"}, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [done.stdout, done.stderr, *(path.read_text(errors="replace") for path in folder.rglob("worker_*.log"))]
    return [line for line in "\n".join(lines).splitlines() if ANNOUNCED.search(line) and NOT_OURS not in line]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two synthetic training images and one of val."""
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    subprocess.run([sys.executable, "-m", "src.tools.synthetic", folder, "--train=4", "--val=1", "--size=160"],
                   cwd=ROOT, check=True, capture_output=True)
    return folder


def training(model, data, out):
    words = [word.format(data=data / "annotations/train.json") for word in MODELS[model]]
    return ["train.py", *words, f"--img_dir={data}/images/train/images", "--batch_size=1", "--device_target=CPU",
            f"--ckpt_path={out}"]


def test_the_static_graph_parallelism_is_not_used():
    files = [path for folder in ("src", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert not [path for path in [*files, *ROOT.glob("*.py")] if STATIC_PARALLEL.search(path.read_text())]


@pytest.mark.soak
def test_announcements_are_seen(tmp_path):
    code = "from src.common import device; device.setup('CPU').log.warning('x is deprecated')"
    assert len(run(tmp_path, "-c", code)) == 1


@pytest.mark.soak
@pytest.mark.parametrize("model", MODELS)
def test_training_testing_and_export_on_one_device(model, data, tmp_path):
    assert not run(tmp_path, *training(model, data, tmp_path / "run"))
    weights = next(path for path in (tmp_path / "run").rglob("*.ckpt") if path.name[0] in "0R")
    images, truth = data / "images/val/images", data / "ground_truth"
    if model == "centerface":
        assert not run(tmp_path, "test.py", f"--test_model={weights.parent}", f"--data_dir={images}", "--eval=1",
                       f"--ground_truth_mat={truth}/val.mat", f"--save_dir={tmp_path}/found", "--device_target=CPU")
    else:
        assert not run(tmp_path, "eval.py", "--model=retinaface", f"--val_model={weights}", f"--val_gt_dir={truth}",
                       f"--val_dataset_folder={images}", "--device_target=CPU")
    assert not run(tmp_path, "export.py", f"--ckpt_file={weights}", "--file_format=MINDIR", "--batch_size=1",
                   f"--file_name={tmp_path}/out", "--device_target=CPU")
    assert not run(tmp_path, "export.py", f"--ckpt_file={weights}", "--file_format=ONNX", f"--file_name={tmp_path}/out",
                   "--device_target=CPU")


@pytest.mark.soak
@pytest.mark.parametrize("model", MODELS)
def test_training_on_two_devices(model, data, tmp_path):
    assert not run(tmp_path, "scripts/launch.py", "--devices=2", "--master_port=9440", f"--log_dir={tmp_path}/log",
                   "--", *training(model, data, tmp_path / "run"), "--sync_bn=1")
