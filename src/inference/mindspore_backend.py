# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a callable network and a detector.

    forward = Forward(models.recipe)
    card = forward.load("0-140_27720.ckpt")
    faces = build_detector(forward, card).run(read_image("photo.jpg"))

A recipe (src/models.py) knows a model: `DEFAULT_CARD`, `CARD_OPTIONS`, `assumed_card(names)`, `own_names(tensors)`,
`inference_cell(card)`, `decoder(card)`, `check_options(options)`. Images are uint8 BGR [B, H, W, 3]; what a network
gives for them ("maps") are float32 arrays whose first axis is B.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import LoadedNetwork
from src.inference.fixed_size import FixedSizeDetector, fill_batch
from src.weights import checkpoint
from src.weights.metadata import recipe_of

# The parts of a card that shape the graph; checkpoints that agree on them share it.
GRAPH_PARTS = ("model", "options", "input")


class Forward(LoadedNetwork):
    """A network on a device: `forward(images)` gives its raw maps, `load(path)` puts other weights into it.

    One graph serves every image size on a CPU (elsewhere one graph a size), and every checkpoint of the same
    card: a sweep compiles once.

    Args:
        recipes: the recipe of a model's name.
        model: what a checkpoint without a card is.
        device_target, device_id: see `device.setup`.
    """

    def __init__(self, recipes: Callable[[str], Any], model: str = "centerface", device_target: str = "auto",
                 device_id: int | None = None):
        super().__init__(recipes)
        self._model = model
        self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__}"
        self._cell: Any = None
        self._built = ""

    def load(self, path: str | Path) -> dict[str, Any]:
        """Put the weights of a checkpoint into the network and return its card.

        Raises:
            InputError: unreadable or damaged file, a checkpoint of another model, weights that do not fit.
        """
        recipe, card, tensors, has_card = read_network(path, self._recipes, self._model)
        described = json.dumps([card.get(part) for part in GRAPH_PARTS], sort_keys=True)
        cell = self._cell if described == self._built else self._build(recipe, card)
        parameters = dict(cell.network.parameters_and_names())
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        report = checkpoint.load_report(shapes, tensors)
        report.require(path, card if has_card else None)
        for name, parameter in parameters.items():
            parameter.set_data(self._ms.Tensor(tensors[name].astype(np.float32, copy=False)))
        self._cell, self._built, self.recipe, self.card = cell, described, recipe, card
        LOGGER.info("load_model %s success: %s", path, report.format())
        return card

    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        return [each.asnumpy() for each in self._cell(self._ms.Tensor(images))]

    def _build(self, recipe: Any, card: dict[str, Any]) -> Any:
        cell = recipe.inference_cell(card)
        if device.is_cpu():
            cell.set_inputs(device.dynamic_images(self._ms))
        return cell


class Network(NamedTuple):
    """A checkpoint's network: its recipe, its complete card, its tensors under our names, and whether the file had a
    card of its own."""
    recipe: Any
    card: dict[str, Any]
    tensors: dict[str, np.ndarray]
    has_card: bool


def read_network(path: str | Path, recipes: Callable[[str], Any], model: str) -> Network:
    """Read a checkpoint for use.

    Args:
        path: the checkpoint.
        recipes: the recipe of a model's name.
        model: what a checkpoint without a card is.

    Raises:
        InputError: unreadable or damaged file, unknown model, a card that cannot be used.
    """
    read = checkpoint.load(path)
    recipe = recipes(model) if read.card is None else recipe_of(read.card, path, recipes)
    tensors = recipe.own_names(checkpoint.network_tensors(read))
    if read.card is not None:
        return Network(recipe, {**recipe.DEFAULT_CARD, **read.card}, tensors, True)
    card = recipe.assumed_card(tensors)
    LOGGER.info("%s has no card: taken as %s with %s", path, card["model"], card["options"])
    return Network(recipe, card, tensors, False)


def build_detector(forward: Any, card: dict[str, Any], **options: Any) -> BaseDetector:
    """The detector that a card describes.

    Args:
        forward: the network, loaded with the card's file; see src/inference/backends.py.
        card: "decoder", and "detect" with default arguments of `BaseDetector`.
        **options: arguments of `BaseDetector` that win over the card's.

    Raises:
        InputError: an option that is wrong, or makes no sense for this model.
    """
    forward.recipe.check_options(options)
    arguments = {**card.get("detect", {}), **options}
    batch, height, width = forward.sizes
    looks = fill_batch(forward, batch) if batch else forward
    if height and width:
        LOGGER.info("the file takes %d x %d pixels: images are fitted into them", width, height)
        return FixedSizeDetector((height, width), looks, forward.recipe.decoder(card), **arguments)
    return BaseDetector(looks, forward.recipe.decoder(card), **arguments)
