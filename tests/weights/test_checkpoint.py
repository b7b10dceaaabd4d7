# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are read as they were written, by MindSpore too."""
import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from dependency.errors import InputError
from src.common.log import LOGGER
from src.weights.checkpoint import (
    Checkpoint,
    checkpoint_name,
    list_checkpoints,
    load,
    load_report,
    network_tensors,
    save,
)
from src.weights.ckpt_format import encode
from tests.conftest import ROOT

METADATA = {"model": "centerface", "options": {"head_conv": 24}, "note": "größer 顔",
            "input": {"channels": "BGR", "mean": [0.5, 1, 2], "std": [1, 1, 1]}}


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {"centerface_network.conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
            "centerface_network.bn.gamma": np.ones(4, np.float32), "half": np.float16([1, -2.5]),
            "counts": np.array([[2 ** 40, -1]]), "flags": np.array([True, False]),
            "double": rng.normal(size=3),
            "moment1.centerface_network.conv.weight": np.zeros((4, 3, 3, 3), np.float32)}


@pytest.fixture
def ms():
    return pytest.importorskip("mindspore")


def test_round_trip(tmp_path, tensors):
    rng = np.random.default_rng(7)
    bookkeeping = {"epoch": 12, "lr": 0.1, "best": None, "done": False, "state": rng.bit_generator.state,
                   "history": np.arange(5.0), "count": np.int64(3)}
    save(tmp_path / "a.ckpt", tensors, METADATA, bookkeeping)
    found = load(tmp_path / "a.ckpt")
    assert found.metadata == METADATA
    assert list(found.tensors) == list(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], value)
        assert found.tensors[name].dtype == value.dtype and found.tensors[name].flags.writeable
    np.testing.assert_array_equal(found.bookkeeping.pop("history"), bookkeeping.pop("history"))
    assert found.bookkeeping == bookkeeping
    again = np.random.default_rng(0)
    again.bit_generator.state = found.bookkeeping["state"]
    assert again.random() == rng.random()


def test_strided_arrays_and_the_key_of_older_files(tmp_path):
    value = np.arange(12, dtype=">f4").reshape(3, 4).T
    save(tmp_path / "a.ckpt", {"a": value})
    np.testing.assert_array_equal(load(tmp_path / "a.ckpt").tensors["a"], value)
    (tmp_path / "old.ckpt").write_bytes(encode("card", json.dumps(METADATA)) + encode("a", np.ones(2)))
    read = load(tmp_path / "old.ckpt")
    assert read.metadata == METADATA and list(read.tensors) == ["a"] and read.bookkeeping == {}


def test_values_that_a_checkpoint_cannot_hold(tmp_path):
    save(tmp_path / "a.ckpt", {"a": np.ones(2)})
    for bad in ({"a": np.empty(0)}, {"a": np.ones(2, np.complex64)}, {"metadata": np.ones(2)}):
        with pytest.raises(ValueError):
            save(tmp_path / "a.ckpt", bad)
    assert list(load(tmp_path / "a.ckpt").tensors["a"]) == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_mindspore_reads_ours(tmp_path, tensors, ms):
    save(tmp_path / "a.ckpt", tensors, METADATA, {"epoch": 3})
    for crc_check in (False, True):
        found = ms.load_checkpoint(str(tmp_path / "a.ckpt"), crc_check=crc_check)
        assert json.loads(found["metadata"]) == METADATA
        for name, value in tensors.items():
            np.testing.assert_array_equal(found[name].asnumpy(), value)
    cell = ms.nn.Conv2d(3, 4, 3)
    cell.update_parameters_name("centerface_network.conv.")
    missing, _ = ms.load_param_into_net(cell, found)
    assert missing == []
    np.testing.assert_array_equal(cell.weight.asnumpy(), tensors["centerface_network.conv.weight"])


@pytest.mark.parametrize("crc_check", [False, True])
def test_we_read_mindspores(tmp_path, caplog, monkeypatch, tensors, ms, crc_check):
    path = tmp_path / "a.ckpt"
    given = [{"name": name, "data": ms.Tensor(value)} for name, value in tensors.items()]
    given += [{"name": "wide", "data": ms.Tensor(np.float32([1.5, -3]), ms.bfloat16)},
              {"name": "global_step", "data": ms.Tensor([77], ms.int32)},
              {"name": "scale_sense", "data": ms.Tensor(1024.0, ms.float32)}]
    ms.save_checkpoint(given, str(path), append_dict={"epoch": 5, "text": "né 顔"}, crc_check=crc_check)
    monkeypatch.setattr(LOGGER, "propagate", True)
    with caplog.at_level(logging.WARNING, LOGGER.name):
        found = load(path)
    assert ("no checksum" in caplog.text) == (not crc_check)
    np.testing.assert_array_equal(found.tensors.pop("wide"), np.float32([1.5, -3]))
    for name, value in tensors.items():
        np.testing.assert_array_equal(found.tensors.pop(name), value)
    assert found.tensors == {}
    assert found.bookkeeping.pop("global_step").tolist() == [77]
    assert found.bookkeeping == {"scale_sense": 1024.0, "epoch": 5, "text": "né 顔"}


