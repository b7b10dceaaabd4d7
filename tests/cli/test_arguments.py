# SPDX-License-Identifier: Apache-2.0
"""Command lines and YAML files: spellings, precedence, and what is wrong named in one line."""
import pytest

from dependency.centernet.src.lib.detectors.option_rules import number, whole, wholes
from dependency.errors import InputError
from src.cli.arguments import Parser, parse, refuse_idle
from src.cli.options import Option, flat

TABLE = {"One": {"lr": Option(0.1, "Rate."), "epochs": Option(3, "Epochs.", low=1, high=9),
                 "flag": Option(False, "A switch.")},
         "Two": {"steps": Option([9, 12], "Steps.", rule=wholes(0, 9, 0)), "name": Option("x", "Name.", ("x", "y")),
                 "limit": Option(None, "Limit.", rule=whole(1)), "file": Option(None, "File.")}}


def values(*argv):
    return parse(TABLE, list(argv), "text")[0]


@pytest.mark.parametrize("argv, expected", [
    (["--flag"], True), (["--flag=1"], True), (["--flag", "True"], True), (["--flag", "0"], False),
    (["--flag=no"], False), ([], False), (["--flag", "--lr", "1"], True)])
def test_switches_take_the_spellings_of_both_manuals(argv, expected):
    assert values(*argv).flag is expected


def test_numbers_with_a_minus_are_values():
    cfg = values("--lr", "-1e-3", "--steps", "1,2", "--limit=5")
    assert (cfg.lr, cfg.steps, cfg.limit) == (-0.001, [1, 2], 5)


def test_command_line_over_yaml_over_presets_over_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("lr: 0.5\nepochs: 9\nsteps: [4]\nfile: null\nname: y\nflag: off\n")
    def presets(cfg, names):
        assert names == {"lr", "epochs", "steps", "file", "name", "flag", "config_path"}
        return {"limit": 7, "epochs": 2} if cfg.name == "y" else {}

    cfg, explicit = parse(TABLE, ["--config_path", str(file), "--lr", "0.7"], "text", presets=presets)
    assert (cfg.lr, cfg.epochs, cfg.steps, cfg.file, cfg.limit, cfg.flag) == (0.7, 9, [4], None, 7, False)
    assert explicit == {"lr", "epochs", "steps", "file", "name", "flag", "config_path"}


@pytest.mark.parametrize("argv, name", [
    (["--epoch", "1"], "--epochs"), (["--epochs", "1.5"], "--epochs 1.5"), (["--epochs", "10"], "--epochs 10.*1 to 9"),
    (["--steps", "1,a"], "--steps 1,a"), (["--name", "z"], "--name z.*x, y"), (["--flag", "maybe"], "--flag maybe"),
    (["stray"], "stray"), (["--lr"], "--lr"), (["--lr", "--flag"], "--lr"),
    (["--config_path", "absent.yaml"], "absent.yaml")])
def test_what_is_wrong_is_named(argv, name):
    with pytest.raises(InputError, match=name):
        values(*argv)


@pytest.mark.parametrize("text, name", [
    ("lrr: 1", "lrr.*lr"), ("- 1", "c.yaml"), ("a: [", "c.yaml"), ("epochs: soon", "--epochs"),
    ("epochs: true", "--epochs"),
    ("epochs: .inf", "--epochs"), ("epochs:", "--epochs"), ("epochs: [1]", "--epochs"), ("steps: {a: 1}", "--steps"),
    ("steps: [[1]]", "--steps"), ("name: off", "--name"), ("file: [a]", "--file"), ("lr: .nan", "--lr")])
def test_yaml_is_checked_as_the_command_line_is(tmp_path, text, name):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=name) as caught:
        values("--config_path", str(file))
    assert "\n" not in str(caught.value)


def test_help_shows_groups_defaults_ranges_and_choices(capsys):
    with pytest.raises(SystemExit) as stop:
        values("--help")
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for part in ("One:", "Two:", "default: 9,12", "{x,y}", "--flag [BOOL]", "from 1 to 9"):
        assert part in text


NAMED = {"": {"epochs": Option(3, "Epochs.", aliases=("-e", "--max_epoch")), "lr": Option(0.1, "Rate.")}}


def named(tmp_path, text, *argv):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return parse(NAMED, [f"--config_path={file}", *argv], "text")


def test_two_names_of_an_option_are_one(tmp_path):
    for text, argv, epochs in (("", ["--max_epoch=5"], 5), ("", ["-e", "5"], 5), ("max_epoch: 5", [], 5),
                               ("max_epoch: 5\nepochs: 5", [], 5), ("max_epoch: 5", ["--epochs=6"], 6),
                               ("epochs: 5", ["--max_epoch", "6", "--epochs=6"], 6),
                               ("", ["--epochs=5", "--epochs=6"], 6)):
        cfg, explicit = named(tmp_path, text, *argv)
        assert cfg.epochs == cfg.max_epoch == cfg["max_epoch"] == epochs and "epochs" in explicit


@pytest.mark.parametrize("text, argv", [("", ["--epochs=5", "--max_epoch=6"]), ("", ["--max_epoch=5", "-e6"]),
                                        ("epochs: 5\nmax_epoch: 6", ["--epochs=7"])])
def test_two_names_that_differ_are_refused(tmp_path, text, argv):
    with pytest.raises(InputError, match="epochs?.* 5 .*6.*two names"):
        named(tmp_path, text, *argv)


def test_help_shows_both_names_and_the_value_once(capsys):
    with pytest.raises(SystemExit):
        parse(NAMED, ["--help"], "text")
    assert "--epochs, -e, --max_epoch INT\n" in capsys.readouterr().out


PICTURES = {"": {"crop": Option(None, "Crop.", rule=number(0, 10), alone=0.2), "flag": Option(False, "A switch."),
                 "align": Option(None, "Align.", rule=whole(1, 999), alone=112)}}


@pytest.mark.parametrize("words, images, crop, align, flag", [
    ("--crop a.jpg", ["a.jpg"], 0.2, None, False), ("a.jpg --crop", ["a.jpg"], 0.2, None, False),
    ("--crop 0.5 a.jpg", ["a.jpg"], 0.5, None, False), ("--crop --align 3 a.jpg", ["a.jpg"], 0.2, 3, False),
    ("--crop=1 3.jpg", ["3.jpg"], 1, None, False), ("--align b/ -- --crop", ["b/", "--crop"], None, 112, False),
    ("--flag a.jpg", ["a.jpg"], None, None, True), ("--flag 1", ["1"], None, None, True),
    ("--flag=0 a.jpg", ["a.jpg"], None, None, False), ("", [], None, None, False)])
def test_the_name_of_a_file_is_no_value(words, images, crop, align, flag):
    parser = Parser(PICTURES, "", files_follow=True)
    parser.add_argument("images", nargs="*", default=[])
    args = parser.read(words.split())
    assert (args.images, args.crop, args.align, args.flag) == (images, crop, align, flag)


def test_an_option_that_does_nothing_is_refused():
    options = flat(TABLE)
    for argv, has_effect in (([], False), (["--epochs", "3"], False), (["--epochs", "6", "--flag"], True)):
        refuse_idle(options, values(*argv), [("epochs flag", has_effect, "with --name y")])
    for argv, name in ((["--epochs", "6"], "epochs"), (["--flag"], "flag")):
        with pytest.raises(InputError, match=f"--{name} .*--name y"):
            refuse_idle(options, values(*argv), [("epochs flag", False, "with --name y")])
