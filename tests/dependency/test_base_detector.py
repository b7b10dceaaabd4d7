# SPDX-License-Identifier: Apache-2.0
"""The detector core with a made-up network: what goes in where, and comes back in the image's own pixels."""
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError


def stub_network(images):
    """"Finds" bright squares: the maps are the image itself, so that the decoder below can look for them."""
    return (images.transpose(0, 3, 1, 2).astype(np.float32),)


def square_decoder(maps, shape, top_k, score_threshold, peaks):
    """One face around all pixels over half brightness; its landmarks are left/right of the centre by channel 1 and 2.

    Red marks the left eye and mouth corner, green the right ones, so that a mirror swaps what must be
    swapped.
    """
    blue, green, red = maps[0]
    y, x = np.nonzero(blue > 127)
    if len(x) == 0:
        return np.zeros((0, 15), np.float32)
    box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
    first, last = [np.array(np.nonzero(plane > 127), float)[::-1].mean(axis=1) + 0.5 for plane in (red, green)]
    if first[0] > last[0]:  # a network knows left from right by place, not by colour
        first, last = last, first
    centre = (first + last) / 2
    landmarks = np.concatenate([first, last, centre, first, last])
    return np.concatenate([box, [0.9], landmarks])[None].astype(np.float32)


def picture(height=90, width=200):
    """A white-blue square with a red patch on its left and a green one on its right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[20:60, 100:160, 0] = 255
    image[30:40, 110:120, 2] = 255
    image[30:40, 140:150, 1] = 255
    return image


def detector(**options):
    return BaseDetector(stub_network, square_decoder, **{"test_size": "original", **options})


EXPECTED_BOX = [100, 20, 160, 60]
EXPECTED_EYES = [[115, 35], [145, 35]]


@pytest.mark.parametrize("options, tolerance", [
    ({}, 0), ({"flip_test": True}, 0), ({"test_size": 416}, 1), ({"test_size": "832"}, 1),
    ({"test_size": 416, "test_scales": (0.75, 1.0, 1.5), "flip_test": True, "nms": "hard", "nms_iou": 0.3}, 2),
    ({"test_scales": (0.5, 1.0, 2.0), "nms": "hard"}, 2), ({"pad": "none", "flip_test": True}, 0),
    ({"test_size": "135/500", "pad": "none"}, 1), ({"test_size": "vga", "pad": "square", "flip_test": True}, 1),
    ({"test_size": "135/250", "test_scales": (0.5, 1.0, 1.7), "flip_test": True, "nms": "vote", "nms_iou": 0.4}, 1),
], ids=["original", "flip", "416", "832", "square-scales-flip", "original-scales", "unpadded", "short-long", "vga",
        "vote"])
def test_results_are_in_the_pixels_of_the_image(options, tolerance):
    faces = detector(**options).run(picture())
    np.testing.assert_allclose(faces.boxes[0], EXPECTED_BOX, atol=tolerance + 1e-3)
    np.testing.assert_allclose(faces.landmarks[0, :2], EXPECTED_EYES, atol=tolerance + 1e-3)
    np.testing.assert_allclose(faces.landmarks[0, 3:], EXPECTED_EYES, atol=tolerance + 1e-3)
    if options.get("nms") in ("hard", "vote"):
        assert len(faces) == 1


@pytest.mark.parametrize("options", [
    {}, {"pad": "none", "flip_test": True}, {"test_size": 416, "test_scales": (1.0, 0.5), "nms": "vote"},
], ids=["padded", "unpadded-flip", "scales"])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_images_of_any_sizes_find_the_same_alone_and_together(options, batch_size):
    images = [picture(*size) for size in ((90, 200), (70, 180), (90, 200), (96, 190), (90, 200), (61, 161))]
    sizes = []

    def network(batch):
        sizes.append(len(batch))
        return stub_network(batch)

    unit = BaseDetector(network, square_decoder, **{"test_size": "original", **options})
    together = unit.run_batch(images, batch_size)
    assert max(sizes) <= batch_size * (2 if unit.flip_test else 1) and len(together) == len(images)
    for image, faces in zip(images, together):
        np.testing.assert_array_equal(faces.rows(), unit.run(image).rows())
    assert unit.run_batch([]) == []


def test_one_batch_takes_all_images_of_one_input_size():
    sizes = []
    unit = BaseDetector(lambda images: sizes.append(images.shape) or stub_network(images), square_decoder, "original")
    unit.run_batch([picture(90, 200), picture(70, 170), picture(65, 199)], 8)       # 96 x 224, 96 x 192, 96 x 224
    assert sorted(sizes) == [(1, 96, 192, 3), (2, 96, 224, 3)]


@pytest.mark.parametrize("options, shape", [
    ({"test_size": "original", "pad": "none"}, (90, 200)), ({"test_size": "original"}, (96, 224)),
    ({"test_size": "original", "pad": "square"}, (224, 224)), ({"test_size": 400}, (416, 416)),
    ({"test_size": 400, "pad": "none"}, (180, 400)), ({"test_size": 400, "pad": "32"}, (192, 416)),
    ({"test_size": "180/500", "pad": "none"}, (180, 400)), ({"test_size": "180/300", "pad": "none"}, (135, 300)),
    ({"test_size": (180, 300), "pad": "32"}, (160, 320)), ({"test_size": "180/300", "pad": "square"}, (320, 320)),
    ({"test_size": "vga"}, (288, 640)),
])
def test_the_input_has_the_size_that_was_asked_for(options, shape):
    canvas, placement = BaseDetector(stub_network, square_decoder, **options).pre_process(picture())
    assert canvas.shape == (*shape, 3)
    corner = np.array((200, 90)) * placement.scale + (placement.dx, placement.dy)
    assert (corner <= np.array(shape[::-1]) + 0.5).all()


def test_scales_are_relative_to_the_size_and_the_rest_is_filled():
    unit = BaseDetector(stub_network, square_decoder, "180/300", pad="square", fill=(104.0, 117.0, 123.0))
    canvas, placement = unit.pre_process(picture(), 0.5)
    assert canvas.shape == (160, 160, 3) and placement.scale == 0.75
    assert (canvas[68:] == (104, 117, 123)).all() and not (canvas[:67, :150] == (104, 117, 123)).all(axis=2).any()
    centred, _ = BaseDetector(stub_network, square_decoder, 96, fill=(104, 117, 123)).pre_process(picture())
    assert (centred[[0, -1]] == (104, 117, 123)).all()


def test_boxes_are_clipped_to_the_image_and_strays_dropped():
    rows = np.zeros((3, 15), np.float32)
    rows[:, :5] = [[-5, -5, 20, 20, .9], [90, 40, 130, 80, .8], [110, 10, 120, 20, .7]]
    unit = BaseDetector(lambda images: (images,), lambda *_: rows, test_size="original")
    faces = unit.run(np.zeros((50, 100, 3), np.uint8))
    np.testing.assert_array_equal(faces.boxes, [[0, 0, 20, 20], [90, 40, 100, 50]])


def grid_decoder(count):
    rows = np.zeros((count, 15), np.float32)
    rows[:, 0] = rows[:, 2] = np.arange(count) * 20
    rows[:, 2:4] += 10
    rows[:, 4] = np.linspace(0.9, 0.1, count)
    rows[:, 5] = np.arange(count)
    return lambda maps, shape, top_k, *_: rows[:top_k]


def test_top_k_and_score_threshold_limit_the_result():
    image = np.zeros((32, 32 * 64, 3), np.uint8)
    unit = BaseDetector(lambda images: (images,), grid_decoder(100), "original", top_k=7)
    assert unit.run(image).scores.tolist() == pytest.approx(np.linspace(0.9, 0.1, 100)[:7].tolist())
    unit = BaseDetector(lambda images: (images,), grid_decoder(100), "original", score_threshold=0.5)
    assert len(unit.run(image)) == 50


def test_an_image_without_faces_gives_empty_arrays():
    faces = detector(flip_test=True).run(np.zeros((1, 1, 3), np.uint8))
    assert faces.boxes.shape == (0, 4) and faces.scores.shape == (0,) and faces.landmarks.shape == (0, 5, 2)


def test_rows_round_trip_in_order_of_score():
    rows = np.random.default_rng(2).uniform(0, 1, (9, 15)).astype(np.float32)
    faces = Faces.from_rows(rows)
    np.testing.assert_array_equal(faces.rows(), rows[np.argsort(-rows[:, 4])])
    assert len(faces) == 9 and len(Faces.from_rows(np.zeros((0, 15)))) == 0


@pytest.mark.parametrize("name, values", [
    ("nms", ("fast", ["soft"])), ("test_scales", ((), (1, -1), 1.0)), ("top_k", (0, 2.5, True)), ("nms_iou", ("0.5",)),
    ("test_size", ("big", 0, "1600/800", "1/2/3", "/", 20000)), ("pad", ("64", "centre", {})), ("fill", ((1, 2),)),
    ("score_threshold", (float("nan"),)), ("flip_test", ("no",)), ("peaks", (None,))])
def test_wrong_options_are_named(name, values):
    for value in values:
        with pytest.raises(InputError, match=name):
            detector(**{name: value})


@pytest.mark.parametrize("options", [{"pad": "centre", "test_size": "vga"},
                                     {"test_size": 10000, "test_scales": (1, 2)}])
def test_options_that_do_not_go_together(options):
    with pytest.raises(InputError, match="test_size"):
        detector(**options)
