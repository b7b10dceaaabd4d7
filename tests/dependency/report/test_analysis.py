# SPDX-License-Identifier: Apache-2.0
"""The analysis: groups against a literal reading of the protocol, hand-made failures, the published predictions."""
import json
import tarfile
import time

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.eval import score_set
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.evaluate.report.analysis import CURVE_POINTS, analyse, write_analysis
from dependency.evaluate.report.analysis_text import format_analysis
from dependency.evaluate.report.flags import FLAGS, LEVELS, Flags, find_flags
from dependency.evaluate.report.groups import HEIGHTS, group_faces, height_name
from dependency.evaluate.report.tally import make_tally
from dependency.evaluate.results import report_to_dict, thin_curve
from tests.dependency.scored_sets import ANCHOR, ORDINARY, flags_for, random_images, run_of, scored_set
from tests.dependency.test_wider_eval import literal_iou


def literal_group(images, scores, members, answers, iou):
    """(AP, faces) of a group, one threshold and one row at a time.

    members(image, face) says who is in the group, answers(image, row) for which false alarms the group does.
    """
    totals = np.zeros((1000, 2))
    faces = sum(members(i, face) for i, (_, _, kept, _) in enumerate(images) for face in kept)
    for i, (_, boxes, kept, rows) in enumerate(images):
        if not len(boxes):
            continue
        outcome, found = [], set()
        for number, row in enumerate(rows):
            overlaps = [literal_iou(row, box) for box in boxes]
            face = int(np.argmax(overlaps))
            counts = face in kept and members(i, face)
            if overlaps[face] >= iou and counts and face not in found:
                found.add(face)
                outcome.append("hit")
            elif overlaps[face] >= iou and not counts:
                outcome.append("neutral")
            else:
                outcome.append("wrong" if answers(i, number) else "neutral")
        for t in range(1000):
            reached = np.flatnonzero(scores[i] >= 1 - (t + 1) / 1000)
            taken = outcome[:reached[-1] + 1] if len(reached) else []
            totals[t] += taken.count("hit") + taken.count("wrong"), taken.count("hit")
    if not faces:
        return None, 0
    recall = [0.0, *(totals[:, 1] / faces), 1.0]
    precision = [0.0, *(hits / max(1, rows) for rows, hits in totals), 0.0]
    for k in range(len(precision) - 2, -1, -1):
        precision[k] = max(precision[k], precision[k + 1])
    return sum((recall[k + 1] - recall[k]) * precision[k + 1] for k in range(len(recall) - 1)), faces


@pytest.mark.parametrize("seed", range(4))
def test_groups_equal_a_literal_reading(seed):
    rng, compared = np.random.default_rng(seed), 0
    for _ in range(4):
        images = random_images(rng)
        report, scored = scored_set(images)
        if not report.faces["hard"]:
            continue
        levels = {i: rng.integers(0, 2, (len(boxes), len(FLAGS))) for i, (_, boxes, _, _) in enumerate(images)}
        groups = group_faces(make_tally(scored, 0.5, flags_for(scored, levels)))
        questions = {("event", name): (lambda i, face, name=name: images[i][0] == name,
                                       lambda i, row, name=name: images[i][0] == name) for name in ("0--E", "1--E")}
        questions.update({("height", height_name(low, high)): (
            lambda i, face, low=low, high=high: low <= images[i][1][face][3] < high,
            lambda i, row, low=low, high=high: low <= images[i][3][row][3] < high)
            for low, high in zip(HEIGHTS, HEIGHTS[1:])})
        questions.update({("blur", name): (lambda i, face, value=value: levels[i][face][0] == value,
                                           lambda i, row: True) for value, name in enumerate(LEVELS["blur"])})
        for (family, name), (members, answers) in questions.items():
            ap, faces = literal_group(images, scored.scores, members, answers, 0.5)
            found = [group for group in groups[family] if group["name"] == name]
            assert len(found) == (faces > 0)
            if found:
                assert found[0]["faces"] == faces and found[0]["ap"] == pytest.approx(ap, abs=1e-12)
                compared += 1
    assert compared > 12


