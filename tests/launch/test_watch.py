# SPDX-License-Identifier: Apache-2.0
"""Watching processes: exit statuses, the tail of a log, what mpirun says."""
import ctypes
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.launch import failure
from src.launch.engines import SCHEDULER, Command
from src.launch.failure import describe, last_lines, named_by_mpirun, shell_status
from src.launch.processes import LOST, PR_SET_CHILD_SUBREAPER, Process, adopt_orphans, descendants
from src.launch.watch import POLL, Watch

MPI_SIGNAL = """--------------------------------------------------------------------------
mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).
--------------------------------------------------------------------------
"""
MPI_STATUS = """mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[61057,1],12]
  Exit code:    3
--------------------------------------------------------------------------
"""


def shell(text, log, rank=None):
    return Command(["sh", "-c", text], {}, log, rank)


@pytest.fixture
def start(tmp_path):
    """Start a Watch over shell commands; whatever they leave is killed at the end."""
    spare, started = descendants(), []
    adopt_orphans()

    def begin(*texts, **options):
        commands = [shell(text, tmp_path / f"worker_{rank}.log", rank) for rank, text in enumerate(texts)]
        watch = Watch(options.pop("commands", commands), spare=spare, **options)
        started.append(watch)
        watch.start()
        return watch
    yield begin
    for watch in started:
        assert watch.kill() == []
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def first_failure(watch, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = watch.look()
        if found or watch.all_ended:
            return found
        time.sleep(POLL)
    raise AssertionError("nothing happened")


@pytest.mark.parametrize("text, status", [("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -KILL $$", -9),
                                          ("kill -SEGV $$", -11)])
def test_the_status_is_read_before_anyone_waits(text, status, tmp_path):
    child = subprocess.Popen(["sh", "-c", text])
    process = Process("it", child.pid, tmp_path / "log")
    while not process.has_ended():
        time.sleep(0.01)
    assert process.status == status == child.wait()


def test_a_status_that_somebody_took(tmp_path):
    child = subprocess.Popen(["sleep", "0.1"])
    process = Process("it", child.pid, tmp_path / "log")
    child.wait()
    assert process.has_ended() and process.status == LOST and shell_status(LOST) == 1


def test_a_pid_that_became_another_process_is_not_signalled(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    try:
        process = Process("it", child.pid, tmp_path / "log")
        process.born -= 1           # as if the one that we knew had begun earlier
        process.signal(signal.SIGKILL)
        assert process.status == LOST and child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_the_lowest_rank_of_those_that_die_together_is_named(start):
    watch = start("sleep 30", "exit 4", "exit 5")
    time.sleep(0.5)
    found = watch.look()
    assert found.status == 4 and found.what.startswith("rank 1 (process ")


def test_all_end_well(start):
    watch = start("exit 0", "sleep 0.3")
    assert not watch.workers_ended
    assert first_failure(watch) is None and watch.workers_ended


def test_kill_finds_the_children_of_the_dead(start, tmp_path):
    (tmp_path / "pid").touch()
    watch = start(f"setsid sh -c 'sleep 60 & echo $! >{tmp_path}/pid; wait' & sleep 0.3; wait")
    while not (tmp_path / "pid").read_text().strip():
        time.sleep(0.02)
    assert watch.kill() == []
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_what_is_not_of_the_run_is_spared(start):
    other = subprocess.Popen(["sleep", "60"])
    watch = Watch([], spare=[*descendants()])
    assert watch.kill() == [] and other.poll() is None
    other.kill()
    other.wait()


# A stand-in for msrun, which starts processes, does not wait for them, and ends.
ENGINE = """import os, subprocess, sys, time
seconds, *roles = sys.argv[1:]
started = []
for word in roles:
    role, rank, text = word.split(":")
    started.append(subprocess.Popen(["sh", "-c", text], env={**os.environ, "MS_ROLE": role, "RANK_ID": rank},
                                    start_new_session=True))
time.sleep(float(seconds))
os._exit(0)
"""


def engine(tmp_path, seconds, *roles):
    return [Command([sys.executable, "-c", ENGINE, seconds, *roles], {}, tmp_path / "msrun.log")]


@pytest.mark.parametrize("seconds", ["0", "1"])
def test_processes_of_a_launch_tool_are_found_by_their_environment(start, tmp_path, seconds):
    """Whether they end before the tool or after it."""
    commands = engine(tmp_path, seconds, "MS_SCHED:0:sleep 60", "MS_WORKER:4:sleep 60", "MS_WORKER:5:sleep 0.6; exit 9")
    watch = start(commands=commands, ranks=[4, 5], scheduler=True)
    found = first_failure(watch)
    assert {process.name for process in watch.processes} == {"msrun", SCHEDULER, "rank 4", "rank 5"}
    assert found.status == 9 and found.what.startswith("rank 5 (") and found.log == str(tmp_path / "worker_5.log")


def test_workers_that_end_before_they_are_seen(start, tmp_path):
    """A dead process has no environment; they are told apart by the order in which they were started."""
    watch = start(commands=engine(tmp_path, "0.5", "MS_SCHED:0:exit 0", "MS_WORKER:0:exit 0", "MS_WORKER:1:exit 8"),
                  ranks=[0, 1], scheduler=True)
    time.sleep(1.5)
    found = first_failure(watch)
    assert found.status == 8 and found.what.startswith("rank 1 (")


def test_a_launch_tool_that_fails(start, tmp_path):
    commands = [shell("echo 'error: no'; exit 6", tmp_path / "msrun.log")]
    found = first_failure(start(commands=commands, ranks=[0], scheduler=True))
    assert found.status == 6 and found.what.startswith("msrun (") and found.cause == "error: no"


def test_a_scheduler_that_complains_at_the_end_changes_nothing(start, tmp_path):
    commands = engine(tmp_path, "0.6", "MS_SCHED:0:sleep 1; exit 1", "MS_WORKER:0:sleep 0.4")
    assert first_failure(start(commands=commands, ranks=[0], scheduler=True)) is None


def test_a_scheduler_that_dies_is_named(start, tmp_path):
    commands = engine(tmp_path, "0.6", "MS_SCHED:0:sleep 0.4; exit 1", "MS_WORKER:0:sleep 60")
    found = first_failure(start(commands=commands, ranks=[0], scheduler=True))
    assert found.what.startswith("scheduler (") and found.status == 1


@pytest.mark.parametrize("content, expected", [
    (b"", []), (b"\n \n", []), (b"a\nb", ["a", "b"]), (b"a\nb\n", ["a", "b"]), (b"a\r\nb\r\n", ["a", "b"]),
    (b"1 %\r50 %\r100 %\nend", ["100 %", "end"]), (b"\xff\xfea", ["\ufffd\ufffda"])])
def test_last_lines(tmp_path, content, expected):
    (tmp_path / "log").write_bytes(content)
    assert last_lines(tmp_path / "log") == expected


def test_last_lines_of_a_long_log_and_of_none(tmp_path, monkeypatch):
    monkeypatch.setattr(failure, "LAST_BYTES", 1000)
    (tmp_path / "log").write_text("".join(f"line {number}\n" for number in range(5000)))
    assert last_lines(tmp_path / "log")[-2:] == ["line 4998", "line 4999"]
    assert len(last_lines(tmp_path / "log")) < 110 and last_lines(tmp_path / "absent") == []


@pytest.mark.parametrize("lines, cause", [
    (["error: one", "error: two", "a last line"], "error: two"),
    (["Traceback (most recent call last):", "  File", "mindspore.x.RuntimeErr", "ValueError: it"], "ValueError: it"),
    (["error: mine", "KeyError: 3"], "error: mine"), (["an error: not at the start"], "")])
def test_causes(tmp_path, lines, cause, monkeypatch):
    monkeypatch.setattr(failure, "AFTERWORDS", 0)
    log = tmp_path / "worker_0.log"
    log.write_text("\n".join(lines) + "\n")
    found = describe("it ended", 1, log, 2)
    assert found.cause == cause and list(found.tail) == lines[-2:]
    assert describe("it ended", 1, log, 0).lines == ["it ended", *([f"cause: {cause}"] if cause else [])]
    assert describe("it ended", 1, tmp_path / "other" / "absent", 2).lines[-1] == "    (it is empty)"


@pytest.mark.parametrize("text, expected", [
    (MPI_SIGNAL, ("rank 1 (started by mpirun on host vm) was killed by SIGKILL", 137, 1)),
    (MPI_STATUS, ("rank 12 (started by mpirun) ended with status 3", 3, 12))])
def test_what_mpirun_says(tmp_path, text, expected):
    (tmp_path / "mpirun.log").write_text(text)
    what, status, log = named_by_mpirun(tmp_path / "mpirun.log", 34.4)
    assert what.startswith(expected[0]) and what.endswith("after 34 s") and status == expected[1]
    assert log == tmp_path / f"worker_{expected[2]}.log"


def test_mpirun_may_say_nothing(tmp_path):
    assert named_by_mpirun(tmp_path / "absent.log", 1.0) is None
