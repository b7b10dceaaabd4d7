# SPDX-License-Identifier: Apache-2.0
import tracemalloc

import numpy as np
import pytest

from src.retinaface.anchors import decode_bbox, decode_landm, prior_box
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


@pytest.mark.parametrize("options", [{"as_reference": True}, {"ignore_tiny": False}, {}])
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
    loc, conf, _ = matched(boxes, labels, as_reference=True)
    np.testing.assert_array_equal(conf, expected)
    np.testing.assert_allclose(decode_bbox(loc, LARGE, VARIANCES)[conf != 0], boxes[owner[conf != 0]], atol=1e-5)


@pytest.mark.parametrize("options", [{"as_reference": True}, {}])
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


@pytest.mark.parametrize("seed", range(3))
def test_every_face_over_the_gate_gets_an_anchor(seed):
    boxes = random_faces(seed, 40)
    valid = np.flatnonzero(overlaps(boxes, LARGE).max(axis=1) >= 0.2)
    owner = owners(boxes)
    assert 15 < len(valid) < 40
    assert set(owner) - {-1} == set(valid)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_file_does_not_matter(seed):
    boxes = random_faces(seed, 60, smallest=6, largest=60)
    order = np.random.default_rng(seed).permutation(60)
    first, second = owners(boxes), owners(boxes[order])
    np.testing.assert_array_equal(first, np.where(second >= 0, order[second], -1))
    for as_reference, changes in ((True, True), (False, False)):
        loc = matched(boxes, as_reference=as_reference)[0], matched(boxes[order], as_reference=as_reference)[0]
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
    assert set(owners(boxes, as_reference=True)) == {-1, 1}


def test_a_tiny_face_robs_nobody():
    """The reference lets a face under the gate take the best anchor of another."""
    face = np.array((92, 92, 108, 108)) / 320
    tiny = np.array((99, 99, 101, 101)) / 320
    boxes = np.array([face, tiny])
    best = overlaps(boxes, LARGE).argmax(axis=1)
    assert best[0] == best[1]
    assert owners(boxes)[best[0]] == 0 and owners(boxes, as_reference=True)[best[0]] == 1


def test_tiny_faces_are_ignored_not_background():
    tiny = np.array([(100, 100, 105, 105)]) / 320
    conf = matched(tiny)[1]
    table = overlaps(tiny, LARGE)[0]
    assert set(conf) == {0, IGNORED} and conf[table.argmax()] == IGNORED
    np.testing.assert_array_equal(conf == IGNORED, table >= table.max() / 2)
    assert (conf == IGNORED).sum() < 8, "large anchors around it stay background"
    assert not matched(tiny, ignore_tiny=False)[1].any() and not matched(tiny, as_reference=True)[1].any()


def test_faces_to_ignore_are_neither_face_nor_background():
    box = np.array([(100, 100, 164, 164)]) / 320
    face, conf = matched(box)[1], matched(box, np.array([IGNORED]))[1]
    assert set(conf) == {0, IGNORED}
    assert (conf[face == 1] == IGNORED).all() and (conf == IGNORED).sum() > (face == 1).sum()
    centre = abs(LARGE[:, :2] * 320 - 132).max(axis=1)
    side = LARGE[:, 2] * 320
    assert (conf[(centre + side / 2 < 32)] == IGNORED).all(), "small anchors inside it"
    assert (conf[centre - side / 2 > 32] == 0).all(), "anchors beside it"
    np.testing.assert_array_equal(matched(box, np.array([IGNORED]), ignore_tiny=False)[1], conf)
    assert not matched(box, np.array([IGNORED]), as_reference=True)[1].any()


def test_a_face_beside_an_ignored_one_keeps_its_anchors():
    face, other = np.array((100, 100, 164, 164)) / 320, np.array((110, 105, 180, 160)) / 320
    alone = matched([face])[1] == 1
    both = matched([other, face], np.array([IGNORED, 1]))[1]
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
