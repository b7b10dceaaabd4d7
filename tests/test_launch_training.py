# SPDX-License-Identifier: Apache-2.0
"""Real training of two processes under scripts/launch.py: a kill, a restart, signals; and two hosts in namespaces."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from src.weights import checkpoint
from tests.conftest import ROOT
from tests.test_train_py import FAST, data  # noqa: F401  (a fixture)
from tests.tools.launching import LAUNCH, Launch

TRAIN = str(ROOT / "train.py")
EPOCHS = 4
pytestmark = pytest.mark.soak


def arguments(data, folder):  # noqa: F811
    """Of train.py, with the default number of data workers."""
    return [f"--annot_path={data}/train.json", f"--img_dir={data}/images", f"--ckpt_path={folder}/outputs",
            *(option for option in FAST if not option.startswith("--workers")), f"--max_epoch={EPOCHS}"]


def start(data, folder, *options):  # noqa: F811
    return Launch(folder, "--devices=2", *options, "--", *arguments(data, folder), program=(TRAIN,),
                  OMP_NUM_THREADS="1")


def losses(folder):
    (metrics,) = folder.glob("outputs/*/metrics.jsonl")
    return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]


def last(folder):
    (run,) = (folder / "outputs").iterdir()
    return checkpoint.list_checkpoints(run)[-1]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):  # noqa: F811
    """A run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    status, text, _ = start(data, folder).wait(300)
    assert status == 0 and "end training" in text, text
    return folder


def test_a_killed_worker_is_named_and_the_restart_ends_as_if_nothing_had_happened(data, whole, tmp_path):  # noqa: F811
    run = start(data, tmp_path, "--max_restarts=1")
    run.until(lambda: "epoch:3, iter:0" in run.text, seconds=240)
    first, victim = run.alive, run.worker(1)
    os.kill(victim, signal.SIGKILL)
    run.until(lambda: "attempt 2 of 2" in run.text, seconds=10)
    run.until(lambda: not set(first) & set(run.alive), seconds=5)
    assert f"rank 1 (process {victim} on host" in run.text and "was killed by SIGKILL" in run.text
    assert f"{tmp_path}/logs/attempt_1/worker_1.log:" in run.text and "rank 0 (process" not in run.text
    status, text, _ = run.wait(300)
    assert status == 0 and re.search(r"goes on from \S+/0-[23]_\d+\.ckpt", text), text
    assert losses(tmp_path) == losses(whole)
    expected, found = (checkpoint.load(last(folder)).tensors for folder in (whole, tmp_path))
    assert last(tmp_path).name == last(whole).name and set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("number, to_all", [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_saves_a_checkpoint(data, tmp_path, number, to_all):  # noqa: F811
    """Sent to the launcher; or as batch systems do to every process, and again until all have ended."""
    run = start(data, tmp_path, "--max_restarts=1")
    run.until(lambda: "epoch:2, iter:0" in run.text, seconds=240)
    run.process.send_signal(number)
    until = time.monotonic() + 20
    while to_all and run.process.poll() is None and time.monotonic() < until:
        for pid in (run.process.pid, *run.alive):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(0.02)
    status, text, _ = run.wait(60)
    assert status == 0 and f"stopped by {number.name}" in text and "end training" not in text, text
    assert checkpoint.load(last(tmp_path)).bookkeeping["step"] >= 1
    run.until(lambda: run.alive == [], seconds=5)


ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def two_namespaces():
    """Two network namespaces that a virtual cable joins: their names."""
    names = [f"facedet-{os.getpid()}-{number}" for number in (0, 1)]
    if not shutil.which("ip"):
        pytest.skip("no `ip` here: apt-get install iproute2")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("-n", names[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", names[1])
        for name, address in zip(names, ADDRESSES):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def documented_command(rank, folder):
    """The msrun command of docs/reliability.md, for one process on each of the two hosts."""
    text = (ROOT / "docs" / "reliability.md").read_text().replace("\\\n", " ")
    words = shlex.split(re.search(r"^msrun .*?--node_rank.*? train\.py", text, re.MULTILINE)[0])
    values = {"--worker_num": "2", "--local_worker_num": "1", "--master_addr": ADDRESSES[0], "--node_rank": str(rank),
              "--log_dir": str(folder / "logs")}
    return [f"{name}={values.get(name, value)}" if value else name
            for name, _, value in (word.partition("=") for word in words)]


@pytest.mark.parametrize("launcher", ["msrun", "launch.py"])
def test_two_hosts_in_network_namespaces_train_as_one_with_two_processes(data, whole, tmp_path, launcher):  # noqa: F811
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    runs = []
    with two_namespaces() as names:
        for rank, name in enumerate(names):
            command = documented_command(rank, tmp_path) if launcher == "msrun" else [
                sys.executable, LAUNCH, "--devices=1", f"--hosts={','.join(ADDRESSES)}", f"--log_dir={tmp_path}/logs",
                "--", "train.py"]
            with (tmp_path / f"console_{rank}.txt").open("w") as console:
                runs.append(subprocess.Popen(
                    ["ip", "netns", "exec", name, *command, *arguments(data, tmp_path)], cwd=ROOT, stdout=console,
                    stderr=subprocess.STDOUT, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}))
        try:
            assert [run.wait(300) for run in runs] == [0, 0]
        finally:
            for run in runs:
                run.kill()
    assert sorted(path.name for path in tmp_path.rglob("worker_*.log")) == ["worker_0.log", "worker_1.log"]
    np.testing.assert_allclose(losses(tmp_path), losses(whole), rtol=1e-6)
