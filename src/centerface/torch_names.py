# SPDX-License-Identifier: Apache-2.0
"""Names of weights: ours, those of a MindSpore MobileNetV2, and those of the PyTorch models they come from.

    torch_name("network.backbone.features.0.features.1.gamma")   ->   "features.0.1.weight"
    torch_name("dla_up.up1.up.0.weight")                         ->   "dla_up.up_0.up.0.weight"

PyTorch means torchvision's `mobilenet_v2` and CenterFace.pytorch (github.com/chenjun2hao/CenterFace.pytorch).
"""
import re
from collections.abc import Iterable

from src.centerface.layers import tensor_shapes
from src.weights.conversion import NORM_SUFFIXES, TORCH_NORM_NAMES

KEY_PREFIX = "network.backbone."
# Blocks of MobileNetV2 before each stage: `features.{i}` is item i - start of the stage.
_STAGE_STARTS = {"need_fp1": 0, "need_fp2": 4, "need_fp3": 7, "need_fp4": 14}
# Checkpoints of other vintages leave out `network.` or call the classifier head.0, head.1, head.head.1.
_KEY_PREFIXES = re.compile(r"^(?:network\.)?backbone\.(?=features\.)")
_CLASSIFIER = re.compile(r"^(?:network\.)?head\.(?:\w+\.)*(?=(?:weight|bias)$)")
_FACE_REPLACEMENTS = (("need_fp1", "feature_1"), ("need_fp2", "feature_2"), ("need_fp3", "feature_4"),
                      ("need_fp4", "feature_6"), (".up1", ".up_0"), (".up2", ".up_1"), (".up3", ".up_2"),
                      ("hm_head.0.", "hm."), ("wh_head.", "wh."), ("off_head.", "hm_offset."),
                      ("kps_head.", "landmarks."))


def torch_name(name: str) -> str:
    """Return the PyTorch name of a tensor of a MindSpore MobileNetV2 or CenterFace."""
    name = _CLASSIFIER.sub("classifier.1.", _KEY_PREFIXES.sub("", name))
    for old, new in ((".features", ""), *_FACE_REPLACEMENTS):
        name = name.replace(old, new)
    layer, _, word = name.rpartition(".")
    return f"{layer}.{TORCH_NORM_NAMES.get(word, word)}"


def name_map(names: Iterable[str]) -> dict[str, str]:
    """Return {PyTorch name: MindSpore name}; change `torch_name` where your PyTorch model has other names."""
    return {torch_name(name): name for name in names}


def key_name(name: str) -> str:
    """Name a tensor as a MobileNetV2 checkpoint does: `base.need_fp2.0.conv.2.weight` -> `features.4.conv.2.weight`."""
    _, stage, item, rest = name.split(".", 3)
    return f"features.{_STAGE_STARTS[stage] + int(item)}.{rest}"


def key_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes by name of mobilenet_v2_key.ckpt: a whole MobileNetV2 for 1,000 classes, 262 tensors."""
    shapes = {KEY_PREFIX + key_name(name): shape for name, shape in tensor_shapes(part="backbone").items()}
    last = f"{KEY_PREFIX}features.18.features."
    shapes[f"{last}0.weight"] = (1280, 320, 1, 1)
    shapes.update({f"{last}1.{suffix}": (1280,) for suffix in NORM_SUFFIXES})
    return {**shapes, "network.head.fc.weight": (1000, 1280), "network.head.fc.bias": (1000,)}
