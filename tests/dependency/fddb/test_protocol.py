# SPDX-License-Identifier: Apache-2.0
"""FDDB's evaluation against a literal reading of the protocol, and the forms of its report."""
import json

import numpy as np
import pytest
from PIL import Image

from dependency.errors import InputError
from dependency.evaluate.fddb import protocol as fddb
from dependency.evaluate.fddb.files import load_fddb
from dependency.evaluate.fddb.overlap import ellipse_boxes
from tests.dependency.fddb.example_set import literal_overlap, random_image, write_rows, write_set, write_small_set


def every_matching(overlaps, scores):
    """{score: (found, sum of overlaps)}: the best of all one-to-one matchings, by trying every set of faces."""
    best, result = {0: (0.0, 0)}, {}
    for row in np.argsort(-scores, kind="stable"):
        tried = dict(best)
        for used, (total, found) in best.items():
            for face, overlap in enumerate(overlaps[row]):
                key, value = used | 1 << face, (total + overlap, found + (overlap > 0.5))
                if overlap > 0 and not used & 1 << face and value > tried.get(key, (-1.0, 0)):
                    tried[key] = value
        best = tried
        result[scores[row]] = max(best.values())
    return {score: (found, total) for score, (total, found) in result.items()}


def literal_curves(images):
    """[T, 2] false alarms and rate, discrete and continuous, of (overlaps [N, K], scores [N], K), score by score."""
    tables = [every_matching(overlaps, scores) for overlaps, scores, _ in images]
    faces, discrete, continuous = sum(count for *_, count in images), [], []
    for threshold in sorted({score for table in tables for score in table}, reverse=True):
        found = total = taken = 0
        for (_, scores, _), table in zip(images, tables):
            reached = [score for score in table if score >= threshold]
            if reached:
                found, total = found + table[min(reached)][0], total + table[min(reached)][1]
                taken += int((scores >= threshold).sum())
        discrete.append((taken - found, found / faces))
        continuous.append((taken - found, total / faces))
    return np.array(discrete), np.array(continuous)


@pytest.fixture
def small(tmp_path):
    return write_small_set(tmp_path)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_literal_protocol(seed, tmp_path):
    rng, size = np.random.default_rng(seed), (90, 120)
    for number in range(6):
        table = [random_image(rng) for _ in range(rng.integers(1, 6))]
        folder = tmp_path / str(number)
        folder.mkdir()
        write_set(folder, table)
        report = fddb.evaluate_fddb(folder / "pred", folder / "FDDB-folds")
        discrete, continuous = literal_curves(
            [(np.array([[literal_overlap(row[:4], ellipse, size) for ellipse in ellipses] for row in rows]),
              rows[:, 4], len(ellipses)) for ellipses, rows in table])
        np.testing.assert_allclose(report.discrete, discrete, atol=1e-12)
        np.testing.assert_allclose(report.continuous, continuous, atol=1e-12)
        assert report.faces == sum(len(ellipses) for ellipses, _ in table) and report.protocol["clipped"]
        assert report.false_alarms == discrete[-1, 0]
        for alarms in (0, 1, 3, 100):
            within = [rate for count, rate in discrete if count <= alarms]
            assert fddb.rate_at(report.discrete, alarms) == pytest.approx(within[-1] if within else 0.0)


def test_matching_at_every_score():
    # The second detection takes the first face, so that the first one must move to the second face.
    levels = fddb.match_image(np.array([[0.7, 0.55], [0.6, 0.0]]), np.array([0.9, 0.8]))
    assert levels.found.tolist() == [1, 2] and levels.overlap.tolist() == pytest.approx([0.7, 1.15])
    # The largest sum is taken even where fewer pairs are over one half: 0.9 + 0.2 against 0.55 + 0.51.
    levels = fddb.match_image(np.array([[0.9, 0.55], [0.51, 0.2]]), np.array([0.5, 0.5]))
    assert levels.found.tolist() == [1] and levels.overlap.tolist() == pytest.approx([1.1])
    assert fddb.match_image(np.array([[0.5]]), np.array([1.0])).found.tolist() == [0]       # 0.5 is not over 0.5


