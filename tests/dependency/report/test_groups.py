# SPDX-License-Identifier: Apache-2.0
"""Groups of faces, against a literal reading of the protocol."""
import numpy as np
import pytest

from benchmarks import reference_evaluation
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.groups import HEIGHTS, align_groups, group_faces, height_name
from dependency.evaluate.report.outcomes import find_outcomes
from tests.dependency.scored_sets import flags_for, random_images, scored_set


def literal_group(images, scores, members, answers, iou):
    """(AP, faces) of a group by the loops of the public ports (benchmarks/reference_evaluation.py).

    members(image, face) says who is in the group, answers(image, row) for which false alarms the group does.
    """
    totals, faces = np.zeros((1000, 2)), 0
    for i, (_, boxes, kept, rows) in enumerate(images):
        counts = np.array([face in kept and members(i, face) for face in range(len(boxes))], int)
        faces += counts.sum()
        if len(boxes):
            scaled = np.column_stack([rows[:, :4], scores[i]])
            found, proposals = reference_evaluation.match_rows(scaled, boxes.astype(float), counts, iou)
            hits = np.diff(found, prepend=0) > 0
            neutral = [not hits[row] and not answers(i, row) for row in range(len(rows))]
            proposals[neutral] = -1
            totals += reference_evaluation.count_image(scaled, found, proposals)
    if not faces:
        return None, 0
    with np.errstate(invalid="ignore"):
        return reference_evaluation.area(totals[:, 1] / faces, totals[:, 1] / totals[:, 0]), faces


def group_rules(images, levels):
    """(family, name) -> which faces (image, face) belong to the group, and which rows (image, row) count against it."""
    rules = {("event", name): (lambda i, face, name=name: images[i][0] == name,
                               lambda i, row, name=name: images[i][0] == name) for name in ("0--E", "1--E")}
    for low, high in zip(HEIGHTS, HEIGHTS[1:]):
        rules["height", height_name(low, high)] = (
            lambda i, face, low=low, high=high: low <= images[i][1][face][3] < high,
            lambda i, row, low=low, high=high: low <= images[i][3][row][3] < high)
    for value, name in enumerate(LEVELS["blur"]):
        rules["blur", name] = (lambda i, face, value=value: levels[i][face][0] == value, lambda i, row: True)
    return rules


@pytest.mark.parametrize("seed", range(2))
def test_groups_equal_a_literal_reading(seed):
    rng, compared = np.random.default_rng(seed), 0
    for _ in range(2):
        images = random_images(rng)
        report, scored = scored_set(images)
        if not report.faces["hard"]:
            continue
        levels = {i: rng.integers(0, 2, (len(boxes), len(FLAGS))) for i, (_, boxes, _, _) in enumerate(images)}
        groups = group_faces(find_outcomes(scored, 0.5, flags_for(scored, levels)))
        for (family, name), (members, answers) in group_rules(images, levels).items():
            ap, faces = literal_group(images, scored.scores, members, answers, 0.5)
            named = [group for group in groups[family] if group["name"] == name]
            assert len(named) == (faces > 0)
            if named:
                assert named[0]["faces"] == faces and named[0]["ap"] == pytest.approx(ap, abs=1e-12)
                compared += 1
    assert compared > 6


def test_a_group_of_all_faces_has_the_ap_of_all():
    rng = np.random.default_rng(5)
    for _ in range(20):
        images = [("0--E", boxes, kept, rows) for _, boxes, kept, rows in random_images(rng)]
        report, scored = scored_set(images)
        if report.faces["hard"]:
            groups = group_faces(find_outcomes(scored, 0.5, flags_for(scored, {})))
            for family in ("event", *LEVELS):
                assert [group["ap"] for group in groups[family]] == [report.ap[0.5]["hard"]]
                assert groups[family][0]["share"] == 1


def test_groups_of_runs_are_aligned_by_name():
    a, b, c = ({"name": name} for name in "abc")
    runs = [{"groups": {"blur": [a, b]}}, {"groups": {}}, {"groups": {"blur": [c, b]}}]
    assert align_groups(runs, "blur") == [("a", [a, None, None]), ("b", [b, None, b]), ("c", [None, None, c])]


def test_only_what_the_interval_says_is_found_least():
    """Of 20 images with a blurred and a clear face each; heavy blur has too few faces to say anything."""
    def groups(blurred_found, few=19):
        images = []
        for number in range(40):
            boxes = [[0, 0, 40, 40], [100, 0, 40, 40]] + [[200, 0, 40, 40]] * (number < few)
            rows = [[*boxes[0], 0.9]] + [[*boxes[1], 0.8]] * (number < blurred_found) + [[300, 300, 9, 9, 0]]
            images.append(("0--E", boxes, range(len(boxes)), rows))
        levels = {number: [[blur, 0, 0, 0, 0, 0] for blur in range(len(image[1]))]
                  for number, image in enumerate(images)}
        scored = scored_set(images)[1]
        return group_faces(find_outcomes(scored, 0.5, flags_for(scored, levels)))["blur"]

    clear, normal, heavy = groups(20)
    assert [group["least"] for group in (clear, normal, heavy)] == [False, True, False]
    assert heavy["recall"] == 0 and heavy["faces"] == 19 and clear["interval"] == [1, 1]
    assert normal["interval"] == pytest.approx([0.35, 0.65], abs=0.05)
    assert not any(group["least"] for group in groups(39))           # one of forty may be chance
    assert [group["least"] for group in groups(20, few=20)] == [False, False, True]
