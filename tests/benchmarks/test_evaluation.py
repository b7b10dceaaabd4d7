# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the evaluation: what it measures, and that a missed bar is told."""
import json
import sys

import numpy as np
import pytest

from benchmarks import evaluation, literal_port
from benchmarks.evaluation import Cost, compare, main, measure
from dependency.errors import InputError
from dependency.evaluate import overlaps
from dependency.evaluate.ground_truth import SUBSETS, write_ground_truth

AP = {"easy": 0.9, "medium": 0.8, "hard": 0.7}


def costs(compiled=0.25, twin=0.5, memory=80.0, ap=AP):
    return {"eval.py, compiled": Cost(compiled, 0.3, memory, ap), "eval.py, NumPy": Cost(twin, 0.6, 90.0, AP),
            "literal port": Cost(26.0, 27.0, 110.0, AP)}


def test_table():
    lines, missed = compare(costs())
    assert missed == [] and lines[1].split() == ["eval.py,", "compiled", "0.25", "0.30", "80", "104x", "0.900000,",
                                                 "0.800000,", "0.700000"]
    assert len(lines) == 4 and "1x" in lines[3]


@pytest.mark.parametrize("changes, text", [
    ({"compiled": 0.66}, "eval.py, compiled: 39.4 times as fast as the port, the bar is 40"),
    ({"twin": 1.05}, "eval.py, NumPy: 24.8 times"), ({"memory": 250.0}, "eval.py, compiled: 250 MB, the bar is 250"),
    ({"ap": {**AP, "hard": 0.7 + 2e-9}}, "eval.py, compiled: average precision differs"),
    ({"ap": {**AP, "hard": float("nan")}}, "differs from the port's by {'hard': nan}")])
def test_missed_bars(changes, text):
    _, missed = compare(costs(**changes))
    assert len(missed) == 1 and text in missed[0]


def test_cost_of_a_process(tmp_path):
    """A program that works for some time with some memory, and says its APs."""
    code = ("import json, time\nblock = bytearray(60 << 20)\nwhile time.process_time() < 0.3: pass\n"
            f"print(json.dumps({AP}))")
    cost = measure(["-c", code, "benchmarks.literal_port"], tmp_path, 2)
    # The system counts the parent's memory at the start too, and pytest may be large: no upper bound.
    assert 0.3 <= cost.cpu < 2 and cost.wall >= 0.25 and cost.memory > 60 and cost.ap == AP
    with pytest.raises(InputError, match="ended with 3: no luck"):
        measure(["-c", "import sys; print('no luck'); sys.exit(3)"], tmp_path, 1)


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
    assert "missed: eval.py, compiled: " in printed and "the bar is 40" in printed


def test_the_twin_runs_without_compiled_modules(small):
    code = evaluation.WITHOUT_COMPILED.replace("runpy.run_path", "try: runpy.run_path") + (
        "except SystemExit as end: assert not end.code\n"
        "from dependency.evaluate import overlaps\n"
        "assert overlaps.kernels() is None\n")
    cost = measure(["-c", code, "--pred", str(small / "pred"), "--gt", str(small / "gt")], small, 1)
    assert cost.ap == dict.fromkeys(SUBSETS, 0.5)


def test_measuring_needs_the_compiled_modules(small, monkeypatch):
    monkeypatch.setattr(overlaps, "kernels", lambda: None)
    with pytest.raises(InputError, match="setup.py install"):
        main(["--pred", str(small / "pred"), "--gt", str(small / "gt")])


def test_literal_port_from_the_command_line(small, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["literal_port", "--pred", str(small / "pred"), "--gt", str(small / "gt")])
    assert literal_port.main() == 0
    assert json.loads(capsys.readouterr().out) == dict.fromkeys(SUBSETS, 0.5)