def test_report_and_its_forms(small):
    report = fddb.evaluate_fddb(small / "pred", small / "FDDB-folds", false_alarms=(0, 1, 100))
    assert report.rates["discrete"] == {0: pytest.approx(2 / 3), 1: pytest.approx(2 / 3), 100: pytest.approx(2 / 3)}
    assert 0.5 < report.rates["continuous"][0] < 2 / 3 and report.folds == (1, 2) and report.false_alarms == 2
    assert report.discrete.tolist() == [[0, 1 / 3], [0, 2 / 3], [1, 2 / 3], [2, 2 / 3]]
    lines = fddb.format_fddb(report).splitlines()
    assert lines[0].startswith("protocol: FDDB, 2 of 10 folds, 3 of 3 images scored") and len(lines) == 6
    assert lines[-1].split()[:2] == ["100", "0.666667"]
    plain = json.loads(json.dumps(fddb.fddb_to_dict(report, curves=True), allow_nan=False))
    assert plain["rates"]["discrete"]["1"] == pytest.approx(2 / 3)
    assert plain["curves"]["false_positives"] == [0, 0, 1, 2] and plain["curves"]["score"] == [0.9, 0.8, 0.7, 0.6]
    assert "curves" not in fddb.fddb_to_dict(report)
    assert fddb.plot_fddb([report, report], small / "plots" / "fddb.png")
    assert Image.open(small / "plots" / "fddb.png").width > 800


def test_missing_predictions(small):
    (small / "pred" / "2002/08/02/big/img_2.txt").unlink()
    with pytest.raises(InputError, match="2002/08/02/big/img_2"):
        fddb.evaluate_fddb(small / "pred", small)
    allowed = fddb.evaluate_fddb(small / "pred", small, allow_missing=True)
    assert allowed.rates["discrete"][100] == pytest.approx(2 / 3) and allowed.missing == ("2002/08/02/big/img_2",)
    part = fddb.evaluate_fddb(small / "pred", small, only_predicted=True)
    assert part.rates["discrete"][100] == 1.0 and (part.scored, part.faces) == (2, 2)
    with pytest.raises(InputError):
        fddb.evaluate_fddb(small / "pred", small, allow_missing=True, only_predicted=True)


def test_no_detection_at_all(small):
    for path in (small / "pred").rglob("*.txt"):
        path.write_text("name.jpg\n0\n")
    report = fddb.evaluate_fddb(small / "pred", small)
    assert report.rates["discrete"] == dict.fromkeys(fddb.FALSE_ALARMS, 0.0) and report.discrete.shape == (0, 2)
    assert len(report.warnings) == 1 and report.false_alarms == 0
    fddb.format_fddb(report)
    fddb.plot_fddb([report], small / "plot.png")


def test_detected_ellipses_are_scored_as_ellipses(small):
    rows = {"2002/08/00/big/img_0.jpg": "30 20 1.570796 60 45 0.9", "2002/08/02/big/img_2": "30 20 0 60 45 .8"}
    (small / "fold-01-out.txt").write_text("".join(f"{name}\n1\n{row}\n" for name, row in rows.items()))
    report = fddb.evaluate_fddb(small / "fold-01-out.txt", small, only_predicted=True)
    across = literal_overlap([30, 20, 0, 60, 45], [30, 20, np.pi / 2, 60, 45], (90, 120))
    assert report.continuous[:, 1].tolist() == pytest.approx([0.5, (1 + across) / 2])
    assert report.discrete[-1].tolist() == ([0, 1] if across > 0.5 else [1, 0.5])


def test_the_folds_themselves(shared_data, tmp_path):
    """On the real folds, the bounding boxes of all ellipses find every face; those of others are false alarms."""
    images = load_fddb(shared_data / "fddb")
    assert (len(images), sum(len(image.ellipses) for image in images)) == (2306, 4136)
    assert {image.fold for image in images} == set(range(1, 9)) and all(image.size for image in images)
    for image in images[::9]:
        boxes = ellipse_boxes(image.ellipses)
        rows = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], np.full(len(boxes), 0.9)])
        rows = np.concatenate([rows, [[-90, -90, 20, 20, 0.5]]])
        write_rows(tmp_path / f"{image.name}.txt", f"{image.name}.jpg", rows)
    report = fddb.evaluate_fddb(tmp_path, images, only_predicted=True)
    assert report.discrete.tolist() == [[0, 1], [report.scored, 1]]
    assert report.continuous[0, 1] == pytest.approx(np.pi / 4, abs=0.02), "an ellipse's share of its box"
