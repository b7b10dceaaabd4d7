# SPDX-License-Identifier: Apache-2.0
"""What a verification measures and when it fails, with networks whose differences are known."""
from dataclasses import replace

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.ground_truth import load_ground_truth
from src.centerface import spec
from src.export.images import Image, ImageSet
from src.export.verification import EXACT, INT8, average_precision, compare, format_report, judge
from src.inference.detection_rows import ROW_OUTPUTS, join_rows
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
TWO = ImageSet("two", [Image("a.jpg", picture((40, 20), (64, 80))), Image("b.jpg", picture((20, 100)))])
ONE = ImageSet("one", TWO.items[1:])
BLACK = ImageSet("black", [Image("black.jpg", picture())])


def shifted(index, value):
    def change(maps):
        maps[index] = maps[index] + np.float32(value)
    return change


def measured(one, two, images=TWO, sizes=("original",), tolerance=EXACT):
    return compare(one, two, images, sizes, tolerance)


def test_equal_networks_pass_at_every_size_and_in_batches():
    other = Network()
    sizes = measured(Network(), other, sizes=["original", "64", "300"])
    assert [each["images"] for each in sizes] == [2, 2, 2] and judge(sizes, EXACT) == []
    assert sizes[0]["largest_difference"] == dict.fromkeys(spec.OUTPUTS, 0.0)
    # The first image also with its mirror image: 2 + 1 of the second.
    assert sizes[0]["faces"]["checkpoint"] >= 3 and sizes[0]["faces"]["unmatched"] == []
    assert {shape[0] for shape in other.batches} == {1, 2}
    assert all(side % 32 == 0 for shape in other.batches for side in shape[1:3])


@pytest.mark.parametrize("index, value, name", [
    (0, 2e-3, "heatmap"), (1, 0.5, "size"), (2, -2e-3, "offset"), (3, 5e-3, "landmarks"), (0, 5e-4, None)])
def test_values_may_differ_by_the_tolerance(index, value, name):
    reasons = judge(measured(Network(), Network(shifted(index, value))), EXACT)
    assert any(f"{name} differ" in reason for reason in reasons) if name else reasons == []


@pytest.mark.parametrize("side", ["checkpoint", "file"])
def test_lost_and_additional_faces_are_named(side):
    def lose(maps):
        maps[0][:, :, :, 25:] = 0.01
    networks = [Network(), Network(lose)]
    sizes = measured(*(networks if side == "checkpoint" else networks[::-1]), images=ONE)
    faces = sizes[0]["faces"]
    assert faces[side] > faces["matched"]
    assert any(each["image"] == "b.jpg" and each["only_in"] == side for each in faces["unmatched"])
    assert any(side in reason and "b.jpg" in reason for reason in judge(sizes, INT8))


def test_boxes_must_overlap_as_much_as_the_tolerance_says():
    larger = Network(shifted(1, 0.2))                                   # sizes times 1.22
    assert measured(Network(), larger)[0]["faces"]["matched"] == 0
    sizes = measured(Network(), larger, tolerance=INT8)
    assert sizes[0]["faces"]["matched"] == sizes[0]["faces"]["checkpoint"] > 0 and judge(sizes, INT8) == []
    assert sizes[0]["faces"]["largest_box_difference"] > 1


def test_nan_other_shapes_and_no_images_never_pass():
    sizes = measured(Network(), Network())
    sizes[0]["largest_difference"]["size"] = float("nan")
    assert len(judge(sizes, EXACT)) == 1

    def cut(maps):
        maps[1] = maps[1][:, :1]
    for change in (shifted(0, np.nan), cut):
        with pytest.raises(InputError):
            measured(Network(), Network(change), BLACK)
    with pytest.raises(InputError, match="--images"):
        measured(Network(), Network(), ImageSet("none", []))


def test_a_file_for_one_size_is_compared_at_that_size():
    fixed = Network(sizes=(3, 64, 96))
    sizes = measured(Network(), fixed, sizes=["320", "500"])
    assert [each["size"] for each in sizes] == ["96 x 64"] and judge(sizes, EXACT) == []
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


def test_rows_of_a_graph_that_decodes_itself():
    images = ImageSet("few", TWO.items)
    sizes = measured(Network(), decoded(lambda maps: None), images)
    assert sizes[0]["largest_difference"] == {"boxes": 0.0, "scores": 0.0, "landmarks": 0.0}
    assert judge(sizes, EXACT, decoded=True) == []
    sizes = measured(Network(), decoded(shifted(2, 0.25)), images)      # a quarter of a cell: one pixel
    assert sizes[0]["largest_difference"]["boxes"] == pytest.approx(1.0, abs=1e-4)
    assert any("boxes differ" in reason for reason in judge(sizes, EXACT, decoded=True))
    sizes = measured(Network(), decoded(shifted(0, 0.01)), images)
    assert sizes[0]["largest_difference"]["scores"] == pytest.approx(0.01, abs=1e-5)
    assert judge(measured(Network(), decoded(lambda maps: None), BLACK), EXACT, decoded=True), "nothing was compared"


def test_joining_rows():
    outputs = np.arange(12.0).reshape(3, 4), np.array([0.9, 0.5, 0.1]), np.zeros((3, 5, 2))
    assert join_rows(outputs, (1, 1), 2, 0.2).shape == (2, 15) and len(join_rows(outputs, (1, 1), 1)) == 1
    for bad in ((outputs[0], np.array([0.9, np.nan, 0.1]), outputs[2]), (outputs[0] * np.nan, *outputs[1:])):
        with pytest.raises(InputError, match="NaN"):
            join_rows(bad, (1, 1), 2)


@pytest.mark.parametrize("hard, tolerance, passes", [
    (0.7, INT8, False), (0.85, EXACT, True), (float("nan"), INT8, False)])
def test_ap_may_fall_by_the_tolerance(hard, tolerance, passes):
    ap = {"checkpoint": {"easy": 0.9, "hard": 0.8}, "file": {"easy": 0.9, "hard": hard}}
    reasons = judge(measured(Network(), Network()), tolerance, ap=ap)
    assert (reasons == []) == passes and all("AP hard" in reason for reason in reasons)


def test_ap_is_measured_at_the_files_own_size_on_both_sides(tmp_path):
    truth = load_ground_truth(make_split(tmp_path).gt)
    images = ImageSet("val", [Image("0--Parade/0_Parade_1.jpg", picture())])
    for network in (Network(), Network(sizes=(1, 64, 96))):
        assert set(average_precision(network, images, truth, (1, 64, 96))) == {"easy", "medium", "hard"}
        assert {shape[1:] for shape in network.batches} == {(64, 96, 3)}


def test_the_report_says_what_was_compared():
    report = {"verdict": "passed", "reasons": [], "sizes": measured(Network(), Network(), BLACK), "model": "centerface",
              "checkpoint": "a.ckpt", "format": "ONNX", "precision": "float32", "sha256": "1", "checkpoint_sha256": "2",
              "outputs": ["heatmap"], "decode_rows": 0, "decoder": "centerface", "runtime": "r", "reference": "m",
              "compared_on": {"folder": "val", "images": 1},
              "input": {"name": "images", "shape": [None, 64, None, 3], "side_multiple": 32, "normalised": "inside"}}
    text = format_report("a.onnx", report)
    for part in ("a.onnx", "r against m, on 1 images of val", "batch x 64 x width x 3", "verification passed"):
        assert part in text
