# SPDX-License-Identifier: Apache-2.0
"""The launcher with workers that do what they are told: statuses, culprits, restarts, signals, hosts.

A rank table starts the workers most often, because it needs neither MindSpore nor Open MPI.
"""
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dependency.errors import InputError
from src.tools.launch import main, parse
from tests.conftest import ROOT
from tests.tools.launching import LAUNCH, WORKER, Launch, launch, write_table

FOREVER = "sleep:all:120"


@pytest.fixture
def table(tmp_path):
    return f"--rank_table={write_table(tmp_path / 'table.json', 3)}"


def test_a_run_that_ends_well(tmp_path, table):
    status, text, _ = launch(tmp_path / "run", table, "--", "print:0:hello from {RANK_ID} of {RANK_SIZE}",
                             "print:1:not shown", "print:2:{DEVICE_ID}")
    assert status == 0 and "hello from 0 of 3\n" in text and "not shown" not in text
    assert "all 3 processes ended well" in text
    logs = tmp_path / "run" / "logs" / "attempt_1"
    assert [(logs / f"worker_{rank}.log").read_text() for rank in (1, 2)] == ["not shown\n", "2\n"]


@pytest.mark.parametrize("how, status, says", [
    ("exit:1:3", 3, "ended with status 3"), ("exit:1:255", 255, "ended with status 255"),
    ("kill:1:SIGKILL", 137, "was killed by SIGKILL (if nobody did it: out of memory, see dmesg)"),
    ("kill:1:SIGSEGV", 139, "was killed by SIGSEGV")])
def test_the_first_that_ends_badly_is_named_and_ends_all(tmp_path, table, how, status, says):
    lines = [f"print:1:line {number}" for number in range(6)]
    found, text, seconds = launch(tmp_path, table, "--tail=2", "--", "child:0:120", "ignore:0", "child:1:120", *lines,
                                  "print:1:error: such a thing", how, FOREVER)
    assert found == status and seconds < 8
    assert "rank 1 (process " in text and f") {says} after " in text
    assert "launch: cause: error: such a thing\n" in text and "rank 0 (" not in text and "rank 2 (" not in text
    assert "launch:     line 5\nlaunch:     error: such a thing\n" in text and "line 4" not in text


def test_who_dies_after_another_is_not_the_culprit(tmp_path, table):
    """Ranks 0 and 2 fail because rank 1 is gone, with causes of their own; those are shown too."""
    gone = tmp_path / "gone"
    status, text, _ = launch(tmp_path, table, "--", f"touch:1:{gone}", "exit:1:4", f"until:all:{gone}", "sleep:all:0.2",
                             "print:all:error: the others are gone", "exit:all:1")
    assert status == 4 and "rank 1 (" in text and "worker_2 says: error: the others are gone" in text


def test_the_cause_of_a_traceback(tmp_path, table):
    status, text, _ = launch(tmp_path, table, "--", "nonsense:2", FOREVER)
    assert status == 1 and "rank 2 (" in text and "cause: ValueError: nonsense:2" in text


def test_an_empty_log_is_said_to_be_empty(tmp_path, table):
    _, text, _ = launch(tmp_path, table, "--", "kill:2:SIGKILL", FOREVER)
    assert f"the last lines of {tmp_path}/logs/attempt_1/worker_2.log:\nlaunch:     (it is empty)\n" in text


def test_a_restart_goes_on_from_the_checkpoint(tmp_path, table):
    """Rank 1 is killed in the first attempt; in the second it ends well at `once`."""
    status, text, _ = launch(tmp_path, table, "--max_restarts=2", "--", "note:0:7", f"touch:0:{tmp_path}/noted",
                             f"once:1:{tmp_path}/first", f"until:1:{tmp_path}/noted", "kill:1:SIGKILL", "sleep:0:2")
    assert status == 0 and "rank 1 (" in text and "attempt 2 of 3, goes on from /c/7.ckpt" in text
    assert "attempt 3 of 3" not in text