def test_pieces_of_a_large_tensor_are_joined_and_old_scalars_read(tmp_path):
    whole = encode("big", np.zeros((2, 2), np.float32))
    content = np.arange(4, dtype="<f4").tobytes()
    halves = b"".join(_entry(b"big", b"\x08\x02\x08\x02", content[part:part + 8]) for part in (0, 8))
    old_scalar = _entry(b"step", b"\x08\x00", np.float32(9).tobytes())
    packed = _entry(b"packed", b"\x0a\x02\x02\x02", content)
    (tmp_path / "a.ckpt").write_bytes(halves + old_scalar + packed)
    found = load(tmp_path / "a.ckpt")
    np.testing.assert_array_equal(found.tensors["big"], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(found.tensors["packed"], [[0, 1], [2, 3]])
    assert found.bookkeeping == {"step": 9.0}
    assert _entry(b"big", b"\x08\x02\x08\x02", bytes(16)) == whole


def _entry(tag, dims, content):
    tensor = dims + b"\x12\x07Float32" + b"\x1a" + bytes([len(content)]) + content
    value = b"\x0a" + bytes([len(tag)]) + tag + b"\x12" + bytes([len(tensor)]) + tensor
    return b"\x0a" + bytes([len(value)]) + value


@pytest.mark.parametrize("content", [
    b"", b"junk, junk, junk", bytes(100), b"PK\x03\x04....", b"\x80\x02\x8a\nl\xfc", b"<!DOCTYPE html>",
    b"\x1f\x8b\x08", b"version https://git-lfs.github.com/spec/v1\n", _entry(b"step", b"", bytes(4))])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(InputError, match="a.ckpt"):
        load(tmp_path / "a.ckpt")


def test_network_tensors_drop_prefix_and_optimizer(tensors):
    found = network_tensors(Checkpoint({**tensors, "module.network.a": np.ones(1), "moments.b": np.ones(1),
                                        "base.network.c": np.ones(1)}))
    assert set(found) == {"conv.weight", "bn.gamma", "half", "counts", "flags", "double", "a",
                          "base.network.c"}


def test_names_and_order(tmp_path):
    assert checkpoint_name(0, 125, 24750) == "0-125_24750.ckpt"
    names = ["0-2_396.ckpt", "0-10_1980.ckpt", "0-1_198.ckpt", "RetinaFace-3_594.ckpt"]
    for name in names + ["best.ckpt", "0-1_198.ckpt.bak"]:
        (tmp_path / name).write_bytes(b"")
    order = [path.name for path in list_checkpoints(tmp_path)]
    assert order == ["0-1_198.ckpt", "0-2_396.ckpt", "RetinaFace-3_594.ckpt", "0-10_1980.ckpt"]
    with pytest.raises(InputError, match="none"):
        list_checkpoints(tmp_path / "none")


@pytest.mark.parametrize("implementation", ["python", "upb"])
def test_without_mindspore_in_either_protobuf(tmp_path, implementation):
    save(tmp_path / "a.ckpt", {"a": np.arange(6.0).reshape(2, 3)}, METADATA)
    (tmp_path / "mindspore.py").write_text("raise SystemExit('mindspore was imported')")
    code = ("import sys; from src.weights import checkpoint; read = checkpoint.load(sys.argv[1]); "
            "checkpoint.save(sys.argv[2], read.tensors, read.metadata)")
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
                   "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.ckpt", tmp_path / "b.ckpt"], env=environment, check=True)
    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "b.ckpt").read_bytes()


def test_load_report():
    expected = {"a": (2,), "b": (3, 1), "c": (1,)}
    report = load_report(expected, {"a": np.ones(2), "b": np.ones((1, 3)), "d": np.ones(1)})
    assert (report.matched, report.missing, report.unexpected) == (("a",), ("c",), ("d",))
    assert report.wrong_shape == (("b", (3, 1), (1, 3)),)
    with pytest.raises(InputError, match=r"x.ckpt.*(?s:.*)c.*d.*b.*head_conv': 24"):
        report.require("x.ckpt", METADATA)
    load_report({"a": (1,)}, {"a": np.ones(1)}).require("x.ckpt")
