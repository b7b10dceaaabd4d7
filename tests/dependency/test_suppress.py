# SPDX-License-Identifier: Apache-2.0
"""NMS and soft-NMS: both kernels against golden values, each other and a row-by-row reading."""
import logging
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


def random_rows(rng, count, columns=15):
    """Rows with crowded boxes; every second set has integer corners, equal scores and repeated boxes."""
    corners, sizes = rng.uniform(0, 60, (count, 2)), rng.uniform(0, 40, (count, 2))
    rows = np.column_stack([corners, corners + sizes, rng.uniform(0, 1, (count, columns - 4))])
    rows = rows.astype(np.float32)
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
    """Rows with their number in two more columns, which tells equal ones apart."""
    number = np.arange(len(rows))
    return np.column_stack([rows, number, number]).astype(np.float32)


def plain_overlap(a, b):
    """Overlap of two rows with the documented roundings; None where they do not touch."""
    f32 = np.float32
    iw = f32(float(min(a[2], b[2]) - max(a[0], b[0])) + 1.0)
    ih = f32(float(min(a[3], b[3]) - max(a[1], b[1])) + 1.0)
    if not (iw > 0 and ih > 0):
        return None
    area_a = (float(a[2] - a[0]) + 1.0) * (float(a[3] - a[1]) + 1.0)
    area_b = f32((float(b[2] - b[0]) + 1.0) * (float(b[3] - b[1]) + 1.0))
    return f32(iw * ih) / f32(area_a + float(area_b) - float(f32(iw * ih)))


def plain_soft_nms(rows, sigma, nt, threshold, method, weight_exp=None):
    """The published algorithm row by row, with the swap of a dropped row against the last one."""
    f32 = np.float32
    rows, kept, i = rows.copy(), len(rows), 0
    while i < kept:
        best = max(range(i, kept), key=lambda row: (rows[row, 4], -row))
        rows[[i, best]] = rows[[best, i]]
        picked, pos = rows[i].copy(), i + 1
        sums, weights = picked[:4] * picked[[5, 5, 6, 6]], picked[[5, 5, 6, 6]]
        while pos < kept:
            overlap = plain_overlap(picked, rows[pos])
            if overlap is not None:
                if method == 2:
                    weight = f32(math.exp(float(f32(-f32(overlap * overlap) / f32(sigma)))))
                elif overlap > f32(nt):
                    weight = f32(1.0 - float(overlap)) if method == 1 else f32(0)
                else:
                    weight = f32(1)
                if weight_exp is not None:
                    share = f32((1.0 - float(weight)) ** weight_exp)
                    sums = sums + rows[pos, :4] * rows[pos, [5, 5, 6, 6]] * share
                    weights = weights + rows[pos, [5, 5, 6, 6]] * share
                rows[pos, 4] *= weight
                if rows[pos, 4] < f32(threshold):
                    kept -= 1
                    rows[pos] = rows[kept]
                    continue
            pos += 1
        if weight_exp is not None:
            rows[i, :4] = sums / weights
        i += 1
    return rows[:kept]


@pytest.mark.parametrize("method, scores, places", [
    (0, [.9, .7], [0, 2]), (1, [.9, .7, .2555], [0, 2, 1]), (2, [.9, .7, .3167, .0161], [0, 2, 1, 3])])
def test_golden_soft_nms(kernel, method, scores, places):
    rows = kernel.soft_nms_rows(GOLDEN, Nt=0.5, method=method)
    np.testing.assert_allclose(rows[:, 4], scores, atol=5e-5)
    np.testing.assert_array_equal(rows[:, :4], GOLDEN[places, :4])


def test_golden_nms(kernel):
    assert kernel.nms(GOLDEN, 0.5) == [0, 2]
    touching = np.array([[0, 0, 9, 9, .9], [0, 0, 9, 4, .8]], np.float32)      # overlap exactly 1/2
    assert kernel.nms(touching, 0.5) == [0]
    assert kernel.nms(touching, 0.5001) == [0, 1]


@pytest.mark.parametrize("part", range(1, 10))
def test_nms_threshold_is_compared_in_double(kernel, part):
    rows = np.array([[0, 0, 9, 9, .9], [0, 0, 9, part - 1, .8]], np.float32)    # overlap float32(part / 10)
    thresh = part / 10
    assert kernel.nms(rows, thresh) == ([0] if float(np.float32(thresh)) >= thresh else [0, 1])


@pytest.mark.parametrize("method", [0, 1, 2])
def test_soft_nms_equals_the_row_by_row_reading(kernel, method):
    rng = np.random.default_rng(method)
    for _ in range(60):
        rows = random_rows(rng, int(rng.integers(0, 30)))
        sigma, nt, threshold = rng.uniform(0.1, 1), rng.uniform(0.1, 0.9), rng.choice([0.001, 0.1, 0.4])
        before = rows.copy()
        result = kernel.soft_nms_rows(rows, sigma, nt, threshold, method)
        np.testing.assert_array_equal(result, plain_soft_nms(rows, sigma, nt, threshold, method))
        np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("method", [0, 1, 2])
