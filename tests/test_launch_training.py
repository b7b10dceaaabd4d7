# SPDX-License-Identifier: Apache-2.0
"""Real training of two processes under scripts/launch.py: a kill, a restart, a signal; and two hosts in namespaces."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from src.weights import checkpoint
from tests.conftest import ROOT
from tests.test_train_py import FAST, data  # noqa: F401  (a fixture)
from tests.tools.launching import Launch

TRAIN = str(ROOT / "train.py")
EPOCHS = 4
pytestmark = pytest.mark.slow


def start(data, folder, port, *options):  # noqa: F811
    out = folder / "outputs"
    return Launch(folder, "--devices=2", f"--master_port={port}", *options, "--", f"--annot_path={data}/train.json",
                  f"--img_dir={data}/images", f"--ckpt_path={out}", *FAST, f"--max_epoch={EPOCHS}", program=(TRAIN,),
                  OMP_NUM_THREADS="1")


def losses(folder):
    (metrics,) = folder.glob("outputs/*/metrics.jsonl")
    return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]


def last(folder):
    (run,) = (folder / "outputs").iterdir()
    return checkpoint.list_checkpoints(run)[-1]


def worker(run, rank):
    """The process of that rank: the one that a launch tool started, not its data workers."""
    for pid in run.alive:
        stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        variables = open(f"/proc/{pid}/environ", "rb").read().split(b"\0")
        if int(stat[1]) == run.process.pid and {b"MS_ROLE=MS_WORKER", f"RANK_ID={rank}".encode()} <= set(variables):
            return pid
    raise AssertionError(f"rank {rank} does not run")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):  # noqa: F811
    """A run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    status, text, _ = start(data, folder, 9160).wait(300)
    assert status == 0 and "end training" in text and "all 2 processes ended well" in text, text
    return folder


def test_a_killed_worker_is_named_and_the_restart_ends_as_if_nothing_had_happened(data, whole, tmp_path):  # noqa: F811
    run = start(data, tmp_path, 9164, "--max_restarts=1")
    run.until(lambda: "epoch:3, iter:0" in run.text, seconds=240)
    victim = worker(run, 1)
    os.kill(victim, signal.SIGKILL)
    run.until(lambda: "attempt 2 of 2" in run.text, seconds=10)
    assert f"rank 1 (process {victim} on host" in run.text and "was killed by SIGKILL" in run.text
    assert f"the last lines of {tmp_path}/logs/attempt_1/worker_1.log:" in run.text
    assert "rank 0 (process" not in run.text
    status, text, _ = run.wait(300)
    assert status == 0, text
    assert re.search(r"attempt 2 of 2, goes on from \S+/0-[23]_\d+\.ckpt", text), text
    assert losses(tmp_path) == losses(whole)
    expected, found = (checkpoint.load(last(folder)).tensors for folder in (whole, tmp_path))
    assert last(tmp_path).name == last(whole).name and set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_sigterm_to_every_process_leaves_a_checkpoint_and_status_0(data, tmp_path):  # noqa: F811
    """As batch systems send it, and again until all have ended: launcher, scheduler, workers and their data workers."""
    run = start(data, tmp_path, 9166)
    run.until(lambda: "epoch:2, iter:0" in run.text, seconds=240)
    until = time.monotonic() + 20
    while run.process.poll() is None and time.monotonic() < until:
        for pid in (run.process.pid, *run.alive):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.02)
    status, text, _ = run.wait(60)
    assert status == 0 and "stopped by SIGTERM" in text and run.alive == [], text
    assert checkpoint.load(last(tmp_path)).bookkeeping["step"] >= 1


def test_bad_input_is_one_error_and_status_2(data, tmp_path):  # noqa: F811
    run = Launch(tmp_path, "--devices=2", "--master_port=9168", "--max_restarts=3", "--",
                 "--annot_path=absent.json", f"--img_dir={data}/images", *FAST, program=(TRAIN,))
    status, text, _ = run.wait(60)
    assert status == 2 and "absent.json" in text and "starting again cannot help" in text and run.alive == []


def test_two_hosts_in_network_namespaces(tmp_path):
    done = subprocess.run([sys.executable, "-m", "src.tools.try_two_hosts", f"--out={tmp_path}/out", "--port=9170",
                           "--epochs=2"],
                          cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=580, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0 and done.stdout.endswith("the same losses\n"), done.stdout
    assert "rank 1 (process" in done.stdout and "on host host-2) was killed by SIGKILL" in done.stdout