def test_a_group_of_all_faces_has_the_ap_of_all():
    rng = np.random.default_rng(5)
    for _ in range(20):
        images = [("0--E", boxes, kept, rows) for _, boxes, kept, rows in random_images(rng)]
        report, scored = scored_set(images)
        if report.faces["hard"]:
            groups = group_faces(make_tally(scored, 0.5, flags_for(scored, {})))
            for family in ("event", *LEVELS):
                assert [group["ap"] for group in groups[family]] == [report.ap[0.5]["hard"]]
                assert groups[family][0]["share"] == 1


def test_operating_point_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(6)
    for _ in range(30):
        images = random_images(rng)
        report, scored = scored_set(images)
        if not report.faces["hard"]:
            continue
        recall, precision = report.curves[0.5]["hard"].T
        point = make_tally(scored, 0.5).point
        best = max(2 * r * p / (r + p) if r + p else 0 for r, p in zip(recall, precision))
        assert point["f1"] == pytest.approx(best)
        assert point["recall"] == point["found"] / point["faces"]
        if point["found"]:
            assert 2 / (1 / point["recall"] + 1 / point["precision"]) == pytest.approx(best)


def test_score_of_the_operating_point_gives_the_same_rows():
    rows = [[[0, 0, 30, 30, 7.5], [50, 0, 30, 30, 3.25], [300, 300, 9, 9, 3.125]], [[400, 0, 9, 9, -2]]]
    images = [("0--E", [[0, 0, 30, 30], [50, 0, 30, 30]], [0, 1], rows[0]), ("0--E", [[0, 0, 9, 9]], [0], rows[1])]
    tally = make_tally(scored_set(images)[1], 0.5)
    assert tally.point == {"score": 3.25, "precision": 1, "recall": 2 / 3, "f1": pytest.approx(0.8),
                           "false_alarms_per_image": 0, "found": 2, "faces": 3}
    assert (tally.rows[:, 4] >= tally.point["score"]).tolist() == tally.taken.tolist()


@pytest.mark.parametrize("boxes, rows, why, overlap, score", [
    ([[0, 0, 40, 40]], [], "no box", 0, None),
    ([[0, 0, 40, 40]], [[90, 90, 40, 40, 0.9]], "no box", 0, None),
    ([[0, 0, 40, 40]], [[38, 0, 40, 40, 0.9]], "no box", 0.038, 0.9),
    ([[0, 0, 40, 40]], [[20, 0, 40, 40, 0.9], [25, 0, 40, 40, 0.8]], "box too loose", 0.344, 0.9),
    ([[0, 0, 40, 40]], [[25, 0, 40, 40, 0.9], [20, 0, 40, 40, 0.8]], "box too loose", 0.344, 0.8),
    ([[0, 0, 40, 40]], [[20, 0, 40, 40, 0.9], [0, 0, 40, 40, 0.001]], "score too low", 1, 0.001),
    ([[0, 0, 40, 40]], [[4, 0, 40, 40, 0.002], [0, 0, 40, 40, 0.001]], "score too low", 0.822, 0.002),
    ([[0, 0, 40, 40], [4, 0, 40, 40]], [[4, 0, 40, 40, 0.9]], "taken by another", 0.822, 0.9),
    ([[0, 0, 40, 40], [30, 0, 40, 40]], [[30, 0, 40, 40, 0.9]], "no box", 0, None),
])
def test_why_a_face_is_missed(boxes, rows, why, overlap, score):
    # Many false alarms under 0.5 keep the operating point above them.
    noise = [[600 + 30 * k, 600, 20, 20, 0.4] for k in range(20)]
    run = run_of([ANCHOR, ("1--E", boxes, range(len(boxes)), rows + noise)])
    assert run["operating_point"]["score"] > 0.4
    missed = [miss for miss in run["misses"] if miss["image"] == "1--E/1"]
    assert len(missed) == 1 and missed[0]["box"] == [0, 0, 40, 40] and missed[0]["height"] == 40
    assert (missed[0]["why"], missed[0]["best_overlap"], missed[0]["best_score"]) == (why, overlap, score)
    assert missed[0]["flags"] is None


