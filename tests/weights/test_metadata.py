# SPDX-License-Identifier: Apache-2.0
"""Cards from outside: each value that none can have is named, whichever file it stands in, and nothing else happens."""
import copy
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.centerface.release import RELEASE_INPUT
from src.face_detector import FaceDetector
from src.inference.backends import open_backend
from src.inference.mindspore_backend import build_detector, read_network
from src.weights import checkpoint
from src.weights.metadata import check_card, parse_card, recipe_of
from tests.small_wider import make_checkpoint

DEFAULTS = {name: models.recipe(name).DEFAULT_CARD for name in models.MODELS}
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


def changed(card, name, value):
    """A copy with another value at `name`, those of inner tables behind a dot."""
    card = copy.deepcopy(card)
    *tables, last = name.split(".")
    table = card
    for each in tables:
        table = table.setdefault(each, {})
    table[last] = value
    return card


def mutate(card, rng):
    """A copy in which one to three values or names, anywhere, are others, absent or more."""
    card = copy.deepcopy(card)
    for _ in range(rng.integers(1, 4)):
        node = card
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
    return card


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
    card = changed(DEFAULTS["centerface"], name, value)
    with pytest.raises(InputError, match=f"^a.ckpt: its card('s detect)?: .*{message}.*make the file again") as caught:
        recipe_of(card, "a.ckpt", models.recipe)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("name, value, message", [
    ("backbone", "vgg", "'vgg': expected one of resnet50, mobilenet025"), ("variance", [0.1], ".*2 numbers"),
    ("variance", [0.1, 0], ""), ("clip", "no", "'no'")])
def test_options_of_retinaface(name, value, message):
    with pytest.raises(InputError, match=f"^a.ckpt: its card: options.{name} .*{message}"):
        recipe_of(changed(DEFAULTS["retinaface"], f"options.{name}", value), "a.ckpt", models.recipe)


@pytest.mark.parametrize("model, detect, message", [("centerface", {"pad": "none"}, "multiples of 32"),
                                                    ("retinaface", {"peaks": True}, "no heatmap")])
def test_options_without_meaning_for_the_model(model, detect, message):
    with pytest.raises(InputError, match=f"a.ckpt: its card.*{message}"):
        recipe_of({**DEFAULTS[model], "detect": detect}, "a.ckpt", models.recipe)


@pytest.mark.parametrize("key", ["model", "options", "input", "decoder", "input.mean"])
def test_what_is_required_is_named(key):
    card = changed(FULL["centerface"], key, 0)
    table = card["input"] if "." in key else card
    del table[key.split(".")[-1]]
    with pytest.raises(InputError, match=f"{key} is not there"):
        recipe_of(card, "a.ckpt", models.recipe)
    if "." not in key:
        check_card(card, "a.ckpt")          # a file that only keeps weights may say less


@pytest.mark.parametrize("text", ["", "not json", "[]", "3", "null", "[" * 100000, '{"a":' * 100000, "9" * 5000])
def test_what_is_no_card_at_all(text):
    with pytest.raises(InputError, match="^a.onnx: its card is .*make the file again"):
        parse_card(text, "a.onnx")


def test_every_card_that_this_project_writes_is_one():
    from src.centerface.mobile_v2 import ACTIVATIONS
    from src.retinaface.layers import BACKBONES
    cards = [*FULL.values(), *DEFAULTS.values(), {**DEFAULTS["centerface"], "input": RELEASE_INPUT}]
    cards += [changed(DEFAULTS["centerface"], "options.activation", each) for each in ACTIVATIONS]
    cards += [changed(DEFAULTS["retinaface"], "options.backbone", each) for each in BACKBONES]
    for card in cards:
        assert recipe_of(parse_card(json.dumps(card), "x"), "x", models.recipe) is models.recipe(card["model"])


@pytest.mark.parametrize("model", models.MODELS)
def test_mutated_cards_work_or_are_refused(model):
    """Fuzz of all that is done with a card before and after the network computes."""
    rng = np.random.default_rng(11)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    outcomes = {"works": 0, "refused": 0}
    for _ in range(800):
        card = mutate(FULL[model], rng)
        try:
            card = parse_card(json.dumps(card), "a.onnx")
            recipe = recipe_of(card, "a.onnx", models.recipe)
            forward = Blank(recipe, card)
            build_detector(forward, card).run(image)
            recipe.tensor_shapes(card)
            outcomes["works"] += 1
        except InputError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50, outcomes


class Blank:
    """A network that is loaded and finds nothing."""
    sizes = (0, 0, 0)

    def __init__(self, recipe, card):
        self.recipe, self.card = recipe, card

    def __call__(self, images):
        count, height, width, _ = images.shape
        if self.recipe.__name__.startswith("src.centerface"):
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
    model = models.recipe("centerface").onnx_graph(FULL["centerface"], read.tensors)
    seen = []
    for number in range(24):
        card = mutate(FULL["centerface"], rng)
        checkpoint.save(tmp_path / "b.ckpt", read.tensors, card)
        onnx.helper.set_model_props(model, {"card": json.dumps(card)})
        (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
        seen.append([outcome(tmp_path / name) for name in ("b.ckpt", "b.onnx")])
    assert {"works", "refused"} == {word for pair in seen for word in pair}


def test_a_card_that_is_nested_too_deep_or_no_text_is_refused(tmp_path):
    read = checkpoint.load(make_checkpoint(tmp_path / "a.ckpt"))
    for text in ("[" * 100000, '{"detect":' * 5000, "[]", "\ud7ff"):
        entry = text
        original, checkpoint._to_json = checkpoint._to_json, lambda value, entry=entry: (
            entry if "model" in value else json.dumps(value))
        try:
            checkpoint.save(tmp_path / "b.ckpt", read.tensors, {"model": ""})
        finally:
            checkpoint._to_json = original
        with pytest.raises(InputError, match="its entry 'card'"):
            read_network(tmp_path / "b.ckpt", models.recipe, "centerface")
    with pytest.raises(InputError, match="b.ckpt"):
        open_backend(tmp_path / "b.ckpt", models.recipe, "onnx")
