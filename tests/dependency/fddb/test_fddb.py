# SPDX-License-Identifier: Apache-2.0
"""FDDB's evaluation: against a literal reading of the protocol, its files in both directions, odd inputs."""
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from dependency.errors import InputError
from dependency.evaluate.fddb import protocol as fddb
from dependency.evaluate.fddb.files import fold_lists, load_fddb, parse_ellipse, read_detections, write_fold_files
from dependency.evaluate.fddb.overlap import box_overlaps_ellipses, ellipse_boxes, ellipse_overlaps, paint_ellipse


def painted(shape, size):
    """The whole image's mask of one box [4] or ellipse [5], drawn as the official program draws it."""
    mask = np.zeros(size, np.uint8)
    if len(shape) == 4:
        x, y, w, h = shape
        ends = np.rint(np.float32([x, y, x + w, y + h])).astype(int).tolist()
        cv2.rectangle(mask, tuple(ends[:2]), tuple(ends[2:]), 255, cv2.FILLED)
    else:
        major, minor, angle, x, y = shape
        centre = tuple(np.rint(np.float32([x, y])).astype(int).tolist())
        cv2.ellipse(mask, centre, (int(major), int(minor)), float(np.degrees(angle)), 0, 360, 255, cv2.FILLED)
    return mask > 0


def literal_overlap(one, two, size):
    a, b = painted(one, size), painted(two, size)
    return (a & b).sum() / max((a | b).sum(), 1)


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


def random_image(rng, size=(90, 120)):
    """Ellipses (some over the border), and boxes round about them and elsewhere, with few distinct scores."""
    count = rng.integers(1, 5)
    ellipses = np.column_stack([rng.uniform(6, 30, (count, 2)), rng.uniform(-2, 2, count),
                                rng.uniform(0, 120, count), rng.uniform(0, 90, count)])
    around = ellipse_boxes(ellipses[rng.integers(count, size=rng.integers(0, 9))]) + rng.normal(0, 5, (1, 4))
    boxes = np.concatenate([around, rng.uniform(0, 90, (2, 4))]).reshape(-1, 4)
    boxes[:, 2:] = np.abs(boxes[:, 2:] - boxes[:, :2])
    boxes += rng.normal(0, 2, boxes.shape)
    return ellipses, np.column_stack([boxes, rng.integers(0, 12, len(boxes)) / 11])


def write_set(folder, table, fold_of=lambda index: 1 + index % 2, size=(90, 120)):
    """FDDB-folds, originalPics and a prediction tree of [(ellipses, rows)] below `folder`; the names by fold."""
    names = [f"2002/08/{index:02d}/big/img_{index}" for index in range(len(table))]
    for fold in sorted({fold_of(index) for index in range(len(table))}):
        lines = []
        for index, (ellipses, _) in enumerate(table):
            if fold_of(index) == fold:
                lines += [names[index], str(len(ellipses)), *(" ".join(map(repr, row)) + "  1" for row in
                                                              ellipses.tolist())]
        path = folder / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    for name, (_, rows) in zip(names, table):
        picture, prediction = folder / "originalPics" / f"{name}.jpg", folder / "pred" / f"{name}.txt"
        for path in (picture, prediction):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size[::-1]).save(picture)
        prediction.write_text("\n".join([f"{name}.jpg", str(len(rows)), *(" ".join(map(repr, row)) for row in
                                                                          rows.tolist())]) + "\n")
    return names


def test_box_that_holds_an_ellipse():
    np.testing.assert_allclose(ellipse_boxes([[20, 10, 0, 50, 40], [20, 10, np.pi / 2, 50, 40]]),
                               [[30, 30, 70, 50], [40, 20, 60, 60]], atol=1e-9)
    turn = np.linspace(0, 2 * np.pi, 100001)
    along, across = 37 * np.cos(turn), 22 * np.sin(turn)
    x, y = 5 + along * np.cos(1.2) - across * np.sin(1.2), 6 + along * np.sin(1.2) + across * np.cos(1.2)
    np.testing.assert_allclose(ellipse_boxes([37, 22, 1.2, 5, 6])[0], [x.min(), y.min(), x.max(), y.max()], atol=1e-6)


