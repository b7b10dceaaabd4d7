# SPDX-License-Identifier: Apache-2.0
"""Metadata from outside: each value that none can have is named, whichever file it stands in, and nothing else happens."""
import copy
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.centerface.release import RELEASE_INPUT
from src.face_detector import FaceDetector
from src.inference.backends import build_detector, open_backend
from src.weights import checkpoint
from src.weights.metadata import check_metadata, parse_metadata, spec_of
from src.weights.network import read_network
from tests.small_wider import make_checkpoint

DEFAULTS = {name: models.spec(name).default_metadata for name in models.MODELS}
FULL = {
    "centerface": {**DEFAULTS["centerface"], "options": {"head_conv": 24, "activation": "relu6"},
                   "input": {"channels": "BGR", "mean": [100.0] * 3, "std": [60.0] * 3},
                   "detect": {"test_size": "original", "nms": "hard", "nms_iou": 0.3, "score_threshold": 0.05,
                              "peaks": False, "top_k": 9, "pad": "32", "fill": [0, 1, 2.5], "flip_test": True,
                              "test_scales": [1, 0.5]},
                   "export": {"input": {"shape": [None, None, None, 3]}, "sha256": "0", "decode_rows": 0}},
    "retinaface": {**DEFAULTS["retinaface"], "options": {"backbone": "mobilenet025", "variance": [0.1, 0.2],
                                                         "clip": False}},
}
STRANGE = [None, True, False, -1, 0, 3, 0.5, 2 ** 31, 10 ** 40, 1e-300, 1e300, float("nan"), float("inf"), "", "x",
           "soft", "relu", "centre", "square", "none", "\ud800\n", [], [1], [0.1, 0.2], [1, 2, 3], [0] * 3, ["a"] * 3,
           [None] * 4, [1, 32, 32, 3], {}, {"a": 1}, [[[]]], "9" * 5000]


def changed(metadata, name, value):
    """A copy with another value at `name`, those of inner tables behind a dot."""
    metadata = copy.deepcopy(metadata)
    *tables, last = name.split(".")
    table = metadata
    for each in tables:
        table = table.setdefault(each, {})
    table[last] = value
    return metadata


def mutate(metadata, rng):
    """A copy in which one to three values or names, anywhere, are others, absent or more."""
    metadata = copy.deepcopy(metadata)
    for _ in range(rng.integers(1, 4)):
        node = metadata
        while True:
            if not isinstance(node, (dict, list)) or not node:
                break
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = keys[rng.integers(len(keys))]
            if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.7:
                node = node[key]
                continue
            action = rng.integers(4)
            if action == 0:
                del node[key]
            elif action == 1 and isinstance(node, dict):
                node["strange" if rng.random() < 0.5 else "nms"] = node[key]
            else:
                node[key] = copy.deepcopy(STRANGE[rng.integers(len(STRANGE))])
            break
    return metadata


@pytest.mark.parametrize("name, value, message", [
    ("model", 3, "model 3: expected a text"), ("model", "yolo", "no model 'yolo'"),
    ("options", [], "options .*expected a table"), ("options.head_conv", 24.0, "options.head_conv 24.0"),
    ("options.head_conv", 10 ** 9, "options.head_conv .*1 to 1024"),
    ("options.activation", "none", "options.activation 'none': expected one of relu6, relu"),
    ("input", None, "input None"),
    ("input", {}, "input.channels is not there"),
    ("input.channels", "GBR", "input.channels 'GBR': expected one of BGR, RGB"),
    ("input.mean", [1, 2], "input.mean .*3 numbers"), ("input.mean", np.array(0), "input.mean"), ("input.mean", [1, 2, "3"], "input.mean"),
    ("input.mean", [1, 2, float("nan")], "input.mean"), ("input.std", [1, 1, 0], "input.std"),
    ("input.std", [1, 1, float("inf")], "input.std"), ("decoder", ["a"], "decoder .*a text"),
    ("decoder", "yolo", "decoder 'yolo'"), ("detect", 5, "detect 5"),
    ("detect.nmss", "hard", "option 'nmss': expected one of test_size"),
    ("detect.forward", 1, "option 'forward'"), ("detect.nms_iou", "high", "nms_iou 'high'"),
    ("detect.test_size", {}, "test_size"), ("detect.fill", [1], "fill"),
    ("export", 3, "export 3"), ("export.decode_rows", -5, "export.decode_rows -5"),
    ("export.input", [], "export.input"), ("export.input.shape", [1, 2, 3], "export.input.shape .*height, width"),
    ("export.input.shape", [1, 0, 32, 3], "export.input.shape"),
])
def test_a_wrong_value_is_named_with_its_file(name, value, message):
    metadata = changed(DEFAULTS["centerface"], name, value)
    with pytest.raises(InputError, match=f"^a.ckpt: its metadata('s detect)?: .*{message}.*make the file again") as caught:
        spec_of(metadata, "a.ckpt")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("name, value, message", [
    ("backbone", "vgg", "'vgg': expected one of resnet50, mobilenet025"), ("variance", [0.1], ".*2 numbers"),
    ("variance", [0.1, 0], ""), ("clip", "no", "'no'")])
