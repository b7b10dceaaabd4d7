# SPDX-License-Identifier: Apache-2.0
"""NMS and soft-NMS: the compiled module and its NumPy twin against golden values and the published loops."""
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dependency.centernet.src.lib.external import nms_numpy, suppress
from dependency.errors import InputError

PACKAGE = "dependency.centernet.src.lib.external"
GOLDEN = np.array([[0, 0, 9, 9, .9], [1, 1, 10, 10, .8], [20, 20, 29, 29, .7], [0, 0, 9, 9, .3]], np.float32)


def compiled():
    return pytest.importorskip(f"{PACKAGE}.nms",
                               reason=f"not built: python {PACKAGE.replace('.', '/')}/setup.py install")


@pytest.fixture(params=["nms", "nms_numpy"])
def kernel(request):
    return compiled() if request.param == "nms" else nms_numpy


def soft_nms(module, rows, *options):
    """The kept rows of a kernel's in-place soft-NMS."""
    changed = rows.copy()
    kept = module.soft_nms(changed, *options)
    assert kept == list(range(len(kept)))
    return changed[:len(kept)]


def random_rows(rng, count, columns=15):
    """Rows with crowded boxes; every second set has integer corners, equal scores and repeated boxes."""
    corners, sizes = rng.uniform(0, 60, (count, 2)), rng.uniform(0, 40, (count, 2))
    rows = np.column_stack([corners, corners + sizes, rng.uniform(0, 1, (count, columns - 4))]).astype(np.float32)
    if rng.integers(2) and count:
        rows[:, :4] = rows[:, :4].round()
        rows[:, 4] = (rows[:, 4] * 5).round() / 5
        rows[rng.integers(count, size=count // 3), :4] = rows[0, :4]
    return rows


# Boxes on half pixels that touch, coincide, miss each other by little, are turned inside out; few scores, so many ties.
ROW = st.builds(lambda x, y, w, h, score: [x / 2, y / 2, (x + w) / 2, (y + h) / 2, score],
                st.integers(0, 60), st.integers(0, 60), st.integers(-4, 40), st.integers(-4, 40),
                st.sampled_from([-0.5, -0.0, 0.0, 0.0005, 0.25, 0.5, 0.5000001, 0.9, 1.0]))
ROWS = st.lists(ROW, max_size=70).map(lambda rows: numbered(np.array(rows, np.float32).reshape(-1, 5)))


def numbered(rows):
    """Rows with their number as one more column, which tells equal ones apart."""
    return np.column_stack([rows, np.arange(len(rows))]).astype(np.float32)


def plain_overlap(a, b):
    """Overlap of two rows with the roundings of the published soft-NMS; None where they do not touch."""
    f32 = np.float32
    iw = f32(float(min(a[2], b[2]) - max(a[0], b[0])) + 1.0)
    ih = f32(float(min(a[3], b[3]) - max(a[1], b[1])) + 1.0)
    if not (iw > 0 and ih > 0):
        return None
    area_a = (float(a[2] - a[0]) + 1.0) * (float(a[3] - a[1]) + 1.0)
    area_b = f32((float(b[2] - b[0]) + 1.0) * (float(b[3] - b[1]) + 1.0))
    return f32(iw * ih) / f32(area_a + float(area_b) - float(f32(iw * ih)))


def plain_soft_nms(rows, sigma, nt, threshold, method):
    """The published algorithm row by row, with the swap of a dropped row against the last one."""
    f32 = np.float32
    rows, kept, i = rows.copy(), len(rows), 0
    while i < kept:
        best = max(range(i, kept), key=lambda row: (rows[row, 4], -row))
        rows[[i, best]] = rows[[best, i]]
        picked, pos = rows[i].copy(), i + 1
        while pos < kept:
            overlap = plain_overlap(picked, rows[pos])
            if overlap is not None:
                if method == 2:
                    weight = f32(math.exp(float(f32(-f32(overlap * overlap) / f32(sigma)))))
                elif overlap > f32(nt):
                    weight = f32(1.0 - float(overlap)) if method == 1 else f32(0)
                else:
                    weight = f32(1)
                rows[pos, 4] *= weight
                if rows[pos, 4] < f32(threshold):
                    kept -= 1
                    rows[pos] = rows[kept]
                    continue
            pos += 1
        i += 1
    return rows[:kept]


def plain_nms(rows, thresh):
    """Rows in order of score, each kept if it overlaps no kept one by `thresh`; areas and union in float32."""
    one, kept = np.float32(1), []
    area = (rows[:, 2] - rows[:, 0] + one) * (rows[:, 3] - rows[:, 1] + one)
    for row in sorted(range(len(rows)), key=lambda index: (-rows[index, 4], index)):
        for better in kept:
            a, b = rows[better], rows[row]
            width = min(a[2], b[2]) - max(a[0], b[0]) + one
            height = min(a[3], b[3]) - max(a[1], b[1]) + one
            inter = max(width, np.float32(0)) * max(height, np.float32(0))
            if inter > 0 and float(inter / (area[better] + area[row] - inter)) >= thresh:
                break
        else:
            kept.append(row)
    return kept


@pytest.mark.parametrize("method, scores, order", [
    (0, [.9, .7], [0, 2]), (1, [.9, .7, .2555], [0, 2, 1]), (2, [.9, .7, .3167, .0161], [0, 2, 1, 3])])
def test_golden_soft_nms(kernel, method, scores, order):
    rows = soft_nms(kernel, GOLDEN, 0.5, 0.5, 0.001, method)
    np.testing.assert_allclose(rows[:, 4], scores, atol=5e-5)
    np.testing.assert_array_equal(rows[:, :4], GOLDEN[order, :4])


def test_golden_nms(kernel):
    assert kernel.nms(GOLDEN, 0.5) == [0, 2]
    touching = np.array([[0, 0, 9, 9, .9], [0, 0, 9, 4, .8]], np.float32)      # overlap exactly 1/2
    assert kernel.nms(touching, 0.5) == [0]
    assert kernel.nms(touching, 0.5001) == [0, 1]


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, method=st.sampled_from([0, 1, 2]), sigma=st.sampled_from([0.1, 0.5, 3.0]),
       nt=st.sampled_from([-0.5, 0.0, 0.3, 0.7]), threshold=st.sampled_from([-1.0, 0.0, 0.001, 0.3]))
def test_compiled_soft_nms_has_the_bits_of_the_published_loop(rows, method, sigma, nt, threshold):
    expected = plain_soft_nms(rows, sigma, nt, threshold, method)
    assert soft_nms(compiled(), rows, sigma, nt, threshold, method).tobytes() == expected.tobytes()


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, thresh=st.sampled_from([1e-6, 0.1, 0.3, 1 / 3, 0.5, 0.9, 1.0, 2.0]))
def test_compiled_nms_keeps_what_the_published_loop_keeps(rows, thresh):
    assert compiled().nms(rows, thresh) == plain_nms(rows, thresh)


