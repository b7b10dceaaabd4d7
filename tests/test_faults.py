# SPDX-License-Identifier: Apache-2.0
"""Faults of one training process, injected for real: stops, bad images, killed workers, full disks.

    FACEDET_STOP_TRIES=20 python -m pytest -m soak tests/test_faults.py -k "a_stop and centerface"      # 20 stops each
"""
import json
import os
import random
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
# The shortest steps there are: another input, batch and network than above.
SMALLEST = {"centerface": ["--input_res=32", "--per_batch_size=1", "--head_conv=1"],
            "retinaface": ["--image_size=32", "--batch_size=1"]}
# train.py on a machine with four cores; up to {threads} workers are threads, more are processes.
FOUR_CORES = """import os, sys
from src.cli.program import run
from src.data import loader
import train
if __name__ == "__main__":
    os.cpu_count, loader.MOST_THREADS = lambda: 4, {threads}
    sys.exit(run(train.main))
"""
PROCESSES = FOUR_CORES.format(threads=1)
ENDLESS = 100000
STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
TRIES = int(os.environ.get("FACEDET_STOP_TRIES", "3"))

pytestmark = pytest.mark.soak


@pytest.fixture
def data(tmp_path):
    write_small_faces(tmp_path / "data", images=8)
    return tmp_path / "data"


def command(model, data, *options, epochs=2, workers=1, program=("train.py",)):
    words = [option.format(data=data, epochs=epochs, workers=workers) for option in SMALL[model]]
    return [sys.executable, *program, f"--model={model}", "--device_target=CPU", f"--ckpt_path={data.parent}/out",
            *words, *options]


