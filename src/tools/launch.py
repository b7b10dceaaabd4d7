# SPDX-License-Identifier: Apache-2.0
"""Start a training on several devices, watch over it, and start it again after a failure.

    python scripts/launch.py --devices 8 -- train.py --model centerface --lr 4e-3 ...
    python scripts/launch.py --devices 8 --hosts 10.0.0.1,10.0.0.2 -- train.py ...            on every host

Shows what rank 0 logs. When a process of this host dies, it is named with how it ended and the last lines of its log,
all others of this host are ended within seconds, and its status is the status here (128 + signal, as in a shell). With
--max_restarts a training on one host then goes on from its last checkpoint. Ctrl+C or SIGTERM: all end after the
running step, with a checkpoint. Each attempt logs to a folder of its own: LOG_DIR/attempt_1/worker_<rank>.log, ...
"""
from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from easydict import EasyDict

from dependency.centernet.src.lib.detectors.option_rules import whole
from dependency.errors import InputError
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run
from src.launch.commands import Command, Job, mpirun, msrun, rank_table
from src.launch.hosts import find_hosts, free_port
from src.launch.watch import Attempt, StopSignal, say
from src.tools.hccl_tools import table_servers
from src.training import restart_file

LAUNCHERS = ("auto", "msrun", "mpirun", "rank_table")
BAD_INPUT = 2               # the status of a program whose input is wrong: it would fail again
MASTER_PORT = 8118
Servers = Mapping[str, Mapping[int, str]]       # of a rank table: address -> (rank -> device number)
OPTIONS: Table = {
    "Processes": {
        "devices": Option(8, "Number of processes on this host.", low=1, high=4096),
        "launcher": Option("auto", "What starts them: MindSpore's msrun, Open MPI's mpirun (GPU, Ascend), or one "
                                   "process for each line of --rank_table (auto: rank_table with --rank_table, else "
                                   "msrun).", choices=LAUNCHERS),
        "rank_table": Option(None, "Rank table of hccl_tools.py, for Ascend; of several servers in it each starts its "
                                   "own devices.", metavar="FILE"),
        "visible_devices": Option(None, "Devices that the processes may use, instead of 0,1,2,... (sets "
                                        "CUDA_VISIBLE_DEVICES and ASCEND_RT_VISIBLE_DEVICES).", metavar="ID,ID"),
        "max_restarts": Option(0, "Start again up to N times after a failure, from the last checkpoint; on one host "
                                  "only, and never after status 2, which is bad input.", low=0, high=1_000_000),
        "log_dir": Option("launch", "Folder of the logs, attempt_<k>/worker_<rank>.log; nothing in it is overwritten.",
                          metavar="DIR"),
        "tail": Option(30, "Lines of a dead process's log to show.", low=0, high=1_000_000),
        "task_set": Option(False, "Bind each process to its own cores."),
        "task_set_core": Option(0, "Cores of each process, with --task_set 1; 0 = those of the host, split evenly.",
                                low=0, high=4096),
        "dry_run": Option(False, "Print the commands and exit."),
    },
    "Several hosts": {
        "hosts": Option(None, "Addresses of all hosts, the first is the master; or their number, with --master_addr "
                              "and --host_rank. Run the same command on every host, with the same "
                              "files in the same places; only the first one writes checkpoints.", metavar="A,B,..."),
        "master_addr": Option(None, "Address of the first host (default: the first of --hosts).", metavar="ADDRESS"),
        "master_port": Option(0, "Port of MindSpore's scheduler there; 0 = 8118, with a single host any free port.",
                              low=0, high=65535),
        "host_rank": Option(None, "Number of this host, from 0 (default: found by its addresses).",
                            rule=whole(0, 100_000)),
        "wait": Option(600, "Seconds that the processes wait for those of the other hosts.", low=0, high=1_000_000),
        "which_host": Option(False, "Print the number of this host and exit."),
    },
}


def parse(argv: list[str]) -> tuple[EasyDict, list[str]]:
    """Read the options, and the program with its arguments, which stand behind --.

    Raises:
        InputError: a number out of range, no program.
    """
    split = argv.index("--") if "--" in argv else len(argv)
    args = Parser(OPTIONS, __doc__, prog="launch.py", usage="launch.py [options] -- PROGRAM.py ARGUMENTS").read(
        argv[:split])
    program = argv[split + 1:]
    if not program:
        raise InputError("no program: put it behind --, as in: launch.py --devices 8 -- train.py --model centerface")
    if not program[0].startswith("-") and not Path(program[0]).is_file():
        raise InputError(f"no program {program[0]}: expected a Python file behind --")
    if args.visible_devices and args.visible_devices.count(",") + 1 != args.devices:
        raise InputError(f"--visible_devices {args.visible_devices}: expected as many as --devices {args.devices}")
    if args.launcher == "auto":
        args.launcher = "rank_table" if args.rank_table else "msrun"
    if (args.launcher == "rank_table") != bool(args.rank_table):
        raise InputError("--rank_table FILE and --launcher rank_table belong together; make the file with "
                         "hccl_tools.py")
    return args, program


