# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tools.launching import Launch


def test_frozen_statistics_are_used_and_stay(ms):
    from mindspore import nn

    from src.training.batch_norm import freeze_statistics
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


def test_one_device_needs_no_synchronising(ms):
    from mindspore import nn

    from src.training.batch_norm import synchronise
    cell = nn.SequentialCell([nn.BatchNorm2d(2)])
    synchronise(cell, 1)
    assert isinstance(cell[0], nn.BatchNorm2d)


@pytest.mark.soak
def test_two_ranks_normalise_as_one(tmp_path):
    """Forward, gradients and moving statistics of two halves are those of the whole; what ranks tell each other."""
    out = tmp_path / "found.json"
    status, text, _ = Launch(tmp_path, "--devices=2", "--", out, program=("-m", "tests.training.two_rank_norm"),
                             PYTHONPATH=str(ROOT)).wait(200)
    assert status == 0, text
    found = json.loads(out.read_text())
    assert len(found["gaps"]) == 6 and max(found["gaps"].values()) < 2e-5, found
    assert found["shared"] == {"from": 0, "text": "ü"} and found["mean"] == [0.5, 1.0]
