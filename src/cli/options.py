# SPDX-License-Identifier: Apache-2.0
"""One table of options makes the EasyDict, the argparse parser, its --help and the YAML check.

    OPTIONS = {"Data": {"batch_size": Option(8, "images per step on one device")}}
    cfg, given = parse(OPTIONS, argv, description=__doc__)

Order: table < `defaults` (what a checkpoint's metadata says) < `--config_path FILE.yaml` < command line. A value has the
type of its default; a default of None names its type in `kind`. Booleans take `--x`, `--x=0`, `--x False`; lists take
`90,120`. An unknown name is an error that names the nearest one.
"""
from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from easydict import EasyDict

from dependency.errors import InputError


class Option(NamedTuple):
    """default: its type is the option's type; help: one line; choices: allowed values; kind: type for default None."""
    default: Any
    help: str
    choices: tuple | None = None
    kind: type = str


Table = dict[str, dict[str, Option]]
# Option -> its value -> defaults of other options that go with it.
Presets = dict[str, dict[Any, dict[str, Any]]]

COMMON = {
    "config_path": Option("", "YAML file with values for any of these options; the command line wins over it"),
}


def boolean(text: Any) -> bool:
    """The bool that a command line or YAML value means."""
    names = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return names[str(text).lower()]
    except KeyError:
        raise InputError(f"'{text}' is not a yes or no value: expected one of {', '.join(names)}") from None


def flat(table: Table) -> dict[str, Option]:
    """All options of a table by name, its groups forgotten."""
    return {name: option for group in table.values() for name, option in group.items()}


def defaults_of(table: Table) -> EasyDict:
    """The options at their defaults, for use from Python."""
    return EasyDict({name: option.default for name, option in flat(table).items()})


def convert(name: str, value: Any, option: Option) -> Any:
    """`value` (text or a YAML scalar/list) in the type of the option; InputError names option and value."""
    try:
        result = _typed(value, option)
    except (TypeError, ValueError) as error:
        kind = _element_type(option).__name__
        if isinstance(option.default, (list, tuple)):
            kind = f"comma-separated list of {kind}"
        raise InputError(f"--{name}: '{value}' is not a valid {kind} ({option.help})") from error
    if option.choices and result not in option.choices:
        allowed = ", ".join(str(choice) for choice in option.choices)
        raise InputError(f"--{name}: '{result}' is not one of {allowed}{_nearest(str(result), option.choices)}")
    return result


def parse(table: Table, argv: list[str] | None, description: str, defaults: dict | None = None,
          prog: str | None = None, presets: Presets | None = None) -> tuple[EasyDict, set[str]]:
    """Read the command line (and the YAML file it names); `presets` are defaults that depend on another option.

    Returns:
        (cfg, given): every option of the table, and the names that the user set himself.

    Raises:
        InputError: unknown option, wrong type, value not among the choices.
    """
    table = {**table, "Configuration": {**table.get("Configuration", {}), **COMMON}}
    options = flat(table)
    parser = build_parser(table, description, prog)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        raise InputError(_unknown(unknown[0], options, parser.prog))
    cfg = defaults_of(table)
    for name, value in (defaults or {}).items():
        if name in options:
            cfg[name] = convert(name, value, options[name])
    from_line = vars(arguments)
    path = from_line.get("config_path")
    from_file = read_yaml(Path(path), options) if path else {}
    given = {**from_file, **from_line}
    for name, value in given.items():
        cfg[name] = convert(name, value, options[name])
    for name, by_value in (presets or {}).items():
        cfg.update({other: value for other, value in by_value.get(cfg[name], {}).items() if other not in given})
    return cfg, set(given)


def build_parser(table: Table, description: str, prog: str | None = None) -> argparse.ArgumentParser:
    """The argparse parser of a table: one help section per group, every value kept as text until `convert`."""
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     argument_default=argparse.SUPPRESS)
    for title, group in table.items():
        section = parser.add_argument_group(title)
        for name, option in group.items():
            extra: dict[str, Any] = {}
            if isinstance(option.default, bool):
                extra = {"nargs": "?", "const": "true"}
            shown = option.default
            if isinstance(shown, (list, tuple)):
                shown = ",".join(map(str, shown))
            suffix = "" if shown in ("", None) else f" (default: {shown})"
            if option.choices:
                extra["metavar"] = "{" + ",".join(map(str, option.choices)) + "}"
            else:
                extra["metavar"] = _element_type(option).__name__.upper()
            section.add_argument(f"--{name}", help=(option.help + suffix).replace("%", "%%"), **extra)
    return parser


def read_yaml(path: Path, options: dict[str, Option]) -> dict[str, Any]:
    """The options in a YAML file; InputError for a missing or malformed file and for unknown names."""
    if not path.is_file():
        raise InputError(f"--config_path: no file {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config_path: {path} is not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"--config_path: {path} must hold `name: value` lines, not a {type(content).__name__}")
    if "model" not in options:
        content.pop("model", None)      # read by src.models.select
    for name in content:
        if name not in options:
            raise InputError(f"{path}: {_unknown(str(name), options, 'this program')}")
    return content


def _typed(value: Any, option: Option) -> Any:
    if value is None or option.default is None and value == "":
        return None
    if isinstance(option.default, (list, tuple)):
        items = value if isinstance(value, (list, tuple)) else [part for part in str(value).split(",") if part.strip()]
        return [_scalar(item, _element_type(option)) for item in items]
    return _scalar(value, _element_type(option))


def _scalar(value: Any, kind: type) -> Any:
    if kind is bool:
        return boolean(value)
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError("not a whole number")
    return kind(value.strip() if isinstance(value, str) else value)


def _element_type(option: Option) -> type:
    default = option.default
    if default is None:
        return option.kind
    if isinstance(default, (list, tuple)):
        return type(default[0]) if default else option.kind
    return type(default)


def _unknown(argument: str, options: dict[str, Option], program: str) -> str:
    name = argument.split("=")[0].lstrip("-")
    if not argument.startswith("-") and name not in options:
        near = _nearest(name, options)
        return f"'{argument}' is not an option of {program}{near or '; see --help'}"
    near = _nearest(name, options, "--")
    return f"unknown option --{name}{near or '; see --help'}"


def _nearest(word: str, names: Any, prefix: str = "") -> str:
    near = difflib.get_close_matches(word, [str(name) for name in names], n=1, cutoff=0.6)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
