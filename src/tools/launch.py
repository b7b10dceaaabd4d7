# SPDX-License-Identifier: Apache-2.0
"""Start a training on several devices, of one host or many, watch over it, and start it again after a failure.

    python scripts/launch.py --devices 8 -- train.py --model centerface --lr 4e-3 ...
    python scripts/launch.py --devices 8 --hosts 10.0.0.1,10.0.0.2 --max_restarts 3 -- train.py ...   on every host

Shows what rank 0 logs. When a process dies, all are ended within seconds, on all hosts: the first one is named, with
how it ended and the last lines of its log, and its status is the status here (128 + signal, as in a shell). With
--max_restarts the training then goes on from its last checkpoint. Ctrl+C or SIGTERM: all end after the running step,
with a checkpoint. Each attempt logs to a folder of its own: LOG_DIR/attempt_1/worker_<rank>.log, ...
"""
import argparse
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Optional

from dependency.errors import InputError
from src.common.cli import run
from src.launch import engines, hosts
from src.launch.engines import Command, Job
from src.launch.supervise import Supervisor
from src.tools.hccl_tools import table_servers

WAIT = 600                  # seconds for the other hosts to come


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__, allow_abbrev=False,
                                     usage="launch.py [options] -- PROGRAM.py ARGUMENTS",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--devices", type=int, metavar="N", default=8, help="processes on this host (default: 8)")
    add("--launcher", choices=engines.LAUNCHERS, default="auto", help="what starts them: MindSpore's msrun, Open "
        "MPI's mpirun (GPU, Ascend), or one process for each line of --rank_table (default, auto: rank_table with "
        "--rank_table, else msrun)")
    add("--rank_table", metavar="FILE", help="of hccl_tools.py, for Ascend; of several servers in it each starts its "
        "own devices")
    add("--visible_devices", metavar="ID,ID", help="devices that the processes may use, instead of 0,1,2,... (sets "
        "CUDA_VISIBLE_DEVICES and ASCEND_RT_VISIBLE_DEVICES)")
    several = parser.add_argument_group("several hosts", "Run the same command on every host, with the same files in "
                                        "the same places. Only the first one writes checkpoints.")
    several.add_argument("--hosts", metavar="A,B,...", help="addresses of all hosts, the first is the master; or their "
                         "number, with --master_addr and --host_rank, for batch systems")
    several.add_argument("--master_addr", metavar="ADDRESS", help="of the first host (default: the first of --hosts)")
    several.add_argument("--master_port", metavar="PORT", type=int, default=8118, help="of MindSpore's scheduler "
                         "there, a later one where it is taken; the launchers use the port after it (default: 8118)")
    several.add_argument("--host_rank", metavar="R", type=int, help="number of this host, from 0 (default: found by "
                         "its addresses)")
    several.add_argument("--wait", metavar="SECONDS", type=float, default=WAIT, help="how long to wait for the other "
                         f"hosts (default: {WAIT})")
    add("--max_restarts", metavar="N", type=int, default=0, help="start again up to N times after a failure, from the "
        "last checkpoint; never after status 2, which is bad input (default: 0)")
    add("--log_dir", metavar="DIR", default="launch", help="gets attempt_<k>/worker_<rank>.log; nothing in it is "
        "overwritten (default: launch)")
    add("--tail", metavar="N", type=int, default=30, help="lines of a dead process's log to show (default: 30)")
    add("--task_set", type=int, choices=(0, 1), default=0, help="1 binds each process to cores of its own (default: 0)")
    add("--task_set_core", metavar="N", type=int, default=0, help="cores of each process, with --task_set 1 (default: "
        "those of the host, shared out)")
    add("--dry_run", action="store_true", help="print the commands and end")
    return parser


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the program with its arguments, which stand behind --.

    Raises:
        InputError: a number out of range, no program.
    """
    split = argv.index("--") if "--" in argv else len(argv)
    args, program = build_parser().parse_args(argv[:split]), argv[split + 1:]
    if not program:
        raise InputError("no program: put it behind --, as in: launch.py --devices 8 -- train.py --model centerface")
    if not program[0].startswith("-") and not Path(program[0]).is_file():
        raise InputError(f"no program {program[0]}: expected a Python file behind --")
    for name, low in (("devices", 1), ("master_port", 1), ("max_restarts", 0), ("tail", 0), ("task_set_core", 0),
                      ("wait", 0)):
        if getattr(args, name) < low:
            raise InputError(f"--{name} {getattr(args, name)}: expected {low} or more")
    if args.visible_devices and args.visible_devices.count(",") + 1 != args.devices:
        raise InputError(f"--visible_devices {args.visible_devices}: expected as many as --devices {args.devices}")
    if args.launcher == "auto":
        args.launcher = "rank_table" if args.rank_table else "msrun"
    if (args.launcher == "rank_table") != bool(args.rank_table):
        raise InputError("--rank_table FILE and --launcher rank_table belong together; make the file with "
                         "hccl_tools.py")
    return args, program


class Plan:
    """What the options come to: this host's place, and the commands of any attempt."""

    def __init__(self, args: argparse.Namespace, program: list[str]):
        self.args, self.program = args, program
        self.log_dir = Path(args.log_dir).resolve()
        self.table: dict[int, str] = {}
        if args.rank_table:
            servers = table_servers(Path(args.rank_table))
            self.place = hosts.find_place(args.hosts or ",".join(servers), args.master_addr,
                                          0 if len(servers) == 1 else args.host_rank)
            if self.place.hosts != len(servers):
                raise InputError(f"--hosts {args.hosts}: {args.rank_table} has {len(servers)} servers; leave --hosts "
                                 "out")
            self.table = list(servers.values())[self.place.rank]
            self.size = sum(map(len, servers.values()))
        else:
            self.place = hosts.find_place(args.hosts or "1", args.master_addr, args.host_rank)
            self.size = self.place.hosts * args.devices
        if args.task_set and not shutil.which("taskset"):
            raise InputError("--task_set 1: there is no taskset here; install util-linux")

    @property
    def is_linked(self) -> bool:
        """Whether launchers on several hosts speak to each other; mpirun starts the others' processes itself."""
        return self.place.hosts > 1 and self.args.launcher != "mpirun"

    @property
    def run_file(self) -> Path:
        """Where rank 0 notes its last checkpoint."""
        return self.log_dir / "run.json"

    @property
    def local(self) -> int:
        """Processes on this host."""
        return len(self.table) or self.args.devices

    def attempt_folder(self) -> Path:
        """The first free LOG_DIR/attempt_<k>; several hosts may share LOG_DIR."""
        ending = f"_host_{self.place.rank}" if self.is_linked else ""
        number = 1
        while (self.log_dir / f"attempt_{number}{ending}").exists():
            number += 1
        return self.log_dir / f"attempt_{number}{ending}"

    def job(self, folder: Path, port: int, tag: Optional[dict[str, str]] = None) -> Job:
        args, place = self.args, self.place
        environment = {"FACEDET_RUN_FILE": str(self.run_file), "PYTHONUNBUFFERED": "1", **(tag or {})}
        if args.visible_devices:
            environment.update(CUDA_VISIBLE_DEVICES=args.visible_devices,
                               ASCEND_RT_VISIBLE_DEVICES=args.visible_devices)
        return Job(self.program, self.local, folder, place.hosts, place.rank, place.master, port, place.addresses,
                   environment, bool(args.task_set), args.task_set_core, os.cpu_count() or 1)

    def commands(self, job: Job) -> list[Command]:
        if self.args.launcher == "rank_table":
            return engines.rank_table(job, Path(self.args.rank_table).resolve(), self.table, self.size)
        if self.args.launcher == "mpirun":
            return engines.mpirun(job)
        return engines.msrun(job)


def main(argv: Optional[list[str]] = None) -> int:
    args, program = parse(sys.argv[1:] if argv is None else argv)
    plan = Plan(args, program)
    if args.dry_run:
        print("\n".join(map(str, plan.commands(plan.job(plan.attempt_folder(), args.master_port)))))
        return 0
    if args.launcher == "mpirun" and not shutil.which("mpirun"):
        raise InputError("--launcher mpirun: there is none here; install Open MPI, or leave --launcher out")
    return Supervisor(plan, tag=uuid.uuid4().hex).run()


if __name__ == "__main__":
    sys.exit(run(main))
