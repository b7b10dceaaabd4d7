# SPDX-License-Identifier: Apache-2.0
"""Command lines and YAML files, read and checked by tables of options.

    cfg, explicit = parse(OPTIONS, argv, description=__doc__)

    parser = Parser(OPTIONS, __doc__)
    parser.add_argument("images", nargs="*", default=[])
    args = parser.read(argv)
    refuse_idle(parser.options, args, [("record frames", args.camera is not None, "with --camera")])

Whatever is wrong is an InputError of one line.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from easydict import EasyDict

from dependency.errors import InputError
from src.cli.options import (
    NOTHING,
    Config,
    Option,
    Presets,
    Table,
    convert,
    defaults_of,
    flat,
    from_text,
    names_of,
    suggest,
)

CONFIG_PATH = Option("", "YAML file with values for any of these options; the command line takes precedence.",
                     metavar="FILE")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Shows the value of an option once, behind its last name."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, action.dest.upper())}"


class _Store(argparse.Action):
    """Stores the text of an option, and refuses another value under another of its names."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        word, before = parser.given.setdefault(self.dest, (option_string, values))
        if word != option_string and before != values:
            raise InputError(f"{word} {before} and {option_string} {values}: two names of one option; give one of them")
        convert(str(option_string).lstrip("-"), values, parser.options[self.dest])      # a message has the name typed
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """The command line of a table of options; positional arguments are added as with argparse.

    Args:
        files_follow: a word behind a boolean option is a positional argument; its value needs "=", as in `--x=0`.
        **settings: of argparse.
    """

    def __init__(self, table: Table, description: str, prog: str | None = None, files_follow: bool = False,
                 **settings: Any):
        settings = {"usage": "%(prog)s [options]", **settings}
        super().__init__(prog=prog, description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS,
                         formatter_class=_Help, **settings)
        self.given: dict[str, tuple[str, str]] = {}
        self.options = flat(table)
        self.spellings = {word: option for name, option in self.options.items()
                          for word in (f"--{name}", *option.aliases)}
        self.files_follow = files_follow
        for title, group in table.items():
            section = self.add_argument_group(title) if title else self
            for name, option in group.items():
                section.add_argument(f"--{name}", *option.aliases, dest=name, metavar=_metavar(option), action=_Store,
                                     nargs=None if option.alone is None else "?", help=_help(option))

    def read(self, argv: Sequence[str] | None = None) -> EasyDict:
        """Read a command line: the value of every option and argument by name.

        Raises:
            InputError: an unknown option, or a value that is not allowed.
        """
        values = {name: convert(name, value, self.options[name]) if name in self.options else value
                  for name, value in self.read_texts(argv).items()}
        return EasyDict({**defaults_of({"": self.options}), **values})

    def read_texts(self, argv: Sequence[str] | None = None) -> dict[str, Any]:
        """Read the arguments of a command line by name, those of options as text; raise the same errors as `read`."""
        self.given.clear()
        found, unknown = self.parse_known_args(self._join(sys.argv[1:] if argv is None else argv))
        if unknown:
            names = [word.lstrip("-") for word in self._option_string_actions]
            raise InputError(_unknown(unknown[0], names, self.prog))
        return vars(found)

    def knows(self, word: str) -> bool:
        """Check whether a word of a command line is one of the options, with or without a value after "="."""
        return word.split("=")[0] in self._option_string_actions

    def error(self, message: str) -> NoReturn:
        """Raise an InputError where argparse would print its usage and exit."""
        raise InputError(f"{message.removeprefix('argument ')}; see --help")

    def _join(self, argv: Sequence[str]) -> list[str]:
        """Join each option to its value as one word: `-1e-3` is then a value, `--crop photo.jpg` are two things."""
        words = list(argv)
        joined: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--":
                return [*joined, word, *words]
            option = self.spellings.get(word)
            if option is None:
                joined.append(word)
            elif words and self._takes(option, words[0]):
                joined.append(f"{word}={words.pop(0)}")
            else:
                joined.append(word if option.alone is None else f"{word}={option.alone}")
        return joined

    def _takes(self, option: Option, word: str) -> bool:
        """Check whether the word after an option is its value, not a positional argument."""
        if word.startswith("--") or self.knows(word):
            return False
        if option.alone is None or option.rule.kind is bool:
            return option.alone is None or not self.files_follow
        return not isinstance(from_text(word, option.rule), str)


