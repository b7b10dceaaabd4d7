# SPDX-License-Identifier: Apache-2.0
"""The models by name. Each is a package whose modules are imported when they are needed.

    recipe("centerface")      what using a model takes: DEFAULT_CARD, inference_cell, decoder (no MindSpore needed)
    options("centerface")     its table of training options (no MindSpore needed)
    training("centerface")    what training takes: COLUMNS, TERMS, build_samples, build_network, build_loss_cell,
                              build_card, batch_picture, BACKBONE_PREFIX
"""
from importlib import import_module
from types import ModuleType

from dependency.errors import InputError
from src.common.config import Table

MODELS = ("centerface",)


def recipe(name: str) -> ModuleType:
    return import_module(f"src.{_known(name)}.detector")


def options(name: str) -> Table:
    return import_module(f"src.{_known(name)}.config").OPTIONS


def training(name: str) -> ModuleType:
    return import_module(f"src.{_known(name)}.training")


def _known(name: str) -> str:
    if name not in MODELS:
        raise InputError(f"no model '{name}': expected one of {', '.join(MODELS)}")
    return name
