# SPDX-License-Identifier: Apache-2.0
"""What a launch comes to on this host: its place among the hosts, and the commands of every attempt.

    plan = Plan(args, ["train.py", "--lr=1e-3"], servers={});  plan.commands(plan.job(plan.attempt_folder(), port))
"""
from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from dependency.errors import InputError
from src.launch import engines, hosts
from src.launch.engines import Command, Job


class Plan:
    """What the options come to: this host's place, and the commands of any attempt."""

    def __init__(self, args: Namespace, program: list[str], servers: Mapping[str, Mapping[int, str]]):
        """
        Args:
            args: the options of launch.py.
            program: what stands behind --.
            servers: of the rank table, if there is one: address -> (rank -> device number).

        Raises:
            InputError: the options do not fit together, or this host.
        """
        self.args, self.program = args, program
        self.log_dir = Path(args.log_dir).resolve()
        self.table: Mapping[int, str] = {}
        if servers:
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

    def job(self, folder: Path, port: int, tag: dict[str, str] | None = None) -> Job:
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
