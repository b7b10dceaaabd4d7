# SPDX-License-Identifier: Apache-2.0
"""The commands that start the processes of one training: by msrun, by mpirun, or by a rank table.

    commands = msrun(Job(["train.py", "--lr=1e-3"], devices=8, log_dir=Path("launch/attempt_1")))

Pure functions from options to commands. Whichever tool starts it, the process of rank r has DEVICE_ID (its number on
its host) and writes <log_dir>/worker_<r>.log.
"""
from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dependency.errors import InputError

LAUNCHERS = ("auto", "msrun", "mpirun", "rank_table")
SCHEDULER = "scheduler"
WITHOUT_TAIL = "-2"         # msrun: of no worker; launch.py itself follows rank 0


@dataclass(frozen=True)
class Job:
    """What is to be started on this host.

    program: a Python program and its arguments; devices: processes on this host; hosts, host_rank: of several.
    master_addr, master_port: where the first host's scheduler listens; addresses: of all hosts, where known.
    log_dir: of this attempt; environment: for every process, beside the launcher's own.
    task_set: bind each process to cores; task_set_core: their number (0: cores of the host shared out).
    cores: of this host; python: the interpreter of every process.
    """
    program: Sequence[str]
    devices: int
    log_dir: Path
    hosts: int = 1
    host_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 8118
    addresses: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    task_set: bool = False
    task_set_core: int = 0
    cores: int = 0
    python: str = sys.executable

    def log(self, rank: int) -> Path:
        return self.log_dir / f"worker_{rank}.log"

    @property
    def ranks(self) -> list[int]:
        """Of the processes on this host, where every host has as many."""
        return [self.host_rank * self.devices + local for local in range(self.devices)]

    def cores_of(self, local: int) -> str:
        """ "3-5": the cores of process `local` of this host."""
        return f"{local * self.cores_each}-{(local + 1) * self.cores_each - 1}"

    @property
    def cores_each(self) -> int:
        """Cores of one process.

        Raises:
            InputError: there are fewer cores than processes.
        """
        each = self.task_set_core or self.cores // self.devices
        if not each:
            raise InputError(f"--task_set 1: {self.cores} cores for {self.devices} processes; give --task_set_core 1, "
                             "or leave --task_set out")
        return each


@dataclass(frozen=True)
class Command:
    """One command to start. rank: of the worker that it is; None: it starts the workers. log: gets its output."""
    words: list[str]
    environment: dict[str, str]
    log: Path
    rank: int | None = None

    def __str__(self) -> str:
        """As a shell reads it."""
        given = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join(shlex.quote(word) for word in (["env", *given] if given else []) + self.words)


def msrun(job: Job) -> list[Command]:
    """MindSpore's own launcher, on every host. It starts the processes and ends; --join would make it kill and wait."""
    folder, name = python_on_path(job.python)
    path = os.environ.get("PATH", "")
    environment = dict(job.environment)
    if path.split(os.pathsep)[0] != folder:
        environment["PATH"] = f"{folder}{os.pathsep}{path}"
    words = [job.python, "-m", "mindspore.parallel.cluster.run", f"--worker_num={job.devices * job.hosts}",
             f"--local_worker_num={job.devices}", f"--master_addr={job.master_addr}",
             f"--master_port={job.master_port}", f"--node_rank={job.host_rank}", f"--log_dir={job.log_dir}",
             "--join=False", f"--tail_worker_log={WITHOUT_TAIL}"]
    if job.task_set:
        words.append(f"--bind_core={_msrun_cores(job)}")
    return [Command([*words, name, *job.program], environment, job.log_dir / "msrun.log")]


def _msrun_cores(job: Job) -> str:
    if not job.task_set_core:
        return "True"
    return json.dumps({f"device{local}": [job.cores_of(local)] for local in range(job.devices)})


# What each process of mpirun does first. $0: the folder of the logs.
_MPI_WORKER = ('export DEVICE_ID="$OMPI_COMM_WORLD_LOCAL_RANK" && mkdir -p "$0" && '
               'exec {bind}"$@" >"$0/worker_$OMPI_COMM_WORLD_RANK.log" 2>&1')


def mpirun(job: Job) -> list[Command]:
    """Open MPI, on the first host; it reaches the others by ssh. Its own binding would give one core to a process."""
    if job.host_rank:
        raise InputError("--launcher mpirun: start it on the first host only; it starts the other hosts' processes "
                         "by ssh")
    words = ["mpirun", "--allow-run-as-root", "-n", str(job.devices * job.hosts), "--bind-to", "none"]
    if job.hosts > 1:
        if len(job.addresses) != job.hosts:
            raise InputError("--launcher mpirun: --hosts must name the hosts, such as --hosts 10.0.0.1,10.0.0.2")
        words += ["-H", ",".join(f"{address}:{job.devices}" for address in job.addresses)]
        for name in job.environment:
            words += ["-x", name]
    bind = ""
    if job.task_set:
        each = job.cores_each
        bind = f'taskset -c "$((DEVICE_ID * {each}))-$((DEVICE_ID * {each} + {each - 1}))" '
    words += ["sh", "-c", _MPI_WORKER.format(bind=bind), str(job.log_dir), job.python, *job.program]
    return [Command(words, dict(job.environment), job.log_dir / "mpirun.log")]


def rank_table(job: Job, table: Path, devices: Mapping[int, str], size: int) -> list[Command]:
    """One command for each rank of this host (Ascend).

    Args:
        job: the job; its `devices` is the number of ranks here.
        table: the file, which HCCL reads.
        devices: device number of each rank of this host.
        size: ranks of all hosts.
    """
    commands = []
    for local, (rank, device) in enumerate(sorted(devices.items())):
        bind = ["taskset", "-c", job.cores_of(local)] if job.task_set else []
        environment = {**job.environment, "RANK_TABLE_FILE": str(table), "RANK_SIZE": str(size),
                       "RANK_ID": str(rank), "DEVICE_ID": str(device)}
        commands.append(Command([*bind, job.python, *job.program], environment, job.log(rank), rank))
    return commands


def python_on_path(python: str) -> tuple[str, str]:
    """(folder, name) under which msrun, which starts `python3` or `python` of PATH, finds this interpreter.

    Raises:
        InputError: its folder has neither name for it.
    """
    folder = Path(python).parent
    for name in ("python3", "python"):
        other = folder / name
        if other.exists() and other.samefile(python):
            return str(folder), name
    raise InputError(f"msrun starts `python3` of PATH, which in {folder} is not {Path(python).name}; "
                     "use a virtual environment: make env")
