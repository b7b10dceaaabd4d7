# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.retinaface.layers import tensor_shapes


def trainable(cell):
    return sum(int(np.prod(parameter.shape)) for parameter in cell.trainable_params())


def test_names_and_the_unused_classifier(ms):
    from src.retinaface.mobilenet import mobilenet025
    net = mobilenet025()
    shapes = {name: tuple(parameter.shape) for name, parameter in net.parameters_and_names()}
    expected = {name[len("base."):]: shape for name, shape in tensor_shapes("mobilenet025", "backbone").items()}
    assert shapes == {**expected, "fc.weight": (1000, 256), "fc.bias": (1000,)}
    for name in ("stage1.0.0.weight", "stage1.1.4.gamma", "stage2.5.3.weight", "stage3.1.1.moving_mean"):
        assert name in shapes
    assert trainable(net) == trainable(mobilenet025(None)) == 213_072
    assert not net.fc.weight.requires_grad and not hasattr(mobilenet025(None), "fc")


def test_depthwise_layers_start_with_the_spread_of_their_own_fan(ms):
    from src.retinaface.mobilenet import mobilenet025
    first, second, other = (mobilenet025(None, seed).stage2[3][0].weight.asnumpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert first.shape == (128, 1, 3, 3) and first.std() == pytest.approx(np.sqrt(2 / 9), rel=0.1)


@pytest.mark.parametrize("frozen", [False, True])
def test_sizes_are_rounded_up_and_frozen_statistics_stay(ms, frozen):
    from src.retinaface.mobilenet import mobilenet025
    net = mobilenet025(None)
    if frozen:
        net.freeze_statistics()
    net.set_train(True)
    before = {name: parameter.asnumpy().copy() for name, parameter in net.parameters_and_names()}
    maps = net(ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 33, 65)).astype(np.float32)))
    assert [tuple(each.shape) for each in maps] == [(2, 64, 5, 9), (2, 128, 3, 5), (2, 256, 2, 3)]
    moved = {name for name, parameter in net.parameters_and_names() if (parameter.asnumpy() != before[name]).any()}
    assert moved == (set() if frozen else {name for name in before if "moving" in name})
