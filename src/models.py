# SPDX-License-Identifier: Apache-2.0
"""The models by name. Each is a package of src whose modules are imported when they are needed.

    spec("centerface").decoder(metadata)(outputs, (height, width), top_k)       # use of a network: needs no MindSpore
    training("centerface").build_network(cfg)                                   # training of a network
    options("centerface"), presets("centerface")                                # its training options
    select(argv, default="retinaface")                                          # which model a command line means
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Protocol

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.detectors.option_rules import Rule
from dependency.errors import InputError
from src.cli import training_options
from src.cli.arguments import Parser, read_yaml
from src.cli.options import Presets, Table, flat, names_of, suggest

MODELS = ("centerface", "retinaface")
# Options of both models that neither manual has.
SHARED = ("data", "epochs", "pretrained")

Metadata = dict[str, Any]
Tensors = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


def _unchanged(tensors: Tensors) -> Tensors:
    return tensors


def _accept_all(options: dict[str, Any]) -> None:
    del options


@dataclass(frozen=True)
class ModelSpec:
    """Everything that testing, prediction and export know of a model; `metadata` is that of a file of weights.

    Attributes:
        name: one of MODELS.
        outputs: names of the network's outputs, in order; an exported graph has the same.
        side_multiple: height and width of the network's input must be multiples of it.
        default_metadata: of weights without metadata; also used for single missing entries.
        option_rules: values that the metadata's "options" may have.
        tensor_shapes: metadata -> shape of every tensor by name.
        inference_cell: metadata -> MindSpore cell; uint8 BGR images [B, H, W, 3] -> outputs; its `network` has the
            parameters.
        onnx_graph: (metadata, tensors, decode_rows=0, batch=0, height=0, width=0) -> `onnx.ModelProto` of the same.
            decode_rows: give at most so many decoded faces instead of the raw outputs. Sizes that are 0 stay open.
        decoder: metadata -> decode(outputs of one image, (H, W), top_k, score_threshold=0.0, peaks=...) -> float32 rows
            [M, 15]: box xyxy, score, five landmarks x y, all in input pixels, best score first. InputError for an
            unknown decoder.
        assumed_metadata: tensor names -> metadata of a file that has none.
        own_names: tensors -> the same ones under the names of `tensor_shapes`.
        check_options: InputError for arguments of `BaseDetector` that make no sense for this model.
        read_foreign_onnx: path -> (tensors, metadata) of an ONNX file of the model's authors; InputError for any other.
            None: no such file is known.
    """
    name: str
    outputs: tuple[str, ...]
    side_multiple: int
    default_metadata: Metadata
    option_rules: Mapping[str, Rule]
    tensor_shapes: Callable[[Metadata], Shapes]
    inference_cell: Callable[[Metadata], Any]
    onnx_graph: Callable[..., Any]
    decoder: Callable[[Metadata], Callable[..., np.ndarray]]
    assumed_metadata: Callable[[Iterable[str]], Metadata]
    own_names: Callable[[Tensors], Tensors] = _unchanged
    check_options: Callable[[dict[str, Any]], None] = _accept_all
    read_foreign_onnx: Callable[[Path], tuple[Tensors, Metadata]] | None = None


class Samples(Protocol):
    """Training samples: `samples(index, rng)` gives one as a tuple of arrays.

    records: the annotated faces of each image; image_dir: where the images are.
    """
    records: Sequence[Record]
    image_dir: Path

    def __len__(self) -> int:
        """Return the number of images."""

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Make one sample; raise BadImageError where an image cannot be read."""

    def describe(self, index: int) -> str:
        """Return the image's name, for messages."""

    def without_mosaic(self) -> Samples:
        """Return samples of the same images that are never mosaics."""


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that train.py knows of a model. `cfg` holds its options (`options(name)`) by name.

    Attributes:
        terms: names of the loss terms.
        lr_images: images a step that the default learning rate is for.
        backbone_prefix: names of the backbone's parameters begin with it.
        run_settings: (cfg, world_size, start time as text) -> `src.training.settings.RunSettings`.
        build_samples: cfg -> training samples.
        build_network: cfg -> the network with its initial or pretrained weights.
        build_loss_cell: (cfg, network, world_size) -> cell: batch of samples -> (total loss, tuple of terms).
        build_picture: cfg -> function: batch of samples -> their pictures, uint8 BGR [S, S, 3] each.
        build_metadata: cfg -> metadata of this run's checkpoints.
        val_layout: cfg -> (ground truth, image folder) of the val set, where they would be in the manual's layout.
    """
    terms: tuple[str, ...]
    lr_images: int
    backbone_prefix: str
    run_settings: Callable[[Any, int, str], Any]
    build_samples: Callable[[Any], Samples]
    build_network: Callable[[Any], Any]
    build_loss_cell: Callable[[Any, Any, int], Any]
    build_picture: Callable[[Any], Callable[[Sequence[np.ndarray]], list[np.ndarray]]]
    build_metadata: Callable[[Any], Metadata]
    val_layout: Callable[[Any], tuple[Path, Path]]


def spec(name: str) -> ModelSpec:
    """Return the spec of a model; raise InputError for an unknown name."""
    return import_module(f"src.{_require_model(name)}.spec").SPEC


def options(name: str) -> Table:
    """Return the model's table of training options."""
    return import_module(f"src.{_require_model(name)}.config").OPTIONS


