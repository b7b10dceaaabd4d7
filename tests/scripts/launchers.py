# SPDX-License-Identifier: Apache-2.0
"""Calling the launchers of scripts/: as they are, or copies of them whose PYTHON tells how it was called."""
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

VARIABLES = {"PYTHON", "DEVICE_ID", "DEVICE_NUM", "DEVICE_TARGET", "PARALLEL", "TASK_SET", "TASK_SET_CORE",
             "BACKGROUND", "LAUNCHER", "MASTER_PORT"}
FAKE_PYTHON = """#!/bin/sh
case $1 in *hccl_tools.py | *launch.py) exec {python} "$@" ;; esac
echo "called DEVICE_ID=$DEVICE_ID RANK_ID=$RANK_ID" "$@"
echo "a warning" >&2
{body}
"""
# What launch.py starts, since it runs workers with the Python that it runs with.
FAKE_TRAIN = """import os, sys
print(f"called DEVICE_ID={{os.environ['DEVICE_ID']}} RANK_ID={{os.environ.get('RANK_ID', '')}}", *sys.argv, flush=True)
print("a warning", file=sys.stderr, flush=True)
os.execvp("sh", ["sh", "-c", {body!r}])
"""
# Starts what stands behind its options as often as -n says; its status is that of the first that failed.
FAKE_MPIRUN = """#!/bin/sh
while [ "$1" != sh ]; do [ "$1" != -n ] || count=$2; shift; done
rank=0 processes=''
while [ "$rank" -lt "$count" ]; do
    OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_LOCAL_RANK=$rank "$@" &
    processes="$processes $!" rank=$((rank + 1))
done
for process in $processes; do wait "$process" || exit; done
"""


def call(script, *arguments, shell="sh", cwd=None, **variables):
    command = ["busybox", "sh"] if shell == "busybox" else [shell]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment.update({"PYTHON": sys.executable, **variables})
    return subprocess.run([*command, str(script), *map(str, arguments)], cwd=cwd, env=environment,
                          capture_output=True, text=True, timeout=60, check=False)


def dry_run(script, *arguments, **variables):
    """The commands that would run, each as (options by name, words)."""
    done = call(script, "--dry_run", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    return [(dict(word.split("=", 1) for word in words if "=" in word), words) for words in lines]


class Scripts:
    """A copy of the launchers and a PYTHON of our own."""

    def __init__(self, folder: Path):
        self.here = folder / "a root" / "scripts"
        shutil.copytree(ROOT / "scripts", self.here, ignore=lambda _, names: [
            name for name in names if not name.endswith((".sh", ".py"))])
        for name in ("src", "dependency"):
            (self.here.parent / name).symlink_to(ROOT / name)
        self.python = folder / "fake python"
        self.tools = folder / "tools"
        self.tools.mkdir()
        (self.tools / "mpirun").write_text(FAKE_MPIRUN)
        (self.tools / "mpirun").chmod(0o755)

    def __call__(self, name, *arguments, body="true", **options):
        self.python.write_text(FAKE_PYTHON.format(python=shlex.quote(sys.executable), body=body))
        self.python.chmod(0o755)
        (self.here.parent / "train.py").write_text(FAKE_TRAIN.format(body=body))
        options.setdefault("PATH", f"{self.tools}:{os.environ['PATH']}")
        return call(self.here / f"{name}.sh", *arguments, PYTHON=str(self.python), **options)

    def make_data(self):
        (self.here / "dataset" / "centerface").mkdir(parents=True)
        (self.here.parent / "mobilenet_v2.ckpt").touch()
