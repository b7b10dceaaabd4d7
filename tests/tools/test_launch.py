# SPDX-License-Identifier: Apache-2.0
"""The launcher with workers that do what their arguments say: statuses, failures, restarts, signals.

A rank table starts the workers most often, because it needs neither MindSpore nor Open MPI.
"""
import shutil
import signal
import time

import pytest

from dependency.errors import InputError
from src.tools.launch import main
from tests.tools.launching import WORKER, Launch, launch, write_table

FOREVER = "sleep:all:120"
needs_mpirun = pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun here: apt-get install openmpi-bin")


@pytest.fixture
def table(tmp_path):
    return f"--rank_table={write_table(tmp_path / 'table.json', 3)}"


def logs(folder, attempt=1):
    return [(folder / "logs" / f"attempt_{attempt}" / f"worker_{rank}.log").read_text() for rank in (0, 1, 2)]


def test_a_run_that_ends_well(tmp_path, table):
    status, text, _ = launch(tmp_path, table, "--", "print:0:hello from {RANK_ID} of {RANK_SIZE}", "print:1:not shown",
                             "print:2:{DEVICE_ID}")
    assert status == 0 and "hello from 0 of 3\n" in text and "not shown" not in text
    assert "All 3 processes finished successfully." in text
    assert logs(tmp_path)[1:] == ["not shown\n", "2\n"]


@pytest.mark.parametrize("how, status, says", [
    ("exit:1:3", 3, "ended with status 3"), ("exit:1:255", 255, "ended with status 255"),
    ("kill:1:SIGKILL", 137, "was killed by SIGKILL")])
def test_the_first_that_fails_is_named_and_ends_all(tmp_path, table, how, status, says):
    lines = [f"print:1:line {number}" for number in range(6)]
    found, text, seconds = launch(tmp_path, table, "--tail=2", "--", "child:0:120", "ignore:0", "child:1:120", *lines,
                                  "print:1:error: such a thing", how, FOREVER)
    assert found == status and seconds < 8
    assert "rank 1 (process " in text and says in text and "rank 0 (" not in text and "rank 2 (" not in text
    assert f"{tmp_path}/logs/attempt_1/worker_1.log" in text
    assert "line 5\n" in text and "error: such a thing\n" in text and "line 4" not in text


def test_a_restart_goes_on_from_the_checkpoint(tmp_path, table):
    """Rank 1 is killed in the first attempt; in the second it ends well at `once`."""
    status, text, _ = launch(tmp_path, table, "--max_restarts=2", "--", "record:0:/c/7.ckpt",
                             f"touch:0:{tmp_path}/recorded", "newest:0", f"once:1:{tmp_path}/first",
                             f"until:1:{tmp_path}/recorded", "kill:1:SIGKILL", "sleep:0:1")
    assert status == 0 and "rank 1 (" in text and "attempt 2 of 3" in text and "attempt 3 of 3" not in text
    assert logs(tmp_path, attempt=2)[0] == "/c/7.ckpt\n"


@pytest.mark.parametrize("status, attempts", [(3, 3), (2, 1)])
def test_restarts_end_and_bad_input_is_not_tried_again(tmp_path, table, status, attempts):
    found, _, _ = launch(tmp_path, table, "--max_restarts=2", "--", f"exit:1:{status}", FOREVER)
    assert found == status
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        f"attempt_{number + 1}" for number in range(attempts)]


