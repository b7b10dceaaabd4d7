# SPDX-License-Identifier: Apache-2.0
import pytest

from dependency.errors import InputError
from src.cli.options import Option, defaults_of, parse

TABLE = {"One": {"lr": Option(0.1, "rate"), "epochs": Option(3, "how many"), "flag": Option(False, "a switch")},
         "Two": {"steps": Option([90, 120], "where"), "name": Option("x", "which", ("x", "y")),
                 "limit": Option(None, "at most", kind=int)}}


def values(*argv, **extra):
    return parse(TABLE, list(argv), "text", **extra)[0]


def test_defaults_and_easydict_access():
    cfg = values()
    assert cfg.lr == cfg["lr"] == 0.1 and cfg.steps == [90, 120] and cfg.limit is None
    assert {name: cfg[name] for name in defaults_of(TABLE)} == dict(defaults_of(TABLE))


@pytest.mark.parametrize("argv, expected", [
    (["--flag"], True), (["--flag=1"], True), (["--flag", "True"], True), (["--flag", "0"], False),
    (["--flag=no"], False), ([], False)])
def test_switches_take_the_spellings_of_both_manuals(argv, expected):
    assert values(*argv).flag is expected


def test_types_follow_the_default():
    cfg = values("--lr=4e-3", "--epochs", "7", "--steps=1,2,3", "--limit", "5")
    assert (cfg.lr, cfg.epochs, cfg.steps, cfg.limit) == (0.004, 7, [1, 2, 3], 5)


def test_command_line_over_yaml_over_metadata_over_table(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("lr: 0.5\nepochs: 9\nsteps: [4]\n")
    cfg, given = parse(TABLE, ["--config_path", str(file), "--lr", "0.7"], "text",
                       defaults={"epochs": 8, "flag": True, "elsewhere": 1})
    assert (cfg.lr, cfg.epochs, cfg.flag, cfg.steps) == (0.7, 9, True, [4])
    assert given == {"lr", "epochs", "steps", "config_path"}


@pytest.mark.parametrize("argv, message", [
    (["--epoch", "1"], "unknown option --epoch; did you mean --epochs"),
    (["--epochs", "many"], "--epochs: 'many' is not a valid int"),
    (["--epochs", "1.5"], "--epochs: '1.5'"),
    (["--steps", "1,a"], "--steps: '1,a' is not a valid comma-separated list of int"),
    (["--name", "z"], "--name: 'z' is not one of x, y"),
    (["--flag", "maybe"], "--flag: 'maybe' is not a valid bool"),
    (["stray"], "'stray' is not an option"),
    (["--config_path", "absent.yaml"], "no file absent.yaml")])
def test_errors_name_value_and_expectation(argv, message):
    with pytest.raises(InputError, match=message):
        values(*argv)


@pytest.mark.parametrize("text, message", [("lrr: 1", "'lrr' is not an option.*did you mean lr"), ("- 1", "must hold"),
                                           ("a: [", "not a YAML file"), ("epochs: soon", "--epochs: 'soon'")])
def test_bad_yaml_names_the_file_or_option(tmp_path, text, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        values("--config_path", str(file))


def test_help_shows_groups_defaults_and_choices(capsys):
    with pytest.raises(SystemExit) as stop:
        values("--help")
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for part in ("One:", "Two:", "(default: 90,120)", "{x,y}", "--flag [BOOL]"):
        assert part in text
