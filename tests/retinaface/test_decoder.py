# SPDX-License-Identifier: Apache-2.0
"""Decoding an output that was made from known faces gives those faces back, at any input size."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps
from dependency.errors import InputError
from src.retinaface.anchors import anchor_count, bbox_encode, landmark_encode, prior_box
from src.retinaface.decoder import decode_retinaface

SHAPE = 66, 97


def empty_output(shape=SHAPE):
    count = anchor_count(shape)
    conf = np.tile(np.float32([1, 0]), (count, 1))
    return [np.zeros((count, 4), np.float32), conf, np.zeros((count, 10), np.float32)]


def random_rows(seed, count, shape=SHAPE):
    """Faces [count, 15] with falling scores over 0.05, some beyond the input's border."""
    rng = np.random.default_rng(seed)
    size = np.array(shape[::-1])
    centres, half = rng.uniform(0, size, (count, 2)), rng.uniform(3, 60, (count, 2))
    scores = np.sort(rng.permutation(900)[:count] / 1000 + 0.05)[::-1]
    landmarks = rng.uniform(-0.2, 1.2, (count, 5, 2)) * size
    return np.concatenate([centres - half, centres + half, scores[:, None], landmarks.reshape(count, 10)],
                          axis=1).astype(np.float32)


def output_of(rows, shape=SHAPE, variance=(0.1, 0.2), clip=False, seed=0):
    """The output that means these faces, each at an anchor of its own."""
    bbox, conf, landm = empty_output(shape)
    size = np.array(shape[::-1], np.float32)
    chosen = np.random.default_rng(seed).permutation(len(conf))[:len(rows)]
    priors = prior_box(shape, clip=clip)[chosen]
    bbox[chosen] = bbox_encode(rows[:, :4] / np.tile(size, 2), priors, variance)
    landm[chosen] = landmark_encode(rows[:, 5:] / np.tile(size, 5), priors, variance)
    conf[chosen] = np.stack([1 - rows[:, 4], rows[:, 4]], axis=1)
    return bbox, conf, landm


@given(seed=st.integers(0, 10**6), count=st.integers(0, 60), height=st.integers(1, 300), width=st.integers(1, 300))
def test_known_faces_come_back_at_any_size(seed, count, height, width):
    count = min(count, anchor_count((height, width)))
    rows = random_rows(seed, count, (height, width))
    decoded = decode_retinaface(output_of(rows, (height, width), seed=seed), (height, width), 1000)
    assert decoded.dtype == np.float32 and decoded.shape == (count, 15)
    np.testing.assert_allclose(decoded, rows, atol=1e-2)


@pytest.mark.parametrize("variance, clip", [((0.2, 0.1), False), ((0.1, 0.2), True)])
def test_codes_are_read_as_they_were_trained(variance, clip):
    rows = random_rows(1, 20)
    output = output_of(rows, variance=variance, clip=clip)
    np.testing.assert_allclose(decode_retinaface(output, SHAPE, 100, variance=variance, clip=clip), rows, atol=1e-2)
    assert np.abs(decode_retinaface(output, SHAPE, 100) - rows).max() > 1


def test_an_anchor_without_code_is_its_own_square():
    bbox, conf, landm = empty_output((840, 840))
    conf[[0, 1, 22050], 1] = 0.9, 0.8, 0.7
    rows = decode_retinaface((bbox, conf, landm), (840, 840), 10)
    np.testing.assert_allclose(rows[:, :4], [[-4, -4, 12, 12], [-12, -12, 20, 20], [-24, -24, 40, 40]], atol=1e-3)
    np.testing.assert_allclose(rows[:, 5:], np.repeat([[4], [4], [8]], 10, axis=1), atol=1e-3)


def test_top_k_takes_the_best_and_scores_must_exceed_the_threshold():
    rows = random_rows(3, 40)
    output = output_of(rows)
    np.testing.assert_allclose(decode_retinaface(output, SHAPE, 7), rows[:7], atol=1e-2)
    assert len(decode_retinaface(output, SHAPE, 100, score_threshold=float(rows[9, 4]))) == 9


def test_a_size_that_ran_away_does_not_overflow():
    output = output_of(random_rows(4, 3))
    output[0][output[1][:, 1] > 0, 2:] = 1e6
    assert np.isfinite(decode_retinaface(output, SHAPE, 10)).all()


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_without_meaning_is_an_error(which, value):
    output = output_of(random_rows(5, 3))
    output[which][output[1][:, 1] > 0] = value
    with pytest.raises(NonFiniteMaps, match="earlier checkpoint"):
        decode_retinaface(output, SHAPE, 10)


def test_another_inputs_output_and_peaks_are_refused():
    with pytest.raises(InputError, match="96 x 66 pixels"):
        decode_retinaface(empty_output((66, 500)), (66, 96), 10)
    with pytest.raises(InputError, match="heatmap"):
        decode_retinaface(empty_output(), SHAPE, 10, peaks=True)