def test_soft_nms_merge_equals_the_row_by_row_reading(kernel, method):
    rng = np.random.default_rng(10 + method)
    for _ in range(60):
        rows = random_rows(rng, int(rng.integers(0, 30)), columns=7)
        expected = plain_soft_nms(rows, 0.5, 0.4, 0.1, method, weight_exp=6)
        kept = kernel.soft_nms_merge(rows, 0.5, 0.4, 0.1, method, 6)
        assert kept == list(range(len(expected)))
        np.testing.assert_array_equal(rows[:len(kept)], expected)


def test_nms_equals_the_definition(kernel):
    rng = np.random.default_rng(3)
    for _ in range(60):
        rows, thresh = random_rows(rng, int(rng.integers(0, 40)), 5), float(rng.uniform(0.1, 0.9))
        expected = []
        for row in sorted(range(len(rows)), key=lambda index: (-rows[index, 4], index)):
            overlaps = [plain_overlap(rows[better], rows[row]) for better in expected]
            if all(overlap is None or overlap < thresh for overlap in overlaps):
                expected.append(row)
        assert kernel.nms(rows, thresh) == expected


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


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, method=st.sampled_from([0, 1, 2]), sigma=st.sampled_from([0.1, 0.5, 3.0]),
       nt=st.sampled_from([-0.5, 0.0, 0.3, 0.7]), threshold=st.sampled_from([-1.0, 0.0, 0.001, 0.3]))
def test_soft_nms_has_the_bits_of_the_row_by_row_reading(rows, method, sigma, nt, threshold):
    expected = plain_soft_nms(rows, sigma, nt, threshold, method).tobytes()
    for module in (compiled(), nms_numpy):
        assert module.soft_nms_rows(rows, sigma, nt, threshold, method).tobytes() == expected, module.__name__


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, thresh=st.sampled_from([1e-6, 0.1, 0.3, 1 / 3, 0.5, 0.9, 1.0, 2.0]))
def test_nms_keeps_what_the_row_by_row_reading_keeps(rows, thresh):
    expected = plain_nms(rows, thresh)
    for module in (compiled(), nms_numpy):
        assert module.nms(rows, thresh) == expected, module.__name__


def test_nms_computes_areas_and_union_in_float32(kernel):
    rng, one = np.random.default_rng(8), np.float32(1)
    for _ in range(300):
        corners = rng.uniform(0, 10, (2, 2))
        rows = np.column_stack([corners, corners + rng.uniform(20, 60, (2, 2)), [0.9, 0.8]]).astype(np.float32)
        x1, y1, x2, y2 = rows[:, :4].T
        area = (x2 - x1 + one) * (y2 - y1 + one)
        inter = (x2.min() - x1.max() + one) * (y2.min() - y1.max() + one)
        overlap = inter / (area[0] + area[1] - inter)
        assert overlap.dtype == np.float32
        assert kernel.nms(rows, float(overlap)) == [0]
        assert kernel.nms(rows, float(np.nextafter(overlap, np.float32(2)))) == [0, 1]


# A block holds 32 rows and blocks come in eights: sizes about these, and one of many blocks.
@pytest.mark.parametrize("count", [31, 32, 33, 255, 256, 257, 2500])
@pytest.mark.parametrize("layout", ["spread", "one place", "a line", "far apart", "equal scores"])
def test_compiled_and_twin_agree_whatever_the_layout(count, layout):
    rng = np.random.default_rng(count)
    rows = numbered(random_rows(rng, count, 5))
    if layout == "spread":
        rows[:, :4] += rng.uniform(0, 2000, (count, 2)).astype(np.float32)[:, [0, 1, 0, 1]]
    elif layout == "one place":
        rows[:, :4] = rows[0, :4]
    elif layout == "a line":
        rows[:, [1, 3]] = (5, 25)
        rows[:, [0, 2]] *= np.float32(20)
    elif layout == "far apart":
        rows[:, :4] += (10.0 ** rng.integers(1, 17, count)).astype(np.float32)[:, None]
    else:
        rows[:, 4] = 0.5
    for method in (0, 1, 2):
        assert (compiled().soft_nms_rows(rows, method=method).tobytes()
                == nms_numpy.soft_nms_rows(rows, method=method).tobytes()), method
    assert compiled().nms(rows, 0.3) == nms_numpy.nms(rows, 0.3)


@pytest.mark.parametrize("method", [0, 1, 2])
def test_twin_equals_compiled(method):
    fast, rng = compiled(), np.random.default_rng(20 + method)
    for count in [0, 1, 2, 3, 200, 600] + rng.integers(1, 120, 60).tolist():
        rows = random_rows(rng, count)
        np.testing.assert_array_equal(fast.soft_nms_rows(rows, 0.5, 0.5, 0.001, method),
                                      nms_numpy.soft_nms_rows(rows, 0.5, 0.5, 0.001, method))
        assert fast.nms(rows, 0.3) == nms_numpy.nms(rows, 0.3)
        a, b = rows.copy(), rows.copy()
        assert fast.soft_nms_merge(a, method=method) == nms_numpy.soft_nms_merge(b, method=method)
        np.testing.assert_array_equal(a, b)