@pytest.mark.parametrize("method", [0, 1, 2])
def test_the_twin_equals_the_compiled_module(method):
    rng = np.random.default_rng(20 + method)
    for count in [0, 1, 2, 3, 200, 600, *rng.integers(1, 120, 60)]:
        rows = random_rows(rng, int(count))
        one, other = (soft_nms(module, rows, 0.5, 0.41, 0.0013, method) for module in (compiled(), nms_numpy))
        np.testing.assert_array_equal(one[:, :4], other[:, :4])
        np.testing.assert_array_equal(one[:, 5:], other[:, 5:])         # landmarks stay with their box
        np.testing.assert_allclose(one[:, 4], other[:, 4], rtol=0, atol=1e-6)
        assert compiled().nms(rows, 0.311) == nms_numpy.nms(rows, 0.311)


def test_suppress_interface():
    indices = suppress.nms(GOLDEN.tolist(), 0.5)
    assert indices.dtype == np.int64 and indices.tolist() == [0, 2]
    before = GOLDEN.copy()
    kept = suppress.soft_nms(GOLDEN, Nt=0.5, method=2)
    assert kept.shape == (4, 5) and kept.dtype == np.float32
    np.testing.assert_array_equal(GOLDEN, before)
    empty = np.empty((0, 15), np.float32)
    assert suppress.nms(empty, 0.5).shape == (0,) and suppress.soft_nms(empty).shape == (0, 15)


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.zeros(5), *(
    np.where(GOLDEN == np.float32(old), value, GOLDEN)
    for old in (.7, 20) for value in (np.nan, np.inf, -np.inf, 2e18))])
def test_rows_that_are_refused(rows):
    for call in (lambda: suppress.nms(rows, 0.5), lambda: suppress.soft_nms(rows)):
        with pytest.raises(InputError, match="detection"):
            call()


@pytest.mark.parametrize("function, options", [
    ("nms", {"thresh": 0}), ("nms", {"thresh": -0.5}), ("nms", {"thresh": np.nan}), ("soft_nms", {"method": 3}),
    *(("soft_nms", {"sigma": sigma, "method": 2}) for sigma in (0, -1, 1e-60, np.nan))])
def test_options_that_are_refused(function, options):
    with pytest.raises(InputError, match=next(iter(options))):
        getattr(suppress, function)(GOLDEN, **options)


def test_the_compiled_module_is_preferred_and_the_twin_stands_in(monkeypatch):
    suppress.kernels.cache_clear()
    assert suppress.kernels() is compiled()
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.nms", None)
    suppress.kernels.cache_clear()
    try:
        assert suppress.kernels() is nms_numpy and suppress.nms(GOLDEN, 0.5).tolist() == [0, 2]
    finally:
        suppress.kernels.cache_clear()
