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

import shutil
import sys
import uuid
from pathlib import Path

from easydict import EasyDict

from dependency.centernet.src.lib.detectors.rules import whole
from dependency.errors import InputError
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run
from src.launch.engines import LAUNCHERS
from src.launch.plan import Plan
from src.launch.supervise import Supervisor
from src.tools.hccl_tools import table_servers

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
        "max_restarts": Option(0, "Start again up to N times after a failure, from the last checkpoint; never after "
                                  "status 2, which is bad input.", low=0, high=1_000_000),
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
                              "and --host_rank, for batch systems. Run the same command on every host, with the same "
                              "files in the same places; only the first one writes checkpoints.", metavar="A,B,..."),
        "master_addr": Option(None, "Address of the first host (default: the first of --hosts).", metavar="ADDRESS"),
        "master_port": Option(8118, "Port of MindSpore's scheduler there, a later one where it is in use; the "
                                    "launchers use the port after it.", low=1, high=65534),
        "host_rank": Option(None, "Number of this host, from 0 (default: found by its addresses).",
                            rule=whole(0, 100_000)),
        "wait": Option(600.0, "Seconds to wait for the other hosts.", low=0, high=1e6),
        "which_host": Option(False, "Print the number of this host and exit."),
    },
}


def parse(argv: list[str]) -> tuple[EasyDict, list[str]]:
    """The options, and the program with its arguments, which stand behind --.

    Raises:
        InputError: a number out of range, no program.
    """
    split = argv.index("--") if "--" in argv else len(argv)
    args, _ = Parser(OPTIONS, __doc__, prog="launch.py", usage="launch.py [options] -- PROGRAM.py ARGUMENTS").read(
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
