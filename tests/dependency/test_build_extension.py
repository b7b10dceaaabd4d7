# SPDX-License-Identifier: Apache-2.0
"""The manual's build commands, run in a copy of the sources by the interpreter of the tests."""
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.soak
EXTERNAL = "dependency/centernet/src/lib/external"
EVALUATE = "dependency/evaluate"
NMS_CHECK = """
from dependency.centernet.src.lib.external import nms, suppress
assert nms.__file__.startswith(ROOT) and suppress.kernels() is nms
assert suppress.nms([[0, 0, 9, 9, .9], [1, 1, 10, 10, .8], [20, 20, 29, 29, .7]], 0.5).tolist() == [0, 2]
"""
OVERLAPS_CHECK = """
from dependency.evaluate import box_overlaps, overlaps
assert box_overlaps.__file__.startswith(ROOT) and overlaps.kernels() is box_overlaps
assert overlaps.box_overlaps([[0, 0, 9, 9]], [[0, 0, 9, 4]]) == 0.5
"""


@pytest.fixture
def copy(tmp_path):
    """The sources without anything built."""
    pytest.importorskip("Cython", reason="Cython is not installed: pip install cython")
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        pytest.skip("no C compiler on the PATH")
    shutil.copytree(ROOT / "dependency", tmp_path / "dependency",
                    ignore=shutil.ignore_patterns("*.so", "*.pyd", "*.c", "build", "__pycache__"))
    return tmp_path


def call(command, folder):
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_nms_install_then_make(copy):
    call([sys.executable, "setup.py", "install"], copy / EXTERNAL)
    call([sys.executable, "-c", f"ROOT = {str(copy)!r}\n{NMS_CHECK}"], copy)
    if shutil.which("make"):
        call(["make", f"PYTHON={sys.executable}"], copy / EXTERNAL)
        assert not (copy / EXTERNAL / "build").exists()
        call([sys.executable, "-c", f"ROOT = {str(copy)!r}\n{NMS_CHECK}"], copy)


@pytest.mark.parametrize("arguments", [["install"], ["build_ext", "--inplace"]])
def test_overlaps_from_another_directory(copy, arguments):
    elsewhere = copy / "elsewhere"
    elsewhere.mkdir()
    call([sys.executable, str(copy / EVALUATE / "setup.py"), *arguments], elsewhere)
    assert not list(elsewhere.iterdir())
    call([sys.executable, "-c", f"ROOT = {str(copy)!r}\n{OVERLAPS_CHECK}"], copy)