def test_kinds_of_false_alarms():
    rows = [[0, 0, 40, 40, 0.9], [1, 0, 40, 40, 0.8], [20, 0, 40, 40, 0.85], [39, 39, 40, 40, 0.95],
            [100, 0, 40, 40, 0.99], [200, 200, 20, 20, 0.1]]
    run = run_of([("0--E", [[0, 0, 40, 40], [100, 0, 40, 40]], [0], rows)])
    alarms = [(alarm["kind"], alarm["score"]) for alarm in run["false_alarms"]]
    assert alarms == [("background", 0.95), ("loose box", 0.85), ("duplicate", 0.8), ("background", 0.1)]
    assert run["false_alarms"][1]["overlap"] == 0.344 and run["false_alarms"][1]["box"] == [20, 0, 40, 40]


def test_misses_are_ranked_by_height_and_clearness():
    heights = [20, 100, 30, 200]
    boxes = [[300 * k, 0, height, height] for k, height in enumerate(heights)]
    images = [("0--E", boxes, range(4), []), ANCHOR]
    run = run_of(images)
    assert [miss["height"] for miss in run["misses"]] == [200, 100, 30, 20]
    report, scored = scored_set(images)
    levels = [ORDINARY, [1, 0, 0, 0, 1, 0], ORDINARY, [2, 0, 0, 0, 2, 1]]
    run = analyse(report, scored, flags_for(scored, {0: levels}))["runs"][0]
    assert [miss["height"] for miss in run["misses"]] == [30, 100, 20, 200]
    assert run["misses"][3]["flags"] == {"blur": "heavy blur", "occlusion": "heavy occlusion", "pose": "atypical pose"}
    assert run["misses"][0]["flags"] == {}


def test_worst_images():
    boxes = [[0, 0, 40, 40], [100, 0, 40, 40], [200, 0, 40, 40]]
    wrong = [[300, 0, 40.25, 40, 0.999]]
    run = run_of([("1--E", boxes, [0, 1], [[0, 0, 40, 40, 0.99]] + wrong), ANCHOR, ("2--E", boxes[:1], [0], []),
                  ("3--E", [], [], wrong)])
    assert [(image["image"], image["faces"], image["missed"], image["false_alarms"])
            for image in run["worst_images"]] == [("1--E/0", 2, 1, 1), ("2--E/2", 1, 1, 0)]
    assert run["worst_images"][0]["boxes"] == {
        "found": [[0, 0, 40, 40]], "missed": [[100, 0, 40, 40]], "ignored": [[200, 0, 40, 40]],
        "false": [[300, 0, 40.2, 40, 0.999]]}


def test_shape_and_sums():
    report, scored = scored_set([*random_images(np.random.default_rng(1)), ANCHOR])
    analysis = analyse(report, scored, flags_for(scored, {}), name="mine", landmarks={"nme": 0.03})
    json.dumps(analysis, allow_nan=False)
    assert list(analysis) == ["version", "runs"] and analysis["version"] == 1
    run = analysis["runs"][0]
    assert list(run) == ["name", "report", "iou", "operating_point", "groups", "misses", "false_alarms", "worst_images",
                         "landmarks", "summary"]
    assert (run["name"], run["landmarks"]) == ("mine", {"nme": 0.03})
    point = run["operating_point"]
    for family, groups in run["groups"].items():
        assert sum(group["faces"] for group in groups) == point["faces"], family
        assert sum(group["missed"] for group in groups) == point["faces"] - point["found"], family
        assert sum(group["share"] for group in groups) == pytest.approx(1)
    assert list(run["groups"]) == ["event", "height", *LEVELS]
    assert list(run_of([ANCHOR])["groups"]) == ["event", "height"]
    assert run_of([ANCHOR])["name"] == "run" and run_of([ANCHOR])["landmarks"] is None


