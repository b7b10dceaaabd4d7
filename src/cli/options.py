# SPDX-License-Identifier: Apache-2.0
"""Tables of options: one says name, type, range, default and help of every option of a program.

    OPTIONS = {"Data": {"batch_size": Option(8, "Images per step on each device.", low=1, high=4096)}}
    cfg, explicit = parse(OPTIONS, argv, description=__doc__)

The tables make the command line, its --help, and the check of a YAML file; see `src.cli.arguments`. Precedence:
command line > `--config_path FILE.yaml` > presets > defaults. Booleans take `--x`, `--x=0` and `--x False`; lists take
`90,120`.
"""
from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable, ClassVar

from easydict import EasyDict

from dependency.centernet.src.lib.detectors.option_rules import FLAG, LARGEST, LARGEST_WHOLE, TEXT, Rule
from dependency.errors import InputError

BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
# Texts that mean None where that is the default.
NOTHING = ("", "null", "None")


@dataclass(frozen=True)
class Option:
    """An option of a program.

    default: its type is the option's type.
    help: one plain phrase.
    choices: the allowed texts.
    low, high: smallest and largest number.
    rule: what is allowed, in place of choices, low and high; needed for lists and where the default is None.
    alone: the value of `--name` without a value behind it; None demands one.
    aliases: further names: of the command line, such as "-p"; those with two dashes also of YAML files and of `Config`.
    metavar: what stands for the value in --help.
    """
    default: Any
    help: str
    choices: tuple = ()
    low: float | None = None
    high: float | None = None
    rule: Rule = TEXT
    alone: Any = None
    aliases: tuple[str, ...] = ()
    metavar: str = ""

    def __post_init__(self) -> None:
        if self.rule is TEXT:
            object.__setattr__(self, "rule", self._rule())
        if self.rule is FLAG:
            object.__setattr__(self, "alone", True)

    def _rule(self) -> Rule:
        kind = type(self.default)
        if kind is bool:
            return FLAG
        if kind in (int, float):
            most = LARGEST_WHOLE if kind is int else LARGEST
            low = -most if self.low is None else self.low
            return Rule(kind, low=low, high=most if self.high is None else self.high)
        return Rule(str, self.choices) if self.choices else TEXT


class Config(EasyDict):
    """Values of options by name, `cfg.epochs` or `cfg["epochs"]`; an alias reads and sets the option itself."""

    _names: ClassVar[dict[str, str]] = {}

    def __init__(self, values: dict[str, Any], names: dict[str, str]):
        """Take values by name; `names` are the options' names by alias."""
        object.__setattr__(self, "_names", names)
        self.update(values)

    def __missing__(self, key: str) -> Any:
        return self[self._names[key]]

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            return self[name]
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(self._names.get(name, name), value)

    __setitem__ = __setattr__

    def __contains__(self, key: Any) -> bool:
        return super().__contains__(self._names.get(key, key))

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(self._names.get(key, key), default)


Table = dict[str, dict[str, Option]]
# (the values of all options, the names of those that the user set) -> defaults that go with some of them.
Presets = Callable[[Config, set[str]], dict[str, Any]]


def flat(table: Table) -> dict[str, Option]:
    """Return all options of a table by name, without its groups."""
    return {name: option for group in table.values() for name, option in group.items()}


def names_of(options: dict[str, Option]) -> dict[str, str]:
    """Return the option's name by each of its aliases of two dashes."""
    return {alias[2:]: name for name, option in options.items() for alias in option.aliases if alias.startswith("--")}


def defaults_of(table: Table, **changes: Any) -> Config:
    """Return the default values of the options, some of them changed, for use from Python."""
    options = flat(table)
    return Config({**{name: option.default for name, option in options.items()}, **changes}, names_of(options))


def as_typed(values: dict[str, Any]) -> str:
    """Write options as they are typed on a command line."""
    return " ".join(f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
                    for name, value in values.items())


def convert(name: str, value: Any, option: Option) -> Any:
    """Read and check the value of an option.

    Args:
        name: of the option, for the message.
        value: text, or a list of texts.

    Raises:
        InputError: it is not allowed; names option, value and what is.
    """
    if option.default is None and value in NOTHING:
        return None
    rule = option.rule
    result = from_text(value, rule)
    if not rule.holds(result):
        shown = shlex.quote(value) if isinstance(value, str) else str(value)
        raise InputError(f"--{name} {shown:.80}: expected {rule.expected}{suggest(str(value), rule.choices)}")
    return result


def from_text(value: Any, rule: Rule) -> Any:
    """Read the value that a text, or a list of texts, means; one that means none is returned as it is."""
    if rule.length is not None:
        parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        return [_one_from_text(part, rule.kind) for part in parts] if isinstance(parts, list) else value
    return _one_from_text(value, rule.kind)


def _one_from_text(value: Any, kind: type) -> Any:
    if not isinstance(value, str) or kind is str:
        return value
    try:
        return BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (KeyError, ValueError):
        return value


def suggest(word: str, names: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message that suggests the most similar of these names; "" if none is similar."""
    near = difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
