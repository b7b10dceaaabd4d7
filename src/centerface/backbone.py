# SPDX-License-Identifier: Apache-2.0
"""The pretrained MobileNetV2 of `--pretrained_backbone`, from any checkpoint that holds one.

    backbone_tensors("mobilenet_v2.ckpt")   ->   255 arrays, "base.need_fp1.0.features.0.weight" and so on
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.centerface.layers import BACKBONE, change_input, tensor_shapes
from src.common.log import LOGGER
from src.weights import checkpoint

# Blocks of MobileNetV2 before each stage: `features.{i}` is item i - start of the stage.
_STAGE_STARTS = {"need_fp1": 0, "need_fp2": 4, "need_fp3": 7, "need_fp4": 14}


def key_name(name: str) -> str:
    """`base.need_fp2.0.conv.2.weight` -> `features.4.conv.2.weight`, the name in a MobileNetV2 checkpoint."""
    _, stage, item, rest = name.split(".", 3)
    return f"features.{_STAGE_STARTS[stage] + int(item)}.{rest}"


def backbone_tensors(path: str | Path,
                     network_input: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """The 255 tensors `base.*` of a checkpoint.

    Args:
        path: a MobileNetV2 (names as in mobilenet_v2_key.ckpt, with any prefix), the backbone or the whole of
            a CenterFace checkpoint.
        network_input: how the network that takes them is fed (metadata's "input"); where the file's metadata says
            another input the first layer is rewritten, so that the backbone sees the colours it knows.

    Raises:
        InputError: no backbone in the file, or parts of it missing or of another shape.
    """
    read = checkpoint.load(path)
    tensors = checkpoint.network_tensors(read)
    found = _by_name(tensors) or _by_key(tensors)
    if not found:
        raise InputError(f"{path}: no MobileNetV2 in this file (its first tensor is "
                         f"{next(iter(tensors), None)}); make one: python src/convert_weight_mobilenetv2.py "
                         f"--pt_fn=mobilenet_v2-b0353104.pth --out_ckpt_fn=mobilenet_v2.ckpt")
    report = checkpoint.load_report(tensor_shapes(part="backbone"), found)
    report.require(path, read.metadata)
    found = {name: value.astype(np.float32, copy=False) for name, value in found.items()}
    LOGGER.info("load backbone %s: %d found, 0 not found, %d of the file not needed", path, len(found),
                len(tensors) - len(found))
    metadata = read.metadata or {}
    if metadata.get("options", {}).get("activation") == "relu":
        LOGGER.info("load backbone: it was trained with ReLU; --activation=relu keeps it as it was")
    given_input = metadata.get("input")
    if network_input and given_input and given_input != network_input:
        LOGGER.info("load backbone: first layer rewritten from %s to %s input", given_input["channels"],
                    network_input["channels"])
        found = change_input(found, given_input, network_input)
    return found


def _by_name(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value for name, value in tensors.items() if name.startswith(BACKBONE)}


def _by_key(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors whose names end like a MobileNetV2's, under our names."""
    suffixes = {re.sub(r"^.*?(?=features\.\d+\.(?:features|conv)\.)", "", name): value
                for name, value in tensors.items()}
    names = {name: key_name(name) for name in tensor_shapes(part="backbone")}
    return {name: suffixes[key] for name, key in names.items() if key in suffixes}
