# SPDX-License-Identifier: Apache-2.0
"""A WIDER-like split of a few pictures with one white square "face" each, and a detector that finds it."""
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.evaluate.ground_truth import write_ground_truth
from src.centerface.layers import tensor_shapes
from src.weights import checkpoint

NAMES = {"0--Parade": ["0_Parade_1", "0_Parade_2"], "1--Handshaking": ["1_Hands_7"]}
BOX = [20, 24, 40, 32]                                  # x y w h
IMAGES = [f"{event}/{name}.jpg" for event, names in NAMES.items() for name in names]


def make_split(folder: Path) -> SimpleNamespace:
    """Write images/ and ground_truth/ below `folder`; gives both paths."""
    x, y, width, height = BOX
    for name in IMAGES:
        image = np.zeros((96, 128, 3), np.uint8)
        image[y:y + height, x:x + width] = 255
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    one = np.array([BOX])
    write_ground_truth(folder / "ground_truth", [
        (event, [(name, one, [0], [0], [0]) for name in names]) for event, names in NAMES.items()])
    return SimpleNamespace(images=folder / "images", gt=folder / "ground_truth")


def make_data_file(split: SimpleNamespace) -> Path:
    """Write my.yaml, whose val images are those of `make_split`, and their labels beside them as YOLO has them."""
    x, y, width, height = BOX
    row = f"0 {(x + width / 2) / 128} {(y + height / 2) / 96} {width / 128} {height / 96}\n"
    for name in IMAGES:
        (split.images / name).with_suffix(".txt").write_text(row)
    path = split.images.parent / "my.yaml"
    path.write_text("val: images\nnames: [face]\n")
    return path


def make_checkpoint(path: Path, seed: int = 0, **changes: float) -> Path:
    """A CenterFace checkpoint with metadata and random weights; `changes` fill whole tensors, dots written as `__`."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(24).items():
        spread = np.sqrt(2 / max(1, np.prod(shape[1:]))) if len(shape) == 4 else 0.0
        centre = 1.0 if name.endswith(("gamma", "moving_variance")) else 0.0
        tensors[name] = rng.normal(centre, spread, shape).astype(np.float32)
    for name, value in changes.items():
        tensors[name.replace("__", ".")][...] = value
    metadata = {"model": "centerface", "options": {"head_conv": 24, "activation": "relu6"},
            "input": {"channels": "BGR", "mean": [100.0] * 3, "std": [60.0] * 3}, "decoder": "centerface",
            "detect": {"test_size": "original"}}
    checkpoint.save(path, tensors, metadata)
    return path


class SquareDetector:
    """Finds the white square, `shift` pixels beside the truth; its landmarks are the middle."""

    def __init__(self, shift: float = 0.0):
        self.shift = shift

    def run(self, image: np.ndarray) -> Faces:
        y, x = np.nonzero(image[..., 0] > 127)
        box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32) + np.float32(self.shift)
        middle = np.tile((box[:, None, :2] + box[:, None, 2:]) / 2, (1, 5, 1))
        return Faces(box, np.array([0.9], np.float32), middle)
