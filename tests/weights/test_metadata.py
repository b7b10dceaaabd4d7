# SPDX-License-Identifier: Apache-2.0
"""Metadata from outside: a wrong value is refused with its name, whichever file it is in."""
import copy
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.centerface.released_weights import RELEASE_INPUT
from src.inference.backends import build_detector
from src.retinaface.layers import BACKBONES
from src.weights import checkpoint
from src.weights.ckpt_format import encode
from src.weights.metadata import check_metadata, parse_metadata, spec_of
from tests.mutations import outcome

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


@pytest.mark.parametrize("model, name, value", [
    ("centerface", "model", 3), ("centerface", "model", "yolo"), ("centerface", "options", []),
    ("centerface", "options.head_conv", 24.0), ("centerface", "options.head_conv", 10 ** 9),
    ("centerface", "options.activation", "none"), ("centerface", "input", None),
    ("centerface", "input.channels", "GBR"), ("centerface", "input.mean", [1, 2]),
    ("centerface", "input.mean", np.array(0)), ("centerface", "input.mean", [1, 2, "3"]),
    ("centerface", "input.mean", [1, 2, float("nan")]), ("centerface", "input.std", [1, 1, 0]),
    ("centerface", "decoder", ["a"]), ("centerface", "decoder", "yolo"), ("centerface", "detect", 5),
    ("centerface", "detect.nmss", "hard"), ("centerface", "detect.forward", 1),
    ("centerface", "detect.nms_iou", "high"), ("centerface", "detect.test_size", {}),
    ("centerface", "detect.test_size", 0), ("centerface", "detect.fill", [1]), ("centerface", "detect.pad", "none"),
    ("centerface", "detect.pad", "wide"), ("centerface", "export", 3), ("centerface", "export.decode_rows", -5),
    ("centerface", "export.input", []), ("centerface", "export.input.shape", [1, 2, 3]),
    ("centerface", "export.input.shape", [1, 0, 32, 3]), ("retinaface", "options.backbone", "vgg"),
    ("retinaface", "options.variance", [0.1]), ("retinaface", "options.variance", [0.1, 0]),
    ("retinaface", "options.clip", "no"), ("retinaface", "detect.peaks", True),
])
def test_a_wrong_value_is_named_with_its_file(model, name, value):
    with pytest.raises(InputError, match=f"^a.ckpt: .*{name.split('.')[-1]}") as caught:
        spec_of(changed(DEFAULTS[model], name, value), "a.ckpt")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("key", ["model", "options", "input", "decoder", "input.mean"])
def test_what_is_required_is_named(key):
    metadata = changed(FULL["centerface"], key, 0)
    table = metadata["input"] if "." in key else metadata
    del table[key.split(".")[-1]]
    with pytest.raises(InputError, match=key):
        spec_of(metadata, "a.ckpt")
    if "." not in key:
        check_metadata(metadata, "a.ckpt")          # a file that only keeps weights may say less


@pytest.mark.parametrize("text", ["", "not json", "[]", "3", "null", "[" * 100000, '{"a":' * 100000, "9" * 5000])
def test_texts_that_are_no_metadata(tmp_path, text):
    with pytest.raises(InputError, match="a.onnx"):
        parse_metadata(text, "a.onnx")
    if text:
        (tmp_path / "a.ckpt").write_bytes(encode("metadata", text) + encode("a", np.ones(2)))
        with pytest.raises(InputError, match="'metadata'"):
            checkpoint.load(tmp_path / "a.ckpt")


def test_all_metadata_that_this_project_writes_is_allowed():
    written = [*FULL.values(), *DEFAULTS.values(), {**DEFAULTS["centerface"], "input": RELEASE_INPUT}]
    written += [changed(DEFAULTS["centerface"], "options.activation", each) for each in ("relu6", "relu")]
    written += [changed(DEFAULTS["retinaface"], "options.backbone", each) for each in BACKBONES]
    written += [changed(DEFAULTS["retinaface"], "detect.test_size", each)
                for each in ("original", "vga", 832, "832", "1600/2176", [1600, 2176])]
    for metadata in written:
        assert spec_of(parse_metadata(json.dumps(metadata), "x"), "x") is models.spec(metadata["model"])


def places(metadata, prefix=""):
    """The names of all values, those of inner tables behind a dot."""
    for name, value in metadata.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{name}.")


def blank(spec, metadata):
    """A network that is loaded and finds nothing."""
    def compute(images):
        count, height, width, _ = images.shape
        if spec.name == "centerface":
            return [np.zeros((count, channels, height // 4, width // 4), np.float32) for channels in (1, 2, 2, 10)]
        cells = 2 * sum(-(-height // step) * -(-width // step) for step in (8, 16, 32))
        return [np.zeros((count, cells, numbers), np.float32) for numbers in (4, 2, 10)]
    compute.sizes, compute.spec, compute.metadata = (0, 0, 0), spec, metadata
    return compute


@pytest.mark.parametrize("model", models.MODELS)
def test_strange_values_work_or_are_refused(model):
    """All that is done with metadata before and after the network computes, with each strange value at each place."""
    image = np.random.default_rng(11).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    def use(metadata):
        metadata = parse_metadata(json.dumps(metadata), "a.onnx")
        spec = spec_of(metadata, "a.onnx")
        build_detector(blank(spec, metadata), metadata).run(image)
        spec.tensor_shapes(metadata)

    outcomes = {outcome(use, changed(FULL[model], name, value)) for name in places(FULL[model]) for value in STRANGE}
    assert outcomes == {"read", "refused"}
