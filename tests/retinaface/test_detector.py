# SPDX-License-Identifier: Apache-2.0
"""RetinaFace from checkpoint to faces: the spec, batches, mirror images, and the published predictions."""
import tarfile

import numpy as np
import pytest

from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from src import models
from src.inference.backends import build_detector
from src.inference.mindspore_backend import MindSporeBackend
from src.retinaface import spec
from src.retinaface.evaluation import whole_pixels
from src.retinaface.layers import NETWORK_INPUT, tensor_shapes
from src.weights import checkpoint
from tests.conftest import read_prediction
from tests.retinaface.weights import mindface, random_tensors

RNG = np.random.default_rng(7)
METADATA = {**spec.DEFAULT_METADATA, "options": {"backbone": "mobilenet025"}}
PUBLISHED_AP = {"easy": 0.91453, "medium": 0.91232, "hard": 0.79765}


def make_checkpoint(path, metadata=METADATA, tensors=None):
    """A MobileNet detector with random weights that is unsure of everything: many faces of many scores."""
    checkpoint.save(path, random_tensors("mobilenet025") if tensors is None else tensors, metadata)
    return path


@pytest.fixture(scope="module")
def forward():
    return MindSporeBackend("retinaface", device_target="CPU")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("ckpt") / "RetinaFace-1_9.ckpt")


@pytest.fixture
def loaded(forward, path):
    return forward, forward.load(path)


def photographs(*shapes):
    return [np.repeat(np.repeat(RNG.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8), 8, 0), 8, 1)
            [:height, :width] for height, width in shapes]


def test_the_metadata_gives_the_published_protocol(loaded):
    found = build_detector(*loaded)
    assert (found.test_size, found.pad, found.nms, found.nms_iou, found.score_threshold) == (
        "original", "none", "hard", 0.4, 0.02)
    assert found.fill == (104, 117, 123) and found.top_k >= 3830 and not found.peaks


@pytest.mark.parametrize("options", [
    {}, {"pad": "32"},
    {"test_size": "60/70", "pad": "square", "flip_test": True, "test_scales": (1.0, 1.5), "nms": "vote"},
], ids=["original", "padded", "all"])
def test_a_batch_finds_what_its_images_find_alone(loaded, options):
    found = build_detector(*loaded, score_threshold=0.4, **options)
    images = photographs((66, 50), (50, 66), (66, 50), (64, 64), (66, 50))
    together = found.run_batch(images, batch_size=2)
    assert min(map(len, together)) > 0
    for image, faces in zip(images, together):
        alone = found.run(image)
        assert len(alone) == len(faces)
        np.testing.assert_allclose(faces.rows(), alone.rows(), atol=2e-2)


def test_options_without_meaning_are_refused(loaded):
    with pytest.raises(InputError, match="--peaks.*heatmap"):
        build_detector(*loaded, peaks=True)
    with pytest.raises(InputError, match="decoder 'centerface'"):
        build_detector(loaded[0], {**loaded[1], "decoder": "centerface"})
    with pytest.raises(InputError, match="--pad none.*multiples of 32"):
        models.spec("centerface").check_options({"pad": "none"})


def test_the_cards_variance_reaches_the_decoder():
    metadata = {**METADATA, "options": {"backbone": "mobilenet025", "variance": [0.3, 0.1], "clip": True}}
    assert spec.decoder(metadata).keywords == {"variance": (0.3, 0.1), "clip": True}


def of_training(tensors):
    return {f"network.{name}": value for name, value in tensors.items()}


@pytest.mark.parametrize("renamed", [mindface, of_training])
def test_checkpoints_of_others_need_no_metadata(forward, path, tmp_path, renamed):
    forward.load(path)
    image = photographs((64, 64))[0][None]
    expected = forward(image)
    checkpoint.save(tmp_path / "other.ckpt", renamed(random_tensors("mobilenet025")))
    metadata = forward.load(tmp_path / "other.ckpt")
    assert metadata["options"]["backbone"] == "mobilenet025" and metadata["detect"]["pad"] == "none"
    for ours, theirs in zip(expected, forward(image)):
        np.testing.assert_array_equal(ours, theirs)


def test_a_resnet_without_metadata_is_recognised_by_its_names():
    assert spec.assumed_metadata(tensor_shapes("resnet50"))["options"]["backbone"] == "resnet50"
    assert spec.assumed_metadata(["x"])["options"]["backbone"] == "resnet50"
    assert spec.DEFAULT_METADATA["input"] == NETWORK_INPUT


@pytest.mark.soak
def test_the_published_predictions_are_reproduced(forward, shared_data, tmp_path):
    """The released MobileNet weights on 100 images of WIDER val, against the boxes that their authors' code wrote.

    Those are cut to whole pixels; so are ours. One image is decoded differently by newer JPEG libraries.
    """
    from src.retinaface.convert import convert
    converted = convert(shared_data / "weights" / "RetinaFace_mobilenet025.pth")
    checkpoint.save(tmp_path / "mnet025.ckpt", converted.tensors, converted.metadata)
    with tarfile.open(shared_data / "predictions" / "retinaface_mnet025_full_val.tar.gz") as archive:
        archive.extractall(tmp_path)
    detector = build_detector(forward, forward.load(tmp_path / "mnet025.ckpt"))
    pairs, equal, found = 0, 0, {}
    for image in sorted((shared_data / "wider" / "val" / "images").glob("*/*.jpg")):
        key = f"{image.parent.name}/{image.stem}"
        picture = read_image(image)
        found[key] = whole_pixels(detector.run(picture))
        theirs = read_prediction(tmp_path / "retinaface_mnet025_full_val" / f"{key}.txt")
        theirs[:, 2:4] += theirs[:, :2]
        theirs[:, :4] = theirs[:, :4].clip(0, np.tile(picture.shape[1::-1], 2))
        ours = found[key].rows()[:, :5]
        for these, others in ((ours, theirs), (theirs, ours)):
            strong = these[these[:, 4] > 0.1]
            pairs += len(strong)
            distance = np.abs(strong[:, None] - others[None])
            equal += ((distance[..., :4] <= 1).all(-1) & (distance[..., 4] <= 0.002)).any(axis=1).sum()
    assert len(found) == 100 and pairs > 3800 and equal >= 0.995 * pairs
    report = evaluate(found, shared_data / "wider" / "ground_truth", (0.5,), only_predicted=True)
    assert report.ap[0.5] == pytest.approx(PUBLISHED_AP, abs=0.001)
