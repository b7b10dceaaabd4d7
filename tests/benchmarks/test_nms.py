# SPDX-License-Identifier: Apache-2.0
"""The benchmark of NMS: that it compiles the published loops, compares bits, and fails when it should."""
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import nms as benchmark

FAST = ["--rows", "60", "--budget", "0.01"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The published loops, compiled."""
    pytest.importorskip("Cython", reason="Cython is not installed: pip install cython")
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        pytest.skip("no C compiler on the PATH")
    return benchmark.compile_reference(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def built(monkeypatch, reference):
    """The project's module; the reference is compiled once for all tests."""
    monkeypatch.setattr(benchmark, "compile_reference", lambda _: reference)
    return pytest.importorskip("dependency.centernet.src.lib.external.nms",
                               reason="not built: python dependency/centernet/src/lib/external/setup.py install")


@pytest.mark.soak
def test_the_table_has_a_line_for_every_case(built, capsys):
    assert benchmark.main(FAST) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [scene for scene in benchmark.SCENES for _ in range(4)]
    assert "DIFFERS" not in "".join(lines) and "MISSES" not in "".join(lines)


@pytest.mark.soak
def test_a_missed_bar_and_a_changed_bit_fail(built, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "bar_of", lambda *_: 1e6)
        assert benchmark.main(FAST) == 1
        assert "MISSES 1000000" in capsys.readouterr().out

    def changed(rows, *options):
        kept = built.soft_nms(rows, *options)
        rows[kept[-1], 4] = np.nextafter(rows[kept[-1], 4], np.float32(2))
        return kept
    monkeypatch.setattr(benchmark, "import_kernel", lambda: SimpleNamespace(soft_nms=changed, nms=built.nms))
    assert benchmark.main(FAST) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 3 * len(benchmark.SCENES)
