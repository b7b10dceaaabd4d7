# SPDX-License-Identifier: Apache-2.0
"""test.py --processes: the same files and scores as one process, and what is left when a process fails."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.small_wider import IMAGES, make_checkpoint, make_split

SQUARE = ROOT / "tests" / "square_program.py"


class Run:
    """A split, checkpoints, and test.py on them; `save` is the tree of the last call."""

    def __init__(self, folder, program=SQUARE):
        made = make_split(folder)
        self.folder, self.images, self.gt, self.program = folder, made.images, made.gt, program
        self.model = folder / "model"
        self.model.mkdir()

    def checkpoints(self, *contents):
        for epoch, content in enumerate(contents, start=1):
            (self.model / f"0-{epoch}_{epoch * 198}.ckpt").write_bytes(content)

    def command(self, save, *options):
        self.save = self.folder / save
        return [sys.executable, str(self.program), f"--data_dir={self.images}", f"--ground_truth_mat={self.gt}",
                f"--test_model={self.model}", f"--save_dir={self.save}", "--device_target=CPU", *options]

    def __call__(self, save, *options, fault="", **settings):
        return subprocess.run(self.command(save, *options), capture_output=True, text=True, timeout=300, check=False,
                              env={**os.environ, "FAULT": fault}, **settings)

    def files(self):
        """What the tree holds; metrics without times and folders."""
        trees = {path.relative_to(self.save).as_posix(): path.read_text() for path in self.save.rglob("*.txt")}
        metrics = self.save / "metrics.jsonl"
        lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.is_file() else []
        return trees, [{**line, "time": "", "pred": ""} for line in lines]


def table(done):
    """What a run prints at its end."""
    return done.stdout[done.stdout.index("\ncheckpoint "):]


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.mark.parametrize("count, processes, shares", [(3, 2, 2), (1, 2, 2), (2, 8, 3), (1, 1, 0)])
def test_several_processes_give_what_one_gives(run, count, processes, shares):
    run.checkpoints(*[b"x"] * count)
    one = run("one", "--eval=1")
    expected = run.files()
    assert one.returncode == 0 and len(expected[0]) == len(IMAGES) * count
    several = run("several", "--eval=1", "--processes", str(processes))
    assert several.returncode == 0, several.stdout + several.stderr
    assert run.files() == expected and table(several) == table(one)
    assert (run.save / "ap.png").is_file() == (count > 1)
    logs = sorted(path.name for path in (run.save / "logs").glob("*"))
    assert logs == [f"test_{rank}.log" for rank in range(shares)]


def test_one_checkpoint_by_name_is_shared_by_its_images(run):
    run.checkpoints(b"x", b"x")
    one = run("one", "--eval=1", "--ckpt_name=0-1_198.ckpt")
    expected = run.files()
    several = run("several", "--eval=1", "--ckpt_name=0-1_198.ckpt", "--processes=2")
    assert one.returncode == several.returncode == 0
    assert run.files() == expected and table(several) == table(one), "the logs are not in the tree"
    names = {path.name for path in run.save.iterdir()}
    assert names == {"0--Parade", "1--Handshaking", "metrics.jsonl", "settings.json"}
    assert {path.name for path in (run.folder / "several_logs").iterdir()} == {"test_0.log", "test_1.log"}


def test_unusable_checkpoints_leave_the_others_as_in_one_process(run):
    run.checkpoints(b"x", b"damaged", b"nan", b"x")
    one = run("one", "--eval=1")
    expected = run.files()
    several = run("several", "--eval=1", "--processes=2")
    assert (one.returncode, several.returncode) == (1, 1)
    assert run.files() == expected and table(several) == table(one)
    assert several.stdout.count("0-2_396.ckpt: damaged") == 1 and "0-3_594.ckpt: " in several.stdout


@pytest.mark.parametrize("contents, spoilt", [([b"damaged"], ""), ([b"nan"], ""), ([b"x"], IMAGES[1]),
                                              ([b"x"] * 2, IMAGES[1]), ([b"damaged"] * 2, "")])
def test_bad_input_is_the_error_of_one_process(run, contents, spoilt):
    run.checkpoints(*contents)
    if spoilt:
        (run.images / spoilt).write_bytes(b"")
    one, several = run("one"), run("several", "--processes=2")
    assert one.returncode == several.returncode == 2
    error = one.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    if contents == [b"nan"]:        # the first image of either share
        assert several.stderr.strip() in [error, error.replace(IMAGES[0], IMAGES[1])]
    else:
        assert several.stderr.strip() == error


@pytest.mark.soak
def test_a_killed_process_loses_its_checkpoints_only(run):
    run.checkpoints(b"x", b"x", b"x", b"x")
    done = run("out", "--eval=1", "--processes=2", fault="kill:1:5")     # in its second checkpoint
    assert done.returncode == 1
    assert "process 1 of 2" in done.stdout and "was killed by SIGKILL" in done.stdout and "a last line" in done.stdout
    assert "0-4_792.ckpt: not tested" in done.stdout
    names = [line.split()[0] for line in table(done).splitlines()[2:5]]
    assert names == ["0-1_198.ckpt", "0-2_396.ckpt", "0-3_594.ckpt"]
    assert [line["epoch"] for line in run.files()[1]] == [1, 2, 3]


@pytest.mark.soak
def test_an_incomplete_tree_is_not_scored_even_over_old_predictions(run):
    run.checkpoints(b"x")
    assert run("out", "--eval=1", "--processes=2").returncode == 0
    scored = run.files()[1]
    done = run("out", "--eval=1", "--processes=2", fault="kill:0:2")
    assert done.returncode == 1 and "best by" not in done.stdout and run.files()[1] == scored
    assert "0-1_198.ckpt: not tested" in done.stdout
    log = (run.save / "logs/test_0.log").read_text()
    assert log.count("a last line") == 1 and log.count(" images in ") == 1, "the former run's log is kept"


@pytest.mark.soak
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_nothing_runs_on_when_the_program_is_stopped(run, number, status):
    run.checkpoints(b"x", b"x")
    running = subprocess.Popen(run.command("out", "--processes=2"), env={**os.environ, "FAULT": "slow:1"},
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        children, deadline = [], time.monotonic() + 30
        logs = [run.save / "logs" / f"test_{rank}.log" for rank in range(2)]
        while not all(log.is_file() for log in logs) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1.5)             # they are at work
        children = psutil.Process(running.pid).children(recursive=True)
        assert len(children) >= 2
        start = time.monotonic()
        running.send_signal(number)
        output, _ = running.communicate(timeout=20)
        _, alive = psutil.wait_procs(children, timeout=8)
        assert alive == [] and time.monotonic() - start < 4
        assert running.returncode == status, output
    finally:
        running.kill()


def test_the_manuals_arithmetic_chooses_and_the_processes_share(run):
    run.checkpoints(*[b"x"] * 5)
    done = run("out", "--processes=2", "--device_num=2", "--rank=0", "--steps_per_epoch=198", "--start=0", "--end=4",
               f"--process_log={run.folder}/device{{rank}}/test.log")
    assert done.returncode == 0, done.stdout                # epochs 1, 3, 5, 7
    assert sorted(path.name for path in run.save.iterdir()) == ["1", "3", "5"]
    assert done.stdout.count("0-7_1386.ckpt not set/exists") == 1
    assert "0-3_594.ckpt" in (run.folder / "device1/test.log").read_text()


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 1])
def test_a_real_network_in_two_processes(tmp_path, count):
    """Each process has one core, and so has the single one: another number of threads sums in another order."""
    run = Run(tmp_path, ROOT / "test.py")
    for seed in range(1, count + 1):
        make_checkpoint(run.model / f"0-{seed}_{seed * 9}.ckpt", seed)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    one = run("one", "--eval=1", preexec_fn=lambda: os.sched_setaffinity(0, cores[:1]))
    expected = run.files()
    several = run("several", "--eval=1", "--processes=2", preexec_fn=lambda: os.sched_setaffinity(0, cores))
    assert one.returncode == several.returncode == 0, several.stdout + several.stderr
    assert len(expected[0]) == len(IMAGES) * count and run.files() == expected and table(several) == table(one)
    assert all("load_model" in Path(log).read_text() for log in (run.save / "logs").iterdir())


def test_wrong_options_and_foreign_predictions_stop_before_any_work(run):
    run.checkpoints(b"x", b"x")
    foreign = run.folder / "foreign/2/0--Parade/other.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("")
    for save, option, named in (("out", "--process_log=test.log", "{rank}"),
                                ("foreign", "--only_existing", "foreign/2")):
        done = run(save, "--processes=2", option)
        assert done.returncode == 2 and named in done.stderr
        assert [path for path in run.save.rglob("*.txt") if path != foreign] == []
