# SPDX-License-Identifier: Apache-2.0
import numpy as np


def test_normalise_is_mean_and_std_in_the_named_channel_order(ms):
    from src.common.normalise import Normalise
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3), dtype=np.uint8)
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    for channels, pixels in (("BGR", image), ("RGB", image[..., ::-1])):
        expected = ((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(Normalise(channels, mean, std)(ms.Tensor(image)).asnumpy(), expected, atol=1e-5)


def test_frozen_statistics_are_used_and_stay(ms):
    from mindspore import nn

    from src.common.normalise import freeze_statistics
    cell = nn.SequentialCell([nn.BatchNorm2d(2), nn.ReLU()])
    cell[0].moving_mean.set_data(ms.Tensor(np.array([1.0, -2.0], np.float32)))
    cell[0].moving_variance.set_data(ms.Tensor(np.array([4.0, 9.0], np.float32)))
    freeze_statistics(cell)
    cell.set_train(True)
    image = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
    expected = (image - np.array([1, -2]).reshape(1, 2, 1, 1)) / np.sqrt(np.array([4, 9]).reshape(1, 2, 1, 1) + 1e-5)
    np.testing.assert_allclose(cell(ms.Tensor(image)).asnumpy(), np.maximum(expected, 0), atol=1e-5)
    np.testing.assert_array_equal(cell[0].moving_mean.asnumpy(), [1, -2])
    np.testing.assert_array_equal(cell[0].moving_variance.asnumpy(), [4, 9])