def test_a_painted_ellipse_has_the_area_of_the_exact_one():
    for size in (None, (400, 500)):
        mask = paint_ellipse(np.array([100.9, 60.9, 0.7, 250.4, 200.4]), size)
        assert mask.pixels.sum() == pytest.approx(np.pi * 100 * 60, rel=0.02)     # half axes lose their fractions
    assert paint_ellipse(np.array([10, 5, 0.0, 0, 200]), (100, 100)).pixels.size == 0
    whole, half = (paint_ellipse(np.array([30, 20, 0.0, 0, 50]), size).pixels.sum() for size in (None, (100, 100)))
    assert half / whole == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_equal_masks_of_the_whole_image(seed):
    rng, size, touched = np.random.default_rng(seed), (90, 120), 0
    for _ in range(15):
        ellipses, rows = random_image(rng)
        others = ellipses + rng.normal(0, 2, ellipses.shape) * [1, 1, 0.1, 1, 1]
        boxes = np.concatenate([rows[:, :4], [[10, 10, -5, 20], [200, 200, 20, 20], [-50, -50, 500, 500]]])
        got, got_ellipses = box_overlaps_ellipses(boxes, ellipses, size), ellipse_overlaps(others, ellipses, size)
        for column, ellipse in enumerate(ellipses):
            np.testing.assert_array_equal(got[:, column], [literal_overlap(box, ellipse, size) for box in boxes])
            np.testing.assert_array_equal(got_ellipses[:, column],
                                          [literal_overlap(other, ellipse, size) for other in others])
        touched += np.count_nonzero(got) + np.count_nonzero(got_ellipses)
    assert touched > 100


def test_without_a_size_nothing_is_clipped():
    ellipse, box = np.array([[30, 20, 0.3, -5.0, 10.0]]), np.array([[-40, -20, 60, 60.0]])
    shifted = ellipse + [0, 0, 0, 100, 100], box + [100, 100, 0, 0]
    assert box_overlaps_ellipses(box, ellipse)[0, 0] == literal_overlap(shifted[1][0], shifted[0][0], (300, 300))
    assert box_overlaps_ellipses(box, ellipse, (100, 100))[0, 0] != box_overlaps_ellipses(box, ellipse)[0, 0]


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


def test_the_matching_is_made_anew_at_every_score():
    # The second detection takes the first face, so that the first one must move to the second face.
    levels = fddb.match_image(np.array([[0.7, 0.55], [0.6, 0.0]]), np.array([0.9, 0.8]))
    assert levels.found.tolist() == [1, 2] and levels.overlap.tolist() == pytest.approx([0.7, 1.15])
    # The largest sum is taken even where fewer pairs are over one half: 0.9 + 0.2 against 0.55 + 0.51.
    levels = fddb.match_image(np.array([[0.9, 0.55], [0.51, 0.2]]), np.array([0.5, 0.5]))
    assert levels.found.tolist() == [1] and levels.overlap.tolist() == pytest.approx([1.1])
    assert fddb.match_image(np.array([[0.5]]), np.array([1.0])).found.tolist() == [0]       # 0.5 is not over 0.5


@pytest.fixture
def small(tmp_path):
    """Three images in two folds, one face each: found, found, missed by a false alarm of the lowest score."""
    face = np.array([[30.0, 20.0, np.pi / 2, 60, 45]])
    hit, miss = [40.0, 15, 40, 60], [0.0, 0, 20, 20]
    write_set(tmp_path, [(face, np.array([[*hit, 0.9]])), (face, np.array([[*hit, 0.8], [*miss, 0.7]])),
                         (face, np.array([[*miss, 0.6]]))])
    return tmp_path