def presets(name: str) -> Presets:
    """Return the function that computes the defaults that go with some values of the model's training options."""
    return import_module(f"src.{_require_model(name)}.config").presets


def option_conditions(name: str, cfg: Any, world_size: int) -> list[tuple[str, bool, str]]:
    """Return the rules for `idle_options`: which training options have an effect beside the others."""
    own = import_module(f"src.{_require_model(name)}.config").option_conditions(cfg)
    return [*own, *training_options.option_conditions(cfg, world_size)]


def training(name: str) -> TrainingSpec:
    """Return the `TrainingSpec` of a model: what training needs of it; this imports MindSpore."""
    return import_module(f"src.{_require_model(name)}.training").TRAINING


def select(argv: Sequence[str], default: str) -> tuple[str, list[str]]:
    """Find the model that a command line means, and the command line without `--model`.

    `--model NAME` wins, then `model:` in the file of `--config_path`, then names of options that only one model has,
    then those that only one manual has; with none of these it is `default`.

    Raises:
        InputError: unknown model; options of both models; only ones that both share; an unreadable --config_path.
    """
    parser = Parser({}, "", add_help=False)
    parser.add_argument("--model")
    parser.add_argument("--config_path")
    parsed, rest = parser.parse_known_args(list(argv))
    in_file: dict[str, Any] = {}
    if "config_path" in parsed:
        in_file = read_yaml(parsed.config_path)
        rest.insert(0, f"--config_path={parsed.config_path}")
    model = parsed.model if "model" in parsed else in_file.get("model")
    if model is not None:
        return _require_model(str(model)), rest
    names = {word[2:].split("=")[0] for word in rest if word.startswith("--")} | set(in_file)
    tables = {name: flat(options(name)) for name in MODELS}
    own = _names_of_one(names, {name: {*table, *names_of(table)} for name, table in tables.items()})
    if not any(own.values()):
        shared = sorted(names & set(SHARED))
        if shared:
            raise InputError(f"--{shared[0]} is an option of both models; say which one: --model "
                             f"{' or --model '.join(MODELS)}")
        own = _names_of_one(names, {name: {*names_of(table), *(each for each in table if not table[each].aliases)}
                                    for name, table in tables.items()})
    meant = [name for name in MODELS if own[name]]
    if len(meant) > 1:
        raise InputError("options of two models: " + "; ".join(
            f"{', '.join('--' + option for option in own[name])} of {name}" for name in meant)
            + "; say which with --model")
    return (meant or [default])[0], rest


def _names_of_one(names: set[str], known: dict[str, set[str]]) -> dict[str, list[str]]:
    """List, for each model, those of the names that are known to it alone."""
    return {model: sorted(name for name in names & own if sum(name in each for each in known.values()) == 1)
            for model, own in known.items()}


def _require_model(name: str) -> str:
    if name not in MODELS:
        raise InputError(f"no model '{name}': expected one of {', '.join(MODELS)}{suggest(name, MODELS)}")
    return name
