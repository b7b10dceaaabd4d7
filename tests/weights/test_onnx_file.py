# SPDX-License-Identifier: Apache-2.0
"""Files that nobody vouches for: each kind of bad ONNX file has one clear line, and nothing of it is run."""
import json

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


def refused(path, pattern):
    with pytest.raises(InputError, match=pattern) as caught:
        read_model(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_good_file_is_read_with_its_metadata(good):
    metadata = metadata_of(read_model(good), good)
    assert metadata["model"] == "centerface" and metadata["input"]["mean"] == [100.0] * 3


@pytest.mark.parametrize("content", [b"", b"\n", b"hello, this is text\n", b"<html>404</html>", b"PK\x03\x04junk",
                                     bytes(100), b"\x80\x02}q\x00.", b"\x08\x08"])
def test_what_is_no_onnx(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    refused(tmp_path / "a.onnx", "not an ONNX file")


def test_absent_files_and_folders(tmp_path):
    refused(tmp_path / "absent.onnx", "no such ONNX file")
    refused(tmp_path, "a folder")


def test_a_file_too_large_for_its_format_is_not_read(tmp_path):
    with open(tmp_path / "a.onnx", "wb") as file:
        file.truncate(1 << 31)          # holes: no disk is needed
    refused(tmp_path / "a.onnx", "more than an ONNX file can have")


def test_a_file_cut_off_anywhere_is_refused(good, tmp_path):
    content = good.read_bytes()
    rng = np.random.default_rng(0)
    for length in [1, 2, 50, len(content) - 1, len(content) // 2, *rng.integers(3, len(content), 20)]:
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        with pytest.raises(InputError, match="cut.onnx"):
            read_model(tmp_path / "cut.onnx")


def test_changed_bytes_never_do_more_than_raise_an_input_error(good, tmp_path):
    """Fuzz: flips and foreign bytes among the first 3000 and last 20000, where the structure is."""
    from src.inference.onnx_backend import OnnxBackend
    pytest.importorskip("onnxruntime")
    content = good.read_bytes()
    rng = np.random.default_rng(1)
    places = np.r_[np.arange(3000), np.arange(len(content) - 20000, len(content))]
    forward = OnnxBackend(threads=1)
    images = np.zeros((1, 32, 32, 3), np.uint8)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.choice(places, 4):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "fuzz.onnx").write_bytes(damaged)
        try:
            forward.load(tmp_path / "fuzz.onnx")
            forward(images)
            outcomes["read"] += 1
        except InputError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 10


def test_weights_in_other_files_are_never_opened(good, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 20))

    def outside(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")
    refused(changed(good, tmp_path / "a.onnx", outside), "in another file, which is never read")


def outside_in_an_inner_graph(model):
    tensor = onnx.helper.make_tensor("value", 1, [1], [1.0])
    tensor.external_data.add(key="location", value="secret")
    constant = onnx.helper.make_node("Constant", [], ["inner"], value=tensor)
    inner = onnx.helper.make_graph([constant], "inner", [], [onnx.helper.make_tensor_value_info("inner", 1, [1])])
    model.graph.node.append(onnx.helper.make_node("If", ["images"], ["more"], then_branch=inner, else_branch=inner))


def outside_in_a_sparse_tensor(model):
    values = onnx.helper.make_tensor("values", 1, [1], [1.0])
    values.external_data.add(key="location", value="secret")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(
        values, onnx.helper.make_tensor("indices", 7, [1], [3]), [4]))


def unknown_operator(model):
    model.graph.node.append(onnx.helper.make_node("NoSuchOperator", ["images"], ["more"]))


@pytest.mark.parametrize("change, pattern", [
    (outside_in_an_inner_graph, "in another file"), (outside_in_a_sparse_tensor, "in another file"),
    (unknown_operator, "NoSuchOperator"), (lambda model: model.graph.ClearField("output"), "not an ONNX|without a network")])
def test_models_that_are_not_valid(good, tmp_path, change, pattern):
    refused(changed(good, tmp_path / "a.onnx", change), pattern)


def test_a_file_without_metadata_has_none(good, tmp_path):
    path = changed(good, tmp_path / "a.onnx", lambda model: model.ClearField("metadata_props"))
    assert metadata_of(read_model(path), path) is None
    assert json.loads(onnx.load(str(good)).metadata_props[0].value)["model"] == "centerface"
    assert onnx.load(str(good)).metadata_props[0].key == METADATA_KEY


def test_the_key_of_older_files_is_read(good, tmp_path):
    path = changed(good, tmp_path / "a.onnx", lambda model: setattr(model.metadata_props[0], "key", "card"))
    assert metadata_of(read_model(path), path) == metadata_of(read_model(good), good)


def test_a_file_is_known_by_its_name_or_first_byte(good, tmp_path):
    (tmp_path / "renamed.bin").write_bytes(good.read_bytes())
    checkpoint.save(tmp_path / "a.ckpt", {"a": np.ones(1)})
    assert is_onnx(good) and is_onnx(tmp_path / "renamed.bin") and is_onnx("absent.ONNX")
    assert not is_onnx(tmp_path / "a.ckpt") and not is_onnx("absent.bin") and not is_onnx(tmp_path)
