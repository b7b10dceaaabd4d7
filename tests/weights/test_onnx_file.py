# SPDX-License-Identifier: Apache-2.0
"""Each kind of bad ONNX file is refused with one line, and no other file is opened for it."""
import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.weights import checkpoint
from src.weights.metadata import METADATA_KEY
from src.weights.onnx_file import is_onnx, metadata_of, read_model
from tests.small_wider import make_checkpoint

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    read = checkpoint.load(make_checkpoint(folder / "a.ckpt"))
    path = folder / "good.onnx"
    path.write_bytes(models.spec("centerface").onnx_graph(read.metadata, read.tensors).SerializeToString())
    return path


def changed(good, path, change):
    model = onnx.load(str(good))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def refused(path, pattern="."):
    with pytest.raises(InputError, match=pattern) as caught:
        read_model(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("key", [METADATA_KEY, "card"])
def test_metadata_is_read_under_the_key_of_today_and_of_older_files(good, tmp_path, key):
    path = changed(good, tmp_path / "a.onnx", lambda model: setattr(model.metadata_props[0], "key", key))
    metadata = metadata_of(read_model(path), path)
    assert metadata["model"] == "centerface" and metadata["input"]["mean"] == [100.0] * 3


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n", b"PK\x03\x04junk", bytes(100), b"\x08\x08"])
def test_files_that_are_not_onnx(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    refused(tmp_path / "a.onnx")


def test_files_that_are_absent_cut_off_or_too_large_for_the_format(good, tmp_path):
    refused(tmp_path / "absent.onnx")
    refused(tmp_path)
    content = good.read_bytes()
    for length in (1, 2, 50, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        refused(tmp_path / "cut.onnx")
    with open(tmp_path / "a.onnx", "wb") as file:
        file.truncate(1 << 31)          # holes: no disk is needed
    refused(tmp_path / "a.onnx")


def outside_tensor(name):
    tensor = onnx.helper.make_tensor(name, 1, [1], [1.0])
    tensor.external_data.add(key="location", value="secret")
    return tensor


def outside_weights(model):
    model.graph.initializer.append(outside_tensor("more"))


def outside_attribute(model):
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["more"], value=outside_tensor("value")))


def outside_inner_graph(model):
    constant = onnx.helper.make_node("Constant", [], ["inner"], value=outside_tensor("value"))
    inner = onnx.helper.make_graph([constant], "inner", [], [onnx.helper.make_tensor_value_info("inner", 1, [1])])
    model.graph.node.append(onnx.helper.make_node("If", ["images"], ["more"], then_branch=inner, else_branch=inner))


def outside_sparse_tensor(model):
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(
        outside_tensor("values"), onnx.helper.make_tensor("indices", 7, [1], [3]), [4]))


def unknown_operator(model):
    model.graph.node.append(onnx.helper.make_node("NoSuchOperator", ["images"], ["more"]))


@pytest.mark.parametrize("change, pattern", [
    (outside_weights, "another file"), (outside_attribute, "another file"), (outside_inner_graph, "another file"),
    (outside_sparse_tensor, "another file"), (unknown_operator, "NoSuchOperator"),
    (lambda model: model.graph.ClearField("output"), ".")])
def test_models_that_are_not_valid_or_not_whole(good, tmp_path, change, pattern):
    refused(changed(good, tmp_path / "a.onnx", change), pattern)


def test_a_file_is_known_by_its_name_or_first_byte(good, tmp_path):
    (tmp_path / "renamed.bin").write_bytes(good.read_bytes())
    checkpoint.save(tmp_path / "a.ckpt", {"a": np.ones(1)})
    assert is_onnx(good) and is_onnx(tmp_path / "renamed.bin") and is_onnx("absent.ONNX")
    assert not is_onnx(tmp_path / "a.ckpt") and not is_onnx("absent.bin") and not is_onnx(tmp_path)