def test_statuses_of_attempts(tmp_path, table):
    status, text, _ = launch(tmp_path, table, "--max_restarts=2", "--", "exit:1:3", FOREVER)
    assert status == 3 and "attempt 3 of 3, from the start: there is no checkpoint yet" in text
    assert "this was the last of 3 attempts" in text
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["attempt_1", "attempt_2", "attempt_3"]


def test_bad_input_is_not_tried_again(tmp_path, table):
    status, text, _ = launch(tmp_path, table, "--max_restarts=2", "--", "exit:1:2", FOREVER)
    assert status == 2 and "starting again cannot help" in text and "attempt 2" not in text


def test_nothing_of_an_earlier_launch_is_lost(tmp_path, table):
    for number in (1, 2, 3):
        launch(tmp_path, table, "--", f"print:0:launch {number}", f"note:0:{number}")
    logs = tmp_path / "logs"
    assert [(logs / f"attempt_{number}" / "worker_0.log").read_text() for number in (1, 2, 3)] == [
        "launch 1\n", "launch 2\n", "launch 3\n"]
    notes = [json.loads((logs / name).read_text())["checkpoint"] for name in ("run.json.1", "run.json.2", "run.json")]
    assert notes == ["/c/1.ckpt", "/c/2.ckpt", "/c/3.ckpt"]


