# SPDX-License-Identifier: Apache-2.0
"""The lines of metrics.jsonl, the best of them, and the plot."""
import json

import cv2
import pytest

from src.run_folder.history import History
from src.run_folder.tensorboard import NullWriter, TensorBoardWriter


def line(epoch, mean=None, **more):
    ap = {} if mean is None else {"ap": {"easy": None, "medium": mean, "hard": mean, "mean": mean}}
    loss = {"loss": 9.0 / epoch, "square": 5.0, "lr": 0.1, "skipped": 2, "losses": [3.0, 2.0]} if mean is None else {}
    return {"epoch": epoch, "step": 3 * epoch, **loss, **ap, **more}


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "metrics.jsonl")
    for each in (line(1), line(1, 0.4), line(2), line(2, 0.6), line(3), line(3, 0.6), line(4), line(4, 0.5)):
        history.add(each)
    return history


def test_the_first_of_the_best_counts(history):
    assert history.best["epoch"] == 2 and history.since_best == 2
    assert [each["epoch"] for each in history.epochs] == [each["epoch"] for each in history.validations] == [1, 2, 3, 4]


def test_lines_after_the_step_that_a_run_continues_from_are_dropped(history):
    with history.path.open("a") as file:
        file.write('{"epoch": 5, "st')       # a crash cut it off
    read = History.read(history.path, until=6)
    assert read.lines == history.lines[:4]
    assert [json.loads(text) for text in history.path.read_text().splitlines()] == history.lines[:4]
    assert History.read(history.path.with_name("absent"), 6).best is None


def test_validations_without_faces_are_never_the_best(tmp_path):
    history = History(tmp_path / "metrics.jsonl")
    history.add({"epoch": 1, "step": 3, "ap": {"easy": None, "medium": None, "hard": None, "mean": None}})
    assert history.best is None and history.since_best == 0


def test_results_are_a_picture(history, tmp_path):
    pytest.importorskip("matplotlib")
    from src.run_folder.plot import plot
    for lines in ([], history.lines[:1], history.lines):
        history.lines = lines
        plot(history, ("square",), tmp_path / "results.png", (2, [5.0, 400.0], 7))
        assert cv2.imread(str(tmp_path / "results.png")).shape[2] == 3


def test_tensorboard(tmp_path):
    NullWriter().add({"loss": 1.0}, 3)
    pytest.importorskip("tensorboardX")
    writer = TensorBoardWriter(tmp_path / "tb", 0)
    writer.add({"loss": 1.0}, 3)
    writer.close()
    assert list((tmp_path / "tb").glob("events.*"))