def build_job(args: EasyDict, program: list[str], servers: Servers) -> Job:
    """Return what this host has to start.

    Args:
        servers: those of the rank table; empty without one.

    Raises:
        InputError: the options do not fit together, or this host.
    """
    hosts = find_hosts(args.hosts or ",".join(servers) or "1", args.master_addr,
                       0 if len(servers) == 1 else args.host_rank)
    if servers and hosts.count != len(servers):
        raise InputError(f"--hosts {args.hosts}: {args.rank_table} has {len(servers)} servers; leave --hosts out")
    if args.max_restarts and hosts.count > 1:
        raise InputError("--max_restarts: only on one host; several are started again by their batch system, with "
                         "--resume (docs/reliability.md)")
    size = len(list(servers.values())[hosts.rank]) if servers else args.devices
    environment = {"PYTHONUNBUFFERED": "1"}
    if args.visible_devices:
        environment.update(CUDA_VISIBLE_DEVICES=args.visible_devices, ASCEND_RT_VISIBLE_DEVICES=args.visible_devices)
    return Job(program, size, Path(args.log_dir).resolve(), hosts, args.master_port or MASTER_PORT, args.wait,
               environment, cores_of_each(args.task_set_core, size) if args.task_set else 0)


def cores_of_each(cores: int, processes: int) -> int:
    """Return how many cores each process is bound to: `cores`, or an equal part of the host's."""
    if not shutil.which("taskset"):
        raise InputError("--task_set 1: there is no taskset here; install util-linux")
    total = os.cpu_count() or 1
    if not cores and total < processes:
        raise InputError(f"--task_set 1: {total} cores for {processes} processes; give --task_set_core 1, or leave "
                         "--task_set out")
    return cores or total // processes


def build_commands(args: EasyDict, job: Job, servers: Servers) -> list[Command]:
    """Return what starts the processes of this host."""
    if args.launcher == "rank_table":
        return rank_table(job, Path(args.rank_table).resolve(), list(servers.values()))
    return mpirun(job) if args.launcher == "mpirun" else msrun(job)


def run_attempts(args: EasyDict, job: Job, servers: Servers) -> int:
    """Start the training, and again after a failure as often as --max_restarts says; return the last exit status."""
    stop = StopSignal()
    for attempt in range(args.max_restarts + 1):
        folder = make_attempt_folder(job.log_dir)
        if attempt == 0:
            checkpoint_file = folder / "checkpoint.txt"
        else:
            checkpoint = restart_file.newest_checkpoint(str(checkpoint_file))
            say(f"attempt {attempt + 1} of {args.max_restarts + 1}, " + (
                f"goes on from {checkpoint}" if checkpoint else "from the start: there is no checkpoint yet"))
        port = job.port if args.master_port or job.hosts.count > 1 else free_port()
        environment = {**job.environment, restart_file.VARIABLE: str(checkpoint_file)}
        commands = build_commands(args, replace(job, log_dir=folder, port=port, environment=environment), servers)
        say(f"starting {job.local_size} processes by {args.launcher}; logs: {folder}")
        if job.hosts.rank:
            say(f"rank 0, whose log is shown, runs on the first host ({job.hosts.master})")
        status = Attempt(commands, job.local_size, args.tail, stop).run()
        if status in (0, BAD_INPUT) or stop.number:
            break
    if stop.number:     # batch systems send it again
        signal.signal(stop.number, signal.SIG_IGN)
    return status


def make_attempt_folder(log_dir: Path) -> Path:
    """Make the first of LOG_DIR/attempt_1, LOG_DIR/attempt_2, ... that does not exist; hosts may share LOG_DIR."""
    for number in count(1):
        folder = log_dir / f"attempt_{number}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def main(argv: list[str] | None = None) -> int:
    args, program = parse(sys.argv[1:] if argv is None else argv)
    servers = table_servers(Path(args.rank_table)) if args.rank_table else {}
    job = build_job(args, program, servers)
    if args.which_host:
        print(job.hosts.rank)
        return 0
    if args.dry_run:
        job = replace(job, log_dir=job.log_dir / "attempt_1")
        print("\n".join(map(str, build_commands(args, job, servers))))
        return 0
    if args.launcher == "mpirun" and not shutil.which("mpirun"):
        raise InputError("--launcher mpirun: there is none here; install Open MPI, or leave --launcher out")
    return run_attempts(args, job, servers)


if __name__ == "__main__":
    sys.exit(run(main))
