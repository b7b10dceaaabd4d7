# SPDX-License-Identifier: Apache-2.0
"""Quantisation: which layers, that metadata and input stay, and what it refuses."""
import logging

import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.export.quantise import _quiet, quantise
from src.inference.backends import open_backend
from src.weights import checkpoint
from tests.small_wider import make_checkpoint

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    read = checkpoint.load(make_checkpoint(folder / "a.ckpt"))
    graph = models.spec("centerface").onnx_graph(read.metadata, read.tensors)
    (folder / "a.onnx").write_bytes(graph.SerializeToString())
    return folder / "a.onnx"


def images(count):
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (1, 32 * (1 + index % 2), 64, 3), dtype=np.uint8) for index in range(count))


def test_convolutions_become_integers_but_the_first_and_the_heads(plain, tmp_path):
    target = tmp_path / "int8.onnx"
    quantise(plain, target, images(4))
    assert target.stat().st_size < 0.5 * plain.stat().st_size
    model = onnx.load(str(target))
    made = {name: node for node in model.graph.node for name in node.output}
    kinds = {node.name: [getattr(made.get(name), "op_type", None) for name in node.input[:2]]
             for node in model.graph.node if node.op_type == "Conv"}
    quantised = [name for name, inputs in kinds.items() if inputs == ["DequantizeLinear"] * 2]
    assert len(quantised) > 45 and not any(name.startswith("heads") for name in quantised)
    assert "base.need_fp1.0.features.0" not in quantised and "dla_up.conv.0" in quantised
    before, after = (open_backend(path) for path in (plain, target))
    assert before.metadata == after.metadata and after.sizes == (0, 0, 0)
    picture = next(images(1))
    one, two = before(picture), after(picture)
    assert [each.shape for each in one] == [each.shape for each in two]
    assert 0 < np.abs(one[0] - two[0]).max() < 0.3


def test_no_image_to_calibrate_on(plain, tmp_path):
    with pytest.raises(InputError, match="no image to calibrate on"):
        quantise(plain, tmp_path / "int8.onnx", iter(()))
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize("level", [logging.NOTSET, logging.ERROR])
def test_logging_stays_as_the_caller_wants_it(level):
    logging.disable(level)
    try:
        with _quiet():
            assert logging.root.manager.disable == max(level, logging.WARNING)
        assert logging.root.manager.disable == level
    finally:
        logging.disable(logging.NOTSET)
