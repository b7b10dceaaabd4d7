# SPDX-License-Identifier: Apache-2.0
"""The demonstration: which checkpoint it shows, and what happens when a step fails."""
import json
import time
from pathlib import Path

import pytest

from dependency.errors import InputError
from src.tools.demo import Steps, best_checkpoint


def test_the_best_is_of_this_run_and_has_the_highest_sum(tmp_path):
    def line(name, easy, medium, hard):
        return json.dumps({"checkpoint": name, "ap": {"0.5": {"easy": easy, "medium": medium, "hard": hard}}})

    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("\n".join([line("old/0-9_9.ckpt", 1, 1, 1), line("new/0-1_1.ckpt", .9, .1, .1),
                                  line("new/0-2_2.ckpt", .5, .5, .5)]) + "\n")
    assert best_checkpoint(metrics, Path("new"))["checkpoint"] == "new/0-2_2.ckpt"


def test_a_failing_step_is_an_error(capfd):
    steps = Steps(2, time.monotonic())
    steps.run("say hello", "-c", "print('hello there')")
    assert "hello there" in capfd.readouterr().out
    with pytest.raises(InputError, match="status 7"):
        steps.run("fail", "-c", "raise SystemExit(7)")
