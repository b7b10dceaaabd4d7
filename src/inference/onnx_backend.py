# SPDX-License-Identifier: Apache-2.0
"""Networks in ONNX Runtime: exported files, and checkpoints whose graph is written in memory. Needs no MindSpore.

    forward = OnnxBackend(models.recipe)
    card = forward.load("centerface.onnx")        # or a .ckpt: a sweep needs no compilation
    maps = forward(images)                        # uint8 BGR [B, H, W, 3] -> float32 arrays
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.common.log import LOGGER
from src.inference.backend_base import LoadedNetwork, first_line
from src.inference.decoded import Decoded
from src.inference.mindspore_backend import read_network
from src.inference.onnx_builder import INPUT
from src.weights import checkpoint
from src.weights.conversion import is_onnx
from src.weights.metadata import recipe_of
from src.weights.onnx_file import card_of, read_model


class OnnxBackend(LoadedNetwork):
    """A network on the CPU: `forward(images)` gives its raw maps, `load(path)` takes another file.

    Args:
        recipes: the recipe of a model's name.
        model: what a file without a card is.
        threads: that compute; None takes OMP_NUM_THREADS, else one for each core.

    Raises:
        InputError: onnxruntime is not installed.
    """

    def __init__(self, recipes: Callable[[str], Any], model: str = "centerface", threads: int | None = None):
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(f"ONNX files need onnxruntime ({error}); type: pip install onnx onnxruntime") from error
        super().__init__(recipes)
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        self._model, self._onnxruntime = model, onnxruntime
        self._threads = threads or _threads_of_environment()
        self._session: Any = None

    def load(self, path: str | Path) -> dict[str, Any]:
        """Take an .onnx file of export.py or of CenterFace's authors, or a checkpoint; gives its card.

        Raises:
            InputError: unreadable or damaged file, weights that do not fit, a graph that onnxruntime refuses.
        """
        path = Path(path)
        recipe, card, model = self._read(path)
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads
        try:
            # From memory: what was looked through is what runs, and no other file is ever opened.
            session = self._onnxruntime.InferenceSession(model.SerializeToString(), options,
                                                         providers=["CPUExecutionProvider"])
        except Exception as error:          # onnxruntime's errors have no common class but this
            raise InputError(f"{path}: {self.runtime} refuses this graph ({first_line(error)}); export the "
                             "checkpoint again, or install a newer onnxruntime") from error
        inputs = session.get_inputs()
        if [(each.name, each.type, len(each.shape)) for each in inputs] != [(INPUT, "tensor(uint8)", 4)]:
            raise InputError(f"{path}: its input is not uint8 {INPUT} [batch, height, width, 3]; export the checkpoint "
                             "again")
        if card.get("export", {}).get("decode_rows"):
            recipe = Decoded(recipe)
        outputs = [(each.name, each.type) for each in session.get_outputs()]
        if outputs != [(name, "tensor(float)") for name in recipe.OUTPUTS]:
            raise InputError(f"{path}: its outputs are {', '.join(map(' '.join, outputs))}, but its card promises "
                             f"{', '.join(recipe.OUTPUTS)}; export the checkpoint again")
        self.sizes = tuple(side if isinstance(side, int) else 0 for side in inputs[0].shape[:3])
        self._session, self.card, self.recipe = session, card, recipe
        LOGGER.info("load_model %s success: %s in %s", path, card["model"], self.runtime)
        return card

    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(None, {INPUT: images})
        except Exception as error:          # as above
            raise InputError(f"{self.runtime} cannot compute this graph for images {list(images.shape)} "
                             f"({first_line(error)}); export the checkpoint again, or give smaller images") from error

    def _read(self, path: Path) -> tuple[Any, dict[str, Any], Any]:
        """(recipe, card, graph) of a file of any of the three kinds."""
        if path.suffix.lower() == ".onnx" or path.is_file() and is_onnx(path):
            model = read_model(path)
            card = card_of(model, path)
            if card is not None:
                return recipe_of(card, path, self._recipes), card, model
            recipe = self._recipes(self._model)
            try:
                tensors, card = recipe.from_foreign_onnx(path)
            except InputError as error:
                raise InputError(f"{path}: has no card of this project, and is not the authors' CenterFace either "
                                 f"({str(error).replace(f'{path}: ', '')}); export the checkpoint with export.py "
                                 "--file_format ONNX") from error
            LOGGER.info("%s: the network that its authors released, rewritten for speed", path)
            return recipe, card, recipe.onnx_graph(card, tensors)
        recipe, card, tensors, has_card = read_network(path, self._recipes, self._model)
        checkpoint.load_report(recipe.tensor_shapes(card), tensors).require(path, card if has_card else None)
        return recipe, card, recipe.onnx_graph(card, tensors)


def _threads_of_environment() -> int:
    """OMP_NUM_THREADS as MindSpore and NumPy heed it; 0 leaves the number to onnxruntime."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else 0
