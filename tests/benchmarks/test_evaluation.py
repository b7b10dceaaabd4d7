# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the evaluation: all that it compares agree, and a missed bar is printed."""

import numpy as np
import pytest

from benchmarks.evaluation import main
from dependency.evaluate import overlaps
from dependency.evaluate.ground_truth import write_ground_truth


@pytest.fixture
def small(tmp_path):
    """Two images, one found and one not."""
    write_ground_truth(tmp_path / "gt", [("0--A", [(name, np.array([[10, 10, 20, 20]]), [0], [0], [0])
                                                   for name in "ab"])])
    (tmp_path / "pred" / "0--A").mkdir(parents=True)
    for name, row in (("a", "10 10 20 20 0.9"), ("b", "90 10 20 20 0.8")):
        (tmp_path / "pred" / "0--A" / f"{name}.txt").write_text(f"{name}\n2\n{row}\n90 90 9 9 0.1\n")
    return tmp_path


def test_whole_run(small, capsys):
    if not overlaps.kernels():
        pytest.skip("not built: python dependency/evaluate/setup.py install")
    status = main(["--pred", str(small / "pred"), "--gt", str(small / "gt"), "--repeat", "1"])
    printed = capsys.readouterr().out
    # On two images nothing is forty times faster, but all three agree.
    assert status == 1 and printed.count("0.500000, 0.500000, 0.500000") == 3 and "differs" not in printed
    assert "missed: eval.py, compiled: " in printed and "the bar is 100" in printed