def test_in_place_functions_follow_the_reference_contract(kernel):
    rows = np.column_stack([GOLDEN, np.arange(4 * 34).reshape(4, 34)]).astype(np.float32)
    for function in (kernel.soft_nms, kernel.soft_nms_39):
        changed = rows.copy()
        assert function(changed, Nt=0.5, method=1) == [0, 1, 2]
        np.testing.assert_array_equal(changed[:3], kernel.soft_nms_rows(rows, Nt=0.5, method=1))
        np.testing.assert_array_equal(changed[:3, 5:], rows[[0, 2, 1], 5:])  # landmarks stay with their box
    with pytest.raises(ValueError, match="39"):
        kernel.soft_nms_39(rows[:, :15].copy())
    with pytest.raises(ValueError, match="float32"):
        kernel.soft_nms(rows.astype(np.float64))
    with pytest.raises(ValueError):
        rows.flags.writeable = False
        kernel.soft_nms(rows)


def test_kernels_take_views_and_read_only_rows(kernel):
    rows = random_rows(np.random.default_rng(5), 20)
    wide = np.repeat(rows, 2, axis=0)[::2]
    wide.flags.writeable = False
    np.testing.assert_array_equal(kernel.soft_nms_rows(wide, method=2), kernel.soft_nms_rows(rows, method=2))
    assert kernel.nms(wide, 0.4) == kernel.nms(rows, 0.4)


def test_suppress_interface():
    indices = suppress.nms(GOLDEN.tolist(), 0.5)
    assert indices.dtype == np.int64 and indices.tolist() == [0, 2]
    before = GOLDEN.copy()
    kept = suppress.soft_nms(GOLDEN, Nt=0.5, method=2)
    assert kept.shape == (4, 5) and kept.dtype == np.float32
    np.testing.assert_array_equal(GOLDEN, before)
    empty = np.empty((0, 15), np.float32)
    assert suppress.nms(empty, 0.5).shape == (0,) and suppress.soft_nms(empty).shape == (0, 15)


@pytest.mark.parametrize("call, text", [
    (lambda: suppress.nms(np.zeros((3, 4)), 0.5), "nms: .*5 or more columns.*3, 4"),
    (lambda: suppress.nms(np.zeros(5), 0.5), "5 or more columns"),
    (lambda: suppress.nms(GOLDEN, 0), "thresh is 0.*0.3 to 0.5"),
    (lambda: suppress.soft_nms(GOLDEN, method=3), "method 3"),
    (lambda: suppress.soft_nms(GOLDEN, sigma=0, method=2), "soft_nms: sigma is 0"),
    (lambda: suppress.soft_nms(np.where(GOLDEN == np.float32(.7), np.nan, GOLDEN)),
     "detection 2 of 4 holds nan.*weights")])
def test_suppress_names_bad_input(call, text):
    with pytest.raises(InputError, match=text):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e18])
@pytest.mark.parametrize("column", [0, 3, 4])
def test_kernels_refuse_what_has_no_area(kernel, value, column):
    rows = GOLDEN.copy()
    rows[1, column] = value
    for function in (lambda: kernel.nms(rows, 0.5), lambda: kernel.soft_nms_rows(rows),
                     lambda: kernel.soft_nms(rows), lambda: kernel.soft_nms_merge(np.hstack([rows, rows]))):
        with pytest.raises(ValueError, match="detection [0-3] of 4 holds"):
            function()


@pytest.mark.parametrize("thresh", [0, -0.5, np.nan])
def test_kernels_refuse_a_threshold_that_everything_reaches(kernel, thresh):
    with pytest.raises(ValueError, match="thresh is .*above 0"):
        kernel.nms(GOLDEN, thresh)


@pytest.mark.parametrize("sigma", [0, -1, 1e-60, np.nan])
def test_kernels_refuse_a_gaussian_without_width(kernel, sigma):
    for function in (kernel.soft_nms_rows, kernel.soft_nms):
        with pytest.raises(ValueError, match="sigma is .*above 0"):
            function(GOLDEN.copy(), sigma=sigma, method=2)
    with pytest.raises(ValueError, match="sigma is .*above 0"):
        kernel.soft_nms_merge(np.hstack([GOLDEN, GOLDEN]), sigma=sigma, method=2)


def test_without_the_compiled_module_the_twin_is_used_and_said_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.nms", None)
    monkeypatch.setattr(logging.getLogger("facedet"), "propagate", True)
    suppress.kernels.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="facedet"):
            assert suppress.nms(GOLDEN, 0.5).tolist() == suppress.nms(GOLDEN, 0.5).tolist() == [0, 2]
        assert suppress.kernels() is nms_numpy
        assert len({id(record) for record in caplog.records}) == 1 and "setup.py install" in caplog.text
    finally:
        suppress.kernels.cache_clear()


def test_the_compiled_module_is_preferred():
    fast = compiled()
    suppress.kernels.cache_clear()
    assert suppress.kernels() is fast
