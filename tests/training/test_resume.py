# SPDX-License-Identifier: Apache-2.0
from functools import partial

import numpy as np
import pytest

from dependency.errors import InputError
from src.data.sampler import SamplePlan


@pytest.fixture(scope="module")
def first_step(ms):
    from src.training.resume import first_step
    return partial(first_step, fingerprint="a1")


def test_resume_with_other_data_is_refused(first_step):
    plan = SamplePlan(count=10, batch=3, max_epoch=3, seed=5)
    position = {"images": 10, "batch": 3, "group": 1, "seed": 5, "step": 6, "epoch": 2}
    assert first_step(plan, None) == 0 and first_step(plan, position) == 6
    for name, value, option in (("images", 11, "--annot_path"), ("seed", 6, "--seed"), ("batch", 2, "--batch_size"),
                                ("group", 2, "number of devices")):
        with pytest.raises(InputError, match=option):
            first_step(plan, {**position, name: value})


def test_resume_with_other_images_of_the_same_number_is_refused(first_step, monkeypatch, caplog):
    """The checkpoints of earlier versions do not say which images they saw."""
    from src.common.log import LOGGER
    monkeypatch.setattr(LOGGER, "propagate", True)
    plan = SamplePlan(count=10, batch=3, max_epoch=3)
    position = {"images": 10, "batch": 3, "group": 1, "seed": 1, "step": 6, "fingerprint": "a1"}
    assert first_step(plan, position) == 6
    with pytest.raises(InputError, match="a1 in the checkpoint, b2 now .*--annot_path.*--pretrained"):
        first_step(plan, position, fingerprint="b2")
    del position["fingerprint"]
    with caplog.at_level("INFO", logger="facedet"):
        assert first_step(plan, position, fingerprint="b2") == 6
    assert len({record.message for record in caplog.records}) == 1


def test_resume_on_another_number_of_devices(first_step):
    """Two devices with batch 4 may continue as one with 8, and back; not where an epoch would have other steps."""
    one = SamplePlan(count=16, batch=8, max_epoch=3)
    two = SamplePlan(count=16, batch=4, max_epoch=3, rank=1, world_size=2)
    for mine, former in ((one, two), (two, one)):
        position = {"images": 16, "batch": former.batch, "group": former.world_size, "seed": 1, "step": 3}
        assert first_step(mine, position) == 3
    # ceil(15 / 2) // 4 = 2 steps, 15 // 8 = 1.
    with pytest.raises(InputError, match="steps an epoch: 2 .* 1 now"):
        first_step(SamplePlan(count=15, batch=8, max_epoch=3),
                   {"images": 15, "batch": 4, "group": 2, "seed": 1, "step": 3})


def test_mixed_precision_resumes_to_the_bit(ms, tmp_path):
    """Its checkpoints have the names and the float32 weights of any other, so that they can be tested as usual."""
    from mindspore.amp import auto_mixed_precision

    from src.training.optim import build_optimizer
    from src.training.resume import load_state, save_state
    from src.training.train_step import TrainStep
    from src.weights import checkpoint
    from tests.training.small_training import METADATA, SPEC, SmallLoss, SmallNetwork

    def build():
        network = SmallNetwork()
        names = list(network.parameters_dict())
        auto_mixed_precision(network, "O2")
        optimizer = build_optimizer("adam", network.trainable_params(), [0.01] * 4)
        step = TrainStep(SmallLoss(network), optimizer, loss_scale=1024.0)
        step.set_train(True)
        return step, network, names

    def train(step, *seeds):
        for seed in seeds:
            x = np.random.default_rng(seed).normal(size=(8, 2)).astype(np.float32)
            assert bool(step(ms.Tensor(x), ms.Tensor(x[:, :1]))[2].asnumpy())

    whole, _, names = build()
    train(whole, 0, 1, 2)
    first, network, _ = build()
    train(first, 0, 1)
    save_state(tmp_path / "0-1_2.ckpt", first, network, METADATA, {"epoch": 1, "step": 2})
    tensors = checkpoint.network_tensors(checkpoint.load(tmp_path / "0-1_2.ckpt"))
    assert set(tensors) == set(names) and {value.dtype for value in tensors.values()} == {np.dtype(np.float32)}
    rest, network, _ = build()
    assert load_state(tmp_path / "0-1_2.ckpt", rest, network, SPEC, METADATA)["step"] == 2
    train(rest, 2)
    for one, two in zip(whole.get_parameters(), rest.get_parameters()):
        np.testing.assert_array_equal(one.asnumpy(), two.asnumpy(), err_msg=one.name)
