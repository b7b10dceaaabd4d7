# SPDX-License-Identifier: Apache-2.0
"""The benchmark of NMS: it compiles the published loops and finds the same bits."""
import shutil

import pytest

from benchmarks import nms as benchmark


@pytest.mark.soak
def test_every_case_has_the_bits_of_the_published_loops(capsys):
    pytest.importorskip("Cython", reason="Cython is not installed: pip install cython")
    pytest.importorskip("dependency.centernet.src.lib.external.nms",
                        reason="not built: python dependency/centernet/src/lib/external/setup.py install")
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        pytest.skip("no C compiler on the PATH")
    assert benchmark.main(["--rows", "60", "--budget", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [scene for scene in benchmark.SCENES for _ in range(4)]
    assert "DIFFERS" not in "".join(lines)
