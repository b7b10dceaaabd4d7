# SPDX-License-Identifier: Apache-2.0
"""Train on two hosts that are network namespaces of this machine, then again with a process of the second host killed.

    python -m src.tools.try_two_hosts            as any user who may make namespaces; takes some minutes
    python -m src.tools.try_two_hosts --out DIR  keeps the data, logs and checkpoints there

Draws a small data set, trains on it with one process, then starts scripts/launch.py in both namespaces with the same
command and half the batch each, and compares the losses. The last run has --max_restarts 1, loses rank 1 in the middle,
and must end with the very same losses. The namespaces vanish with the processes in them. Status 77: this machine does
not allow namespaces.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from dependency.centernet.src.lib.datasets.dataset.coco_hp import write_coco
from dependency.errors import TrainingError
from src.cli.program import run
from src.data.annotations import read_annotations

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = ("10.77.0.1", "10.77.0.2")
NOT_ALLOWED = 77
NAMES = ("host-1", "host-2")
NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--uts")
INSIDE = "FACEDET_INSIDE_NAMESPACE"
TIMEOUT = 420               # seconds for one run
# With random weights, batch statistics all through the backbone make every rounding error grow: they are frozen there.
TRAINING = ["--model=centerface", "--device_target=CPU", "--input_res=64", "--head_conv=24", "--workers=1",
            "--pretrained_backbone=", "--backbone_bn=frozen", "--sync_bn=1", "--optimizer=momentum", "--lr=1e-4"]
DRAWN, IMAGES, BATCH = 14, 8, 4     # of the images drawn, so many that show a face are used
TOLERANCE = 1e-5            # relative; sums over 4 images and over 2 x 2 round differently


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m src.tools.try_two_hosts", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="new folder for everything (default: a temporary one, removed at the "
                        "end)")
    parser.add_argument("--epochs", type=int, default=4, help="of each training (default 4)")
    parser.add_argument("--port", type=int, default=8118, help="of the scheduler (default 8118)")
    argv = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(argv)
    if not os.environ.get(INSIDE):
        return enter(argv)
    out = args.out or Path(tempfile.mkdtemp(prefix="two_hosts_"))
    hosts = Hosts()
    try:
        return try_both(hosts, out.resolve(), args.epochs, args.port)
    finally:
        hosts.close()
        if not args.out:
            shutil.rmtree(out)


def enter(argv: list[str]) -> int:
    """Start this program again in a network namespace, as a root who is nobody outside."""
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(tool):
            print(f"skipped: there is no {tool} here; install {package}", file=sys.stderr)
            return NOT_ALLOWED
    probe = subprocess.run([*NAMESPACE, "unshare", "-nu", "true"], stderr=subprocess.PIPE, text=True, check=False)
    if probe.returncode:
        print(f"skipped: namespaces are not allowed here ({probe.stderr.strip()})", file=sys.stderr)
        return NOT_ALLOWED
    program = [sys.executable, "-m", "src.tools.try_two_hosts", *argv]
    out = [str(Path(word).resolve()) if before == "--out" else word for before, word in zip(["", *program], program)]
    return subprocess.run([*NAMESPACE, *out], cwd=ROOT, env={**os.environ, INSIDE: "1"}, check=False).returncode


class Hosts:
    """Two hosts with a cable between them: this namespace, and one that a sleeping process holds."""

    def __init__(self):
        socket.sethostname(NAMES[0])
        self.second = subprocess.Popen(["unshare", "--net", "--uts", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.second.pid}/ns/net") == own:
            time.sleep(0.02)
        self._ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", str(self.second.pid))
        for host, (cable, address) in enumerate(zip(("cable0", "cable1"), ADDRESSES)):
            self._ip("address", "add", f"{address}/24", "dev", cable, host=host)
            self._ip("link", "set", cable, "up", host=host)
            self._ip("link", "set", "lo", "up", host=host)
        rename = f"import socket; socket.sethostname({NAMES[1]!r})"
        subprocess.run([*self.words(1), sys.executable, "-c", rename], check=True)

    def words(self, host: int) -> list[str]:
        """What stands before a command to run it on that host."""
        return ["nsenter", "-t", str(self.second.pid), "--net", "--uts"] if host else []

    def _ip(self, *words: str, host: int = 0) -> None:
        subprocess.run([*self.words(host), "ip", *words], check=True)

    def close(self) -> None:
        self.second.kill()
        self.second.wait()


def try_both(hosts: Hosts, out: Path, epochs: int, port: int) -> int:
    """Both trainings and the comparison of their losses.

    Raises:
        TrainingError: a run did not end as it should.
    """
    data = draw(out / "data")
    alone = losses(train_alone(out / "alone", data, epochs))
    print(f"one process, {BATCH} images a step: losses {show(alone)}")
    expected = losses(train(hosts, out / "whole", data, epochs, port))
    print(f"two hosts, one process each with {BATCH // 2} images: losses {show(expected)}")
    gap = max(abs(one - two) / one for one, two in zip(alone, expected))
    if len(alone) != len(expected) or gap > TOLERANCE:
        raise TrainingError(f"two hosts have other losses than one process with their batch: {gap:.1e} apart")
    print(f"the same losses but for rounding: at most {gap:.1e} apart, relatively")
    found = losses(train(hosts, out / "killed", data, epochs, port + 20, kill_in_epoch=epochs // 2 + 1))
    print(f"a process of the second host killed, started again: losses {show(found)}")
    if found != expected:
        raise TrainingError("the run that was started again has other losses than the one that was left alone")
    print("the same losses")
    return 0


def draw(folder: Path) -> Path:
    """The data set, its train.json cut to IMAGES images with a face."""
    subprocess.run([sys.executable, "-m", "src.tools.synthetic", str(folder), f"--train={DRAWN}", "--val=0",
                    "--size=160"], cwd=ROOT, check=True)
    path = folder / "annotations" / "train.json"
    usable = [record for record in read_annotations(path) if (~record.ignore).any()]
    write_coco(path, usable[:IMAGES])
    return folder


def words(data: Path, epochs: int, batch: int, out: Path) -> list[str]:
    """train.py and its arguments."""
    return [str(ROOT / "train.py"), *TRAINING, f"--max_epoch={epochs}", f"--per_batch_size={batch}",
            f"--annot_path={data}/annotations/train.json", f"--img_dir={data}/images/train/images",
            f"--ckpt_path={out}"]


def train_alone(out: Path, data: Path, epochs: int) -> Path:
    """One process with the batch of both hosts; its metrics.jsonl."""
    subprocess.run([sys.executable, *words(data, epochs, BATCH, out)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (metrics,) = out.glob("*/metrics.jsonl")
    return metrics


def train(hosts: Hosts, out: Path, data: Path, epochs: int, port: int, kill_in_epoch: int = 0) -> Path:
    """One training by both hosts' launchers; its metrics.jsonl. The first host's console is shown."""
    command = [sys.executable, str(ROOT / "scripts" / "launch.py"), "--devices=1", f"--hosts={','.join(ADDRESSES)}",
               f"--master_port={port}", "--max_restarts=1", "--wait=60"]
    launchers = []
    for host in (1, 0):
        program = words(data, epochs, BATCH // 2, out / f"host_{host}" / "outputs")
        own = [*command, f"--log_dir={out}/host_{host}", "--", *program]
        launchers.append(subprocess.Popen([*hosts.words(host), *own], cwd=ROOT, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True))
    second, first = launchers
    stopwatch = end_late(launchers)
    try:
        watch_console(first, out, kill_in_epoch)
        told = second.stdout.read()
        statuses = (first.wait(), second.wait())
    finally:
        stopwatch.cancel()
    print("the second host's console:", *(f"    {line}" for line in told.splitlines()), sep="\n")
    if statuses != (0, 0):
        raise TrainingError(f"the launchers of the two hosts ended with status {statuses[0]} and {statuses[1]}")
    (metrics,) = (out / "host_0" / "outputs").glob("*/metrics.jsonl")
    return metrics


def watch_console(launcher: subprocess.Popen, out: Path, kill_in_epoch: int) -> None:
    """Show it; when that epoch has begun, kill the second host's worker and tell how long the run took to fall."""
    killed_at = 0.0
    for line in launcher.stdout:
        print(f"    {line}", end="", flush=True)
        if kill_in_epoch and not killed_at and f"epoch:{kill_in_epoch}, iter:0" in line:
            os.kill(worker_of(out / "host_1"), signal.SIGKILL)
            killed_at = time.monotonic()
        if killed_at and "attempt 2 of 2" in line:
            seconds = time.monotonic() - killed_at
            print(f"    (all processes were down and the next attempt began after {seconds:.1f} s)")


def worker_of(log_dir: Path) -> int:
    """The pid of the worker that logs there."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"FACEDET_RUN_FILE={log_dir}/run.json".encode() in variables and b"MS_ROLE=MS_WORKER" in variables:
            return int(folder.name)
    raise TrainingError("there is no worker to kill")


def end_late(launchers: list[subprocess.Popen]) -> threading.Timer:
    """Ends runs that hang."""
    timer = threading.Timer(TIMEOUT, lambda: [launcher.terminate() for launcher in launchers])
    timer.start()
    return timer


def losses(metrics: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in metrics.read_text(encoding="utf-8").splitlines()]


def show(values: list[float]) -> str:
    return " ".join(f"{value:.6f}" for value in values)


if __name__ == "__main__":
    sys.exit(run(main))
