# SPDX-License-Identifier: Apache-2.0
"""The benchmark of NMS: that it compiles its reference, compares bits, and fails when it should."""
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import nms as benchmark
from dependency.centernet.src.lib import external
from dependency.errors import InputError

FAST = ["--rows", "60", "--budget", "0.01"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The reference's loops, compiled."""
    pytest.importorskip("Cython", reason="Cython is not installed: pip install cython")
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        pytest.skip("no C compiler on the PATH")
    return benchmark.compile_reference(tmp_path_factory.mktemp("reference"), "reference_of_tests", {}, {})


@pytest.fixture
def built():
    """The project's module."""
    return pytest.importorskip("dependency.centernet.src.lib.external.nms",
                               reason="not built: python dependency/centernet/src/lib/external/setup.py install")


@pytest.fixture
def quick(monkeypatch, reference):
    """The benchmark with one compiled reference in both parts."""
    monkeypatch.setattr(benchmark, "compile_reference", lambda *_: reference)


@pytest.mark.parametrize("scene", benchmark.SCENES)
def test_rows_are_as_the_text_says(scene):
    rows = benchmark.draw_rows(np.random.default_rng(3), 3000, benchmark.SCENES[scene])
    assert rows.shape == (3000, 5) and rows.dtype == np.float32
    width, height = rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]
    centre = (rows[:, :2] + rows[:, 2:4]) / 2
    assert 24 < np.median(width) < 36 and width.min() > 4
    np.testing.assert_allclose(height, 1.2 * width, rtol=1e-3)
    assert (centre.mean(axis=0) > (400, 300)).all() and (centre.mean(axis=0) < (624, 468)).all()
    assert (benchmark.draw_rows(np.random.default_rng(3), 3000, benchmark.SCENES[scene]) == rows).all()


@pytest.mark.slow
def test_the_typed_variant_differs_from_the_reference_in_speed_only(reference, tmp_path):
    text = benchmark.SOURCE.read_text(encoding="utf-8")
    assert all(text.count(words) for words in benchmark.WITH_TYPES)
    typed = benchmark.compile_reference(tmp_path, "typed_of_tests", benchmark.UNCHECKED, benchmark.WITH_TYPES)
    rows = benchmark.draw_rows(np.random.default_rng(0), 300, 20)
    for case in (*benchmark.METHODS, benchmark.NMS):
        results = [benchmark.call(module, case, rows)().tobytes() for module in (reference, typed)]
        assert results[0] == results[1] and results[0], case


@pytest.mark.slow
def test_the_table_has_a_line_for_every_case(quick, built, capsys):
    assert benchmark.main(FAST) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(benchmark.SCENES) * 4
    assert [line.split()[0] for line in lines[2:]] == [scene for scene in benchmark.SCENES for _ in range(4)]
    assert "DIFFERS" not in "".join(lines) and "MISSES" not in "".join(lines)


@pytest.mark.slow
def test_a_missed_bar_and_a_changed_bit_fail(quick, built, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "bar_of", lambda *_: 1e6)
        assert benchmark.main(FAST) == 1
        assert "MISSES 1000000" in capsys.readouterr().out

    def changed(*arguments):
        rows = built.soft_nms_rows(*arguments)
        rows[-1, 4] = np.nextafter(rows[-1, 4], np.float32(2))
        return rows
    monkeypatch.setattr(benchmark, "import_kernel", lambda: SimpleNamespace(soft_nms_rows=changed, nms=built.nms))
    assert benchmark.main(FAST) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 3 * len(benchmark.SCENES)


def test_bars_stand_where_they_were_promised():
    for scene in benchmark.SCENES:
        for case in ("soft gaussian", "soft linear"):
            assert [benchmark.bar_of(scene, case, count) for count in (1000, 5000)] == [10, 10]
    assert benchmark.bar_of("spread", "soft hard", 1000) == 10 and benchmark.bar_of("spread", "nms", 1000) == 8
    assert benchmark.bar_of("spread", "nms", 200) is benchmark.bar_of("clustered", "soft hard", 5000) is None


def test_nothing_built_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "dependency.centernet.src.lib.external.nms", None)
    monkeypatch.delattr(external, "nms", raising=False)
    with pytest.raises(InputError, match="setup.py install"):
        benchmark.main(FAST)


def test_rows_below_one_are_refused():
    with pytest.raises(InputError, match="--rows 0"):
        benchmark.main(["--rows", "0"])
