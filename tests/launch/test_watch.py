# SPDX-License-Identifier: Apache-2.0
"""What the watch reads: the reports of msrun and mpirun, and the end of a log. tests/tools/test_launch.py runs it."""
from types import SimpleNamespace

import pytest

from src.launch.commands import Command
from src.launch.watch import Attempt, last_lines

MSRUN = ("[ERROR] ME(9:7,MainProcess):2026-11-28-19:45:01.113.000 [x/_api.py:365] Worker process {} exit with "
         "exception. Error code: {}.\n[WARNING] ME(9): There's worker exits with exception, kill all other workers.\n")
MPI_SIGNAL = """--------------------------------------------------------------------------
mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).
--------------------------------------------------------------------------
"""
MPI_STATUS = """--------------------------------------------------------------------------
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[53543,1],12]
  Exit code:    3
--------------------------------------------------------------------------
"""


@pytest.mark.parametrize("report, rank, status", [
    (MSRUN.format(501, -9), 1, -9), (MSRUN.format(500, 3), 0, 3), (MSRUN.format(77, 3), None, 3),
    (MPI_SIGNAL, 1, -9), (MPI_STATUS, 12, 3)])
def test_reports_of_the_first_failure(tmp_path, report, rank, status):
    attempt = Attempt([Command(["msrun"], {}, tmp_path / "msrun.log")], 2, 30, SimpleNamespace(number=0))
    attempt.workers = {number: SimpleNamespace(pid=500 + number) for number in (0, 1)}
    attempt.processes = [SimpleNamespace(poll=lambda: None, returncode=None)]
    (tmp_path / "msrun.log").write_text("no failure yet\n")
    assert attempt._find_failure() is None
    (tmp_path / "msrun.log").write_text(f"a warning\n{report}")
    assert attempt._find_failure() == (rank, status)


@pytest.mark.parametrize("content, expected", [
    (b"", []), (b"a\nb", ["a", "b"]), (b"a\nb\nc\n", ["b", "c"]), (b"a\r\nb\r\n", ["a", "b"]),
    (b"1 %\r50 %\r100 %\nend", ["100 %", "end"]), (b"\xff\xfea", ["\ufffd\ufffda"])])
def test_last_lines(tmp_path, content, expected):
    (tmp_path / "log").write_bytes(content)
    assert last_lines(tmp_path / "log", 2) == expected and last_lines(tmp_path / "absent", 2) == []


@pytest.mark.parametrize("rank_1, copies", [("error: no folder a", 1), ("error: no folder b", 2), ("Killed", 2)])
def test_one_error_is_told_once(tmp_path, capfd, rank_1, copies):
    """Rank 0's log is shown; the last lines of rank 1, which failed first, only where they say something else."""
    attempt = Attempt([Command(["msrun"], {}, tmp_path / "msrun.log")], 2, 30, SimpleNamespace(number=0))
    (tmp_path / "worker_0.log").write_text("loading\nerror: no folder a\n")
    (tmp_path / "worker_1.log").write_text(f"loading\n{rank_1}\n")
    assert attempt._report(1, 2) == 2
    output, errors = capfd.readouterr()
    assert "rank 1" in errors and (output + errors).count("loading") == copies