def run(*arguments, status=0, **options):
    done = subprocess.run(command(*arguments, **options), cwd=ROOT, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
    return done


class Running:
    """A training without an end, once its output holds the text `until`."""

    def __init__(self, *arguments, until="iter:1,", processes=False, program=("train.py",), env=None, **options):
        program = ("-c", PROCESSES) if processes else program
        self.process = subprocess.Popen(command(*arguments, epochs=ENDLESS, program=program, **options), cwd=ROOT,
                                        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True, env=env)
        self.seen = ""
        for line in self.process.stdout:
            self.seen += line
            if until in line:
                break

    def end(self, within):
        """Status, standard output and error; it must end by itself within so many seconds."""
        try:
            output, errors = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return self.process.returncode, output, errors

    def workers(self):
        return [child for child in psutil.Process(self.process.pid).children()
                if "spawn_main" in " ".join(child.cmdline())]


def metrics(data):
    (path,) = (data.parent / "out").rglob("*metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def newest(data):
    return max((data.parent / "out").rglob("*-*_*.ckpt"), key=lambda path: checkpoint.load(path).bookkeeping["step"])


def one_line(errors):
    """The one line that a person sees (MindSpore may add warnings of its own)."""
    lines = [line for line in errors.splitlines() if line and not line.startswith("[WARNING]")]
    assert len(lines) == 1 and lines[0].startswith("error: "), errors
    return lines[0]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """An environment in which a graph is compiled once: a try then takes a third of the time."""
    folder = tmp_path_factory.mktemp("compiled")
    return {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(folder), **os.environ,
            "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("moment", ["first step", "middle"])
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("model", SMALL)
def test_a_stop_of_the_whole_job_saves_and_resumes(data, compiled, model, kind, workers, moment):
    """Each try goes on from the checkpoint of the one before; the last one trains to the end of its epoch."""
    program = data.parent / "four_cores.py"         # a file, which the cache of graphs needs
    program.write_text(FOUR_CORES.format(threads=4 if kind == "threads" else 0))
    program = ("train.py" if kind == "threads" and workers <= 2 else str(program),)
    until = {"first step": "args.steps_per_epoch", "middle": {"centerface": "iter:", "retinaface": "loss is"}[model]}
    options, done = list(SMALLEST[model]), 0
    for number in range(TRIES):
        rng = random.Random(number)
        training = Running(model, data, *options, workers=workers, program=program, env=compiled, until=until[moment])
        assert f"first step {done} of" in training.seen
        time.sleep(rng.uniform(0, 3 if moment == "first step" else 0.3))
        children = training.workers()
        assert len(children) <= (0 if kind == "threads" else 4)
        stop = STOPS[number % len(STOPS)]
        for _ in range(2 if stop == signal.SIGTERM else 1):       # batch systems repeat SIGTERM
            os.killpg(training.process.pid, stop)
        status, output, errors = training.end(within=120)
        told = f"try {number} of {TRIES}: status {status}: {training.seen[-1000:]}{output[-2000:]}{errors[-2000:]}"
        assert status == 0 and "stopped by SIG" in output, told
        saved = newest(data)
        assert str(saved) in output, told
        psutil.wait_procs(children, timeout=20)
        assert not any(child.is_running() for child in children)
        position = checkpoint.load(saved).bookkeeping
        assert position["step"] > done
        done = position["step"]
        options = [*SMALLEST[model], f"--resume={saved}"]
    run(model, data, *options, epochs=position["epoch"] + 1)


def test_workers_end_with_a_killed_training(data):
    training = Running("centerface", data, workers=2, processes=True)
    children = training.workers()
    assert len(children) == 2
    training.process.kill()
    psutil.wait_procs(children, timeout=20)
    assert not any(child.is_running() for child in children)


def test_a_killed_data_worker_is_an_error_and_nothing_is_lost(data):
    training = Running("centerface", data, workers=2, processes=True)
    training.workers()[1].kill()
    status, _, errors = training.end(within=40)
    message = one_line(errors)
    assert status == 1 and "data worker" in message and str(newest(data)) in message
    assert checkpoint.load(newest(data)).bookkeeping["step"] >= 2


@pytest.mark.parametrize("model", SMALL)
def test_bad_images_are_skipped_named_once_and_counted(data, model):
    folder = data / "images/0--Ellipse"
    (folder / "2.jpg").write_bytes(b"")
    (folder / "5.jpg").write_bytes(b"\xff\xd8 no image")
    done = run(model, data, "--bad_images=skip")
    assert [line["bad_images"] for line in metrics(data)] == [2, 2]
    for name in ("2.jpg", "5.jpg"):
        assert sum(name in line for line in done.stdout.splitlines()) == 1
    assert done.stdout.count("skipped images:2") == 2


def test_the_bad_image_of_a_mosaic_is_named(data):
    (data / "images/0--Ellipse/2.jpg").write_bytes(b"")
    done = run("centerface", data, "--bad_images=skip", "--mosaic=1", epochs=3)
    assert done.stdout.count("0--Ellipse/2.jpg cannot be read") == 1
    assert sum(line["bad_images"] for line in metrics(data)) > 3, "it spoils more samples than its own"


@pytest.mark.parametrize("processes, mode", [(False, "error"), (True, "skip")], ids=["thread", "processes"])
def test_a_removed_folder_ends_training_in_seconds(data, processes, mode):
    training = Running("centerface", data, f"--bad_images={mode}", workers=2, processes=processes)
    (data / "images").rename(data / "elsewhere")
    status, _, errors = training.end(within=40)
    message = one_line(errors)
    assert status == 1 and f"{data}/images" in message and message.endswith(f"--resume {newest(data)}")


def test_an_emptied_folder_is_an_error_though_bad_images_are_skipped(data):
    training = Running("centerface", data, "--bad_images=skip")
    # The folder itself stays all the time: a removed one is another error.
    for image in sorted((data / "images").rglob("*.jpg")):
        image.unlink()
    status, _, errors = training.end(within=40)
    assert status == 1 and "21 images in a row" in one_line(errors)


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
    """Space for two checkpoints of some 20 MB, not for three."""
    load = ("import sys; from src.weights import checkpoint as c; paths = c.list_checkpoints(sys.argv[1]); "
            "print('STEPS', [c.load(path).bookkeeping['step'] for path in paths])")
    out = data.parent / "out"
    train = quoted(command("centerface", data, epochs=5))
    done = on_small_disk(50, out, f"{train}; echo STATUS $?; {sys.executable} -c \"{load}\" {out}/*; ls -A {out}/*")
    assert "STATUS 2" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert ".ckpt: No space left on device" in one_line(done.stderr)
    assert json.loads(done.stdout.split("STEPS ")[1].splitlines()[0]) == [4, 8]
    assert ".part" not in done.stdout


def test_a_log_on_a_full_disk_loses_only_its_lines(data):
    """The disk is filled to the last byte while training runs; nothing but the log and the metrics is written."""
    out = data.parent / "out"
    fill = ("import os, sys; from src.cli.program import run; import train, src.run_folder.history as t; "
            "append = t.append_line; t.append_line = lambda path, line: (os.system("
            "f\"dd if=/dev/zero of={path.parent}/full bs=4k 2>/dev/null\"), append(path, line)); "
            "sys.exit(run(train.main))")
    train = quoted(command("retinaface", data, "--save_checkpoint_steps=100000", epochs=3, program=("-c", fill)))
    done = on_small_disk(4, out, f"{train}; echo STATUS $?; cat {out}/*metrics.jsonl")
    assert "STATUS 2" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr and "metrics.jsonl: No space left on device" in done.stderr
    assert done.stdout.split("STATUS 2\n")[1] == "", "no half line"


def test_a_full_console_does_not_end_training(data):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command("centerface", data, epochs=1), cwd=ROOT, stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=300, check=False)
    assert done.stderr.count("cannot write the log to the console") == 1 and "Traceback" not in done.stderr
    assert checkpoint.load(newest(data)).bookkeeping["step"] == 4
