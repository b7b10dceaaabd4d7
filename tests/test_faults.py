# SPDX-License-Identifier: Apache-2.0
"""What goes wrong inside one training process, injected for real: bad images, dead workers, full disks."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from src.weights import checkpoint
from tests.conftest import ROOT
from tests.retinaface.small_faces import write_small_faces

SMALL = {
    "centerface": ["--input_res=64", "--per_batch_size=2", "--head_conv=24", "--workers={workers}", "--lr=1e-3",
                   "--annot_path={data}/label.txt", "--img_dir={data}/images", "--max_epoch={epochs}"],
    "retinaface": ["--backbone=mobilenet025", "--pretrain=0", "--image_size=64", "--batch_size=2",
                   "--num_workers={workers}", "--initial_lr=1e-3", "--warmup_epoch=0", "--keep_checkpoint_max=0",
                   "--training_dataset={data}/label.txt", "--save_checkpoint_steps=4", "--epoch={epochs}"]}
# train.py with one data worker as a thread and two as processes, which takes three on a machine with the cores for it.
PROCESSES = ("import sys; from src.cli import program as cli; from src.data import loader; import train; loader.MOST_THREADS = 1; "
             "sys.exit(cli.run(train.main))")
SLOW_SAMPLES = ("import time; from src.centerface.dataset import CenterFaceSamples as S; view = S._view; "
                "S._view = lambda *a: (time.sleep(1), view(*a))[1]; ")
ENDLESS = 100000

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    write_small_faces(tmp_path / "data", images=8)
    return tmp_path / "data"


def command(model, data, *options, epochs=2, workers=1, before=""):
    filled = [option.format(data=data, epochs=epochs, workers=workers) for option in SMALL[model]]
    return [sys.executable, "-c", before + PROCESSES, f"--model={model}", "--device_target=CPU",
            f"--ckpt_path={data.parent}/out", *filled, *options]


def run(*arguments, status=0, **options):
    done = subprocess.run(command(*arguments, **options), cwd=ROOT, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
    return done


class Running:
    """A training that goes on for ever, once it has made two steps."""

    def __init__(self, *arguments, **options):
        self.process = subprocess.Popen(command(*arguments, epochs=ENDLESS, **options), cwd=ROOT, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        for line in self.process.stdout:
            if "iter:1," in line:
                break

    def end(self, within):
        """Its status, standard output and error; it must end by itself within so many seconds."""
        start = time.monotonic()
        try:
            output, errors = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        print(f"ended after {time.monotonic() - start:.1f} s: {errors}")
        return self.process.returncode, output, errors

    def workers(self):
        return [child for child in psutil.Process(self.process.pid).children() if child.is_running()]


def metrics(data):
    (path,) = (data.parent / "out").rglob("*metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def saved(data):
    found = [path for path in (data.parent / "out").rglob("*.ckpt")]
    return max(found, key=lambda path: checkpoint.load(path).bookkeeping["step"])


def one_line(errors):
    """The one line that a person sees (MindSpore may add warnings of its own)."""
    lines = [line for line in errors.splitlines() if line and not line.startswith("[WARNING]")]
    assert len(lines) == 1 and lines[0].startswith("error: "), errors
    return lines[0]


@pytest.mark.parametrize("model, workers", [("centerface", 2), ("retinaface", 1)], ids=["processes", "thread"])
def test_bad_images_are_skipped_named_once_and_counted(data, model, workers):
    folder = data / "images/0--Ellipse"
    (folder / "2.jpg").write_bytes(b"")
    (folder / "5.jpg").write_bytes(b"\xff\xd8 no image")
    done = run(model, data, "--bad_images=skip", workers=workers)
    assert [line["bad_images"] for line in metrics(data)] == [2, 2]
    for name in ("2.jpg", "5.jpg"):
        (line,) = [line for line in done.stdout.splitlines() if name in line]
        assert "WARNING" in line and "cannot be read" in line
    assert done.stdout.count("skipped images:2") == 2


def test_the_culprit_of_a_mosaic_is_named(data):
    (data / "images/0--Ellipse/2.jpg").write_bytes(b"")
    done = run("centerface", data, "--bad_images=skip", "--mosaic=1", epochs=3)
    assert "0--Ellipse/2.jpg cannot be read" in done.stdout and done.stdout.count("cannot be read") == 1
    assert sum(line["bad_images"] for line in metrics(data)) > 3, "it spoils more samples than its own"


def test_a_bad_image_in_a_worker_process_ends_training_by_default(data):
    (data / "images/0--Ellipse/2.jpg").write_bytes(b"")
    message = one_line(run("centerface", data, workers=2, status=1).stderr)
    assert "reading the training data failed" in message and "2.jpg: not a readable image (0 bytes)" in message


@pytest.mark.parametrize("workers, mode", [(1, "error"), (2, "skip")], ids=["thread", "processes"])
def test_a_vanished_folder_ends_training_in_seconds(data, workers, mode):
    training = Running("centerface", data, f"--bad_images={mode}", workers=workers)
    (data / "images").rename(data / "elsewhere")
    status, _, errors = training.end(within=40)
    message = one_line(errors)
    assert status == 1 and f"{data}/images: the image folder is gone" in message
    assert message.endswith(f"go on with --resume {saved(data)}")
    assert checkpoint.load(saved(data)).bookkeeping["step"] >= 2


def test_an_emptied_folder_is_noticed_though_bad_images_are_skipped(data):
    training = Running("centerface", data, "--bad_images=skip")
    # The folder itself stays all the time: a vanished one is another error.
    for image in sorted((data / "images").rglob("*.jpg")):
        image.unlink()
    status, _, errors = training.end(within=40)
    assert status == 1 and "21 images in a row cannot be read" in one_line(errors)


@pytest.mark.parametrize("before", ["", SLOW_SAMPLES], ids=["working", "waiting for data"])
def test_a_killed_data_worker_is_named_and_nothing_is_lost(data, before):
    training = Running("centerface", data, workers=2, before=before)
    training.workers()[1].kill()
    status, _, errors = training.end(within=40)
    message = one_line(errors)
    assert status == 1, "not the 0 of a run that was told to stop"
    assert "data worker GeneratorWorkerProcess" in message and "was killed by SIGKILL" in message
    assert message.endswith(f"go on with --resume {saved(data)}")
    assert checkpoint.load(saved(data)).bookkeeping["step"] >= 2


@pytest.mark.parametrize("before", ["", SLOW_SAMPLES], ids=["working", "waiting for data"])
def test_sigterm_to_all_processes_of_the_job_still_leaves_a_checkpoint(data, before):
    training = Running("centerface", data, workers=2, before=before)
    workers = training.workers()
    for _ in range(2):
        os.killpg(training.process.pid, signal.SIGTERM)
    status, output, _ = training.end(within=60)
    assert status == 0 and "stopped by SIGTERM" in output
    assert f"--resume {saved(data)}" in output
    psutil.wait_procs(workers, timeout=20)
    assert not any(worker.is_running() for worker in workers)


def on_small_disk(megabytes, folder, script):
    """Run a shell script with `folder` on a disk of its own; skipped where that is not allowed."""
    enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    folder.mkdir()
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {folder}"
    if not shutil.which("unshare") or subprocess.run([*enter, mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow a mount in a user namespace")
    return subprocess.run([*enter, f"{mount} || exit 77; {script}", "sh"], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, check=False)


def quoted(words):
    return " ".join(f"'{word}'" for word in words)


def test_a_full_disk_leaves_the_former_checkpoint(data):
    """Room for two checkpoints of some 20 MB, not for three."""
    load = ("import sys; from src.weights import checkpoint as c; found = c.list_checkpoints(sys.argv[1]); "
            "print('LEFT', [c.load(path).bookkeeping['step'] for path in found])")
    out = data.parent / "out"
    train = quoted(command("centerface", data, epochs=5))
    done = on_small_disk(50, out, f"{train}; echo STATUS $?; {sys.executable} -c \"{load}\" {out}/*; ls -A {out}/*")
    assert "STATUS 2" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    message = one_line(done.stderr)
    assert ".ckpt: No space left on device; free some space or write elsewhere" in message
    steps = json.loads(done.stdout.split("LEFT ")[1].splitlines()[0])
    assert steps == [4, 8]
    assert ".part" not in done.stdout


def test_a_log_on_a_full_disk_costs_its_lines_only(data):
    """The disk is filled to the last byte while training runs; nothing but the log and the metrics is written."""
    out = data.parent / "out"
    train = quoted(command("retinaface", data, "--save_checkpoint_steps=100000", epochs=3,
                           before="import src.training.trainer as t; append = t.append_line; "
                                  "t.append_line = lambda path, line: (fill(path), append(path, line)); "
                                  "fill = lambda path: __import__(\"os\").system("
                                  "f\"dd if=/dev/zero of={path.parent}/full bs=4k 2>/dev/null\"); "))
    done = on_small_disk(4, out, f"{train}; echo STATUS $?; cat {out}/*metrics.jsonl")
    assert "STATUS 2" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr
    assert "metrics.jsonl: No space left on device" in done.stderr
    assert done.stdout.split("STATUS 2\n")[1] == "", "no half line"


def test_a_console_that_is_full_does_not_end_training(data):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command("centerface", data, epochs=1), cwd=ROOT, stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=300, check=False)
    assert done.stderr.count("cannot write the log to the console: No space left on device") == 1
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr
    assert checkpoint.load(saved(data)).bookkeeping["step"] == 4
