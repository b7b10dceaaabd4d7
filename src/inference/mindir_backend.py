# SPDX-License-Identifier: Apache-2.0
"""Exported .mindir files in MindSpore.

    forward = MindirBackend(models.spec)
    metadata = forward.load("centerface.mindir")      # its metadata is in centerface.mindir.json beside it
    maps = forward(images)                        # uint8 BGR [B, H, W, 3] -> float32 arrays
"""
from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase, first_line
from src.weights.known_files import sha256_of
from src.weights.metadata import REQUIRED, metadata_path, parse_metadata, spec_of


class MindirBackend(BackendBase):
    """A network on a device: `forward(images)` gives its raw maps, `load(path)` takes another file.

    Args:
        specs: the spec of a model's name.
        device_target, device_id: see `device.setup`.
    """

    def __init__(self, specs: Callable[[str], Any], device_target: str = "auto", device_id: int | None = None):
        super().__init__(specs)
        self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__}"
        self._cell: Any = None

    def load(self, path: str | Path) -> dict[str, Any]:
        """Take a .mindir file of export.py; gives its metadata.

        Raises:
            InputError: no such file, no metadata beside it, or not the file that the metadata was written for.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such .mindir file")
        beside = metadata_path(path)
        if not beside.is_file():
            raise InputError(f"{path}: its metadata {beside.name} is not beside it, which says how to feed and decode the "
                             "network; copy both files, or export the checkpoint again")
        metadata = parse_metadata(beside.read_text(encoding="utf-8", errors="replace"), beside,
                          (*REQUIRED, "export.sha256", "export.input.shape"))
        told = metadata["export"]
        if sha256_of(path) != told["sha256"]:
            raise InputError(f"{path}: not the file that {beside.name} was written for, or cut off or damaged; copy "
                             "both files again, or export the checkpoint again")
        spec = spec_of(metadata, beside, self._specs)
        with tempfile.TemporaryDirectory() as folder:       # MindSpore refuses names with spaces and umlauts
            plain = shutil.copy(path, Path(folder) / "network.mindir")
            try:
                cell = self._ms.nn.GraphCell(self._ms.load(str(plain)))
            except (RuntimeError, ValueError) as error:
                raise InputError(f"{path}: {self.runtime} cannot load it; export the checkpoint again with this "
                                 "version") from error
        if device.is_cpu():         # else a graph is compiled and kept for every new size of image
            cell.set_inputs(self._ms.Tensor(shape=told["input"]["shape"], dtype=self._ms.uint8))
        self._cell, self.metadata, self.spec = cell, metadata, spec
        self.sizes = tuple(side or 0 for side in told["input"]["shape"][:3])
        LOGGER.info("load_model %s success: %s in %s", path, metadata["model"], self.runtime)
        return metadata

    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            outputs = self._cell(self._ms.Tensor(images))
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.runtime} cannot compute this file for images {list(images.shape)} "
                             f"({first_line(error)}); export the checkpoint again") from error
        return [each.asnumpy() for each in (outputs if isinstance(outputs, tuple) else [outputs])]
