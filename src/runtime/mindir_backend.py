# SPDX-License-Identifier: Apache-2.0
"""Exported .mindir files in MindSpore.

    forward = MindirBackend(models.recipe)
    card = forward.load("centerface.mindir")      # its card is in centerface.json beside it
    maps = forward(images)                        # uint8 BGR [B, H, W, 3] -> float32 arrays
"""
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np

from dependency.errors import InputError
from src.common import device
from src.common.log import LOGGER
from src.common.onnx_file import parse_card
from src.runtime.onnx_backend import require_size


class MindirBackend:
    """A network on a device: `forward(images)` gives its raw maps, `load(path)` takes another file.

    Args:
        recipes: the recipe of a model's name.
        device_target, device_id: see `device.setup`.

    Attributes:
        recipe, card: of the file that was loaded last.
        sizes: batch, height and width that the file was exported for, 0 where any will do.
        runtime: name and version, for reports.
    """

    def __init__(self, recipes: Callable[[str], Any], device_target: str = "auto", device_id: Optional[int] = None):
        self.recipe: Any = None
        self.card: dict[str, Any] = {}
        self.sizes = (0, 0, 0)
        self._recipes = recipes
        self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__}"
        self._cell: Any = None

    def load(self, path: Union[str, Path]) -> dict[str, Any]:
        """Take a .mindir file of export.py; gives its card.

        Raises:
            InputError: no such file, no card beside it, or not the file that the card was written for.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such .mindir file")
        beside = path.with_suffix(".json")
        if not beside.is_file():
            raise InputError(f"{path}: its card {beside.name} is not beside it, which says how to feed and decode the "
                             "network; copy both files, or export the checkpoint again")
        card = parse_card(beside.read_text(encoding="utf-8", errors="replace"), beside)
        told = card.get("export")
        if not isinstance(told, dict) or hashlib.sha256(path.read_bytes()).hexdigest() != told.get("sha256"):
            raise InputError(f"{path}: not the file that {beside.name} was written for, or cut off or damaged; copy "
                             "both files again, or export the checkpoint again")
        recipe = self._recipes(card["model"])
        with tempfile.TemporaryDirectory() as folder:       # MindSpore refuses names with spaces and umlauts
            plain = shutil.copy(path, Path(folder) / "network.mindir")
            try:
                cell = self._ms.nn.GraphCell(self._ms.load(str(plain)))
            except (RuntimeError, ValueError) as error:
                raise InputError(f"{path}: {self.runtime} cannot load it; export the checkpoint again with this "
                                 "version") from error
        if device.is_cpu():         # else a graph is compiled and kept for every new size of image
            cell.set_inputs(self._ms.Tensor(shape=told["input"]["shape"], dtype=self._ms.uint8))
        self._cell, self.card, self.recipe = cell, card, recipe
        self.sizes = tuple(side or 0 for side in told["input"]["shape"][:3])
        LOGGER.info("load_model %s success: %s in %s", path, card["model"], self.runtime)
        return card

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Raw maps, each float32 [B, ...], of uint8 BGR images [B, H, W, 3].

        Raises:
            InputError: the file was exported for another size.
        """
        if self._cell is None:
            raise RuntimeError("load a file first")
        require_size(images.shape, self.sizes, self.recipe.SIDE_MULTIPLE)
        maps = self._cell(self._ms.Tensor(np.ascontiguousarray(images)))
        return tuple(each.asnumpy() for each in maps)
