# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from dependency.errors import InputError
from src.retinaface.layers import backbone_of, tensor_shapes


@pytest.fixture(scope="module")
def small(ms):
    """Builds a RetinaFace on MobileNetV1 x0.25."""
    from src.retinaface.mobilenet import mobilenet025
    from src.retinaface.network import RetinaFace
    return lambda phase="predict", **options: RetinaFace(phase, mobilenet025(None), **options)


def sizes(parameters):
    return sum(int(np.prod(parameter.shape)) for parameter in parameters)


def images(*shape):
    return np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)


def test_size_and_names_of_the_manuals_network(ms):
    from src.retinaface.network import RetinaFace
    from src.retinaface.resnet import resnet50
    network = RetinaFace(phase="train", backbone=resnet50(1001))
    assert sizes(network.trainable_params()) == 27_293_600                   # the manual's 27.29M
    assert sizes(network.get_parameters()) == 29_402_633 and len(list(network.get_parameters())) == 385
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    classifier = {"base.end_point.weight": (1001, 2048), "base.end_point.bias": (1001,)}
    assert shapes == {**tensor_shapes("resnet50"), **classifier}
    for name in ("base.layer1.0.down_sample_layer.0.weight", "fpn.output3.1.moving_mean", "fpn.merge2.0.weight",
                 "ssh1.conv3X3.0.weight", "ssh2.conv5X5_1.1.gamma", "ssh3.conv7X7_3.0.weight", "ssh3.conv7X7_2.1.beta",
                 "ClassHead.0.conv1x1.weight", "BboxHead.1.conv1x1.bias", "LandmarkHead.2.conv1x1.weight"):
        assert name in shapes


def test_size_of_the_small_network(small):
    network = small()
    assert sizes(network.trainable_params()) == 426_608
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    assert shapes == tensor_shapes("mobilenet025")
    assert backbone_of(shapes) == "mobilenet025" and backbone_of(tensor_shapes("resnet50")) == "resnet50"
    assert backbone_of(["conv1.weight"]) is None


def test_no_backbone_means_resnet50_without_classifier(ms):
    from src.retinaface.network import RetinaFace
    network = RetinaFace()
    assert {name for name, _ in network.parameters_and_names()} == set(tensor_shapes("resnet50"))


def test_the_options_set_the_pyramids_width_and_its_activation(ms, small):
    from mindspore import nn

    from src.retinaface.network import FPN
    assert small(cfg={"out_channel": 128}).fpn.merge1[0].weight.shape == (128, 128, 3, 3)
    assert small(cfg={"image_size": 840}).fpn.merge1[0].weight.shape == (64, 64, 3, 3)
    assert isinstance(FPN((8, 8, 8), 64).output1[2], nn.LeakyReLU)
    assert isinstance(FPN((8, 8, 8), 65).output1[2], nn.ReLU)


@pytest.mark.parametrize("phase, is_logits", [("train", True), ("predict", False), ("test", False)])
def test_the_phase_decides_on_the_softmax_and_set_train_does_not(ms, small, phase, is_logits):
    network = small(phase)
    for mode in (False, True):
        network.set_train(mode)
        conf = network(ms.Tensor(images(1, 3, 32, 32)))[1].asnumpy()
        assert np.allclose(conf.sum(-1), 1, atol=1e-5) != is_logits


def test_an_unknown_phase_is_refused(small):
    with pytest.raises(InputError, match="phase 'eval' is none of train, predict, test"):
        small("eval")


def test_every_size_has_as_many_predictions_as_anchors(ms, small):
    """ceil(side / stride) cells a level, two anchors a cell; at 840 the manual's 29126."""
    network = small()
    network.set_train(False)
    network.set_inputs(ms.Tensor(shape=[None, 3, None, None], dtype=ms.float32))
    for height, width in ((32, 32), (66, 66), (97, 131), (481, 20), (482, 513), (500, 33), (840, 840)):
        count = 2 * sum(math.ceil(height / stride) * math.ceil(width / stride) for stride in (8, 16, 32))
        for batch in (1, 2) if height < 100 else (1,):
            maps = network(ms.Tensor(images(batch, 3, height, width)))
            assert [tuple(each.shape) for each in maps] == [(batch, count, numbers) for numbers in (4, 2, 10)]
    assert count == 29126


