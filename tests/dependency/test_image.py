# SPDX-License-Identifier: Apache-2.0
"""Fitting images to the network's input."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dependency.centernet.src.lib.utils.image import (
    letterbox,
    pad_to_multiple,
    pad_to_square,
)


@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.sampled_from([32, 96, 416, 832]))
def test_letterbox_keeps_proportions_and_inverts(height, width, size):
    canvas, placement = letterbox(np.full((height, width, 3), 255, np.uint8), size)
    assert canvas.shape == (size, size, 3) and canvas.dtype == np.uint8
    corners = np.array([[0, 0], [width, height]], np.float32)
    on_canvas = corners * placement.scale + (placement.dx, placement.dy)
    np.testing.assert_allclose(placement.to_image(on_canvas), corners, atol=1e-2)
    np.testing.assert_allclose(on_canvas.sum(axis=0), [size, size], atol=1e-2)  # centred
    assert on_canvas[1].max() == pytest.approx(size, abs=1e-2)                  # the long side fills the square


@pytest.mark.parametrize("size", [832, 80, 30])
def test_letterbox_samples_at_pixel_centres(size):
    """A ramp stays the same ramp: the pixel centre x + 0.5 of the canvas shows what `to_image` says."""
    ramp = np.repeat(np.linspace(0, 250, 100, dtype=np.float32)[None, :, None], 60, axis=0).repeat(3, axis=2)
    canvas, placement = letterbox(ramp, size)
    columns = np.arange(size) + 0.5
    source = placement.to_image(np.stack([columns, columns], axis=1))[:, 0] - 0.5
    inside = (source > 1) & (source < 98)
    np.testing.assert_allclose(canvas[size // 2, inside, 0], source[inside] * 250 / 99, atol=0.2)


def test_a_marked_pixel_is_found_where_the_placement_says():
    image = np.zeros((90, 200, 3), np.uint8)
    image[20:30, 150:160] = 255
    for canvas, placement in (letterbox(image, 416), pad_to_multiple(image, 32, 1.5), pad_to_multiple(image, 32)):
        y, x = np.nonzero(canvas[..., 0] > 127)
        centre = placement.to_image(np.array([x.mean(), y.mean()], np.float32))
        np.testing.assert_allclose(centre, [154.5, 24.5], atol=0.3)


@given(height=st.integers(1, 200), width=st.integers(1, 200))
def test_padding_resamples_nothing(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    canvas, placement = pad_to_multiple(image, 32)
    assert canvas.shape[0] % 32 == 0 == canvas.shape[1] % 32
    assert canvas.shape[0] - height < 32 and canvas.shape[1] - width < 32
    np.testing.assert_array_equal(canvas[:height, :width], image)
    assert not canvas[height:].any() and not canvas[:, width:].any()
    assert placement == (1.0, 0.0, 0.0)


@given(height=st.integers(1, 120), width=st.integers(1, 120), side=st.integers(1, 130),
       scale=st.sampled_from([1.0, 0.02, 0.4, 0.7, 1.6]))
def test_a_square_holds_the_scaled_image_at_its_upper_left(height, width, side, scale):
    fill = (104.0, 117.0, 123.0)
    image = np.full((height, width, 3), 255, np.uint8)
    canvas, placement = pad_to_square(image, side, scale, fill)
    rows, columns = (max(1, round(extent * scale)) for extent in (height, width))
    assert canvas.shape == (max(side, rows, columns),) * 2 + (3,) and placement == (scale, 0, 0)
    assert (canvas[:rows, :columns] == 255).all()
    assert (canvas[rows:] == fill).all() and (canvas[:, columns:] == fill).all()