def all_ready(run, count=3):
    """Wait until so many workers have printed it."""
    run.until(lambda: count == len([log for log in run.log_dir.glob("*/worker_*.log") if "ready" in log.read_text()]),
              seconds=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_all_workers_end_well(tmp_path, table, number):
    """SIGTERM comes again, as from batch systems."""
    run = Launch(tmp_path, table, "--max_restarts=2", "--", "slow:all:1", "print:all:ready", FOREVER)
    all_ready(run)
    run.process.send_signal(number)
    run.until(lambda: "stopped by" in run.text)
    for _ in range(3):
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    status, text, _ = run.wait()
    assert status == 0 and text.count(f"stopped by {number.name}") == 1 and "attempt 2" not in text
    assert logs(tmp_path) == ["ready\nsaved\n"] * 3


def test_ctrl_c_again_kills(tmp_path, table):
    run = Launch(tmp_path, table, "--max_restarts=2", "--", "ignore:all", "print:all:ready", FOREVER)
    all_ready(run)
    run.process.send_signal(signal.SIGINT)
    run.until(lambda: "stopped by SIGINT" in run.text)
    assert len(run.alive) == 3
    run.process.send_signal(signal.SIGINT)
    assert run.wait()[0] == 130
    run.until(lambda: run.alive == [], seconds=2)


@pytest.mark.parametrize("words", [
    [], ["--devices=2", "--", "absent.py"], ["--devices=0", "--", WORKER], ["--max_restarts=-1", "--", WORKER],
    ["--launcher=rank_table", "--", WORKER], ["--launcher=msrun", "--rank_table=t", "--", WORKER],
    ["--visible_devices=1,2", "--", WORKER], ["--rank_table=absent.json", "--", WORKER], ["--hosts=2", "--", WORKER],
    ["--hosts=2", "--master_addr=a", "--host_rank=0", "--max_restarts=1", "--", WORKER],
    ["--task_set=1", "--devices=4096", "--", WORKER],
    ["--launcher=mpirun", "--hosts=10.0.0.1,10.0.0.2", "--host_rank=1", "--dry_run", "--", WORKER]])
def test_bad_options(words):
    with pytest.raises(InputError):
        main(words)


class TestMsrun:
    """MindSpore's launcher with workers that do not import MindSpore."""

    def test_the_first_that_fails_is_named_and_ends_all(self, tmp_path):
        run = Launch(tmp_path, "--devices=2", "--", "child:all:120", f"touch:1:{tmp_path}/started",
                     "print:0:rank {RANK_ID}, device {DEVICE_ID}", "print:1:error: a cause", "sleep:1:1",
                     "kill:1:SIGKILL", FOREVER)
        run.until((tmp_path / "started").exists, seconds=60)
        start = time.monotonic()
        status, text, _ = run.wait()
        assert status == 137 and time.monotonic() - start < 10, text
        assert "rank 0, device 0" in text and "rank 1 (process" in text and "    error: a cause" in text
        run.until(lambda: run.alive == [], seconds=2)

    @pytest.mark.soak
    def test_a_run_that_ends_well_waits_for_the_scheduler(self, tmp_path):
        status, text, _ = launch(tmp_path, "--devices=2", "--", "print:0:hello", SCHEDULER_SECONDS="3")
        assert status == 0 and "hello" in text and "All 2 processes finished successfully." in text

    @pytest.mark.soak
    @pytest.mark.parametrize("seconds", [0.5, 2.5])
    def test_a_signal_while_the_workers_start(self, tmp_path, seconds):
        """Before or while msrun starts them; they are asked as soon as they are there."""
        run = Launch(tmp_path, "--devices=2", "--max_restarts=2", "--", "catch:all:saved", FOREVER,
                     SCHEDULER_SECONDS="3")
        run.until(lambda: "starting 2 processes" in run.text)
        time.sleep(seconds)
        run.process.send_signal(signal.SIGTERM)
        status, text, _ = run.wait()
        assert status == 0 and "saved" in text and "attempt 2" not in text


@needs_mpirun
@pytest.mark.soak
class TestMpirun:
    @pytest.mark.parametrize("how, status", [("exit:1:3", 3), ("kill:1:SIGKILL", 137), ("exit:all:0", 0)])
    def test_the_first_that_fails_is_named(self, tmp_path, how, status):
        found, text, seconds = launch(tmp_path, "--devices=2", "--launcher=mpirun", "--", "print:1:error: a cause",
                                      "print:0:hello", "sleep:1:1", how, FOREVER)
        assert found == status and seconds < 15 and "hello" in text
        assert ("rank 1 (process" in text and "    error: a cause" in text) == (status != 0)

    def test_a_signal_reaches_the_workers_not_mpirun(self, tmp_path):
        run = Launch(tmp_path, "--devices=2", "--launcher=mpirun", "--", "catch:all:saved", "print:all:ready", FOREVER)
        all_ready(run, 2)
        run.process.send_signal(signal.SIGTERM)
        status, text, _ = run.wait()
        assert status == 0 and "saved" in text
