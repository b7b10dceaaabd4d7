# SPDX-License-Identifier: Apache-2.0
"""What a certificate measures and when it does not hold, with networks whose differences are known."""
from dataclasses import replace

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.ground_truth import load_ground_truth
from src.centerface import spec
from src.export import certificate
from src.export.certificate import EXACT, INT8, average_precision, compare, judge
from src.export.certificate_text import format_block
from src.export.images import Image
from src.inference.rows import ROW_OUTPUTS, join_rows
from tests.small_wider import make_split


class Network:
    """CenterFace whose heatmap is high where the image is white; `change(maps)` may spoil it."""

    def __init__(self, change=lambda maps: None, sizes=(0, 0, 0), own=spec.SPEC):
        self.spec, self.sizes, self.change = own, sizes, change
        self.metadata = {**spec.DEFAULT_METADATA, "detect": {"nms": "hard"}}
        self.batches, self.runtime = [], "numpy"

    def __call__(self, images):
        self.batches.append(images.shape)
        cells = images[:, 2::4, 2::4, 0]
        heat = np.where(cells > 200, np.float32(0.9), np.float32(0.01))[:, None]
        rest = [np.full((len(images), channels, *cells.shape[1:]), 0.2, np.float32) for channels in (2, 2, 10)]
        maps = [heat, *rest]
        self.change(maps)
        return tuple(maps)


def picture(*spots):
    image = np.zeros((96, 128, 3), np.uint8)
    for y, x in spots:
        image[y:y + 4, x:x + 4] = 255
    return image


DECODED = replace(spec.SPEC, outputs=ROW_OUTPUTS, decoder=lambda _: join_rows)
IMAGES = [Image("a.jpg", picture((40, 20), (64, 80))), Image("b.jpg", picture((20, 100)))]


def shifted(index, value):
    def change(maps):
        maps[index] = maps[index] + np.float32(value)
    return change


def test_equal_networks_hold_at_every_size_and_in_batches():
    other = Network()
    found = compare(Network(), other, IMAGES, ["original", "64", "300"])
    assert [each["images"] for each in found] == [2, 2, 2] and judge(found, EXACT) == []
    assert found[0]["largest_difference"] == dict.fromkeys(spec.OUTPUTS, 0.0)
    # The first image also with its mirror image: 2 + 1 of the second.
    assert found[0]["faces"]["checkpoint"] >= 3 and found[0]["faces"]["unmatched"] == []
    assert {shape[0] for shape in other.batches} == {1, 2}
    assert all(side % 32 == 0 for shape in other.batches for side in shape[1:3])


@pytest.mark.parametrize("index, value, message", [
    (0, 2e-3, "heatmap differs by 0.002"), (1, 0.5, "size differs by 0.5"), (2, -2e-3, "offset differs"),
    (3, 5e-3, "landmarks differs"),
])
def test_maps_that_differ(index, value, message):
    found = compare(Network(), Network(shifted(index, value)), IMAGES, ["original"])
    assert any(message in reason for reason in judge(found, EXACT))


def test_differences_within_the_tolerance_hold():
    assert judge(compare(Network(), Network(shifted(0, 5e-4)), IMAGES, ["original"]), EXACT) == []


def test_lost_and_invented_faces_are_named():
    def lose(maps):
        maps[0][:, :, :, 25:] = 0.01
    found = compare(Network(), Network(lose), IMAGES[1:], ["original"])
    faces = found[0]["faces"]
    assert faces["checkpoint"] > faces["matched"] and faces["unmatched"][0]["image"] == "b.jpg"
    assert faces["unmatched"][0]["only_in"] == "checkpoint"
    assert any("the checkpoint's" in reason and "first in b.jpg" in reason for reason in judge(found, INT8))

    found = compare(Network(lose), Network(), IMAGES[1:], ["original"])
    assert any("the file's" in reason for reason in judge(found, INT8))
    assert found[0]["faces"]["unmatched"][0]["best_iou"] < 0.95


def test_boxes_must_overlap_as_much_as_the_tolerance_says():
    found = compare(Network(), Network(shifted(1, 0.2)), IMAGES, ["original"])        # sizes times 1.22
    assert found[0]["faces"]["matched"] == 0
    loose = compare(Network(), Network(shifted(1, 0.2)), IMAGES, ["original"], INT8)
    assert loose[0]["faces"]["matched"] == loose[0]["faces"]["checkpoint"] > 0 and judge(loose, INT8) == []
    assert loose[0]["faces"]["largest_box_difference"] > 1


def test_nan_never_holds():
    found = compare(Network(), Network(), IMAGES, ["original"])
    found[0]["largest_difference"]["size"] = float("nan")
    assert judge(found, EXACT) == ["at size original size differs by nan, more than 0.001"]
    with pytest.raises(InputError, match="NaN"):
        compare(Network(), Network(shifted(0, np.nan)), IMAGES, ["original"])


