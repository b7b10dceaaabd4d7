# SPDX-License-Identifier: Apache-2.0
"""Decoding maps that were made from known faces gives those faces back, in both encodings."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps
from src.centerface.decoder import decode_centerface, decode_release

HEIGHT, WIDTH = 40, 56
SHAPE = 4 * HEIGHT, 4 * WIDTH


def empty_maps(height=HEIGHT, width=WIDTH):
    return [np.zeros((channels, height, width), np.float32) for channels in (1, 2, 2, 10)]


def encode_centerface(maps, row):
    """Write one face (row of 15 numbers) into the maps as training targets do."""
    hm, wh, off, kps = maps
    box, landmarks = row[:4] / 4, row[5:].reshape(5, 2) / 4
    size, centre = box[2:] - box[:2], (box[:2] + box[2:]) / 2
    x, y = centre.astype(int)
    hm[0, y, x], wh[:, y, x], off[:, y, x] = row[4], np.log(size / 4), centre - (x, y)
    kps[:, y, x] = ((landmarks - (x, y)) / size).ravel()


def encode_release(maps, row):
    """Write one face into the maps as the released network speaks: y first, landmarks from the top-left corner."""
    hm, wh, off, kps = maps
    size, centre = row[2:4] - row[:2], (row[:2] + row[2:4]) / 2
    x, y = (centre / 4).astype(int)
    hm[0, y, x] = row[4]
    wh[:, y, x] = np.log(size / 4)[::-1]
    off[:, y, x] = (centre / 4 - (x, y) - 0.5)[::-1]
    kps[:, y, x] = ((row[5:].reshape(5, 2) - row[:2]) / size)[:, ::-1].ravel()


def random_rows(seed, count):
    """Faces whose centres lie in separate, non-adjacent cells."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation((HEIGHT // 3) * (WIDTH // 3))[:count]
    centres = np.stack([cells % (WIDTH // 3), cells // (WIDTH // 3)], axis=1) * 12 + 4
    centres = centres + rng.uniform(0.1, 3.9, (count, 2))
    half = rng.uniform(2, 60, (count, 2))
    landmarks = rng.uniform(-80, 300, (count, 10))
    scores = np.sort(rng.permutation(900)[:count] / 1000 + 0.05)[::-1]
    return np.concatenate([centres - half, centres + half, scores[:, None], landmarks], axis=1).astype(np.float32)


ENCODINGS = pytest.mark.parametrize("encode, decode", [(encode_centerface, decode_centerface),
                                                       (encode_release, decode_release)],
                                    ids=["centerface", "release"])


@ENCODINGS
@given(seed=st.integers(0, 10**6), count=st.integers(0, 60))
def test_known_faces_come_back(encode, decode, seed, count):
    maps, rows = empty_maps(), random_rows(seed, count)
    for row in rows:
        encode(maps, row)
    decoded = decode(maps, SHAPE, 1000, 0.0, True)
    assert decoded.dtype == np.float32 and decoded.shape == (count, 15)
    np.testing.assert_allclose(decoded, rows, atol=2e-2)


@ENCODINGS
def test_top_k_takes_the_best(encode, decode):
    maps, rows = empty_maps(), random_rows(3, 40)
    for row in rows:
        encode(maps, row)
    np.testing.assert_allclose(decode(maps, SHAPE, 7, 0.0, True), rows[:7], atol=2e-2)


def test_equal_scores_keep_the_order_of_the_cells():
    maps = empty_maps()
    maps[0][0, ::3, ::3] = 0.5
    rows = decode_centerface(maps, SHAPE, 9, 0.0, True)
    np.testing.assert_array_equal(rows[:, :4].reshape(-1, 2, 2).mean(axis=1)[:, 0], np.arange(9) * 12)


def test_only_peaks_count_when_asked():
    maps = empty_maps()
    maps[0][0, 10, 10:13] = 0.4, 0.9, 0.5
    maps[0][0, 0, 0] = maps[0][0, -1, -1] = 0.3  # corners have neighbourhoods too
    assert decode_centerface(maps, SHAPE, 100, 0.0, True)[:, 4].tolist() == pytest.approx([0.9, 0.3, 0.3])
    assert len(decode_centerface(maps, SHAPE, 100, 0.0, False)) == 5


def test_scores_must_exceed_the_threshold():
    maps = empty_maps()
    maps[0][0, 4, 4], maps[0][0, 9, 9] = 0.5, 0.25
    assert len(decode_centerface(maps, SHAPE, 10, 0.25, True)) == 1


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_without_meaning_are_an_error(which, value):
    maps = empty_maps()
    maps[0][0, 4, 4] = 0.5
    maps[which][:, 4, 4] = value
    for decode in (decode_centerface, decode_release):
        with pytest.raises(NonFiniteMaps, match="earlier checkpoint"):
            decode(maps, SHAPE, 10, 0.0, True)


def test_nothing_over_the_threshold_gives_no_rows():
    assert decode_release(empty_maps(), SHAPE, 10, 0.5, False).shape == (0, 15)