def test_report_and_its_forms(small):
    report = fddb.evaluate_fddb(small / "pred", small / "FDDB-folds", false_alarms=(0, 1, 100))
    assert report.rates["discrete"] == {0: pytest.approx(2 / 3), 1: pytest.approx(2 / 3), 100: pytest.approx(2 / 3)}
    assert 0.5 < report.rates["continuous"][0] < 2 / 3 and report.folds == (1, 2) and report.false_alarms == 2
    assert report.discrete.tolist() == [[0, 1 / 3], [0, 2 / 3], [1, 2 / 3], [2, 2 / 3]]
    text = fddb.format_fddb(report)
    assert "2 of 10 folds, 3 of 3 images" in text and "100  0.666667" in text and "(all detections give 2)" in text
    plain = json.loads(json.dumps(fddb.fddb_to_dict(report, curves=True), allow_nan=False))
    assert plain["rates"]["discrete"]["1"] == pytest.approx(2 / 3)
    assert plain["curves"]["false_positives"] == [0, 0, 1, 2] and plain["curves"]["score"] == [0.9, 0.8, 0.7, 0.6]
    assert "curves" not in fddb.fddb_to_dict(report)
    assert fddb.plot_fddb([report, report], small / "plots" / "fddb.png")
    assert Image.open(small / "plots" / "fddb.png").width > 800


def test_missing_predictions(small):
    (small / "pred" / "2002/08/02/big/img_2.txt").unlink()
    with pytest.raises(InputError, match="1 of 3 images have no prediction .*2002/08/02/big/img_2; .*--allow_missing"):
        fddb.evaluate_fddb(small / "pred", small)
    allowed = fddb.evaluate_fddb(small / "pred", small, allow_missing=True)
    assert allowed.rates["discrete"][100] == pytest.approx(2 / 3) and allowed.missing == ("2002/08/02/big/img_2",)
    assert "1 missing (their faces count as missed)" in fddb.format_fddb(allowed)
    part = fddb.evaluate_fddb(small / "pred", small, only_predicted=True)
    assert part.rates["discrete"][100] == 1.0 and (part.scored, part.faces) == (2, 2)
    with pytest.raises(InputError, match="give one"):
        fddb.evaluate_fddb(small / "pred", small, allow_missing=True, only_predicted=True)
    with pytest.raises(InputError, match="no such folder"):
        fddb.evaluate_fddb(small / "nowhere", small)
    (small / "empty").mkdir()
    with pytest.raises(InputError, match="holds no prediction: expected 2002/08/.*found nothing"):
        fddb.evaluate_fddb(small / "empty", small)


def test_no_detection_at_all(small):
    for path in (small / "pred").rglob("*.txt"):
        path.write_text("name.jpg\n0\n")
    report = fddb.evaluate_fddb(small / "pred", small)
    assert report.rates["discrete"] == dict.fromkeys(fddb.FALSE_ALARMS, 0.0) and report.discrete.shape == (0, 2)
    assert "no detection" in report.warnings[0] and report.false_alarms == 0
    fddb.format_fddb(report)
    fddb.plot_fddb([report], small / "plot.png")


def test_unknown_sizes_are_told(small):
    (small / "originalPics" / "2002/08/01/big/img_1.jpg").unlink()
    report = fddb.evaluate_fddb(small / "pred", small)
    assert "1 images is not known" in report.warnings[0] and "not clipped" in fddb.format_fddb(report)
    with pytest.raises(InputError, match="img_1.jpg: no such image"):
        load_fddb(small, small / "originalPics")
    assert [image.size for image in load_fddb(small)] == [(90, 120), (90, 120), None]      # fold 1, fold 1, fold 2


@pytest.mark.parametrize("where", ["FDDB-folds", ".", "FDDB-folds/FDDB-fold-01-ellipseList.txt"])
def test_folds_are_found(small, where):
    images = load_fddb(small / where)
    assert [image.name[-5:] for image in images][:2] == ["img_0", "img_2"] and images[0].size == (90, 120)
    assert images[0].fold == 1 and images[0].ellipses.tolist() == [[30, 20, np.pi / 2, 60, 45]]
    assert len(images) == (2 if where.endswith("txt") else 3)


