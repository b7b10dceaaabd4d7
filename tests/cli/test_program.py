# SPDX-License-Identifier: Apache-2.0
"""The end of every program: what a console without the letters of a name gets to see."""
import subprocess
import sys

import pytest

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
