# SPDX-License-Identifier: Apache-2.0
"""The converted network computes what the PyTorch original computes, at any size, in one graph or one a size."""
import numpy as np
import pytest

from dependency.errors import InputError
from src.common import device
from src.retinaface.layers import NETWORK_INPUT
from src.retinaface.spec import SPEC
from tests.retinaface.reference_network import NumpyOperators, forward
from tests.retinaface.weights import pytorch, random_tensors

SIZES = ((64, 64), (66, 50), (97, 131))
BOTH = [pytest.param("resnet50", marks=pytest.mark.soak), "mobilenet025"]


def inference(ms, backbone, tensors, fed=NETWORK_INPUT):
    cell = SPEC.inference_cell({"options": {"backbone": backbone}, "input": fed})
    for name, parameter in cell.network.parameters_and_names():
        parameter.set_data(ms.Tensor(tensors[name]))
    return cell


def photo(height, width, count=1):
    return np.random.default_rng(height).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def normalised(images):
    return (images.astype(np.float32) - np.array(NETWORK_INPUT["mean"], np.float32)).transpose(0, 3, 1, 2)


def softmax(logits):
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def assert_same(given, reference):
    bbox, logits, landm = reference
    for ours, theirs in zip(given, (bbox, softmax(logits), landm)):
        assert ours.shape == theirs.shape and theirs.std() > 0.05
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.fixture(scope="module", params=BOTH)
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def tensors(backbone):
    return random_tensors(backbone)


@pytest.fixture(scope="module")
def references(tensors):
    """By size: what the network must give for `photo(*size)`."""
    theirs = pytorch(tensors)
    return {size: forward(theirs, normalised(photo(*size)) / 60, NumpyOperators()) for size in SIZES}


@pytest.fixture(scope="module")
def fed():
    """Pixels in small units, so that random weights are not saturated."""
    return {**NETWORK_INPUT, "std": [60.0, 60.0, 60.0]}


def test_one_graph_for_all_sizes_computes_what_numpy_computes(ms, backbone, tensors, references, fed):
    cell = inference(ms, backbone, tensors, fed)
    cell.set_inputs(device.dynamic_images(ms))
    for size in SIZES:
        assert_same([each.asnumpy() for each in cell(ms.Tensor(photo(*size)))], references[size])
    batch = photo(66, 50, 3)
    together = [each.asnumpy() for each in cell(ms.Tensor(batch))]
    for index in range(3):
        single = [each.asnumpy() for each in cell(ms.Tensor(batch[index:index + 1]))]
        for whole, one in zip(together, single):
            np.testing.assert_allclose(whole[index:index + 1], one, atol=1e-4)
    assert len(cell.compile_cache) == 1


@pytest.mark.soak
def test_a_graph_a_size_computes_what_numpy_computes(ms, backbone, tensors, references, fed):
    cell = inference(ms, backbone, tensors, fed)
    for size in SIZES:
        assert_same([each.asnumpy() for each in cell(ms.Tensor(photo(*size)))], references[size])


def test_the_released_network_finds_what_the_reference_computes(ms, shared_data):
    """The published weights on a photograph, by their own names."""
    import cv2

    from src.retinaface.convert import convert
    from src.weights.torch_file import read_tensors
    path = shared_data / "weights" / "RetinaFace_mobilenet025.pth"
    image = cv2.imread(str(min((shared_data / "photos").glob("*.jpg"))))
    scale = 300 / image.shape[1]
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[None]
    converted = convert(path)
    cell = inference(ms, "mobilenet025", converted.tensors, converted.metadata["input"])
    bbox, conf, landm = (each.asnumpy() for each in cell(ms.Tensor(image)))
    assert conf[..., 1].max() > 0.9
    assert_same((bbox, conf, landm), forward(read_tensors(path), normalised(image), NumpyOperators()))


def test_an_unknown_backbone_is_refused(ms):
    with pytest.raises(InputError, match="vgg16"):
        SPEC.inference_cell({"options": {"backbone": "vgg16"}, "input": NETWORK_INPUT})
