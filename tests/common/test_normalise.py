# SPDX-License-Identifier: Apache-2.0
import numpy as np


def test_normalise_is_mean_and_std_in_the_named_channel_order(ms):
    from src.common.normalise import Normalise
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3), dtype=np.uint8)
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    for channels, pixels in (("BGR", image), ("RGB", image[..., ::-1])):
        expected = ((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(Normalise(channels, mean, std)(ms.Tensor(image)).asnumpy(), expected, atol=1e-5)
