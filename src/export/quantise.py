# SPDX-License-Identifier: Apache-2.0
"""8-bit integer weights and activations for an exported ONNX file (static quantisation of ONNX Runtime).

    quantise(Path("centerface.onnx"), Path("centerface_int8.onnx"), canvases)

Convolutions are quantised, their weights channel by channel, with the Relu and Add between them; the ranges of the
activations are measured on images. The first convolution and the heads stay float32: they are little work, and suffer
most from 256 steps. So do depthwise convolutions before a LeakyRelu, which ONNX Runtime does not fuse with integers;
before a Relu they are quantised, because converting the activations around them costs more than the other layers gain
(measured: docs/performance.md).
"""
from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.inference.onnx_builder import HEADS, INPUT
from src.weights.metadata import METADATA_KEY
from src.weights.onnx_file import import_onnx

QUANTISED = ("Conv", "Relu", "Clip", "Add")


def quantise(source: Path, target: Path, images: Iterable[np.ndarray]) -> None:
    """Write the quantised network.

    Args:
        source: a float32 file of export.py.
        target: the file to write.
        images: uint8 [B, H, W, 3] BGR, of sizes that the network takes; some dozens, of the kind that it will see.

    Raises:
        InputError: onnxruntime is not installed, or there is no image.
    """
    onnx = import_onnx()
    try:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise InputError(f"--int8 needs onnxruntime ({error}); type: pip install onnxruntime") from error
    model = onnx.load(str(source), load_external_data=False)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    leaky = {name for node in model.graph.node if node.op_type == "LeakyRelu" for name in node.input}
    excluded = [node.name for node in convolutions if node is convolutions[0] or node.name.startswith(HEADS)
            or node.output[0] in leaky and any(each.name == "group" and each.i > 1 for each in node.attribute)]
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise InputError("no image to calibrate on; give --calibration with a folder of photographs")
    reader = _Reader(chain([first], images))
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "int8.onnx"
        quantize_static(str(source), str(written), reader, quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=excluded,
                        op_types_to_quantize=list(QUANTISED), calibrate_method=CalibrationMethod.MinMax)
        quantised = onnx.load(str(written), load_external_data=False)
    if METADATA_KEY not in {each.key for each in quantised.metadata_props}:
        quantised.metadata_props.extend(model.metadata_props)
    target.write_bytes(quantised.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings in the log: they advise to prepare the graph first, which ours does not need."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


class _Reader:
    """Feeds the calibration, one image at a time."""

    def __init__(self, images: Iterator[np.ndarray]):
        self._images = images

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, None after the last."""
        image = next(self._images, None)
        return None if image is None else {INPUT: image}
