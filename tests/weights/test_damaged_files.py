# SPDX-License-Identifier: Apache-2.0
"""Damaged files of weights end in a result or in an InputError, soon; test_torch_file.py has those with programs."""
import json
import zlib

import numpy as np
import pytest

from src import models
from src.inference.backends import open_backend
from src.weights import checkpoint
from src.weights.ckpt_format import CRC_MARK, CRC_SIZE
from src.weights.torch_file import read_tensors
from tests.mutations import mutations, outcome
from tests.weights.torch_writer import write_legacy, write_zip

TENSORS = {"conv.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "conv.bias": np.zeros(3, np.float32)}


def write_checkpoint(path):
    checkpoint.save(path, TENSORS, {"model": "centerface", "options": {}}, {"epoch": 1})
    return checkpoint.load


def write_zipped(path):
    write_zip(path, TENSORS)
    return read_tensors


def write_stream(path):
    write_legacy(path, TENSORS)
    return read_tensors


def write_onnx(path):
    """A network of one convolution with CenterFace's outputs; the reader also runs it."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    runtime.set_default_logger_severity(4)
    helper, spec = onnx.helper, models.spec("centerface")
    channels = [1, 2, 2, 10]
    constants = [onnx.numpy_helper.from_array(np.ones((15, 3, 1, 1), np.float32), "weight"),
                 onnx.numpy_helper.from_array(np.array(channels), "lengths")]
    nodes = [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2]),
             helper.make_node("Cast", ["x"], ["y"], to=1), helper.make_node("Conv", ["y", "weight"], ["z"]),
             helper.make_node("Split", ["z", "lengths"], spec.outputs, axis=1)]
    outputs = [helper.make_tensor_value_info(name, 1, ["b", count, "h", "w"])
               for name, count in zip(spec.outputs, channels)]
    graph = helper.make_graph(nodes, "centerface", [helper.make_tensor_value_info("images", 2, ["b", "h", "w", 3])],
                              outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"metadata": json.dumps(spec.default_metadata)})
    path.write_bytes(model.SerializeToString())
    return lambda file: open_backend(file, threads=1)(np.zeros((1, 32, 32, 3), np.uint8))


@pytest.mark.parametrize("count", [50, pytest.param(2000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("write", [write_checkpoint, write_zipped, write_stream, write_onnx])
def test_damaged_files(tmp_path, write, count):
    """Both outcomes must occur among the damaged copies of a file."""
    path = tmp_path / "x.bin"
    reader = write(path)
    content = path.read_bytes()
    assert outcome(reader, path) == "read"
    seen = set()
    for damaged in mutations(content, count):
        path.write_bytes(damaged)
        seen.add(outcome(reader, path, one_line=True))
    assert "refused" in seen


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.soak)])
def test_damage_that_the_checksum_does_not_show(tmp_path, count):
    """The parser itself must stand it."""
    path = tmp_path / "x.ckpt"
    write_checkpoint(path)
    for body in mutations(path.read_bytes()[:-CRC_SIZE], count):
        path.write_bytes(body + CRC_MARK + zlib.crc32(body).to_bytes(10, "big"))
        outcome(checkpoint.load, path, one_line=True)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("write", [write_checkpoint, write_zipped, write_stream])
def test_cuts_and_changed_bytes(tmp_path, write, step):
    """A cut is always noticed, a changed byte where there is a checksum."""
    path = tmp_path / "x.bin"
    reader = write(path)
    content = path.read_bytes()
    for size in range(0, len(content), step):
        path.write_bytes(content[:size])
        only_checksum_lost = write is write_checkpoint and size == len(content) - CRC_SIZE
        assert outcome(reader, path) == ("read" if only_checksum_lost else "refused"), size
    for position in range(0, len(content), step):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1:])
        assert outcome(reader, path) == "refused" or write is not write_checkpoint, position
