# SPDX-License-Identifier: Apache-2.0
"""Both layouts of .pth files are read, and nothing in a file can run a program."""
import zipfile

import numpy as np
import pytest

from dependency.errors import InputError
from src.weights.torch_file import is_torch_file, read_tensors
from tests.weights import torch_writer
from tests.weights.torch_writer import tensor, write_legacy, write_zip

WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {"conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "half": np.float16([[1.5, -2]]),
            "double": rng.normal(size=5), "mask": np.array([True, False]),
            "bytes": np.arange(7, dtype=np.uint8),
            "num_batches_tracked": np.array(12, np.int64)}


@WRITERS
@pytest.mark.parametrize("wrap", [False, True])
def test_round_trip(tmp_path, weights, write, wrap):
    write(tmp_path / "w.pth", weights, wrap=wrap)
    assert is_torch_file(tmp_path / "w.pth")
    found = read_tensors(tmp_path / "w.pth")
    assert list(found) == list(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype and found[name].shape == value.shape


def test_bfloat16_is_widened(tmp_path, monkeypatch):
    """Of float32 numbers the upper half of the bytes."""
    monkeypatch.setitem(torch_writer.STORAGES, "uint16", "BFloat16Storage")
    value = np.float32([1.5, -3, 2 ** 100])
    write_zip(tmp_path / "w.pth", {"a": (value.view(np.uint32) >> 16).astype(np.uint16)})
    np.testing.assert_array_equal(read_tensors(tmp_path / "w.pth")["a"], value)


def test_views_keep_their_strides(tmp_path):
    value = np.arange(12, dtype=np.float32)
    view = tensor("0", value, offset=1, shape=(2, 3), strides=(1, 4))
    content = b"\x80\x02}(X\x01\x00\x00\x00a" + view + b"u."
    write_zip(tmp_path / "w.pth", {"a": value}, content=content)
    np.testing.assert_array_equal(read_tensors(tmp_path / "w.pth")["a"], [[1, 5, 9], [2, 6, 10]])


@pytest.mark.parametrize("name, count, first", [
    ("RetinaFace_mobilenet025.pth", 300, "body.stage1.0.0.weight"),
    ("mobilenetV1X0.25_pretrain.tar", 164, "module.stage1.0.0.weight")])
def test_real_legacy_files(shared_data, name, count, first):
    found = read_tensors(shared_data / "weights" / name)
    assert len(found) == count and found[first].shape == (8, 3, 3, 3)
    variances = [value for key, value in found.items() if key.endswith("running_var")]
    assert variances and all((value > 0).all() for value in variances)


@WRITERS
@pytest.mark.parametrize("call", [
    b"cos\nsystem\n", b"cposix\nsystem\n", b"csubprocess\nPopen\n", b"cbuiltins\neval\n",
    b"cbuiltins\ngetattr\n", b"cbuiltins\n__import__\n", b"cnumpy\nload\n", b"ctorch\nload\n",
    b"ctorch.hub\nload\n"])
def test_a_program_in_the_pickle_is_refused_and_not_run(tmp_path, monkeypatch, weights, write, call):
    monkeypatch.chdir(tmp_path)
    argument = b"touch ran"
    attack = b"\x80\x02" + call + b"(X" + len(argument).to_bytes(4, "little") + argument + b"tR."
    write(tmp_path / "w.pth", weights, content=attack)
    with pytest.raises(InputError):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


WHOLE = np.arange(12, dtype=np.float32)


def refuse(folder, value):
    """A file of one tensor with these pickle opcodes."""
    content = b"\x80\x02}(X\x01\x00\x00\x00a" + value + b"u."
    write_zip(folder / "w.pth", {"a": WHOLE}, content=content)
    with pytest.raises(InputError):
        read_tensors(folder / "w.pth")


@pytest.mark.parametrize("offset, shape, strides", [(1, (12,), (1,)), (0, (13,), (1,)), (0, (2, 6), (7, 1)),
                                                    (-1, (2,), (1,)), (3, (3,), (-1,)), (0, (99999,), (0,)),
                                                    (0, (2, 2), (1,))])
def test_a_view_beyond_its_storage_is_refused(tmp_path, offset, shape, strides):
    refuse(tmp_path, tensor("0", WHOLE, False, offset, shape, strides))


@pytest.mark.parametrize("state", [b"}X\x06\x00\x00\x00offsetJ\xff\xff\xff\x7fsb",
                                   b"N}X\x06\x00\x00\x00offsetK\x01s\x86b"])
def test_a_checked_tensor_cannot_be_altered(tmp_path, state):
    refuse(tmp_path, tensor("0", WHOLE) + state)


def test_files_of_other_kinds_are_refused(tmp_path, weights):
    write_zip(tmp_path / "packed.pth", weights, compression=zipfile.ZIP_DEFLATED)
    write_zip(tmp_path / "script.pth", weights)
    with zipfile.ZipFile(tmp_path / "script.pth", "a") as archive:
        archive.writestr("weights/constants.pkl", "")
    write_legacy(tmp_path / "model.pth", weights, content=b"\x80\x02(X\x06\x00\x00\x00moduleNNNNtQ.")
    write_zip(tmp_path / "number.pth", {}, content=b"\x80\x02K\x01.")
    (tmp_path / "text.pth").write_text("hello")
    for name, pattern in (("none", ""), ("packed", "compressed"), ("script", "TorchScript"), ("model", "whole model"),
                          ("number", "no tensors"), ("text", "")):
        with pytest.raises(InputError, match=f"{name}.pth.*{pattern}"):
            read_tensors(tmp_path / f"{name}.pth")
