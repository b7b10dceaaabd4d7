# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import signal

import numpy as np
import pytest

from dependency.errors import InputError, TrainingError
from src.data.loader import batches
from src.data.sampler import SamplePlan
from src.weights import checkpoint

EPOCHS = 4


@pytest.fixture
def train(ms, tmp_path):
    """train(folder, epochs, resume=path, sample=..., **step options) -> the run's folder."""
    from src.run_folder.report import RunReport
    from src.training.resume import first_step, load_state
    from src.training.trainer import Trainer
    from tests.training.small_training import METADATA, SPEC, small_sample, small_settings, small_step

    def run(folder, epochs=EPOCHS, resume=None, sample=small_sample, count=13, seed=2, settings=None,
            metadata=METADATA, report=None, **options):
        plan = SamplePlan(count, 4, epochs, seed=seed)
        rates = [0.05 / (1 + step) for step in range(EPOCHS * plan.steps_per_epoch)][:epochs * plan.steps_per_epoch]
        step, network = small_step(rates, **options)
        position = load_state(resume, step, network, SPEC, metadata) if resume else None
        first = first_step(plan, position, "a1")
        settings = small_settings(tmp_path / folder, plan, rates, resume=str(resume or ""), **(settings or {}))
        with settings.files(plan.steps_per_epoch, bool(position)) as files:
            terms = ("square", "absolute")
            Trainer(step, network, plan, rates, metadata, terms, settings, files,
                    describe=lambda index: f"image_{index}.jpg", fingerprint="a1",
                    report=RunReport(files, first, plan.steps_per_epoch, terms, **(report or {}))).fit(
                        batches(sample, plan, first, workers=1), first)
        return files.run_dir

    return run


def tensors(folder, name):
    return checkpoint.load(folder / name).tensors


@pytest.mark.parametrize("options", [{"ema_decay": 0.9, "weight_decay": 0.01},
                                     {"optimizer": "momentum", "clip_norm": 1.0}])
def test_two_epochs_resume_two_epochs_equal_four(train, options):
    whole = tensors(train("whole", **options), "0-4_12.ckpt")
    half = train("half", epochs=2, **options)
    rest = tensors(train("rest", resume=half / "0-2_6.ckpt", **options), "0-4_12.ckpt")
    assert set(whole) == set(rest)
    for name in whole:
        np.testing.assert_array_equal(whole[name], rest[name], err_msg=name)


def test_files_and_log_lines_of_a_run(train, caplog):
    from src.common.log import LOGGER
    LOGGER.propagate = True
    with caplog.at_level("INFO", logger="facedet"):
        folder = train("run", ema_decay=0.9)
    assert [path.name for path in checkpoint.list_checkpoints(folder)] == [
        "0-1_3.ckpt", "0-2_6.ckpt", "0-3_9.ckpt", "0-4_12.ckpt"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4] and [line["step"] for line in lines] == [3, 6, 9, 12]
    assert all(line["loss"] == pytest.approx(line["square"] + line["absolute"], rel=1e-4) for line in lines)
    read = checkpoint.load(folder / "0-2_6.ckpt")
    assert read.metadata["model"] == "small" and read.bookkeeping["epoch"] == 2 and read.bookkeeping["step"] == 6
    text = [record.getMessage() for record in caplog.records]
    number = r"-?\d+(\.\d+)?(e-?\d+)?"
    patterns = [rf"epoch:1, iter:0, average_loss:loss:\d+\.\d{{6}}, loss:{number}, overflow:False, loss_scale:1.0",
                rf"epoch:2, iter:2, average_loss:loss:\d+\.\d{{6}}, loss:{number}, overflow:False, loss_scale:1.0",
                rf"epoch\[2\], loss:\d+\.\d{{6}}, \d+\.\d\d imgs/sec, lr:{number}", "=+end epoch=+", "=+end training=+"]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in text), pattern


def test_a_non_finite_loss_names_terms_and_images(train):
    from tests.training.small_training import small_sample

    def poisoned(index, rng):
        x, y = small_sample(index, rng)
        return x, np.full_like(y, np.nan if index == 7 else 0)

    with pytest.raises(TrainingError, match=r"square nan, absolute nan.*image_7\.jpg"):
        train("run", sample=poisoned, count=12)


def test_a_failing_worker_is_one_clear_error(train):
    def broken(index, rng):
        raise InputError("images/a.jpg: not an image; delete it or --repair")

    with pytest.raises(TrainingError, match="images/a.jpg: not an image"):
        train("run", sample=broken)


@pytest.fixture
def sigterm():
    """What SIGTERM did before a test does again after it."""
    former = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, former)


def test_sigterm_saves_and_the_resumed_run_is_the_same(train, sigterm):
    from tests.training.small_training import small_sample
    whole = tensors(train("whole"), "0-4_12.ckpt")
    calls = []

    def stopping(index, rng):
        calls.append(index)
        if len(calls) == 14:
            os.kill(os.getpid(), signal.SIGTERM)
        return small_sample(index, rng)

    folder = train("stopped", sample=stopping)
    os.kill(os.getpid(), signal.SIGTERM)        # again, as batch systems do: it does not kill what is ending
    last = checkpoint.list_checkpoints(folder)[-1]
    step = checkpoint.load(last).bookkeeping["step"]
    assert 0 < step < 12, "stopped before the end"
    rest = tensors(train("rest", resume=last), "0-4_12.ckpt")
    for name in whole:
        np.testing.assert_array_equal(whole[name], rest[name], err_msg=name)


