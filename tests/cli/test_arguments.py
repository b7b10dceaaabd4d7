# SPDX-License-Identifier: Apache-2.0
"""Numbers within bounds, values that may be left out, options that would do nothing."""
import argparse

import pytest

from dependency.errors import InputError
from src.cli.arguments import number, refuse_idle, spell_out


def test_numbers_within_bounds():
    assert number(0)("0.5") == 0.5 and number(1, kind=int)("3") == 3 and number(0, 1)("1") == 1.0
    for read, text, expected in ((number(0), "inf", "a number from 0 on"), (number(0), "nan", "a number"),
                                 (number(0, 1), "1.1", "a number from 0 to 1"),
                                 (number(1, kind=int), "0", "a whole number from 1 on"),
                                 (number(1, kind=int), "1.5", "a whole number"), (number(0), "", "a number"),
                                 (number(1, kind=int), "9" * 400, "a whole number"),
                                 (number(0, kind=int), "\u00b2", "a whole number")):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}': expected {expected}"):
            read(text)


@pytest.mark.parametrize("words, expected", [
    ("--crop a.jpg", "--crop=0.2 a.jpg"), ("a.jpg --crop", "a.jpg --crop=0.2"), ("--crop 0.5 a.jpg",) * 2,
    ("--crop --align 3 a.jpg", "--crop=0.2 --align 3 a.jpg"), ("--crop=1 3.jpg", "--crop=1 3.jpg"),
    ("--align b/ -- --crop a.jpg", "--align=112 b/ -- --crop a.jpg"), ("--crop -1", "--crop -1"), ("", "")])
def test_a_files_name_is_no_value(words, expected):
    assert spell_out(words.split(), {"--crop": 0.2, "--align": 112}) == expected.split()


def test_an_option_that_does_nothing_is_refused():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--all", action="store_true")
    for words, has_effect in (([], False), (["--rows", "5"], False), (["--rows", "6", "--all"], True)):
        refuse_idle(parser, parser.parse_args(words), [("rows all", has_effect, "with --decode 1")])
    for words, name in ((["--rows", "6"], "rows"), (["--all"], "all")):
        with pytest.raises(InputError, match=f"--{name} works only with --decode 1"):
            refuse_idle(parser, parser.parse_args(words), [("rows all", False, "with --decode 1")])