def test_no_detection_and_no_hit():
    run = run_of([("0--E", [[0, 0, 40, 40]], [0], [])])
    assert run["operating_point"] == {"score": None, "precision": 0, "recall": 0, "f1": 0, "false_alarms_per_image": 0,
                                      "found": 0, "faces": 1}
    assert run["misses"][0]["why"] == "no box" and "Without any detection" in run["summary"][0]
    assert run["groups"]["height"] == [{"name": "32-64 px", "faces": 1, "share": 1, "ap": 0, "recall": 0, "missed": 1}]
    run = run_of([("0--E", [[0, 0, 40, 40]], [0], [[90, 90, 5, 5, 0.5], [20, 0, 40, 40, 0.25]])])
    assert run["operating_point"]["score"] == 0.25 and run["operating_point"]["false_alarms_per_image"] == 2
    assert run["misses"][0]["why"] == "box too loose"
    format_analysis({"version": 1, "runs": [run]})


def test_nothing_counts():
    with pytest.raises(InputError, match="the hard subset of these 1 images has none"):
        run_of([("0--E", [[0, 0, 40, 40]], [], [])])


def test_curves_are_thinned_and_look_the_same():
    t = np.linspace(0, 1, 1000)
    recall, precision = 0.9 * t ** 0.3, 1 - 0.8 * t ** 4 + 0.01 * np.sin(40 * t)
    points = np.column_stack([recall, precision])
    thin = thin_curve(points, 200)
    assert 150 < len(thin) <= 200 and np.array_equal(thin[[0, -1]], points[[0, -1]])
    # A plot of 500 pixels: nowhere more than a pixel beside the line.
    assert np.abs(np.interp(recall, thin[:, 0], thin[:, 1]) - precision).max() < 1 / 500
    assert thin_curve(np.ones((1000, 2)), 200).tolist() == [[1, 1]]


def test_report_keeps_all_points_unless_told():
    report, _ = scored_set(random_images(np.random.default_rng(2)))
    full = report_to_dict(report, curves=True)["curves"]["0.5"]["hard"]
    thin = report_to_dict(report, curves=True, points=CURVE_POINTS)["curves"]["0.5"]["hard"]
    assert len(full["recall"]) == 1000 and len(thin["recall"]) == len(thin["precision"]) <= 200
    assert "curves" not in report_to_dict(report)


@pytest.mark.slow
def test_published_predictions(shared_data, tmp_path):
    """The released RetinaFace MobileNet-0.25 on all of WIDER val."""
    with tarfile.open(shared_data / "predictions" / "retinaface_mnet025_full_val.tar.gz") as archive:
        archive.extractall(tmp_path)
    truth = load_ground_truth(shared_data / "wider" / "ground_truth")
    report, scored = score_set(next(path for path in tmp_path.iterdir() if path.is_dir()), truth)
    start = time.process_time()
    analysis = analyse(report, scored, find_flags(truth.folder))
    assert time.process_time() - start < 5
    write_analysis(tmp_path / "analysis.json", analysis)
    assert (tmp_path / "analysis.json").stat().st_size < 1 << 20
    run = analysis["runs"][0]
    point, groups = run["operating_point"], run["groups"]
    assert report.ap[0.5]["hard"] == pytest.approx(0.7382, abs=5e-4)
    assert point["faces"] == 31958 and 0.6 < point["recall"] < 0.7 and 0.75 < point["precision"] < 0.9
    for family in groups.values():
        assert sum(group["faces"] for group in family) == 31958
        assert sum(group["missed"] for group in family) == point["faces"] - point["found"]
    recall = [group["recall"] for group in groups["height"]]
    assert recall == sorted(recall), "larger faces are found more often"
    assert len(groups["event"]) == 61 and [len(run[key]) for key in ("misses", "false_alarms", "worst_images")] == [
        100, 100, 24]
    assert "Faces under 24 px" in run["summary"][1] and "heavy occlusion" in "".join(run["summary"])
    # All faces as one group: the AP of all.
    tally = make_tally(scored, 0.5, Flags("", {
        name: np.concatenate([table[:, :4], np.zeros((len(table), 6))], axis=1)
        for name, table in find_flags(truth.folder).images.items()}))
    assert group_faces(tally)["pose"][0]["ap"] == report.ap[0.5]["hard"]