def test_other_shapes_are_an_error():
    def cut(maps):
        maps[1] = maps[1][:, :1]
    with pytest.raises(InputError, match="gives shapes"):
        compare(Network(), Network(cut), [Image("black.jpg", picture())], ["original"])


def test_a_file_for_one_size_is_compared_at_that_size():
    fixed = Network(sizes=(3, 64, 96))
    found = compare(Network(), fixed, IMAGES, ["320", "500"])
    assert [each["size"] for each in found] == ["96 x 64"] and judge(found, EXACT) == []
    assert set(fixed.batches) == {(3, 64, 96, 3)}


def decoded(change):
    """The network above with its decoder inside."""
    plain = Network(change)

    class Rows(Network):
        def __call__(self, images):
            maps = plain(images)
            rows = [spec.decoder(self.metadata)([each[index] for each in maps], images.shape[1:3], 50)
                    for index in range(len(images))]
            table = np.stack([np.pad(each, ((0, 50 - len(each)), (0, 0))) for each in rows])
            return table[..., :4], table[..., 4], table[..., 5:].reshape(len(images), 50, 5, 2)
    return Rows(own=DECODED)


def test_decoding_graphs_are_compared_row_by_row():
    images = [Image("grid.jpg", picture(*((y, x) for y in range(8, 90, 32) for x in range(8, 120, 24))))]
    found = compare(Network(), decoded(lambda maps: None), images, ["original"])
    assert set(found[0]["largest_difference"]) == {"boxes", "scores", "landmarks"}
    assert found[0]["largest_difference"] == {"boxes": 0.0, "scores": 0.0, "landmarks": 0.0}
    assert judge(found, EXACT, decoded=True) == []
    found = compare(Network(), decoded(shifted(2, 0.25)), images, ["original"])       # a quarter of a cell: one pixel
    assert found[0]["largest_difference"]["boxes"] == pytest.approx(1.0, abs=1e-4)
    assert any("boxes differs by 1" in reason for reason in judge(found, EXACT, decoded=True))
    found = compare(Network(), decoded(shifted(0, 0.01)), images, ["original"])
    assert found[0]["largest_difference"]["scores"] == pytest.approx(0.01, abs=1e-5)


def test_joining_rows():
    outputs = np.arange(12.0).reshape(3, 4), np.array([0.9, 0.5, 0.1]), np.zeros((3, 5, 2))
    assert join_rows(outputs, (1, 1), 2, 0.2).shape == (2, 15) and len(join_rows(outputs, (1, 1), 1)) == 1
    with pytest.raises(InputError, match="NaN"):
        join_rows((outputs[0], np.array([0.9, np.nan, 0.1]), outputs[2]), (1, 1), 2)
    with pytest.raises(InputError, match="NaN"):
        join_rows((outputs[0] * np.nan, outputs[1], outputs[2]), (1, 1), 2)


def test_ap_that_falls_does_not_hold():
    found = compare(Network(), Network(), IMAGES, ["original"])
    ap = {"checkpoint": {"easy": 0.9, "hard": 0.8}, "file": {"easy": 0.9, "hard": 0.7}}
    assert judge(found, INT8, ap=ap) == ["AP hard falls from 0.8000 to 0.7000, more than 0.03"]
    ap["file"]["hard"] = 0.85
    assert judge(found, EXACT, ap=ap) == []
    ap["file"]["hard"] = float("nan")
    assert judge(found, INT8, ap=ap) == ["AP hard falls from 0.8000 to nan, more than 0.03"]


def test_ap_is_measured_at_the_files_own_size_on_both_sides(tmp_path):
    truth = load_ground_truth(make_split(tmp_path).gt)
    for network in (Network(), Network(sizes=(1, 64, 96))):
        found = average_precision(network, [Image("0--Parade/0_Parade_1.jpg", picture())], truth, (1, 64, 96))
        assert set(found) == {"easy", "medium", "hard"}
        assert {shape[1:] for shape in network.batches} == {(64, 96, 3)}


def test_without_images_nothing_is_proven():
    with pytest.raises(InputError, match="no image to compare on"):
        compare(Network(), Network(), [], certificate.SIZES)


def test_the_block_says_when_no_face_was_found(tmp_path):
    found = compare(Network(), Network(), [Image("black.jpg", picture())], ["original"])
    proof = {"verdict": "holds", "reasons": [], "sizes": found, "model": "centerface", "checkpoint": "a.ckpt",
             "format": "ONNX", "precision": "float32", "sha256": "1", "checkpoint_sha256": "2", "outputs": ["heatmap"],
             "decode_rows": 0, "decoder": "centerface", "runtime": "r", "reference": "m",
             "compared_on": {"folder": "val", "images": 1},
             "input": {"name": "images", "shape": [None, 64, None, 3], "side_multiple": 32, "normalised": "inside"}}
    text = format_block(tmp_path / "a.onnx", proof)
    assert "r against m, on 1 images of val\n" in text
    assert "no face was found" in text and "batch x 64 x width x 3, sides multiples of 32" in text
    assert text.endswith("certificate holds")