def test_predictions_come_level_by_level_row_by_row_anchor_by_anchor(ms, small):
    """Each head's bias and weights are set so that a prediction says where it comes from."""
    network = small("train")
    network.set_train(False)
    for level, head in enumerate(network.BboxHead):
        head.conv1x1.weight.set_data(ms.Tensor(np.zeros(head.conv1x1.weight.shape, np.float32)))
        head.conv1x1.bias.set_data(ms.Tensor(np.arange(8, dtype=np.float32) + 10 * level))
    bbox = network(ms.Tensor(images(1, 3, 64, 32)))[0].asnumpy()[0]
    cells = (8 * 4, 4 * 2, 2 * 1)
    expected = np.concatenate([np.tile((np.arange(8) + 10 * level).reshape(2, 4), (count, 1))
                               for level, count in enumerate(cells)])
    np.testing.assert_array_equal(bbox, expected)


def test_cells_are_counted_row_by_row(ms):
    from src.retinaface.network import Head
    head = Head(1, 2)
    head.conv1x1.weight.set_data(ms.Tensor(np.array([1, 1, 1, 1], np.float32).reshape(4, 1, 1, 1)))
    head.conv1x1.bias.set_data(ms.Tensor(np.array([0.0, 0.1, 0.2, 0.3], np.float32)))
    grid = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    expected = np.arange(6)[:, None] + np.array([0.0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(head(ms.Tensor(grid)).asnumpy()[0], expected.reshape(12, 2), atol=1e-5)


def test_upsampling_takes_the_nearest_by_rounding_down(ms):
    from mindspore import nn

    from src.retinaface.network import resize_to

    class Resize(nn.Cell):
        def construct(self, x, like):
            return resize_to(x, like)

    dynamic = ms.Tensor(shape=[None, None, None, None], dtype=ms.float32)
    cell = Resize()
    cell.set_inputs(dynamic, dynamic)
    for new in range(1, 34):
        old = (new + 1) // 2
        coarse = np.arange(old * 27, dtype=np.float32).reshape(1, 1, old, 27)
        given = cell(ms.Tensor(coarse), ms.Tensor(np.zeros((1, 1, new, 53), np.float32))).asnumpy()
        rows, columns = np.arange(new) * old // new, np.arange(53) * 27 // 53
        np.testing.assert_array_equal(given[0, 0], coarse[0, 0][rows][:, columns])


def test_the_initial_weights_follow_the_seed(small):
    first, second, other = (small(seed=seed) for seed in (1, 1, 2))
    for name in ("ssh2.conv5X5_1.0.weight", "ClassHead.1.conv1x1.weight", "LandmarkHead.0.conv1x1.bias"):
        values = [dict(net.parameters_and_names())[name].asnumpy() for net in (first, second, other)]
        np.testing.assert_array_equal(values[0], values[1])
        assert (values[0] != values[2]).any()
        bound = 1 / math.sqrt(64 * 9 if "ssh" in name else 64)
        assert 0.8 * bound < np.abs(values[0]).max() <= bound


def test_gradients_reach_every_weight_but_no_statistics(ms, small):
    network = small("train")
    network.set_train(True)
    weights = network.trainable_params()

    def total(x):
        bbox, conf, landm = network(x)
        return (bbox ** 2).sum() + (conf ** 2).sum() + (landm ** 2).sum()

    grads = ms.value_and_grad(total, None, weights)(ms.Tensor(images(2, 3, 64, 64)))[1]
    still = [weight.name for weight, grad in zip(weights, grads) if not np.abs(grad.asnumpy()).max() > 0]
    assert len(grads) == len(weights) == 159 and still == []
