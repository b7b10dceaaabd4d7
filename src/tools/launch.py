# SPDX-License-Identifier: Apache-2.0
"""Start a training on several devices, of one host or many, watch over it, and start it again after a failure.

    python scripts/launch.py --devices 8 -- train.py --model centerface --lr 4e-3 ...
    python scripts/launch.py --devices 8 --hosts 10.0.0.1,10.0.0.2 --max_restarts 3 -- train.py ...   on every host

Shows what rank 0 logs. When a process dies, all are ended within seconds, on all hosts: the first one is named, with
how it ended and the last lines of its log, and its status is the status here (128 + signal, as in a shell). With
--max_restarts the training then goes on from its last checkpoint. Ctrl+C or SIGTERM: all end after the running step,
with a checkpoint. Each attempt logs to a folder of its own: LOG_DIR/attempt_1/worker_<rank>.log, ...
"""
from __future__ import annotations

import argparse
import shutil
import sys
import uuid
from pathlib import Path

from dependency.errors import InputError
from src.cli.program import run
from src.launch.engines import LAUNCHERS
from src.launch.plan import Plan
from src.launch.supervise import Supervisor
from src.tools.hccl_tools import table_servers

WAIT = 600                  # seconds for the other hosts to come


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__, allow_abbrev=False,
                                     usage="launch.py [options] -- PROGRAM.py ARGUMENTS",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--devices", type=int, metavar="N", default=8, help="processes on this host (default: 8)")
    add("--launcher", choices=LAUNCHERS, default="auto", help="what starts them: MindSpore's msrun, Open "
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
    several.add_argument("--which_host", action="store_true", help="print the number of this host and end")
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


def main(argv: list[str] | None = None) -> int:
    args, program = parse(sys.argv[1:] if argv is None else argv)
    plan = Plan(args, program, table_servers(Path(args.rank_table)) if args.rank_table else {})
    if args.which_host:
        print(plan.place.rank)
        return 0
    if args.dry_run:
        print("\n".join(map(str, plan.commands(plan.job(plan.attempt_folder(), args.master_port)))))
        return 0
    if args.launcher == "mpirun" and not shutil.which("mpirun"):
        raise InputError("--launcher mpirun: there is none here; install Open MPI, or leave --launcher out")
    return Supervisor(plan, tag=uuid.uuid4().hex).run()


if __name__ == "__main__":
    sys.exit(run(main))
