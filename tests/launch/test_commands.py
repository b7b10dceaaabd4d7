# SPDX-License-Identifier: Apache-2.0
"""The commands of msrun, mpirun and a rank table, held against what these tools document."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dependency.errors import InputError
from src.launch.commands import Job, mpirun, msrun, rank_table
from src.launch.hosts import Hosts

PROGRAM = ["train.py", "--lr=1e-3", "a b"]
def job(tmp_path, **options):
    return Job(PROGRAM, options.pop("local_size", 4), tmp_path / "logs", **options)


def test_msruns_own_parser_reads_its_options(tmp_path, monkeypatch):
    from mindspore.parallel.cluster.run import get_args
    command, = msrun(job(tmp_path, hosts=Hosts(3, 2, "10.0.0.1"), port=9000, timeout=77, cores=2))
    start = command.words.index("mindspore.parallel.cluster.run")
    monkeypatch.setattr(sys, "argv", ["msrun", *command.words[start + 1:]])
    args = get_args()
    assert (args.worker_num, args.local_worker_num, args.node_rank, args.join) == (12, 4, 2, True)
    assert (args.master_addr, args.master_port, args.cluster_time_out) == ("10.0.0.1", 9000, 77)
    assert args.bind_core == {f"device{local}": [f"{2 * local}-{2 * local + 1}"] for local in range(4)}
    assert args.log_dir == str(tmp_path / "logs") and args.task_script_args == PROGRAM
    assert int(args.tail_worker_log) not in range(-1, 5), "documented: within [0, local_worker_num] shows that worker"
    assert command.rank is None and command.words[0] == sys.executable
    path = {**os.environ, **command.environment}["PATH"]
    assert Path(shutil.which(args.task_script, path=path)).samefile(sys.executable)


def test_the_words_of_mpirun(tmp_path):
    """As mpirun(1) of Open MPI 4 describes them."""
    program = [str(tmp_path / "logs"), sys.executable, *PROGRAM]
    command, = mpirun(job(tmp_path, hosts=Hosts(2, 0, "a", ("a", "b")), environment={"FACEDET_RUN_FILE": "f"}))
    start = command.words.index("sh")
    assert command.words[:start] == ["mpirun", "--allow-run-as-root", "-n", "8", "--bind-to", "none", "-H", "a:4,b:4",
                                     "-x", "FACEDET_RUN_FILE"]
    assert command.words[start + 3:] == program
    alone, = mpirun(job(tmp_path, environment={"A": "b"}))
    assert not {"-H", "-x"} & set(alone.words)


needs_mpirun = pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun here: apt-get install openmpi-bin")


@needs_mpirun
def test_mpirun_itself_documents_the_options():
    text = subprocess.run(["mpirun", "--allow-run-as-root", "--help", "full"], stdout=subprocess.PIPE, text=True,
                          check=False).stdout
    for option in ("--allow-run-as-root", "-n", "--bind-to", "-H", "-x"):
        assert re.search(rf"(^|[\s|]){option}([\s|]|$)", text, re.MULTILINE), option


@needs_mpirun
@pytest.mark.parametrize("cores", [0, 1])
def test_processes_of_mpirun_log_and_know_their_device(tmp_path, cores):
    program = tmp_path / "my program.py"
    program.write_text("import os, sys\nprint(os.environ['DEVICE_ID'], len(os.sched_getaffinity(0)), sys.argv[1])\n")
    command, = mpirun(Job([str(program), "a b"], 2, tmp_path / "my logs", cores=cores))
    done = subprocess.run(command.words, env={**os.environ, **command.environment}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    bound = cores or len(os.sched_getaffinity(0))
    for rank in (0, 1):
        assert (tmp_path / "my logs" / f"worker_{rank}.log").read_text() == f"{rank} {bound} a b\n"


def test_mpirun_is_for_the_first_host_and_named_hosts(tmp_path):
    for hosts in (Hosts(2, 1, "a", ("a", "b")), Hosts(2, 0, "a")):
        with pytest.raises(InputError):
            mpirun(job(tmp_path, hosts=hosts))


def test_a_command_for_each_rank_of_a_table(tmp_path):
    servers = [{0: "0", 1: "1"}, {3: "6", 2: "7"}]
    commands = rank_table(job(tmp_path, local_size=2, hosts=Hosts(2, 1), cores=3), Path("/t.json"), servers)
    assert [(command.rank, command.log.name) for command in commands] == [(2, "worker_2.log"), (3, "worker_3.log")]
    assert [command.environment for command in commands] == [
        {"RANK_TABLE_FILE": "/t.json", "RANK_SIZE": "4", "RANK_ID": "2", "DEVICE_ID": "7"},
        {"RANK_TABLE_FILE": "/t.json", "RANK_SIZE": "4", "RANK_ID": "3", "DEVICE_ID": "6"}]
    assert [command.words[:3] for command in commands] == [["taskset", "-c", "0-2"], ["taskset", "-c", "3-5"]]
    assert commands[0].words[3:] == [sys.executable, *PROGRAM]
