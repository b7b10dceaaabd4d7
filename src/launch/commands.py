# SPDX-License-Identifier: Apache-2.0
"""The commands that start the processes of one training: by msrun, by mpirun, or by a rank table.

    commands = msrun(Job(["train.py", "--lr=1e-3"], local_size=8, log_dir=Path("launch/attempt_1")))

Whichever tool starts it, the process of rank r has DEVICE_ID (its number on its host) and writes
<log_dir>/worker_<r>.log.
"""
from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dependency.errors import InputError
from src.launch.hosts import Hosts

NO_WORKER = "-2"        # for msrun: show no worker's log; launch.py shows that of rank 0


@dataclass(frozen=True)
class Job:
    """One training as this host has to start it.

    program: a Python program and its arguments; local_size: number of processes on this host; log_dir: gets the logs.
    hosts, port: all hosts, and the port of MindSpore's scheduler on the first; timeout: seconds to wait for them.
    environment: variables for every process; cores: CPU cores that each process is bound to (0: not bound).
    """
    program: Sequence[str]
    local_size: int
    log_dir: Path
    hosts: Hosts = field(default_factory=Hosts)
    port: int = 8118
    timeout: int = 600
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: int = 0

    @property
    def world_size(self) -> int:
        """Number of processes on all hosts, of which each has as many."""
        return self.local_size * self.hosts.count

    def log(self, rank: int) -> Path:
        return self.log_dir / f"worker_{rank}.log"

    def core_range(self, local_rank: int) -> str:
        """Return the cores of a process of this host, such as "3-5"."""
        return f"{local_rank * self.cores}-{(local_rank + 1) * self.cores - 1}"


class Command(NamedTuple):
    """A command to start; `log` gets its output; `rank`: of the worker that it is (None: it starts the workers)."""
    words: list[str]
    environment: dict[str, str]
    log: Path
    rank: int | None = None

    def __str__(self) -> str:
        """Return the command as text that can be pasted into a shell."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return shlex.join((["env", *variables] if variables else []) + self.words)


def msrun(job: Job) -> list[Command]:
    """Return the command of MindSpore's own launcher, the same on every host but for --node_rank."""
    # msrun starts the first `python3` of PATH: that must be this interpreter.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    words = [sys.executable, "-m", "mindspore.parallel.cluster.run", f"--worker_num={job.world_size}",
             f"--local_worker_num={job.local_size}", f"--master_addr={job.hosts.master}", f"--master_port={job.port}",
             f"--node_rank={job.hosts.rank}", f"--cluster_time_out={job.timeout}", f"--log_dir={job.log_dir}",
             "--join=True", f"--tail_worker_log={NO_WORKER}"]
    if job.cores:
        cores = {f"device{local}": [job.core_range(local)] for local in range(job.local_size)}
        words.append(f"--bind_core={json.dumps(cores)}")
    return [Command([*words, "python3", *job.program], {**job.environment, "PATH": path}, job.log_dir / "msrun.log")]


# What each process of mpirun does first. $0: the folder of the logs.
_MPI_WORKER = ('export DEVICE_ID="$OMPI_COMM_WORLD_LOCAL_RANK" && mkdir -p "$0" && '
               'exec {bind}"$@" >"$0/worker_$OMPI_COMM_WORLD_RANK.log" 2>&1')


def mpirun(job: Job) -> list[Command]:
    """Return the command of Open MPI, for the first host; it reaches the others by ssh.

    Raises:
        InputError: this is not the first host, or the other hosts' addresses are not known.
    """
    hosts = job.hosts
    if hosts.rank:
        raise InputError("--launcher mpirun: start it on the first host only; it starts the other hosts' processes "
                         "by ssh")
    # Its own binding would give one core to each process.
    words = ["mpirun", "--allow-run-as-root", "-n", str(job.world_size), "--bind-to", "none"]
    if hosts.count > 1:
        if not hosts.addresses:
            raise InputError("--launcher mpirun: --hosts must name the hosts, such as --hosts 10.0.0.1,10.0.0.2")
        words += ["-H", ",".join(f"{address}:{job.local_size}" for address in hosts.addresses)]
        for name in job.environment:
            words += ["-x", name]
    bind = ""
    if job.cores:
        bind = f'taskset -c "$((DEVICE_ID * {job.cores}))-$((DEVICE_ID * {job.cores} + {job.cores - 1}))" '
    words += ["sh", "-c", _MPI_WORKER.format(bind=bind), str(job.log_dir), sys.executable, *job.program]
    return [Command(words, dict(job.environment), job.log_dir / "mpirun.log")]


def rank_table(job: Job, table: Path, servers: Sequence[Mapping[int, str]]) -> list[Command]:
    """Return one command for each rank of this host (Ascend).

    Args:
        table: the file, which HCCL reads.
        servers: the device number of each rank, for each host.
    """
    commands = []
    for local_rank, (rank, device) in enumerate(sorted(servers[job.hosts.rank].items())):
        bind = ["taskset", "-c", job.core_range(local_rank)] if job.cores else []
        environment = {**job.environment, "RANK_TABLE_FILE": str(table), "RANK_SIZE": str(sum(map(len, servers))),
                       "RANK_ID": str(rank), "DEVICE_ID": device}
        commands.append(Command([*bind, sys.executable, *job.program], environment, job.log(rank), rank))
    return commands
