# SPDX-License-Identifier: Apache-2.0
import tracemalloc

import numpy as np
import pytest

from dependency.errors import InputError
from src.retinaface.anchors import MIN_SIZES, STEPS, decode_bbox, decode_landm, prior_box
from src.retinaface.matching import IGNORED, _Overlaps, match
from tests.retinaface import sample_faces
from tests.retinaface.sample_faces import PRIORS, SIDE, VARIANCES

LARGE = prior_box((320, 320))


def overlaps(boxes, priors):
    """IoU [G, N], all pairs at once."""
    boxes = np.asarray(boxes, np.float64)[:, None]
    corners = np.concatenate([priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2], axis=1)
    sides = np.minimum(boxes[..., 2:], corners[:, 2:]) - np.maximum(boxes[..., :2], corners[:, :2])
    common = sides.clip(0).prod(axis=-1)
    return common / ((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) + priors[:, 2:].prod(axis=1) - common)


def random_faces(seed, count, smallest=4, largest=150, side=320):
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(smallest), np.log(largest), (count, 1))) * rng.uniform(0.8, 1.2, (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * (side - sides)
    return (np.concatenate([corner, corner + sides], axis=1) / side).astype(np.float32)


def matched(boxes, labels=None, priors=LARGE, **options):
    labels = np.ones(len(boxes), int) if labels is None else labels
    return match(0.35, np.asarray(boxes), priors, VARIANCES, labels, np.zeros((len(boxes), 10)), **options)


def owners(boxes, **options):
    """Face of every anchor, -1 = none: the landmarks carry each face's number."""
    numbers = np.repeat(np.arange(len(boxes), dtype=np.float32)[:, None], 10, axis=1)
    _, conf, landm = match(0.35, np.asarray(boxes), LARGE, VARIANCES, np.ones(len(boxes), int), numbers, **options)
    return np.where(conf == 1, np.rint(decode_landm(landm, LARGE, VARIANCES)[:, 0]), -1).astype(int)


@pytest.mark.parametrize("options", [{"matching": "reference"}, {"ignore_tiny": False}, {}])
def test_published_positives_and_codes(options):
    loc, conf, landm = sample_faces.targets(**options)
    assert list(np.flatnonzero(conf[0] == 1)) == [18, 20, 34, 36]
    assert list(np.flatnonzero(conf[0] == -1)) == [43, 45, 57, 59, 61, 73, 75, 77, 91]
    assert list(np.flatnonzero(conf[1] == 1)) == [54, 55, 56, 57, 69, 70, 71, 72, 73, 75, 87, 89]
    np.testing.assert_allclose(loc[0, 18], (2.5, 2.5, 0, 0), atol=1e-5)
    np.testing.assert_allclose(landm[0, 18], (0, .625, 5, .625, 2.5, 2.5, .625, 5, 4.375, 5), atol=1e-5)
    np.testing.assert_allclose(loc[1, 54], (2.5, 3.75, 2.0273297, 2.7980800), atol=1e-5)
    assert (loc.dtype, conf.dtype, landm.dtype) == (np.float32, np.int32, np.float32)


def as_the_reference(boxes, labels, threshold=0.35, gate=0.2):
    """Steps 1 to 5 of the reference with whole matrices: owner and class of every anchor.

    A small face lies wholly in several anchors: rounding says which of them is the best, so it must be the same.
    """
    rows = _Overlaps(boxes, LARGE)
    table = np.array([rows.row(face).copy() for face in range(len(boxes))])
    np.testing.assert_allclose(table, overlaps(boxes, LARGE), atol=5e-6)
    nearest, valid = table.argmax(axis=1), table.max(axis=1) >= gate
    owner, best = table.argmax(axis=0), table.max(axis=0)
    if not valid.any():
        return owner, np.zeros(len(owner), int)
    best[nearest[valid]] = 2
    for face, anchor in enumerate(nearest):
        owner[anchor] = face
    return owner, np.where(best >= threshold, labels[owner], 0)


@pytest.mark.parametrize("seed, count", [(0, 1), (1, 5), (2, 60), (3, 400)])
def test_as_reference_is_the_reference(seed, count):
    boxes = random_faces(seed, count)
    labels = np.random.default_rng(seed).choice([1, -1], count)
    owner, expected = as_the_reference(boxes, labels)
    loc, conf, _ = matched(boxes, labels, matching="reference")
    np.testing.assert_array_equal(conf, expected)
    np.testing.assert_allclose(decode_bbox(loc, LARGE, VARIANCES)[conf != 0], boxes[owner[conf != 0]], atol=1e-5)


@pytest.mark.parametrize("options", [{"matching": "reference"}, {}])
@pytest.mark.parametrize("side, positives", [(6, 0), (9, 1), (64, 9.0), (128, 36)])
def test_positives_of_isolated_faces(side, positives, options):
    """Means over random places; small faces are starved, large ones have many."""
    rng = np.random.default_rng(side)
    counts = []
    for _ in range(60):
        corner = rng.uniform(140, 460, 2)
        box = np.concatenate([corner, corner + side])[None] / 640
        counts.append((matched(box, priors=prior_box((640, 640)), **options)[1] == 1).sum())
    assert np.mean(counts) == pytest.approx(positives, rel=0.12, abs=0.05)


@pytest.mark.parametrize("matching", ["own", "atss"])
@pytest.mark.parametrize("seed", range(3))
def test_every_face_over_the_gate_gets_an_anchor(seed, matching):
    boxes = random_faces(seed, 40)
    valid = np.flatnonzero(overlaps(boxes, LARGE).max(axis=1) >= 0.2)
    owner = owners(boxes, matching=matching)
    assert 15 < len(valid) < 40
    assert set(owner) - {-1} == set(valid)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_file_does_not_matter(seed):
    boxes = random_faces(seed, 60, smallest=6, largest=60)
    order = np.random.default_rng(seed).permutation(60)
    first, second = owners(boxes), owners(boxes[order])
    np.testing.assert_array_equal(first, np.where(second >= 0, order[second], -1))
    for matching, changes in (("reference", True), ("own", False), ("atss", False)):
        loc = matched(boxes, matching=matching)[0], matched(boxes[order], matching=matching)[0]
        assert (abs(loc[0] - loc[1]).max() > 1e-4) == changes, "the reference robs faces by their order"


def test_a_face_takes_the_threshold_or_its_best_anchor():
    boxes = random_faces(1, 1, 40, 41)
    table = overlaps(boxes, LARGE)[0]
    np.testing.assert_array_equal(matched(boxes)[1] == 1, table >= 0.35)
    small = random_faces(1, 1, 8, 8.1)
    table = overlaps(small, LARGE)[0]
    assert 0.2 < table.max() < 0.35
    assert list(np.flatnonzero(matched(small)[1] == 1)) == [table.argmax()]


def test_two_faces_with_the_same_best_anchor():
    """The nearer one gets it, the other its next best, whichever comes first; the reference drops one of them."""
    near = np.array((92, 92, 108, 108)) / 320
    boxes = np.array([near, near + np.array((1, 1, 1, 1)) / 320])
    table = overlaps(boxes, LARGE)
    best, other = table[0].argmax(), np.argsort(table[1])[-2]
    assert table[1].argmax() == best and table[0, best] > table[1, best]
    for order in ((0, 1), (1, 0)):
        owner = owners(boxes[list(order)])
        assert order[owner[best]] == 0 and order[owner[other]] == 1
    assert set(owners(boxes, matching="reference")) == {-1, 1}


def test_a_tiny_face_robs_nobody():
    """The reference lets a face under the gate take the best anchor of another."""
    face = np.array((92, 92, 108, 108)) / 320
    tiny = np.array((99, 99, 101, 101)) / 320
    boxes = np.array([face, tiny])
    best = overlaps(boxes, LARGE).argmax(axis=1)
    assert best[0] == best[1]
    assert owners(boxes)[best[0]] == 0 and owners(boxes, matching="reference")[best[0]] == 1


def chosen_by_atss(box):
    """Algorithm 1 of Zhang et al. 2020 for one face, its cells sorted level by level: numbers of its anchors."""
    box, candidates, first = np.asarray(box, np.float64), [], 0
    for step, sizes in zip(STEPS, MIN_SIZES):
        cells = -(-320 // step)
        rows, columns = np.divmod(np.arange(cells * cells), cells)
        centres = (np.stack([columns, rows], axis=1) + 0.5) * step / 320
        nearest = np.argsort(np.hypot(*(centres - (box[:2] + box[2:]) / 2).T))[:9]
        candidates += [first + len(sizes) * cell + size for cell in nearest for size in range(len(sizes))]
        first += len(sizes) * cells * cells
    iou = overlaps(box[None], LARGE)[0, candidates]
    centres = LARGE[candidates, :2]
    inside = ((centres > box[:2]) & (centres < box[2:])).all(axis=1)
    return {anchor for anchor, is_chosen in zip(candidates, inside & (iou >= np.mean(iou) + np.std(iou))) if is_chosen}


def test_atss_of_one_face_by_hand():
    """Of 54 candidates the mean is 0.184 and the standard deviation 0.177: the threshold of this face is 0.361.

    The nine anchors of 32 pixels around its centre overlap it by 0.426, 0.519 or 0.640, and of the nine of 64 pixels
    the four that contain it by 0.391; their neighbours reach 0.290, all others less.
    """
    conf = matched(np.array([(80, 80, 120, 120)]) / 320, matching="atss")[1]
    found = np.rint(LARGE[conf == 1] * 320).astype(int)
    expected = [(x, y, 32, 32) for y in (92, 100, 108) for x in (92, 100, 108)]
    expected += [(x, y, 64, 64) for y in (88, 104) for x in (88, 104)]
    assert list(map(tuple, found)) == expected and set(conf) == {0, 1}


def test_anchors_that_are_equally_near_are_candidates_alike():
    """The centre of this face is the corner of a cell: 12 cells are the nearest, not 9 of them in some order."""
    box = np.array([(76, 86, 116, 106)]) / 320
    found = np.rint(LARGE[matched(box, matching="atss")[1] == 1] * 320)[:, :2] - 96
    assert len(found) and sorted(map(tuple, found)) == sorted(map(tuple, -found))


@pytest.mark.parametrize("seed", range(5))
def test_atss_is_the_published_algorithm(seed):
    boxes = random_faces(seed, 40, smallest=12)
    lonely = [set(np.flatnonzero(matched(box[None], matching="atss")[1] == 1)) for box in boxes]
    table = overlaps(boxes, LARGE)
    algorithm = [chosen_by_atss(box) for box in boxes]
    for face, anchors in enumerate(lonely):
        assert anchors == algorithm[face] | {table[face].argmax()}
    owner = owners(boxes, matching="atss")
    forced = {int(row.argmax()) for row in table}
    for anchor in set().union(*algorithm) - forced:
        rivals = [face for face in range(40) if anchor in algorithm[face]]
        assert owner[anchor] == max(rivals, key=lambda face: table[face, anchor])
    assert np.mean([len(anchors) for anchors in lonely]) > 4


def test_an_unknown_matching_is_refused():
    with pytest.raises(InputError, match="no matching 'reference2': expected one of own, atss, reference"):
        matched(random_faces(0, 1), matching="reference2")


@pytest.mark.parametrize("matching", ["own", "atss"])
def test_tiny_faces_are_ignored_not_background(matching):
    tiny = np.array([(100, 100, 105, 105)]) / 320
    conf = matched(tiny, matching=matching)[1]
    table = overlaps(tiny, LARGE)[0]
    assert set(conf) == {0, IGNORED} and conf[table.argmax()] == IGNORED
    np.testing.assert_array_equal(conf == IGNORED, table >= table.max() / 2)
    assert (conf == IGNORED).sum() < 8, "large anchors around it stay background"
    assert not matched(tiny, ignore_tiny=False, matching=matching)[1].any()
    assert not matched(tiny, matching="reference")[1].any()


def test_faces_to_ignore_are_neither_face_nor_background():
    box = np.array([(100, 100, 164, 164)]) / 320
    face, conf = matched(box)[1], matched(box, np.array([IGNORED]))[1]
    assert set(conf) == {0, IGNORED}
    assert (conf[face == 1] == IGNORED).all() and (conf == IGNORED).sum() > (face == 1).sum()
    centre = abs(LARGE[:, :2] * 320 - 132).max(axis=1)
    side = LARGE[:, 2] * 320
    assert (conf[(centre + side / 2 < 32)] == IGNORED).all(), "small anchors inside it"
    assert (conf[centre - side / 2 > 32] == 0).all(), "anchors beside it"
    for options in ({"ignore_tiny": False}, {"matching": "atss"}):
        np.testing.assert_array_equal(matched(box, np.array([IGNORED]), **options)[1], conf)
    assert not matched(box, np.array([IGNORED]), matching="reference")[1].any()


@pytest.mark.parametrize("matching", ["own", "atss"])
def test_a_face_beside_an_ignored_one_keeps_its_anchors(matching):
    face, other = np.array((100, 100, 164, 164)) / 320, np.array((110, 105, 180, 160)) / 320
    alone = matched([face], matching=matching)[1] == 1
    both = matched([other, face], np.array([IGNORED, 1]), matching=matching)[1]
    np.testing.assert_array_equal(both == 1, alone)


def test_the_nearest_of_too_many_faces_gets_the_only_anchor():
    boxes = np.array([(4, 4, 18, 20), (4, 4, 20, 20), (4, 4, 19, 20)]) / SIDE
    priors = PRIORS[18:19]
    loc, conf, _ = matched(boxes, priors=priors)
    assert list(conf) == [1]
    np.testing.assert_allclose(decode_bbox(loc, priors, VARIANCES)[0], boxes[1], atol=1e-5)


def test_no_face_is_all_background():
    loc, conf, landm = match(0.35, np.zeros((0, 4)), PRIORS, VARIANCES, np.zeros(0), np.zeros((0, 10)))
    assert loc.shape == (168, 4) and landm.shape == (168, 10) and not conf.any()


def test_targets_are_finite_and_zero_without_a_face():
    loc, conf, landm = matched(random_faces(5, 200, 2, 300))
    assert np.isfinite(loc).all() and np.isfinite(landm).all()
    assert not loc[(conf == 0) | (conf == IGNORED)].any()


def test_two_thousand_faces_take_little_memory():
    boxes = random_faces(0, 2000, 6, 40, side=840)
    priors = prior_box((840, 840))
    tracemalloc.start()
    conf = matched(boxes, priors=priors)[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (conf == 1).sum() > 1500
    assert peak < 12e6, "one matrix of overlaps has 233 MB"
