# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from tests.conftest import ROOT
from tests.tools.launching import Launch, launch


@pytest.mark.soak
def test_a_loss_that_is_not_finite_is_told_by_the_rank_that_has_it(tmp_path):
    """The other rank knows it at once, but does not end, which would end all, before the batch is drawn and named."""
    status, text, _ = launch(tmp_path, "--devices=2", "--", tmp_path,
                             program=("-m", "tests.training.two_rank_nan"), PYTHONPATH=str(ROOT))
    logs = [(tmp_path / "logs" / "attempt_1" / f"worker_{rank}.log").read_text() for rank in (0, 1)]
    culprit = next((rank for rank in (0, 1) if "Images of the batch" in logs[rank]), None)
    assert status == 1 and culprit is not None, text
    assert [path.name for path in tmp_path.glob("run/rank_*.png")] == [f"rank_{culprit}.png"]
    assert re.search(r"not finite at epoch 1, step \d: square nan.*image_5\.jpg.*is drawn in", logs[culprit])
    assert "the loss of another device is not finite" in logs[1 - culprit]
    assert "Images of the batch" not in logs[1 - culprit]


@pytest.mark.soak
def test_the_others_wait_for_a_long_validation_and_end_with_its_patience(tmp_path):
    status, text, _ = Launch(tmp_path, "--devices=2", "--", tmp_path, "90", PYTHONPATH=str(ROOT),
                             program=("-m", "tests.training.two_rank_validation")).wait(200)
    assert status == 0, text
    for rank in (0, 1):
        log = (tmp_path / "logs" / "attempt_1" / f"worker_{rank}.log").read_text()
        assert "no better AP in 2 validations" in log and "end training" in log
    assert {path.name for path in tmp_path.glob("run/*.ckpt")} == {
        "0-1_2.ckpt", "0-2_4.ckpt", "0-3_6.ckpt", "best.ckpt", "last.ckpt"}
