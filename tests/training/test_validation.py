# SPDX-License-Identifier: Apache-2.0
"""Validation beside the epoch loop: what it keeps, when it ends a training, and that it changes nothing."""
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from src.weights import checkpoint
from tests.training.test_trainer import sigterm, tensors, train  # noqa: F401  (fixtures)


class Values:
    """A validator that gives these mean APs by step; `on_run` is called in each validation."""
    set = SimpleNamespace(images=[], image_dir=None, truth=SimpleNamespace(images=[]))

    def __init__(self, values, on_run=lambda: None):
        self.values, self.on_run, self.tested = values, on_run, []

    def run(self, path, should_stop):
        step = checkpoint.load(path).bookkeeping["step"]
        self.tested.append(path.name)
        self.on_run()
        if should_stop():
            return None
        ap = {"easy": None, "medium": None, "hard": self.values[step], "mean": self.values[step]}
        return SimpleNamespace(ap=ap, faces={}, line=lambda: {"ap": ap}, describe=lambda: "val AP")


RISES_THEN_FALLS = {3: 0.2, 6: 0.5, 9: 0.4, 12: 0.3}


def metrics(folder, prefix=""):
    return [json.loads(line) for line in (folder / f"{prefix}metrics.jsonl").read_text().splitlines()]


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_validation_changes_nothing_and_names_the_best_and_the_last(train):  # noqa: F811
    plain = train("plain", ema_decay=0.9)
    validator = Values(RISES_THEN_FALLS)
    folder = train("run", ema_decay=0.9, report={"validator": validator, "every": 1})
    same(tensors(plain, "0-4_12.ckpt"), tensors(folder, "0-4_12.ckpt"))
    assert validator.tested == ["0-1_3.ckpt", "0-2_6.ckpt", "0-3_9.ckpt", "0-4_12.ckpt"]
    assert checkpoint.load(folder / "best.ckpt").bookkeeping["step"] == 6
    assert checkpoint.load(folder / "last.ckpt").bookkeeping["step"] == 12
    assert len(checkpoint.list_checkpoints(folder)) == 4, "the evaluation of all checkpoints tests none twice"
    assert [line["ap"]["mean"] for line in metrics(folder) if "ap" in line] == list(RISES_THEN_FALLS.values())


def test_a_detector_that_training_does_not_improve_stays_the_best(train):  # noqa: F811
    plain = train("plain")
    folder = train("run", settings={"from_detector": True},
                   report={"validator": Values({0: 0.6, **RISES_THEN_FALLS}), "every": 1})
    same(tensors(plain, "0-4_12.ckpt"), tensors(folder, "0-4_12.ckpt"))
    assert checkpoint.load(folder / "best.ckpt").bookkeeping["step"] == 0
    assert checkpoint.load(folder / "last.ckpt").bookkeeping["step"] == 12
    assert [line["epoch"] for line in metrics(folder) if "ap" in line] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stopped_at", [1, 2, 3, 4])
def test_patience_ends_a_resumed_run_where_it_ends_a_straight_one(train, stopped_at):  # noqa: F811
    def patient(folder, **options):
        return train(folder, settings={"patience": 1}, report={"validator": Values(RISES_THEN_FALLS), "patience": 1},
                     **options)

    whole = patient("whole")
    assert [path.name for path in checkpoint.list_checkpoints(whole)] == ["0-1_3.ckpt", "0-2_6.ckpt", "0-3_9.ckpt"]
    half = patient("half", epochs=min(3, stopped_at))
    last = checkpoint.list_checkpoints(half)[-1]
    rest = patient("half", resume=last) if stopped_at < 4 else half
    same(tensors(whole, "0-3_9.ckpt"), tensors(rest, "0-3_9.ckpt"))
    same(tensors(whole, "best.ckpt"), tensors(rest, "best.ckpt"))
    assert [line.get("ap") for line in metrics(whole)] == [line.get("ap") for line in metrics(rest)]


def test_a_stop_during_validation_saves_and_the_resumed_run_validates_again(train, sigterm):  # noqa: F811
    whole = train("whole", report={"validator": Values(RISES_THEN_FALLS), "every": 1})
    stopping = Values(RISES_THEN_FALLS, lambda: len(stopping.tested) == 2 and os.kill(os.getpid(), signal.SIGTERM))
    folder = train("run", report={"validator": stopping, "every": 1})
    last = checkpoint.list_checkpoints(folder)[-1]
    assert last.name == "0-2_6.ckpt" and checkpoint.load(folder / "best.ckpt").bookkeeping["step"] == 3
    train("run", resume=last, report={"validator": Values(RISES_THEN_FALLS), "every": 1})
    same(tensors(whole, "0-4_12.ckpt"), tensors(folder, "0-4_12.ckpt"))
    assert [line.get("ap") for line in metrics(whole)] == [line.get("ap") for line in metrics(folder)]
    assert checkpoint.load(folder / "best.ckpt").bookkeeping["step"] == 6


def test_epochs_without_a_numbered_checkpoint_are_validated_too(train):  # noqa: F811
    """The RetinaFace manual keeps one checkpoint, written every 2000 steps."""
    settings = {"unique_run_dir": False, "step_in_epoch": True, "checkpoint_prefix": "RetinaFace", "keep": 1,
                "checkpoint_every": 8}
    validator = Values(RISES_THEN_FALLS)
    folder = train("run", settings=settings, report={"validator": validator, "every": 1})
    assert validator.tested == ["RetinaFace-last.ckpt"] * 3 + ["RetinaFace-4_3.ckpt"]
    assert checkpoint.load(folder / "RetinaFace-best.ckpt").bookkeeping["step"] == 6
    assert [path.name for path in checkpoint.list_checkpoints(folder)] == ["RetinaFace-4_3.ckpt"]
    again = train("run", settings=settings, resume=folder / "RetinaFace-best.ckpt",
                  report={"validator": Values(RISES_THEN_FALLS), "every": 1})
    assert again == folder and not list(folder.glob("RetinaFace_1*")), "it goes on with its own files"
    assert [line["step"] for line in metrics(folder, "RetinaFace-") if "ap" in line] == [3, 6, 9, 12]


def test_validations_that_fail_are_warnings(train, caplog):  # noqa: F811
    from dependency.errors import InputError
    from src.common.log import LOGGER

    def fail():
        raise InputError("images/a.jpg: not an image")

    LOGGER.propagate = True
    folder = train("run", epochs=1, report={"validator": Values({}, fail), "every": 1})
    assert "images/a.jpg: not an image" in caplog.text and not (folder / "best.ckpt").exists()


def test_by_default_validation_takes_a_fifth_of_the_time(tmp_path, monkeypatch):
    from src.run_folder import report as module
    from src.run_folder.files import RunFiles
    from src.run_folder.report import RunReport
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def spend(seconds):
        clock[0] += seconds

    validator = Values({step: step / 100 for step in range(1, 100)}, lambda: spend(30))
    monkeypatch.setattr(validator, "run", lambda *_: validator.on_run())        # None: as if it was stopped
    report = RunReport(RunFiles(tmp_path), 0, 1, (), validator, trained_since=0.0)
    tested = []
    for epoch in range(1, 41):
        spend(20)
        if report.is_due(epoch, is_last=epoch == 40):
            tested.append(epoch)
            report.validate(epoch, epoch, tmp_path / "last.ckpt", bool)
    assert tested == [3, 9, 15, 21, 27, 33, 39, 40]
