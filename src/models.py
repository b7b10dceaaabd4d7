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
from types import ModuleType

from dependency.errors import InputError
from src.cli.arguments import Parser, read_yaml
from src.cli.options import Presets, Table, flat, suggest

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
    """Find the model that a command line means, and the command line without `--model`.

    `--model NAME` wins, then `model:` in the file of `--config_path`, then options that only one model has; with none
    of these it is `default`.

    Raises:
        InputError: unknown model; options of both models; an unreadable --config_path.
    """
    parser = Parser({}, "", add_help=False)
    parser.add_argument("--model")
    parser.add_argument("--config_path")
    known, rest = parser.parse_known_args(list(argv))
    path = getattr(known, "config_path", "")
    in_file = read_yaml(path) if path else {}
    if path:
        rest.append(f"--config_path={path}")
    model = getattr(known, "model", None) or in_file.get("model")
    if model:
        return _known(model), rest
    names = {word[2:].split("=")[0] for word in rest if word.startswith("--")} | set(in_file)
    tables = {name: flat(options(name)) for name in MODELS}
    own = {name: sorted(option for option in names & set(tables[name])
                        if all(option not in tables[other] for other in MODELS if other != name)) for name in MODELS}
    meant = [name for name in MODELS if own[name]]
    if len(meant) > 1:
        raise InputError("options of two models: " + "; ".join(
            f"{', '.join('--' + option for option in own[name])} of {name}" for name in meant)
            + "; say which with --model")
    return (meant or [default])[0], rest


def _known(name: str) -> str:
    if name not in MODELS:
        raise InputError(f"no model '{name}': expected one of {', '.join(MODELS)}{suggest(name, MODELS)}")
    return name
