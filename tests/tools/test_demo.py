# SPDX-License-Identifier: Apache-2.0
import json
import time

import pytest

from dependency.errors import InputError
from src.tools.demo import Steps, best_checkpoint


def test_the_best_is_of_this_run_and_has_the_highest_sum(tmp_path):
    def line(name, easy, medium, hard):
        return json.dumps({"checkpoint": name, "ap": {"0.5": {"easy": easy, "medium": medium, "hard": hard}}})

    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("\n".join([line("old/0-9_9.ckpt", 1, 1, 1), line("new/0-1_1.ckpt", .9, .1, .1),
                                  line("new/0-2_2.ckpt", .5, .5, .5)]) + "\n")
    assert best_checkpoint(metrics, tmp_path.__class__("new"))["checkpoint"] == "new/0-2_2.ckpt"


def test_a_failing_step_is_named_and_a_skipped_one_counted(capfd):
    steps = Steps(3, time.monotonic())
    steps.skip("nothing to do")
    steps.run("say hello", "-c", "print('hello there')")
    shown = capfd.readouterr().out
    assert "=== 1 of 3: nothing to do" in shown and "=== 2 of 3" in shown and "hello there" in shown
    assert "$ python -c 'print('\"'\"'hello there'\"'\"')'" in shown, "the command can be pasted"
    with pytest.raises(InputError, match="ended with status 7"):
        steps.run("fail", "-c", "raise SystemExit(7)")
