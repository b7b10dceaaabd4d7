# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks.speedrun import epochs_that_fit
from dependency.errors import InputError
from src.run_folder.history import History


def trial(tmp_path, *seconds):
    return History(tmp_path / "metrics.jsonl", [{"epoch": number, "step": 44 * number, "loss": 1.0, "seconds": each}
                                                for number, each in enumerate(seconds, 1)])


@pytest.mark.parametrize("minutes", [1, 2.5, 30])
@pytest.mark.parametrize("seconds", [7.0, 20.0])
def test_the_training_ends_in_time_and_wastes_less_than_an_epoch(tmp_path, minutes, seconds):
    before, compiling = 10.0, 13.0
    start = before + compiling
    epochs = epochs_that_fit(minutes, start + 2 * seconds, trial(tmp_path, compiling + seconds, seconds))
    assert start + epochs * seconds <= 60 * minutes < start + (epochs + 1) * seconds


def test_a_limit_below_an_epoch_is_refused(tmp_path):
    with pytest.raises(InputError):
        epochs_that_fit(0.5, 65.0, trial(tmp_path, 30.0, 25.0))