def parse(table: Table, argv: Sequence[str] | None, description: str, prog: str | None = None,
          presets: Presets | None = None) -> tuple[Config, set[str]]:
    """Read a command line and the YAML file that it names.

    Args:
        presets: defaults that depend on the values of other options.

    Returns:
        (cfg, explicit): the value of every option of the table, and the names that the user set.

    Raises:
        InputError: an unknown option, a value that is not allowed, a file that cannot be read.
    """
    table = {**table, "Configuration": {"config_path": CONFIG_PATH}}
    options = flat(table)
    texts = Parser(table, description, prog).read_texts(argv)
    path = texts.get("config_path")
    from_file = read_values(path, options) if path else {}
    values = {name: convert(name, value, options[name]) for name, value in {**from_file, **texts}.items()}
    cfg = defaults_of(table)
    cfg.update(values)
    if presets:
        cfg.update({name: value for name, value in presets(cfg, set(values)).items() if name not in values})
    return cfg, set(values)


def read_values(path: str | Path, options: dict[str, Option]) -> dict[str, str]:
    """Read the values of a YAML file, as text, by the options' own names.

    Raises:
        InputError: no such file, no YAML, not an option, an option by two names.
    """
    names = names_of(options)
    values: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for word, value in read_yaml(path).items():
        name = names.get(word, word)
        if name == "model" and name not in options:     # read by src.models.select
            continue
        if name not in options:
            raise InputError(f"{path}: {_unknown(name, [*options, *names], 'this program')}")
        if values.setdefault(name, value) != value:
            raise InputError(f"{path}: {spelled[name]}: {values[name]} and {word}: {value}: two names of one option; "
                             "give one of them")
        spelled[name] = word
    return values


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the names and values of a YAML file, scalars as text; raise InputError for a missing or malformed file."""
    import yaml  # slow to import, and most command lines name no file
    path = Path(path)
    if not path.is_file():
        raise InputError(f"--config_path: no file {path}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config_path: {path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config_path: {path} must hold `name: value` lines, not a {type(content).__name__}")
    return {str(name): value for name, value in content.items()}


def idle_options(options: dict[str, Option], args: EasyDict, rules: Iterable[tuple[str, Any, str]]) -> list[str]:
    """List in words the options that the user set and that have no effect.

    Args:
        rules: names of options, whether they have an effect here, and where they have.
    """
    return [f"--{name} works only {where}" for names, has_effect, where in rules for name in names.split()
            if not has_effect and args[name] != options[name].default]


def refuse_idle(options: dict[str, Option], args: EasyDict, rules: Iterable[tuple[str, Any, str]]) -> None:
    """Raise InputError for the first of the `idle_options`."""
    for problem in idle_options(options, args, rules):
        raise InputError(f"{problem}; leave it out here")


def _metavar(option: Option) -> str:
    rule = option.rule
    if option.metavar:
        return option.metavar
    if rule.choices:
        return "{" + ",".join(map(str, rule.choices)) + "}"
    name = "BOOL" if rule.kind is bool else rule.kind.__name__.upper().replace("STR", "TEXT")
    return name if rule.length is None else f"{name},..."


def _help(option: Option) -> str:
    """Build the help text of an option: its phrase, then its range and default in brackets."""
    shown = option.default
    if isinstance(shown, (list, tuple)):
        shown = ",".join(map(str, shown))
    elif isinstance(shown, bool):
        shown = str(shown).lower()
    rule = option.rule
    bounds = rule.expected if rule.length and not rule.words else rule.bounds
    default = "" if shown is None or shown in NOTHING else f"default: {shown}"
    notes = "; ".join(filter(None, (bounds, default)))
    return (option.help + (f" [{notes}]" if notes else "")).replace("%", "%%")


def _unknown(argument: str, options: Iterable[str], program: str) -> str:
    name = argument.split("=")[0].lstrip("-")
    if argument.startswith("-"):
        return f"unknown option --{name}{suggest(name, options, '--') or '; see --help'}"
    return f"'{argument}' is not an option of {program}{suggest(name, options) or '; see --help'}"