def test_options_of_retinaface(name, value, message):
    with pytest.raises(InputError, match=f"^a.ckpt: its metadata: options.{name} .*{message}"):
        spec_of(changed(DEFAULTS["retinaface"], f"options.{name}", value), "a.ckpt")


@pytest.mark.parametrize("model, detect, message", [("centerface", {"pad": "none"}, "multiples of 32"),
                                                    ("retinaface", {"peaks": True}, "no heatmap")])
def test_options_without_meaning_for_the_model(model, detect, message):
    with pytest.raises(InputError, match=f"a.ckpt: its metadata.*{message}"):
        spec_of({**DEFAULTS[model], "detect": detect}, "a.ckpt")


@pytest.mark.parametrize("key", ["model", "options", "input", "decoder", "input.mean"])
def test_what_is_required_is_named(key):
    metadata = changed(FULL["centerface"], key, 0)
    table = metadata["input"] if "." in key else metadata
    del table[key.split(".")[-1]]
    with pytest.raises(InputError, match=f"{key} is not there"):
        spec_of(metadata, "a.ckpt")
    if "." not in key:
        check_metadata(metadata, "a.ckpt")          # a file that only keeps weights may say less


@pytest.mark.parametrize("text", ["", "not json", "[]", "3", "null", "[" * 100000, '{"a":' * 100000, "9" * 5000])
def test_what_is_no_metadata_at_all(text):
    with pytest.raises(InputError, match="^a.onnx: its metadata is .*make the file again"):
        parse_metadata(text, "a.onnx")


def test_every_metadata_that_this_project_writes_is_one():
    from src.retinaface.layers import BACKBONES
    metadata = [*FULL.values(), *DEFAULTS.values(), {**DEFAULTS["centerface"], "input": RELEASE_INPUT}]
    metadata += [changed(DEFAULTS["centerface"], "options.activation", each) for each in ("relu6", "relu")]
    metadata += [changed(DEFAULTS["retinaface"], "options.backbone", each) for each in BACKBONES]
    for metadata in metadata:
        assert spec_of(parse_metadata(json.dumps(metadata), "x"), "x") is models.spec(metadata["model"])


@pytest.mark.parametrize("model", models.MODELS)
def test_mutated_cards_work_or_are_refused(model):
    """Fuzz of all that is done with metadata before and after the network computes."""
    rng = np.random.default_rng(11)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    outcomes = {"works": 0, "refused": 0}
    for _ in range(800):
        metadata = mutate(FULL[model], rng)
        try:
            metadata = parse_metadata(json.dumps(metadata), "a.onnx")
            spec = spec_of(metadata, "a.onnx")
            forward = Blank(spec, metadata)
            build_detector(forward, metadata).run(image)
            spec.tensor_shapes(metadata)
            outcomes["works"] += 1
        except InputError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50, outcomes


class Blank:
    """A network that is loaded and finds nothing."""
    sizes = (0, 0, 0)

    def __init__(self, spec, metadata):
        self.spec, self.metadata = spec, metadata

    def __call__(self, images):
        count, height, width, _ = images.shape
        if self.spec.name == "centerface":
            return [np.zeros((count, channels, height // 4, width // 4), np.float32) for channels in (1, 2, 2, 10)]
        cells = 2 * sum(-(-height // step) * -(-width // step) for step in (8, 16, 32))
        return [np.zeros((count, cells, numbers), np.float32) for numbers in (4, 2, 10)]


def outcome(path):
    try:
        FaceDetector(path, threads=1).detect(np.full((40, 50, 3), 99, np.uint8))
        return "works"
    except InputError:
        return "refused"


def test_mutated_cards_in_checkpoints_and_onnx_files(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(12)
    read = checkpoint.load(make_checkpoint(tmp_path / "a.ckpt", hm_head__0__bias=1.0))
    model = models.spec("centerface").onnx_graph(FULL["centerface"], read.tensors)
    seen = []
    for number in range(24):
        metadata = mutate(FULL["centerface"], rng)
        checkpoint.save(tmp_path / "b.ckpt", read.tensors, metadata)
        onnx.helper.set_model_props(model, {"metadata": json.dumps(metadata)})
        (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
        seen.append([outcome(tmp_path / name) for name in ("b.ckpt", "b.onnx")])
    assert {"works", "refused"} == {word for pair in seen for word in pair}


def test_a_metadata_that_is_nested_too_deep_or_no_text_is_refused(tmp_path):
    read = checkpoint.load(make_checkpoint(tmp_path / "a.ckpt"))
    for text in ("[" * 100000, '{"detect":' * 5000, "[]", "\ud7ff"):
        entry = text
        original, checkpoint._to_json = checkpoint._to_json, lambda value, entry=entry: (
            entry if "model" in value else json.dumps(value))
        try:
            checkpoint.save(tmp_path / "b.ckpt", read.tensors, {"model": ""})
        finally:
            checkpoint._to_json = original
        with pytest.raises(InputError, match="its entry 'metadata'"):
            read_network(tmp_path / "b.ckpt", "centerface")
    with pytest.raises(InputError, match="b.ckpt"):
        open_backend(tmp_path / "b.ckpt", "onnx")
