# SPDX-License-Identifier: Apache-2.0
"""Everything that differs by device or by MindSpore version.

    from src.common import device
    ms = device.setup("CPU")          # imports mindspore; every program does it here
"""
from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from dependency.errors import DOCTOR, InputError
from src.common.log import LOGGER

TARGETS = ("auto", "CPU", "GPU", "Ascend")
# Runtimes of trained networks.
RUNTIMES = ("mindspore", "onnx")
ONEDNN_VARIABLE = "ONEDNN_MAX_CPU_ISA"


def cap_onednn() -> None:
    """Keep oneDNN off its slow AVX-512 path; must run before the process computes its first convolution.

    On CPUs with AVX-512, oneDNN runs MindSpore's plain NCHW convolutions with reference code, some 15 times slower
    than its AVX2 code (docs/performance.md). oneDNN reads the variable once, at its first use, not at
    `import mindspore`: so every program sets it, and every convolution of the two models when it is built. A value that
    the user set is kept.
    """
    os.environ.setdefault(ONEDNN_VARIABLE, "AVX2")


def share_protobuf() -> None:
    """Make protobuf run in pure Python, as `import mindspore` does; must run before `import onnx`.

    MindSpore 2.9 (the last for Python 3.9) carries generated code that the compiled protobuf refuses: with onnx
    imported first, `import mindspore` fails. A value that the user set is kept.
    """
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")


def choose_target(target: str) -> str:
    """Return the device target to use: "auto" becomes Ascend if the driver shows an NPU, else CPU, never GPU."""
    if target not in TARGETS:
        raise InputError(f"--device_target: '{target}' is not one of {', '.join(TARGETS)}")
    if target != "auto":
        return target
    if any(Path("/dev").glob("davinci[0-9]*")):
        return "Ascend"
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        LOGGER.warning("CUDA_VISIBLE_DEVICES is set, but a GPU is not used by default: add --device_target GPU")
    return "CPU"


def setup(target: str = "auto", device_id: int | None = None, pynative: bool = False) -> ModuleType:
    """Import mindspore, choose device and GRAPH_MODE, and return the module.

    Args:
        target: one of TARGETS.
        device_id: NPU or GPU number; None takes the environment's DEVICE_ID, else 0.
        pynative: True runs operators one by one, for debugging a network.

    Raises:
        InputError: mindspore is absent or cannot serve this device.
    """
    cap_onednn()
    os.environ.setdefault("GLOG_v", "3")
    try:
        import mindspore as ms
    except ImportError as error:
        raise InputError(f"mindspore cannot be imported ({error}): run `make env`, "
                         f"or `pip install -r requirements.txt`, or ask {DOCTOR}") from error
    target = choose_target(target)
    ms.set_context(mode=ms.PYNATIVE_MODE if pynative else ms.GRAPH_MODE)
    try:
        if target == "CPU":
            ms.set_device("CPU")
        else:
            ms.set_device(target, int(os.environ.get("DEVICE_ID", "0")) if device_id is None else device_id)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"--device_target {target}: this mindspore {ms.__version__} cannot use it ({first}). "
                         "Use --device_target CPU, or install CANN (Ascend) or CUDA 11.6 with cuDNN 8 (GPU); what is "
                         f"missing says {DOCTOR} --device_target {target}") from error
    if pynative:
        # MindSpore looks for NumPy 1 at its first operator, which fails with NumPy 2; the others do not.
        with suppress(SystemError):
            ms.Tensor([0.0]).reshape(-1)
    return ms


def setup_seed(seed: int) -> None:
    """Seed every generator that a training might draw from: Python's, NumPy's, MindSpore's and its data sets'.

    The project's own weights and samples draw from generators of their own, seeded by (seed, epoch, image).
    """
    import random

    import mindspore as ms
    import numpy as np
    random.seed(seed)
    np.random.seed(seed)
    ms.set_seed(seed)
    ms.dataset.config.set_seed(seed)


def describe(world_size: int = 1) -> str:
    """Describe the current device for the log, such as "8 x Ascend"."""
    import mindspore as ms
    target = ms.get_context("device_target")
    return f"{world_size} x {target}" if world_size > 1 else target


def is_cpu() -> bool:
    """Check whether the current device is the CPU, where dynamic shapes cost nothing."""
    import mindspore as ms
    return ms.get_context("device_target") == "CPU"


def dynamic_images(ms: ModuleType) -> Any:
    """Make an input placeholder for uint8 images [B, H, W, 3] of any size: one graph for all sizes."""
    return ms.Tensor(shape=[None, None, None, 3], dtype=ms.uint8)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, for metadata and reports."""
    import platform

    import cv2
    import numpy
    result = {"python": platform.python_version(), "numpy": numpy.__version__, "opencv": cv2.__version__}
    if "mindspore" in sys.modules:
        result["mindspore"] = sys.modules["mindspore"].__version__
    return result
