# SPDX-License-Identifier: Apache-2.0
"""Tables of AP, and which checkpoint is best."""
import numpy as np
import pytest

from dependency.evaluate.bootstrap import Replicates
from src.evaluation.ap_table import ApRow, compare_rows, find_best, format_best, format_table, plot, subset_floors

NAN = float("nan")


def row(name, easy, medium, hard, epoch=None):
    values = {"easy": easy, "medium": medium, "hard": hard}
    return ApRow(name, epoch, {0.5: values, 0.4: {kind: min(1.0, value + 0.01) for kind, value in values.items()}})


ROWS = [row("1", .90, .80, .30, 1), row("2", .80, .85, .50, 2), row("10", .80, .82, .60, 10),
        row("11", .80, .82, .60, 11)]


def test_the_best_of_each_kind_and_the_later_one_of_equals():
    best = find_best(ROWS)
    assert {kind: found.name for kind, found in best.items()} == {"easy": "1", "medium": "2", "hard": "11", "sum": "11"}


def test_filters_exclude_rows():
    best = find_best(ROWS, {"hard": 0.4, "medium": 0.84})
    assert {found.name for found in best.values()} == {"2"}
    assert set(find_best(ROWS, {"sum": 2.9}).values()) == {None}
    assert "none passes" in format_best(ROWS, [], {"sum": 2.9})
    assert subset_floors(0.5, 0, 0, 1.2) == {"easy": 0.5, "sum": 1.2} and subset_floors(0, 0, 0, 0) is None


def test_a_subset_without_faces_does_not_decide():
    best = find_best([row("a", .5, NAN, .2), row("b", .4, NAN, .5)])
    assert best["easy"].name == "a" and best["sum"].name == "b"


def test_the_table_has_both_thresholds_side_by_side():
    lines = format_table(ROWS).splitlines()
    assert lines[0].split() == ["IoU", "0.5", "IoU", "0.4"]
    assert lines[2].split() == ["1", "0.9000", "0.8000", "0.3000", "0.9100", "0.8100", "0.3100"]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "10", "11"]


def test_the_curve_needs_two_epochs(tmp_path):
    pytest.importorskip("matplotlib")
    assert not plot(ROWS[:1], tmp_path / "ap.png") and not plot([ROWS[0], row("x", 1, 1, 1)], tmp_path / "ap.png")
    assert plot(ROWS, tmp_path / "ap.png") and (tmp_path / "ap.png").read_bytes()[:4] == b"\x89PNG"


def with_replicates(name, value, noise, left_out=()):
    replicates = {0.5: dict.fromkeys(("easy", "medium", "hard"), Replicates(value + noise, value - .02, value + .02))}
    return ApRow(name, None, {0.5: dict.fromkeys(("easy", "medium", "hard"), value)}, replicates, left_out)


def test_the_best_is_compared_with_the_others():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 400)
    rows = [with_replicates("far", .70, noise), with_replicates("best", .90, noise),
            with_replicates("near", .899, noise + rng.normal(0, 0.003, 400)),
            with_replicates("other", .8, noise, ("x",))]
    found = {each.other: each for each in compare_rows(rows) if each.kind == "hard"}
    assert list(found) == ["near", "far"] and {each.best for each in found.values()} == {"best"}
    assert found["far"].is_sure and found["far"].low == pytest.approx(0.2) and found["far"].probability == 1
    assert not found["near"].is_sure and 0.5 < found["near"].probability < 0.8
    text = format_best(rows, compare_rows(rows))
    assert text.count("cannot be told from it: near by 0.0010") == 3 and "better than: far by 0.2000" in text
    assert "different images" in text and "different images" not in format_best(rows[:3], [])
    assert compare_rows(ROWS) == [] and len(format_best(ROWS, []).splitlines()) == 4
    assert "0.7000±0.0200" in format_table(rows)
