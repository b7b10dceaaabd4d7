# SPDX-License-Identifier: Apache-2.0
"""What an analysis says: the sentences of the summary, the tables, the JSON file."""
import json

import pytest

from dependency.errors import InputError
from dependency.evaluate.report.analysis import analyse, merge, write_analysis
from dependency.evaluate.report.analysis_text import format_analysis
from tests.dependency.scored_sets import ANCHOR, crowd, flags_for, run_of, scored_set


def test_summary_names_the_kind_that_is_missed():
    images, levels = crowd(missed_small=30, missed_large=4, occluded=5)
    report, scored = scored_set(images)
    summary = analyse(report, scored, flags_for(scored, levels))["runs"][0]["summary"]
    assert summary == [
        "At its best F1 (score 1), 58 % of the 81 faces are found, with 0.00 false alarms an image.",
        "Faces under 12 px: 25 % found (of 40); they are 88 % of everything missed.",
        "Faces with heavy occlusion: 20 % found (of 5); they are 12 % of everything missed.",
        ("Of the faces of 12 px and over, those with heavy occlusion are missed most: 20 % found (of 5), against 100 % "
        "of the others."),
        "Of the 34 missed faces, 100 % have no box.",
        "Events with more misses than their share: 0--Small (25 % found of 40)."]


def test_summary_sees_large_faces_too():
    images, levels = crowd(missed_small=0, missed_large=10, occluded=0)
    report, scored = scored_set(images)
    summary = analyse(report, scored, flags_for(scored, levels))["runs"][0]["summary"]
    assert summary[1] == "Faces of 64 px and over: 75 % found (of 40); they are 100 % of everything missed."
    assert not any("occlusion" in sentence or "under" in sentence for sentence in summary)


def test_summary_of_a_perfect_run():
    assert run_of([ANCHOR])["summary"] == [
        "At its best F1 (score 1), 100 % of the 1 faces are found, with 0.00 false alarms an image."]


def cells(text, name):
    """The cells of the first line of a table that starts with `name`."""
    return next(line for line in text.splitlines() if line.startswith(name))[len(name):].split()


def test_text_of_one_run_and_of_two():
    images, levels = crowd(missed_small=30, missed_large=4, occluded=5)
    report, scored = scored_set(images)
    one = analyse(report, scored, flags_for(scored, levels), name="one")
    text = format_analysis(one)
    assert "one (IoU 0.5)\n  - At its best F1" in text and "AP change" not in text
    assert cells(text, "under 12 px") == ["40", "25.00", "25.00", "30"]
    assert cells(text, "IoU 0.5 hard") == ["58.02"] and cells(text, "recall") == ["58.02"]
    report, scored = scored_set(crowd(missed_small=20, missed_large=4, occluded=5)[0])
    two = analyse(report, scored, name="two", landmarks={"nme": 0.0321})
    text = format_analysis(merge([one, two]))
    assert cells(text, "under 12 px") == ["40", "25.00", "25.00", "30", "50.00", "50.00", "20", "+25.00"]
    assert cells(text, "heavy occlusion") == ["5", "20.00", "20.00", "4", "-", "-", "-", "-"]
    assert cells(text, "landmark error (NME)") == ["-", "3.21"]
    lines = text.splitlines()
    assert max(map(len, lines[-8:])) < 120 and not any(line != line.rstrip() for line in lines)


def test_many_events_are_cut_in_text_only():
    images = [(f"{number}--E", [[0, 0, 40, 40]], [0], [[0, 0, 40, 40, 1.0]][:number % 2]) for number in range(14)]
    run = run_of(images)
    assert len(run["groups"]["event"]) == 14
    text = format_analysis({"version": 1, "runs": [run]})
    assert "... and 4 events more, with fewer misses" in text and "--E" in text


def test_merge_and_write(tmp_path):
    report, scored = scored_set([ANCHOR])
    first, second = (analyse(report, scored, name=name) for name in ("a", "b"))
    merged = merge([first, second])
    assert [run["name"] for run in merged["runs"]] == ["a", "b"]
    with pytest.raises(InputError, match="two runs are called 'a'"):
        merge([first, first])
    write_analysis(tmp_path / "new" / "analysis.json", merged)
    assert json.loads((tmp_path / "new" / "analysis.json").read_text()) == merged
