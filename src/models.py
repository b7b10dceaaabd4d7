# SPDX-License-Identifier: Apache-2.0
"""The models by name. Each is a package whose modules are imported when they are needed.

    spec("centerface")      what using a model takes: DEFAULT_METADATA, METADATA_OPTIONS, assumed_metadata, own_names,
                              inference_cell, decoder, check_options (no MindSpore needed)
    options("centerface")     its table of training options (no MindSpore needed); presets: defaults that go together
    training("centerface")    what training takes: COLUMNS, TERMS, build_samples, build_network, build_loss_cell,
                              build_metadata, batch_picture, run_settings, BACKBONE_PREFIX
    select(argv, default)     which model a command line means
"""
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import yaml

from dependency.errors import InputError
from src.cli.options import Presets, Table, flat

MODELS = ("centerface", "retinaface")


def spec(name: str) -> ModuleType:
    return import_module(f"src.{_known(name)}.detector")


def options(name: str) -> Table:
    return import_module(f"src.{_known(name)}.config").OPTIONS


def presets(name: str) -> Presets:
    return import_module(f"src.{_known(name)}.config").PRESETS


def training(name: str) -> ModuleType:
    return import_module(f"src.{_known(name)}.training")


def select(argv: Sequence[str], default: str) -> tuple[str, list[str]]:
    """The model that a command line means, and the command line without `--model`.

    `--model NAME` wins, then `model:` in the file of `--config_path`, then options that only one model has; with none
    of these it is `default`.

    Raises:
        InputError: unknown model; options of both models.
    """
    argv = list(argv)
    given = _values(argv)
    if "model" in given:
        for place in reversed([index for index, word in enumerate(argv) if word.split("=")[0] == "--model"]):
            del argv[place:place + (1 if "=" in argv[place] else 2)]
        return _known(given["model"]), argv
    path = Path(given.get("config_path") or "")
    names = set(given)
    if path.is_file():
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            content = None      # the model's own parser says what is wrong with the file
        if isinstance(content, dict):
            if "model" in content:
                return _known(str(content["model"])), argv
            names |= set(map(str, content))
    tables = {name: set(flat(options(name))) for name in MODELS}
    own = {name: sorted(names & tables[name] - set.union(*(tables[other] for other in MODELS if other != name)))
           for name in MODELS}
    meant = [name for name in MODELS if own[name]]
    if len(meant) > 1:
        raise InputError("options of two models: " + "; ".join(
            f"{', '.join('--' + option for option in own[name])} of {name}" for name in meant)
            + "; say which with --model")
    return (meant or [default])[0], argv


def _values(argv: Sequence[str]) -> dict[str, str]:
    """Option -> value of `--option value` and `--option=value`; a switch has the value ""."""
    found: dict[str, str] = {}
    for index, word in enumerate(argv):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            following = argv[index + 1] if index + 1 < len(argv) and not argv[index + 1].startswith("--") else ""
            found[name] = value if "=" in word else following
    return found


def _known(name: str) -> str:
    if name not in MODELS:
        raise InputError(f"no model '{name}': expected one of {', '.join(MODELS)}")
    return name