def all_ready(run, count=3):
    """Wait until so many workers have printed it."""
    run.until(lambda: count == len([log for log in run.log_dir.glob("*/worker_*.log") if "ready" in log.read_text()]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_all_workers_end_well(tmp_path, table, number):
    run = Launch(tmp_path, table, "--max_restarts=2", "--", "catch:all:saved", "print:all:ready", FOREVER)
    all_ready(run)
    run.process.send_signal(number)
    status, text, _ = run.wait()
    assert status == 0 and f"stopped by {number.name}" in text and "attempt 2" not in text
    for rank in (0, 1, 2):
        assert (tmp_path / "logs" / "attempt_1" / f"worker_{rank}.log").read_text() == "ready\nsaved\n"


def test_a_second_signal_insists(tmp_path, table):
    run = Launch(tmp_path, table, "--", "ignore:all", "print:all:ready", FOREVER)
    all_ready(run)
    run.process.send_signal(signal.SIGTERM)
    run.until(lambda: "stopped by SIGTERM" in run.text)
    assert len(run.alive) == 3
    run.process.send_signal(signal.SIGINT)
    status, text, _ = run.wait()
    assert status == 143 and "a second signal came" in text and run.alive == []


def test_a_worker_that_a_signal_kills_before_training_is_no_reason_to_start_again(tmp_path, table):
    run = Launch(tmp_path, table, "--max_restarts=3", "--", "print:0:ready", FOREVER)
    run.until(lambda: "ready" in run.text)
    run.process.send_signal(signal.SIGTERM)
    status, text, _ = run.wait()
    assert status == 143 and "was killed by SIGTERM" in text and "attempt 2" not in text


def test_workers_do_not_outlive_a_launcher_that_is_killed(tmp_path, table):
    run = Launch(tmp_path, table, "--", "ignore:all", "child:all:120", "print:0:ready", FOREVER)
    run.until(lambda: "ready" in run.text and len(run.alive) == 6)
    run.process.kill()
    run.process.wait()
    run.until(lambda: run.alive == [], seconds=5)


def test_a_console_that_goes_away_does_not_end_the_run(tmp_path, table):
    words = [sys.executable, LAUNCH, table, f"--log_dir={tmp_path}/logs", "--", WORKER, "print:0:first", "sleep:0:1",
             "print:0:second", f"touch:0:{tmp_path}/end"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        assert process.wait(30) == 0 and (tmp_path / "end").exists()


def test_a_console_that_stands_still_hides_no_death(tmp_path, table):
    """A pipe that nobody reads (or Ctrl+S) while rank 0 logs more than it holds; then rank 1 is killed."""
    words = [sys.executable, LAUNCH, table, f"--log_dir={tmp_path}/logs", "--", WORKER, f"print:0:{'x' * 50000}",
             f"print:0:{'x' * 50000}", f"touch:0:{tmp_path}/full", f"until:1:{tmp_path}/full", "sleep:1:0.5",
             "kill:1:SIGKILL", FOREVER]
    start = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path) as process:
        try:
            assert process.wait(15) == 137 and time.monotonic() - start < 10
        finally:
            process.kill()
    told = (tmp_path / "logs" / "unread.log").read_text()
    assert re.search(r"^launch: rank 1 \(process \d+ .* was killed by SIGKILL", told, re.MULTILINE)


def test_sigterm_again_changes_nothing(tmp_path, table):
    """As batch systems send it; the workers, which may take a minute, end well, and so does the run."""
    run = Launch(tmp_path, table, "--max_restarts=2", "--", "slow:all:1.5", "print:all:ready", FOREVER)
    all_ready(run)
    run.process.send_signal(signal.SIGTERM)
    run.until(lambda: "stopped by SIGTERM" in run.text)
    for _ in range(3):
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    status, text, _ = run.wait()
    assert status == 0 and text.count("stopped by SIGTERM") == 1 and "a second signal" not in text, text
    for log in (tmp_path / "logs" / "attempt_1").iterdir():
        assert log.read_text() == "ready\nsaved\n"


@pytest.mark.parametrize("words, message", [
    ([], "no program"), (["--devices=2", "--", "absent.py"], "no program absent.py"),
    (["--devices=0", "--", WORKER], "--devices 0"),
    (["--max_restarts=-1", "--", WORKER], "--max_restarts -1"),
    (["--launcher=rank_table", "--", WORKER], "belong together"),
    (["--launcher=msrun", "--rank_table=t", "--", WORKER], "belong together"),
    (["--visible_devices=1,2", "--", WORKER], "as many as --devices 8"),
    (["--rank_table=absent.json", "--", WORKER], "no rank table absent.json"),
    (["--hosts=2", "--", WORKER], "needs --master_addr"),
    (["--launcher=mpirun", "--hosts=10.0.0.1,10.0.0.2", "--host_rank=1", "--dry_run", "--", WORKER],
     "first host only")])
def test_bad_options(words, message):
    with pytest.raises(InputError, match=message):
        main(words)


def test_the_launcher_is_chosen():
    assert parse(["--", WORKER])[0].launcher == "msrun"
    args, program = parse(["--rank_table=t", "--devices=3", "--", WORKER, "--devices", "--"])
    assert (args.launcher, args.devices, program) == ("rank_table", 3, [WORKER, "--devices", "--"])


def test_a_dry_run_leaves_nothing(tmp_path, table):
    status, text, _ = launch(tmp_path, table, "--dry_run", "--", "print:all:a b")
    lines = [shlex.split(line) for line in text.splitlines()]
    assert status == 0 and [line[-1] for line in lines] == ["print:all:a b"] * 3
    assert not (tmp_path / "logs").exists()


def test_help_teaches_without_mindspore():
    code = ("import runpy, sys; sys.argv = ['launch.py', '--help']\n"
            f"try: runpy.run_path({LAUNCH!r}, run_name='__main__')\n"
            "except SystemExit as end: assert not end.code\n"
            "assert 'mindspore' not in sys.modules and 'psutil' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    for part in ("--max_restarts", "--hosts", "train.py --model centerface", "first one is named"):
        assert part in done.stdout


class TestTwoHosts:
    """Two launchers here, with addresses of the loopback; each starts its own server's ranks of the table."""

    @pytest.fixture
    def both(self, tmp_path):
        def start(*words, port, **options):
            table = write_table(tmp_path / "table.json", 1, 2)
            return [Launch(tmp_path / f"host {rank}", f"--rank_table={table}", f"--host_rank={rank}",
                           f"--master_port={port}", *words, **options) for rank in (0, 1)]
        return start

    def test_both_end_well_together(self, both):
        first, second = both("--", "print:0:here is 0", "sleep:2:1", port=9180)
        assert [run.wait()[0] for run in (first, second)] == [0, 0]
        assert "here is 0" in first.text and "host 1 (127.0.0.2)" in first.text
        assert sorted(log.name for log in second.log_dir.glob("*/worker_*.log")) == ["worker_1.log", "worker_2.log"]

    @pytest.mark.parametrize("culprit", [0, 2])
    def test_a_failure_ends_all_hosts_and_is_named_on_each(self, both, culprit):
        runs = both("--", f"print:{culprit}:error: the cause", f"exit:{culprit}:5", FOREVER, port=9182)
        for run in runs:
            status, text, seconds = run.wait()
            assert status == 5 and seconds < 10 and run.alive == []
            assert f"rank {culprit} (process" in text and "cause: error: the cause" in text, text

    def test_restarts_begin_together(self, both, tmp_path):
        runs = both("--max_restarts=1", "--", f"until:0:{tmp_path}/again", f"until:1:{tmp_path}/again",
                    f"once:2:{tmp_path}/killed", f"touch:2:{tmp_path}/again", "sleep:2:0.5", "kill:2:SIGKILL",
                    port=9184)
        # The second time rank 2 ends well at `once`.
        assert [run.wait()[0] for run in runs] == [0, 0], runs[0].text + runs[1].text
        assert "attempt 2 of 2" in runs[0].text
        for run in runs:
            assert len(list(run.log_dir.glob("attempt_*"))) == 2 and "was killed by SIGKILL" in run.text

    def test_a_launcher_that_is_killed_ends_the_other_host(self, both):
        first, second = both("--", "print:0:ready", FOREVER, port=9186)
        first.until(lambda: "ready" in first.text and len(second.alive) == 2)
        second.process.kill()
        status, text, _ = first.wait(15)
        assert status == 1 and "host 1 (127.0.0.2) is gone" in text and first.alive == []
        second.until(lambda: second.alive == [], seconds=5)

    def test_a_host_that_stops_answering(self, both):
        first, second = both("--", "print:0:ready", FOREVER, port=9188)
        first.until(lambda: "ready" in first.text and len(second.alive) == 2)
        start = time.monotonic()
        second.process.send_signal(signal.SIGSTOP)
        try:
            status, text, _ = first.wait(15)
            assert status == 1 and "no sign of it for 5 s" in text and time.monotonic() - start < 10
        finally:
            second.process.send_signal(signal.SIGCONT)
        assert second.wait(15)[0] == 1 and second.alive == []

    @pytest.mark.parametrize("stopped", [0, 1])
    def test_a_signal_to_one_stops_both_well(self, both, stopped):
        runs = both("--", "catch:all:saved", "print:all:ready", FOREVER, port=9190)
        for run, count in zip(runs, (1, 2)):
            all_ready(run, count)
        runs[stopped].process.send_signal(signal.SIGTERM)
        assert [run.wait()[0] for run in runs] == [0, 0], runs[0].text + runs[1].text
        assert "stopped by another host" in runs[1 - stopped].text

    def test_a_host_that_never_comes(self, tmp_path):
        table = write_table(tmp_path / "table.json", 1, 1)
        for rank, message in ((0, "host 1 (127.0.0.2) did not come"), (1, "the first host (127.0.0.1) did not answer")):
            status, text, seconds = launch(tmp_path / str(rank), f"--rank_table={table}", f"--host_rank={rank}",
                                           "--wait=1", "--master_port=9192", "--", FOREVER)
            assert status == 1 and message in text and seconds < 10

    def test_different_commands_are_refused(self, tmp_path):
        runs = [Launch(tmp_path / str(rank), f"--rank_table={write_table(tmp_path / f'{rank}.json', 1, count)}",
                       f"--host_rank={rank}", "--wait=5", "--master_port=9194", "--", FOREVER)
                for rank, count in ((0, 1), (1, 2))]
        status, text, _ = runs[1].wait()
        assert status == 2 and "start the same command everywhere" in text
        assert runs[0].wait()[0] == 1


class TestMsrun:
    """MindSpore's launcher with workers that do not import MindSpore."""

    @pytest.mark.slow
    @pytest.mark.parametrize("how, status", [("exit:1:3", 3), ("kill:1:SIGKILL", 137)])
    def test_the_culprit_and_its_status(self, tmp_path, how, status):
        run = Launch(tmp_path, "--devices=2", "--master_port=9140", "--", "child:all:120",
                     f"touch:1:{tmp_path}/started", "print:1:error: a cause", "sleep:1:1", how, FOREVER)
        run.until((tmp_path / "started").exists, seconds=60)
        start = time.monotonic()
        found, text, _ = run.wait()
        assert found == status and time.monotonic() - start < 10 and run.alive == []
        assert "rank 1 (process" in text and "cause: error: a cause" in text

    @pytest.mark.slow
    @pytest.mark.parametrize("seconds", [0.5, 2.5])
    def test_a_signal_while_the_workers_start(self, tmp_path, seconds):
        """Before or while msrun starts them; they are asked as soon as they are there."""
        run = Launch(tmp_path, "--devices=2", "--master_port=9146", "--max_restarts=2", "--", FOREVER)
        run.until(lambda: "starting 2 processes" in run.text)
        time.sleep(seconds)
        run.process.send_signal(signal.SIGTERM)
        status, text, _taken = run.wait(30)
        assert status == 143 and "stopped by SIGTERM" in text and run.alive == [] and "attempt 2" not in text

    @pytest.mark.slow
    def test_workers_that_end_before_they_were_seen(self, tmp_path):
        """A program that ends at once, faster than twenty looks a second."""
        program = tmp_path / "program.py"
        program.write_text("import os, sys\nprint('error: at once', flush=True)\nos._exit(7)\n")
        status, text, _ = launch(tmp_path / "run", "--devices=2", "--master_port=9142", "--", program=(str(program),))
        assert status in (1, 7) and re.search("rank [01]", text) and "error: at once" in text, text

    @pytest.mark.slow
    def test_a_run_that_ends_well_waits_for_the_scheduler(self, tmp_path):
        status, text, _ = launch(tmp_path, "--devices=2", "--master_port=9144", "--", "print:0:rank {RANK_ID}, device "
                                 "{DEVICE_ID}, {MS_SCHED_PORT}", SCHEDULER_SECONDS="3")
        assert status == 0 and "rank 0, device 0, 9144" in text and "all 2 processes ended well" in text


class TestMpirun:
    @pytest.mark.slow
    @pytest.mark.parametrize("how, status", [("exit:1:3", 3), ("kill:1:SIGKILL", 137), ("exit:all:0", 0)])
    def test_the_culprit_and_its_status(self, tmp_path, how, status):
        if not shutil.which("mpirun"):
            pytest.skip("no mpirun here: apt-get install openmpi-bin")
        found, text, seconds = launch(tmp_path, "--devices=2", "--launcher=mpirun", "--", "print:1:error: a cause",
                                      "print:0:hello", "sleep:1:1", how, FOREVER)
        assert found == status and seconds < 15 and "hello" in text
        assert ("rank 1 (started by mpirun" in text and "cause: error: a cause" in text) == (status != 0)

    @pytest.mark.slow
    def test_a_signal_reaches_the_workers_not_mpirun(self, tmp_path):
        if not shutil.which("mpirun"):
            pytest.skip("no mpirun here: apt-get install openmpi-bin")
        run = Launch(tmp_path, "--devices=2", "--launcher=mpirun", "--", "catch:all:saved", "print:0:ready", FOREVER)
        run.until(lambda: "ready" in run.text)
        time.sleep(0.5)
        run.process.send_signal(signal.SIGTERM)
        status, text, _ = run.wait()
        assert status == 0 and "saved" in text