def test_resume_refuses_another_run_and_takes_weights_alone(train):
    folder = train("run", epochs=1)
    saved = folder / "0-1_3.ckpt"
    with pytest.raises(InputError, match="--optimizer"):
        train("other", resume=saved, optimizer="momentum")
    with pytest.raises(InputError, match="--ema_decay"):
        train("other", resume=saved, ema_decay=0.5)
    with pytest.raises(InputError, match="--seed"):
        train("other", resume=saved, seed=3)
    read = checkpoint.load(saved)
    weights = checkpoint.network_tensors(read)
    checkpoint.save(folder / "weights.ckpt", weights, read.metadata)
    assert (train("new", epochs=1, resume=folder / "weights.ckpt") / "0-1_3.ckpt").is_file(), "starts at epoch 1"


def test_a_resumed_run_leaves_the_files_of_a_straight_one(train):
    """--keep_checkpoint_max counts the whole run's checkpoints, and nobody else's."""
    options = {"unique_run_dir": False, "step_in_epoch": True, "checkpoint_prefix": "RetinaFace", "keep": 2}

    def names(folder):
        return {path.name for path in folder.iterdir()}

    whole = train("whole", settings=options)
    parts = train("parts", epochs=1, settings=options)
    others = {"RetinaFace_1-1_3.ckpt", "mine.ckpt", "RetinaFace-1_2.ckpt.bak"}
    for name in others:
        (parts / name).touch()
    for done, epochs in ((1, 3), (3, 4)):
        train("parts", epochs=epochs, resume=parts / f"RetinaFace-{done}_3.ckpt", settings=options)
    assert names(parts) == names(whole) | others


def test_checkpoints_above_a_later_limit_stay(train):
    """The first part of the run had no limit, the resumed one keeps 1."""
    folder = train("run", epochs=2)
    train("run", epochs=3, resume=folder / "0-2_6.ckpt", settings={"keep": 1})
    assert [path.name for path in checkpoint.list_checkpoints(folder)] == ["0-1_3.ckpt", "0-2_6.ckpt", "0-3_9.ckpt"]


def test_checkpoints_of_a_shared_folder(train):
    """The RetinaFace manual's files: step within the epoch, the newest kept, an earlier run never overwritten."""
    shared = {"unique_run_dir": False, "step_in_epoch": True, "checkpoint_prefix": "RetinaFace", "keep": 1}
    train("shared", epochs=2, settings=shared)
    folder = train("shared", epochs=1, settings={**shared, "checkpoint_every": 2, "keep": 0})
    shared_names = ("config.yaml", "metrics.jsonl", "results.png")
    assert {path.name for path in folder.iterdir()} == {
        "RetinaFace-2_3.ckpt", "RetinaFace_1-1_2.ckpt", "RetinaFace_1-1_3.ckpt",
        *(f"{prefix}-{name}" for prefix in ("RetinaFace", "RetinaFace_1") for name in shared_names)}


@pytest.mark.parametrize("shared", [False, True])
def test_two_runs_at_once_have_files_of_their_own(ms, tmp_path, shared):
    """The folder of a run and the prefix in a shared one; a run that goes on is refused while the former trains."""
    from tests.training.small_training import small_settings
    options = {"unique_run_dir": not shared, "checkpoint_prefix": "RetinaFace" if shared else "0"}
    settings = small_settings(tmp_path / "out/run", SamplePlan(4, 2, 1), [0.1], **options)
    with settings.files(2, False) as first, settings.files(2, False) as second:
        saved = first.checkpoint(1, 2)
        assert saved != second.checkpoint(1, 2) and first.path("metrics.jsonl") != second.path("metrics.jsonl")
        again = small_settings(tmp_path / "out" / ("run" if shared else "later"), SamplePlan(4, 2, 1), [0.1],
                               resume=str(saved), **options)
        with pytest.raises(InputError, match=f"{first.run_dir}.*--ckpt_path"), again.files(2, True):
            pass
    with again.files(2, True) as former:
        assert former.checkpoint(1, 2) == saved
    with settings.files(2, False) as third:
        assert third.checkpoint(1, 2) not in (saved, second.checkpoint(1, 2))


@pytest.mark.parametrize("changed, words", [
    ({"model": "other"}, ["--model small", "other"]), ({"options": {"width": 8}}, ["--width=4", "--width=8"]),
    ({"decoder": "other"}, ["decoder plain", "other"]),
    ({"input": {"channels": "RGB"}}, ["'BGR'", "'RGB'", "--pretrained"])])
def test_weights_of_another_use_are_refused(train, changed, words):
    """The network that the training has, here METADATA with a change, and that of the file have the same shapes."""
    from tests.training.small_training import METADATA
    saved = train("run", epochs=1) / "0-1_3.ckpt"
    with pytest.raises(InputError) as caught:
        train("other", resume=saved, metadata={**METADATA, **changed})
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value) and "--optimizer" not in str(caught.value)
