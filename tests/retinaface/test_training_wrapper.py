# SPDX-License-Identifier: Apache-2.0
"""The cells of the manual's "How to use" with MindSpore's own Model and callbacks."""
import numpy as np
import pytest

from dependency.errors import InputError

WEIGHTS = {"loc_weight": 2.0, "class_weight": 1.0, "landm_weight": 1.0}
RATES = [0.001] * 8


def parts():
    """(network, network with loss)"""
    from src.retinaface.loss import MultiBoxLoss, RetinaFaceWithLossCell
    from tests.retinaface.small_detector import ANCHORS, SmallDetector
    network = SmallDetector()
    return network, RetinaFaceWithLossCell(network, MultiBoxLoss(2, ANCHORS, 7, 2), WEIGHTS)


def sgd(params, **options):
    from mindspore import nn
    return nn.SGD(params=params, learning_rate=RATES, momentum=0.9, weight_decay=5e-4, **options)


def images(ms, seed=0):
    from tests.retinaface.small_detector import batch
    image, *targets = batch(2, seed)
    # In units of 0..1, else SGD of this rate diverges on a network without normalisation.
    return [ms.Tensor(each) for each in (image.astype(np.float32).transpose(0, 3, 1, 2) / 255, *targets)]


def weights(network):
    return {name: value.asnumpy().copy() for name, value in network.parameters_and_names()}


def test_model_train_with_stock_callbacks(ms, tmp_path, capsys):
    import mindspore.dataset as ds
    from mindspore.train import CheckpointConfig, LossMonitor, Model, ModelCheckpoint, TimeMonitor

    from src.retinaface.loss import TrainingWrapper
    network, with_loss = parts()
    before = weights(network)
    columns = [each.asnumpy() for each in images(ms)]
    data = ds.NumpySlicesDataset(tuple(np.repeat(each, 4, axis=0) for each in columns),
                                 ["image", "truths", "conf", "landm"], shuffle=False).batch(2)
    saver = ModelCheckpoint("RetinaFace", str(tmp_path), CheckpointConfig(save_checkpoint_steps=2000,
                                                                          keep_checkpoint_max=1))
    Model(TrainingWrapper(with_loss, sgd(with_loss.trainable_params()))).train(
        2, data, callbacks=[LossMonitor(), TimeMonitor(4), saver], dataset_sink_mode=False)
    printed = capsys.readouterr().out
    losses = [float(line.split("loss is ")[1]) for line in printed.splitlines() if "loss is" in line]
    assert "epoch: 1 step: 1, loss is " in printed and "per step time" in printed and len(losses) == 8
    assert losses[-1] < 0.9 * losses[0]
    saved = ms.load_checkpoint(str(tmp_path / "RetinaFace-2_4.ckpt"))
    assert {"network.dense.weight", "accum.network.dense.weight", "learning_rate", "global_step"} <= set(saved)
    assert any((value != before[name]).any() for name, value in weights(network).items())


@pytest.mark.parametrize("early", [True, False])
def test_the_optimiser_may_come_before_or_after_the_loss(ms, early):
    """Its parameters are named without or with `network.`; it trains the same."""
    from src.retinaface.loss import MultiBoxLoss, RetinaFaceWithLossCell, TrainingWrapper
    from tests.retinaface.small_detector import ANCHORS, SmallDetector
    network = SmallDetector()
    optimizer = sgd(network.trainable_params()) if early else None
    with_loss = RetinaFaceWithLossCell(network, MultiBoxLoss(2, ANCHORS, 7), WEIGHTS)
    step = TrainingWrapper(with_loss, optimizer or sgd(with_loss.trainable_params()))
    losses = [float(step(*images(ms)).asnumpy()) for _ in range(4)]
    reference, with_loss = parts()
    other = TrainingWrapper(with_loss, sgd(with_loss.trainable_params()))
    assert losses == [float(other(*images(ms)).asnumpy()) for _ in range(4)] and losses[-1] < losses[0]
    for (_, left), (_, right) in zip(network.parameters_and_names(), reference.parameters_and_names()):
        np.testing.assert_array_equal(left.asnumpy(), right.asnumpy())


def test_an_optimiser_of_another_network_is_refused(ms):
    from src.retinaface.loss import TrainingWrapper
    with pytest.raises(InputError, match="weights of another network"):
        TrainingWrapper(parts()[1], sgd(parts()[0].trainable_params()))


def test_sens_and_the_loss_scale_of_the_optimiser_cancel(ms):
    from src.retinaface.loss import TrainingWrapper
    found = []
    for sens in (1.0, 1024.0):
        network, with_loss = parts()
        step = TrainingWrapper(with_loss, sgd(with_loss.trainable_params(), loss_scale=sens), sens)
        losses = [float(step(*images(ms, seed)).asnumpy()) for seed in range(3)]
        found.append((losses, weights(network)))
    assert found[0][0] == found[1][0]
    for name in found[0][1]:
        np.testing.assert_array_equal(found[0][1][name], found[1][1][name])


@pytest.mark.soak
def test_one_step_of_the_detector_lowers_its_loss(ms):
    from mindspore import nn

    from src.retinaface.loss import MultiBoxLoss, RetinaFaceTerms
    from src.retinaface.network import RetinaFace, mobilenet025
    from src.training.train_step import TrainStep
    from tests.retinaface import sample_faces
    network = RetinaFace(phase="train", backbone=mobilenet025())
    step = TrainStep(RetinaFaceTerms(network, MultiBoxLoss(2, sample_faces.ANCHORS, 7)),
                     nn.SGD(network.trainable_params(), learning_rate=0.01, momentum=0.9, weight_decay=5e-4))
    step.set_train(True)
    image = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    data = [ms.Tensor(each) for each in (image, *sample_faces.targets())]
    losses = [float(step(*data)[0].asnumpy()) for _ in range(5)]
    assert losses[1] < losses[0] and losses[-1] < 0.8 * losses[0]