def test_folds_stand_in_order_of_number(tmp_path):
    for fold in (10, 9, 1):
        (tmp_path / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(f"a{fold}\n1\n9 8 0 5 5 1\n")
    (tmp_path / "FDDB-fold-01.txt").write_text("a1\n")
    assert [image.fold for image in load_fddb(tmp_path)] == [1, 9, 10]
    assert fold_lists(tmp_path / "absent") == []
    with pytest.raises(InputError, match="give the folder FDDB-folds"):
        load_fddb(tmp_path / "absent")


@pytest.mark.parametrize("text, message", [
    ("a\n1\n9 8 0 5 5 1\nb\n2\n9 8 0 5 5\n", r":4: b has fewer rows than the 2"),
    ("a\n2\n9 8 0 5 5 1\nb\n1\n9 8 0 5 5\n", r":4: a has fewer rows than the 2"),
    ("a\n1\n9 8 0 5 5 1\n9 8 0 5 5 1\n", r":4: `9 8 0 5 5 1` is not followed"),
    ("a\nmany\n", ":1: `a` is not followed"), ("a\n", ":1: `a` is not followed"),
    ("a\n1\n9 8 0 5\n", ":3: `9 8 0 5` is not an ellipse"), ("a\n1\n9 0 0 5 5 1\n", ":3: .* half axes above 0"),
    ("a\n1\n9 8 nan 5 5 1\n", ":3: "), ("a\n1\n9 8 x 5 5 1\n", ":3: "), ("a\n1\n1e9 8 0 5 5 1\n", ":3: .* up to"),
    ("a\n1\n9 8 0 5 5 1\na\n1\n9 8 0 5 5 1\n", ":4: a is annotated a second time"),
])
def test_damaged_lists_are_named_by_line(tmp_path, text, message):
    path = tmp_path / "FDDB-fold-01-ellipseList.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=f"ellipseList.txt{message}"):
        load_fddb(tmp_path)
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InputError, match="not UTF-8"):
        load_fddb(tmp_path)


def test_ellipse_rows_may_leave_the_last_number_out():
    assert parse_ellipse(["9", "8", "-1.5", "5", "6"]) == parse_ellipse(["9", "8", "-1.5", "5", "6", "1"]) == [9, 8, -1.5, 5, 6]


def test_fold_files_round_trip_and_score_the_same(small):
    images = load_fddb(small)
    paths = write_fold_files(small / "pred", images, small / "out")
    assert [path.name for path in paths] == ["fold-01-out.txt", "fold-02-out.txt"]
    assert paths[1].read_text() == "2002/08/01/big/img_1\n2\n40.0 15.0 40.0 60.0 0.8\n0.0 0.0 20.0 20.0 0.7\n"
    first, second = (fddb.evaluate_fddb(pred, images) for pred in (small / "pred", small / "out"))
    np.testing.assert_array_equal(first.discrete, second.discrete)
    np.testing.assert_array_equal(first.continuous, second.continuous)
    whole = small / "all.txt"
    whole.write_text("".join(path.read_text() for path in paths))
    np.testing.assert_array_equal(fddb.evaluate_fddb(whole, images).discrete, first.discrete)
    (small / "pred" / "2002/08/01/big/img_1.txt").unlink()
    with pytest.raises(InputError, match="1 of 3 images have no prediction"):
        write_fold_files(small / "pred", images, small / "out2")
    write_fold_files(small / "pred", images, small / "out2", allow_missing=True)
    assert (small / "out2" / "fold-02-out.txt").read_text() == "2002/08/01/big/img_1\n0\n"


def test_detected_ellipses_are_scored_as_ellipses(small):
    rows = {"2002/08/00/big/img_0.jpg": "30 20 1.570796 60 45 0.9", "2002/08/02/big/img_2": "30 20 0 60 45 .8"}
    (small / "fold-01-out.txt").write_text("".join(f"{name}\n1\n{row}\n" for name, row in rows.items()))
    report = fddb.evaluate_fddb(small / "fold-01-out.txt", small, only_predicted=True)
    across = literal_overlap([30, 20, 0, 60, 45], [30, 20, np.pi / 2, 60, 45], (90, 120))
    assert report.continuous[:, 1].tolist() == pytest.approx([0.5, (1 + across) / 2])
    assert report.discrete[-1].tolist() == ([0, 1] if across > 0.5 else [1, 0.5])


@pytest.mark.parametrize("text, message", [
    ("1 2 3 4 .5\n1 2 3 4 5 .5", ":4: `1 2 3 4 5 .5` is not a detection"), ("1 2 3 4", ":3: "),
    ("1 2 3 4 nan", ":3: "), ("0 2 3 4 5 .5", ":3: "), ("1 2 3 4 5 6 7", ":3: ")])
