# SPDX-License-Identifier: Apache-2.0
"""The launchers of the RetinaFace manual."""
import os
import signal

import pytest

from tests.conftest import ROOT
from tests.scripts.launchers import dry_run

RETINAFACE = {"run_standalone_gpu_train": ["0"], "run_distribute_gpu_train": ["2", "4,5"],
              "run_standalone_gpu_eval": ["1"]}


@pytest.mark.parametrize("name", RETINAFACE)
def test_the_retinaface_manuals_launchers_log_in_the_projects_folder(scripts, name, tmp_path):
    """From any folder; the log is where the manual says; the status is the program's."""
    kind = name.rsplit("_", 1)[1]
    root = scripts.here.parent
    for status in (0, 3):
        done = scripts(name, *RETINAFACE[name], "--", "--seed", "a b", cwd=tmp_path, BACKGROUND="0",
                       body=f"exit {status}")
        assert done.returncode == status
    lines = (root / kind / f"{kind}.log").read_text().splitlines()
    called = [line for line in lines if line.startswith("called")]
    distributed = "--is_distributed=1 " if "distribute" in name else ""
    assert len(called) == 2 and called[0].endswith(f"--model=retinaface {distributed}--device_target=GPU --seed a b")
    if distributed:
        assert sorted(log.name for log in (root / "train" / "launch").glob("attempt_2/worker_*.log")) == [
            "worker_0.log", "worker_1.log"]


@pytest.mark.parametrize("name", RETINAFACE)
def test_the_retinaface_manuals_launchers_return_once_training_works(scripts, name, tmp_path):
    done = scripts(name, *RETINAFACE[name], cwd=tmp_path,
                   body="echo 'epoch: 1 step: 1, loss is 3.5'; exec sleep 30")
    assert done.returncode == 0 and "goes on in the background as process" in done.stderr
    folder = name.rsplit("_", 1)[1]
    process = int((scripts.here.parent / folder / "run.pid").read_text())
    os.kill(process, signal.SIGTERM)


def test_distributed_retinaface_by_mpirun_and_msrun():
    script = ROOT / "scripts" / "run_distribute_gpu_train.sh"
    (by_mpi, words), = dry_run(script, LAUNCHER="mpirun")
    assert by_mpi["CUDA_VISIBLE_DEVICES"] == "0,1,2,3" and words[words.index("-n") + 1] == "4"
    assert words[words.index("mpirun") + 1] == "--allow-run-as-root" and "train.py" in words
    (by_msrun, words), = dry_run(script, "2", "6,7", LAUNCHER="msrun")
    assert by_msrun["--worker_num"] == "2" and by_msrun["CUDA_VISIBLE_DEVICES"] == "6,7"
    (_with_cores, words), = dry_run(script, "2", LAUNCHER="mpirun", TASK_SET="1", TASK_SET_CORE="3")
    assert any('taskset -c "$((DEVICE_ID * 3))-' in word for word in words)
