# SPDX-License-Identifier: Apache-2.0
"""The end of every program: what a console without the letters of a name gets to see; what the doctor examines."""
import errno
import subprocess
import sys

import pytest

from dependency.errors import DOCTOR
from src.cli.program import run
from tests.conftest import ROOT

CODE = """
from dependency.errors import InputError
from src.cli.program import run
def main():
    print("照片", "\\udcff")
    raise InputError("龍 \\udcff")
raise SystemExit(run(main))
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_letters_that_the_console_lacks_become_escapes(encoding):
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env={"PYTHONIOENCODING": encoding}, check=False,
                          capture_output=True)
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"udcff" in done.stdout + done.stderr
    assert (b"u7167" in done.stdout) == (encoding != "utf-8")


@pytest.mark.parametrize("error, status", [
    (OSError(errno.ENOSPC, "No space left on device", "a.ckpt"), 2),
    (PermissionError(errno.EACCES, "Permission denied", "out"), 2),
    (MemoryError("Unable to allocate 3 GiB"), 1),
    (ImportError("numpy.core.multiarray failed to import"), 2),
    (ModuleNotFoundError("No module named 'numpy._core'", name="numpy._core"), 2),
    (ValueError("numpy.dtype size changed, may indicate binary incompatibility"), 2)])
def test_a_trouble_of_the_machine_is_one_line_that_names_the_doctor(error, status, capsys):
    def main():
        raise error
    assert run(main) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(error).split("]")[-1].strip() in line and DOCTOR in line


@pytest.mark.parametrize("error", [ValueError("a fault of the code"), ImportError("no such name", name="src.models")])
def test_a_fault_of_the_code_keeps_its_traceback(error):
    def main():
        raise error
    with pytest.raises(type(error)):
        run(main)
