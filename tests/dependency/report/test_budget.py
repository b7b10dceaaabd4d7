# SPDX-License-Identifier: Apache-2.0
"""What each kind of error costs: of one kind alone, mending it gives AP 1."""
import pytest

from dependency.evaluate.report.budget import error_budget
from dependency.evaluate.report.outcomes import find_outcomes
from tests.dependency.scored_sets import ANCHOR, scored_set

FACE, OTHER = [0, 0, 40, 40], [200, 0, 40, 40]
NOTHING = [400, 400, 40, 40]


def budget(boxes, kept, rows):
    """Of two images: one that is found, with a last row on nothing that every score outranks, and this one."""
    report, scored = scored_set([ANCHOR, ("0--E", boxes, kept, rows)])
    gains = {kind: round(gain, 9) for kind, gain in error_budget(find_outcomes(scored, 0.5)).items()}
    return report.ap[0.5]["hard"], {kind: gain for kind, gain in gains.items() if gain}


def test_no_error_costs_nothing():
    assert budget([FACE], [0], [[*FACE, 0.9]]) == (1, {})


def test_a_missed_face():
    ap, gains = budget([FACE, OTHER], [0, 1], [[*FACE, 0.9]])
    assert gains == {"missed": pytest.approx(1 - ap)} and ap == pytest.approx(2 / 3)


def test_a_loose_box():
    ap, gains = budget([FACE, OTHER], [0, 1], [[*FACE, 0.9], [215, 15, 40, 40, 0.8]])
    assert gains == {"loose box": pytest.approx(1 - ap)} and ap == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind, row", [("duplicate", [1, 0, 40, 40, 0.9]), ("background", [*NOTHING, 0.9])])
def test_a_false_alarm_above_a_face(kind, row):
    """That it ranks above a face is an error of the score, too."""
    ap, gains = budget([FACE, OTHER], [0, 1], [[*FACE, 0.95], row, [*OTHER, 0.5]])
    assert ap < 1 and gains == {kind: pytest.approx(1 - ap), "score": pytest.approx(1 - ap)}


def test_a_loose_box_on_an_ignored_face():
    ap, gains = budget([FACE, OTHER], [0], [[215, 15, 40, 40, 0.9], [*FACE, 0.5]])
    assert ap < 1 and gains == {"ignored face": pytest.approx(1 - ap), "score": pytest.approx(1 - ap)}


def test_a_badly_ranked_score():
    """With false alarms of several kinds above the face, only a better score mends it all."""
    ap, gains = budget([FACE, OTHER], [0, 1], [[*OTHER, 0.95], [*NOTHING, 0.9], [201, 0, 40, 40, 0.8], [*FACE, 0.1]])
    assert gains["score"] == pytest.approx(1 - ap) and set(gains) == {"score", "background", "duplicate"}
    assert gains["background"] < gains["score"] > gains["duplicate"]


def test_no_face_found_at_all():
    report, scored = scored_set([("0--E", [FACE], [0], [[*NOTHING, 0.9], [*NOTHING, 0.1]])])
    assert report.ap[0.5]["hard"] == 0
    assert error_budget(find_outcomes(scored, 0.5)) == {
        "missed": 1, "loose box": 0, "duplicate": 0, "background": 0, "ignored face": 0, "score": 0}
