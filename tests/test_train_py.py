# SPDX-License-Identifier: Apache-2.0
"""train.py as a user runs it: a whole run, its resumption, and one clear error for every kind of bad input."""
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, write_coco
from src.weights import checkpoint
from tests.conftest import ROOT

FAST = ["--input_res=64", "--per_batch_size=2", "--head_conv=24", "--device_target=CPU", "--workers=1", "--lr=1e-3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five images with one bright ellipse each, and their train.json."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    records = []
    for number in range(5):
        image = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
        x, y = rng.integers(30, 90), rng.integers(30, 60)
        cv2.ellipse(image, (int(x), int(y)), (14, 18), 0, 0, 360, (200, 210, 240), cv2.FILLED)
        name = f"0--Ellipse/{number}.jpg"
        (folder / "images/0--Ellipse").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / name), image)
        records.append(Record(name, np.array([[x - 14, y - 18, x + 14, y + 18]], np.float32),
                              np.zeros((1, 5, 2), np.float32), np.zeros((1, 5), np.uint8), np.zeros(1, bool), 96, 128))
    write_coco(folder / "train.json", records)
    return folder


def command(data, out, *options):
    return [sys.executable, str(ROOT / "train.py"), f"--annot_path={data}/train.json", f"--img_dir={data}/images",
            f"--ckpt_path={out}", *FAST, *options]


def train(data, out, *options, status=0):
    done = subprocess.run(command(data, out, *options), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
    return done


def last(out):
    return checkpoint.list_checkpoints(max(path for path in out.iterdir() if path.is_dir()))[-1]


@pytest.mark.soak
def test_a_run_of_four_epochs_equals_two_and_two(data, tmp_path):
    options = ["--max_epoch=4", "--lr_scheduler=multistep", "--lr_epochs=2", "--ema_decay=0.9", "--mosaic=0.5"]
    done = train(data, tmp_path / "whole", *options)
    for part in ("Loaded train 5 samples", "use adam optimizer", "epoch:4, iter:1, average_loss:loss:",
                 "epoch[4], loss:", "==========end training==============="):
        assert part in done.stdout
    assert last(tmp_path / "whole").name == "0-4_8.ckpt"
    (written,) = (tmp_path / "whole").glob("*/*_rank_0.log")
    assert "Loaded train 5 samples" in written.read_text() and "end training" in written.read_text()
    first = [word for word in options if word != "--max_epoch=4"]
    train(data, tmp_path / "half", *first, "--max_epoch=2")
    train(data, tmp_path / "rest", *options, f"--resume={last(tmp_path / 'half')}")
    whole, rest = (checkpoint.load(last(tmp_path / name)).tensors for name in ("whole", "rest"))
    assert set(whole) == set(rest)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, rest[name], err_msg=name)


def test_own_images_train_with_a_scaled_rate_that_the_configuration_keeps(data, tmp_path):
    import yaml
    (tmp_path / "my.yaml").write_text(f"train: {data}/images\nlabels: {data}/train.json\nnames: [face]\n")
    words = [word for word in FAST if not word.startswith(("--lr", "--per_batch"))]
    done = subprocess.run([sys.executable, str(ROOT / "train.py"), "--model=centerface", f"--data={tmp_path}/my.yaml",
                           "--pretrained=none", "--epochs=1", "--batch_size=2", "--eval_every=0",
                           f"--ckpt_path={tmp_path}/out", *words], capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    config = yaml.safe_load((last(tmp_path / "out").parent / "config.yaml").read_text())
    assert config["lr"] == pytest.approx(8e-3 * 2 / 64) and config["scale_lr"] is False
    assert "learning rate 0.00025: 0.008 is for 64 images a step, this run has 2" in done.stdout
    assert "--lr_scheduler=cosine" in done.stdout and config["lr_scheduler"] == "cosine"


def test_sigterm_at_the_defaults_saves_a_checkpoint(data, tmp_path):
    """As a user starts it: the number of data workers is the default. tests/test_faults.py has the other cases."""
    options = [word for word in command(data, tmp_path / "out") if not word.startswith("--workers")]
    with subprocess.Popen([*options, "--max_epoch=100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as training:
        for line in training.stdout:
            if "iter:1," in line:
                break
        training.terminate()
        output, errors = training.communicate(timeout=120)
    saved = last(tmp_path / "out")
    assert training.returncode == 0 and f"--resume {saved}" in output, errors
    assert checkpoint.load(saved).bookkeeping["step"] >= 2


@pytest.mark.parametrize("options, parts", [
    (["--annot_path=absent.json"], ["--annot_path", "absent.json", "prepare_wider"]),
    (["--img_dir=absent"], ["--img_dir", "absent"]),
    (["--lr_epoch=3"], ["unknown option --lr_epoch", "did you mean --lr_epochs"]),
    (["--pretrained_backbone=absent.ckpt"], ["absent.ckpt"]),
    (["--resume=absent.ckpt"], ["absent.ckpt"]),
    (["--annot_path={empty}"], ["empty.json", "--validate"]), (["--img_dir={folder}"], ["0--Ellipse/0.jpg"]),
    (["--resume={other}"], ["other.ckpt"]), (["--is_distributed"], ["--is_distributed", "msrun"])])
def test_bad_options_are_one_clear_line(data, tmp_path, options, parts):
    files = {"empty": tmp_path / "empty.json", "folder": tmp_path, "other": tmp_path / "other.ckpt"}
    write_coco(files["empty"], [])
    checkpoint.save(files["other"], {"body.weight": np.ones((3, 3), np.float32)}, {"model": "retinaface"})
    options = [option.format(**files) for option in options]
    done = train(data, tmp_path / "out", *options, status=2)
    message = done.stderr[done.stderr.index("error: "):]
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in message
    assert not (tmp_path / "out").exists(), "a mistyped command leaves nothing behind"


def test_the_onednn_cap_is_set_and_a_users_value_wins():
    code = ("import os; from src.common import device; device.setup('CPU'); print(os.environ['ONEDNN_MAX_CPU_ISA'])")
    for value, expected in ((None, "AVX2"), ("SSE41", "SSE41")):
        environment = {key: value for key, value in os.environ.items() if key != "ONEDNN_MAX_CPU_ISA"}
        if value:
            environment["ONEDNN_MAX_CPU_ISA"] = value
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.stdout.split()[-1] == expected, done.stderr
