# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on a device: the metadata decides the graph, weights are replaced without compiling again."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dependency.errors import InputError
from src.inference.backends import build_detector
from src.inference.mindspore_backend import MindSporeBackend
from src.weights import checkpoint
from tests.inference.shared_use import is_refused_in_a_child, use_from_two_threads
from tests.small_wider import make_checkpoint

RNG = np.random.default_rng(5)
PHOTO = RNG.integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def forward():
    return MindSporeBackend(device_target="CPU")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("ckpt") / "0-1_9.ckpt", 1, hm_head__0__weight=0.02)


def test_any_size_and_batch_goes_through_and_a_batch_equals_its_images(forward, first):
    forward.load(first)
    for height, width in ((32, 32), (64, 320)):
        batch = RNG.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        together = forward(batch)
        assert [each.shape[1] for each in together] == [1, 2, 2, 10]
        assert {each.shape[2:] for each in together} == {(height // 4, width // 4)}
        for index in range(3):
            for whole, single in zip(together, forward(batch[index:index + 1])):
                np.testing.assert_allclose(whole[index:index + 1], single, atol=1e-5, rtol=1e-4)


def test_other_weights_are_swapped_in_without_compiling(forward, first, tmp_path):
    forward.load(first)
    before = forward(PHOTO)
    second = make_checkpoint(tmp_path / "0-2_18.ckpt", 2, wh_head__bias=0.7, wh_head__weight=0.0)
    cell = forward._cell
    graphs = set(cell.compile_cache)
    forward.load(second)
    after = forward(PHOTO)
    assert forward._cell is cell and set(cell.compile_cache) == graphs != set()
    assert np.abs(before[0] - after[0]).max() > 1e-3
    np.testing.assert_allclose(after[1], 0.7, atol=1e-6)
    forward.load(first)
    for old, new in zip(before, forward(PHOTO)):
        np.testing.assert_array_equal(old, new)


def test_the_metadata_says_order_and_normalisation_of_the_channels(forward, first, tmp_path):
    read = checkpoint.load(first)
    swapped = {**read.tensors, "base.need_fp1.0.features.0.weight":
               read.tensors["base.need_fp1.0.features.0.weight"][:, ::-1].copy() * 2}
    metadata = {**read.metadata, "input": {"channels": "RGB", "mean": [100.0] * 3, "std": [120.0] * 3}}
    checkpoint.save(tmp_path / "rgb.ckpt", swapped, metadata)
    forward.load(first)
    expected = forward(PHOTO)
    forward.load(tmp_path / "rgb.ckpt")
    for one, other in zip(expected, forward(PHOTO)):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


def test_threads_take_turns(forward, first):
    forward.load(first)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: MindSporeBackend(device_target="CPU")).result()
        pool.submit(other.load, first).result()
    assert use_from_two_threads([forward], PHOTO) and use_from_two_threads([forward, other], PHOTO)


def test_a_forked_child_is_told_so(forward, first):
    forward.load(first)
    forward(PHOTO)
    for use in (lambda: forward(PHOTO), lambda: forward.load(first), lambda: MindSporeBackend(device_target="CPU")):
        assert is_refused_in_a_child(use)


def test_a_training_checkpoint_without_metadata_is_the_manuals_network(forward, tmp_path):
    from src.centerface.layers import tensor_shapes
    tensors = {f"centerface_network.{name}": np.full(shape, 0.01, np.float32)
               for name, shape in tensor_shapes(64).items()}
    tensors["moment1.centerface_network.wh_head.bias"] = np.zeros(2, np.float32)
    checkpoint.save(tmp_path / "old.ckpt", tensors)
    metadata = forward.load(tmp_path / "old.ckpt")
    assert metadata["options"] == {"head_conv": 64, "activation": "relu6"} and metadata["decoder"] == "centerface"


def test_the_metadatas_detector_options_are_defaults(forward, first):
    metadata = forward.load(first)
    detector = build_detector(forward, {**metadata, "detect": {"test_size": "original", "top_k": 5}}, top_k=3)
    assert detector.test_size == "original" and detector.top_k == 3
    assert len(detector.run(PHOTO[0])) <= 3
    with pytest.raises(InputError, match="decoder 'other'"):
        build_detector(forward, {**metadata, "decoder": "other"})
