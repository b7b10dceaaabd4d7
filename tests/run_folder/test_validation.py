# SPDX-License-Identifier: Apache-2.0
"""The val set of a training, its AP and its pictures."""
from types import SimpleNamespace

import cv2
import pytest

from dependency.errors import InputError
from src.evaluation.evaluation_set import EvaluationSet
from src.run_folder import validation as module
from src.run_folder.files import RunFiles
from src.run_folder.pictures import write_validation
from src.run_folder.validation import Validator, open_validator
from tests.small_wider import IMAGES, SquareDetector, make_checkpoint, make_split


class Options(SimpleNamespace):
    def get(self, name):
        return getattr(self, name, None)


def options(**changes):
    return Options(**{"eval_every": None, "eval_size": None, "patience": 0, "only_existing": False, **changes})


@pytest.fixture
def split(tmp_path):
    return make_split(tmp_path)


@pytest.fixture
def validator(split, monkeypatch):
    """With a detector that finds all faces and needs no checkpoint."""
    found = SquareDetector()
    found.test_size = (1600, 2176)
    backend = SimpleNamespace(load=lambda path: {}, runtime="a runtime (CPU)")
    monkeypatch.setattr(Validator, "_open", lambda self: backend)
    monkeypatch.setattr(module, "build_detector", lambda *_, **__: found)
    validator = Validator(EvaluationSet.of_wider(split.gt, split.images), [], "centerface")
    validator.detector = found
    return validator


def test_ap_score_and_pictures(validator, tmp_path):
    result = validator.run(tmp_path / "last.ckpt")
    assert result.ap == {"easy": 1.0, "medium": 1.0, "hard": 1.0, "mean": 1.0} and result.images == len(IMAGES)
    assert result.test_size == "1600/2176" and (result.recall, result.precision) == (1.0, 1.0)
    write_validation(RunFiles(tmp_path, prefix="run-"), validator.set, result)
    assert cv2.imread(str(tmp_path / "run-val_batch_0.jpg")).shape[1] == 4 * 480
    validator.detector.shift = 90.0
    assert validator.run(tmp_path / "last.ckpt").ap["mean"] == 0.0


def test_a_stop_ends_it_after_the_running_image(validator, tmp_path):
    asked = []
    assert validator.run(tmp_path / "last.ckpt", lambda: not asked.append(1)) is None and len(asked) == 1


def test_the_other_images_count_where_one_cannot_be_read(validator, split, tmp_path):
    (split.images / IMAGES[1]).write_bytes(b"not an image")
    result = validator.run(tmp_path / "last.ckpt")
    assert result.images == len(IMAGES) - 1 and result.ap["mean"] == 1.0
    for name in IMAGES:
        (split.images / name).write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        validator.run(tmp_path / "last.ckpt")


def test_a_real_network_by_onnx_runtime(ms, split, tmp_path):
    pytest.importorskip("onnxruntime")
    val_set = EvaluationSet.of_wider(split.gt, split.images)
    validator = Validator(val_set, ["--data", "my.yaml"], "centerface", test_size="128")
    result = validator.run(make_checkpoint(tmp_path / "0-1_1.ckpt"))
    assert result.images == len(IMAGES) and result.test_size == "128" and "onnxruntime" in result.runtime
    assert validator.test_options() == ["--data", "my.yaml", "--test_size", "128", "--backend", "onnx"]


def test_which_val_set(split, tmp_path, caplog):
    def layout(_):
        return split.gt, split.images

    assert open_validator("centerface", options(eval_every=0), layout) is None
    assert open_validator("centerface", options(), lambda _: (tmp_path / "absent", split.images)) is None
    found = open_validator("centerface", options(), layout)
    assert found.set.images == IMAGES and str(split.images) in found.set_options
    with pytest.raises(InputError, match="--patience 3 needs validation"):
        open_validator("centerface", options(eval_every=0, patience=3), layout)
    with pytest.raises(InputError, match=r"absent\.yaml"):
        open_validator("centerface", options(data=str(tmp_path / "absent.yaml")), layout)
    (split.images / IMAGES[0]).unlink()
    assert open_validator("centerface", options(), layout) is None, "an incomplete val set does not end a training"
    assert open_validator("centerface", options(only_existing=True), layout).set.images == IMAGES[1:]