def test_damaged_fold_files_are_named_by_line(small, text, message):
    path = small / "fold-01-out.txt"
    path.write_text(f"2002/08/00/big/img_0\n{text.count(chr(10)) + 1}\n{text}\n")
    with pytest.raises(InputError, match=f"fold-01-out.txt{message}"):
        fddb.evaluate_fddb(path, small, allow_missing=True)


def test_ambiguous_and_stray_predictions(small):
    images = load_fddb(small)
    (small / "pred" / "2004").mkdir()
    (small / "pred" / "2004" / "img_1.txt").write_text("1 2 3 4 .5\n")
    report = fddb.evaluate_fddb(small / "pred", images)
    assert "1 predictions belong to no annotated image" in report.warnings[0] and report.detections == 4
    write_fold_files(small / "pred", images, small / "pred")
    with pytest.raises(InputError, match="fold-01-out.txt and a tree"):
        read_detections(small / "pred", images)
    twice = small / "fold-01-out.txt"
    twice.write_text("a\n0\n" + (small / "pred" / "fold-01-out.txt").read_text() + "a.jpg\n0\n")
    with pytest.raises(InputError, match="a stands in .* already"):
        read_detections(twice, images)


def exact_overlaps(boxes, ellipses, size):
    """Intersection over union by the mathematical ellipse and box, counting the pixels whose middle lies inside."""
    rows, columns = np.mgrid[:size[0], :size[1]] + 0.5
    result = np.zeros((len(boxes), len(ellipses)))
    for face, (major, minor, angle, x, y) in enumerate(ellipses):
        along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        inside = (along / major) ** 2 + (across / minor) ** 2 <= 1
        for index, (left, top, width, height) in enumerate(boxes):
            row, column = (np.abs(line - start - extent / 2) <= extent / 2 for line, start, extent in
                           ((rows[:, 0], top, height), (columns[0], left, width)))
            shared = inside[row][:, column].sum()
            result[index, face] = shared / max(inside.sum() + row.sum() * column.sum() - shared, 1)
    return result


@pytest.mark.slow
def test_the_folds_themselves(shared_data, tmp_path):
    """Every ninth image of the real folds, boxes drawn on its faces and beside them: exact geometry, all matchings."""
    rng = np.random.default_rng(5)
    every = load_fddb(shared_data / "fddb")
    assert (len(every), sum(len(image.ellipses) for image in every)) == (2306, 4136)
    assert {image.fold for image in every} == set(range(1, 9)) and all(image.size for image in every)
    images, literal = [image for image in every if len(image.ellipses) < 12][::9], []
    for image in images:
        around = np.repeat(ellipse_boxes(image.ellipses), 4, axis=0)
        sides = around[:, 2:] - around[:, :2]
        beside = np.arange(len(around)) % 4 > 1
        boxes = np.concatenate([around[:, :2], sides], axis=1) + rng.normal(0, 0.08, around.shape) * np.tile(sides, 2)
        boxes[:, 0] += 0.7 * beside * sides[:, 0]
        rows = np.column_stack([boxes, (rng.random(len(boxes)) * (1 - 0.6 * beside)).round(3)])
        path = tmp_path / f"{image.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"{image.name}.jpg", str(len(rows)), *(" ".join(map(repr, row)) for row in
                                                                        rows.tolist())]))
        literal.append((exact_overlaps(boxes, image.ellipses, image.size), rows[:, 4], len(image.ellipses)))
    report = fddb.evaluate_fddb(tmp_path, images)
    discrete, continuous = literal_curves(literal)
    assert report.false_alarms > 500
    for alarms in (20, 50, 100, 200, 500):
        assert fddb.rate_at(report.discrete, alarms) == pytest.approx(fddb.rate_at(discrete, alarms), abs=0.005)
        # Painting cuts half axes down to whole pixels, which every overlap feels a little.
        assert fddb.rate_at(report.continuous, alarms) == pytest.approx(fddb.rate_at(continuous, alarms), abs=0.01)
