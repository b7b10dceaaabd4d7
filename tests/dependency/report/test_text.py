# SPDX-License-Identifier: Apache-2.0
"""An analysis as text: the numbers in the summary's sentences and in the tables."""
import re

from dependency.evaluate.report.analysis import analyse, merge
from dependency.evaluate.report.text import format_analysis
from tests.dependency.scored_sets import crowd, flags_for, scored_set


def numbers(text):
    return [float(number) for number in re.findall(r"[\d.]*\d", text)]


def test_summary_names_the_kind_that_is_missed():
    images, levels = crowd(missed_small=30, missed_large=4, occluded=5)
    report, scored = scored_set(images)
    summary = analyse(report, scored, flags_for(scored, levels))["runs"][0]["summary"]
    # All faces; under 12 px; with heavy occlusion; that of the larger ones; why; events.
    assert list(map(numbers, summary)) == [[1, 1, 58, 81, 0.00], [12, 30, 40, 88.2], [4, 5, 11.8], [12, 20, 5, 100],
                                           [34, 34, 0.1], [0, 25, 40]]
    for sentence, text in zip(summary[1:], ("under 12 px", "heavy occlusion", "heavy occlusion", "no box", "0--Small")):
        assert text in sentence


def cells(text, name):
    """The cells of the first line of a table that starts with `name`."""
    return next(line for line in text.splitlines() if line.startswith(name))[len(name):].split()


def test_text_of_one_run_and_of_two():
    images, levels = crowd(missed_small=30, missed_large=4, occluded=5)
    report, scored = scored_set(images)
    one = analyse(report, scored, flags_for(scored, levels), name="one")
    text = format_analysis(one)
    assert all(sentence in text for sentence in one["runs"][0]["summary"])
    assert cells(text, "under 12 px") == ["40", "25.00", "25.00", "30"]
    assert cells(text, "IoU 0.5 hard") == ["58.02"] and cells(text, "recall") == ["58.02"]
    report, scored = scored_set(crowd(missed_small=20, missed_large=4, occluded=5)[0])
    two = analyse(report, scored, name="two", landmarks={"nme": 0.0321})
    text = format_analysis(merge([one, two]))
    assert cells(text, "under 12 px") == ["40", "25.00", "25.00", "30", "50.00", "50.00", "20", "+25.00"]
    assert cells(text, "heavy occlusion") == ["5", "20.00", "20.00", "4", "-", "-", "-", "-"]
    assert cells(text, "landmark error (NME)") == ["-", "3.21"]
