# SPDX-License-Identifier: Apache-2.0
"""Choosing checkpoints and images, and writing the prediction tree."""
import numpy as np
import pytest
from easydict import EasyDict

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps
from dependency.errors import InputError
from src.cli.options import defaults_of
from src.evaluation.checkpoints import Candidate, find_checkpoints, keep_existing
from src.evaluation.options import OPTIONS
from src.evaluation.predict import detect_images, predict_checkpoints, predict_images
from src.evaluation.split_images import check_folder, list_images, prediction_path
from tests.conftest import read_prediction
from tests.small_wider import BOX, IMAGES, SquareDetector, make_split


def options(**values):
    return EasyDict({**defaults_of(OPTIONS), **values})


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def test_the_manuals_arithmetic_gives_epochs_89_to_144(tmp_path):
    cfg = options(test_model=str(tmp_path), device_num=8, steps_per_epoch=198, start=11, end=18)
    epochs = []
    for rank in range(8):
        cfg.rank = rank
        epochs += [candidate.epoch for candidate in find_checkpoints(cfg, {"start", "end"})]
    assert sorted(epochs) == list(range(89, 145))
    cfg.rank = 4
    assert find_checkpoints(cfg, {"start"})[4] == Candidate(tmp_path / "0-125_24750.ckpt", "125")


def test_without_arithmetic_all_checkpoints_are_taken_by_number(tmp_path):
    touch(tmp_path, "0-10_990.ckpt", "0-9_891.ckpt", "0-100_9900.ckpt", "notes.txt", "best.ckpt")
    found = find_checkpoints(options(test_model=str(tmp_path)), {"test_model"})
    assert [(each.folder, each.epoch) for each in found] == [("9", 9), ("10", 10), ("100", 100)]
    touch(tmp_path, "0-9_892.ckpt")                 # two checkpoints of an epoch get folders of their own
    found = find_checkpoints(options(ckpt_path=str(tmp_path)), set())
    assert [each.folder for each in found] == ["0-9_891", "0-9_892", "10", "100"]


def test_a_folder_without_checkpoints_is_an_error_that_helps(tmp_path):
    run = tmp_path / "2026-01-01_time_10_00_00"
    run.mkdir()
    touch(run, "0-1_9.ckpt")
    for folder, arithmetic, named in ((tmp_path, {}, f"--test_model {run}"), (tmp_path / "absent", {}, "absent"),
                                      (tmp_path, {"start": 5, "end": 5}, "--start 5 --end 5")):
        with pytest.raises(InputError, match=named):
            find_checkpoints(options(test_model=str(folder), **arithmetic), set(arithmetic))


def test_the_images_of_a_split(tmp_path):
    split = make_split(tmp_path)
    assert list_images(split.gt, split.images) == IMAGES == list_images(split.gt / "wider_face_val.mat", split.images)
    (split.gt / "wider_face_val.mat").rename(split.gt / "val.mat")
    assert list_images(split.gt, split.images) == IMAGES
    (split.images / IMAGES[1]).unlink()
    assert list_images(split.gt, split.images, only_existing=True) == [IMAGES[0], IMAGES[2]]
    for ground_truth, images, only_existing, named in (
            (split.gt, split.images, False, f"{IMAGES[1]}.*--only_existing"),
            (split.gt, tmp_path / "absent", False, "--data_dir"),
            (tmp_path / "absent.mat", split.images, False, "--ground_truth_mat"),
            (split.gt, split.images / "0--Parade", True, "0--Parade")):
        with pytest.raises(InputError, match=named):
            list_images(ground_truth, images, only_existing=only_existing)


def test_predictions_are_written_as_a_wider_tree(tmp_path):
    split = make_split(tmp_path)
    reported = []

    def on_written(name):
        assert prediction_path(tmp_path / "out", name).is_file()
        reported.append(name)

    predict_images(SquareDetector(), IMAGES, split.images, tmp_path / "out", on_written=on_written)
    assert reported == IMAGES
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.txt"))
    assert written == sorted(name.replace(".jpg", ".txt") for name in IMAGES)
    text = (tmp_path / "out" / written[0]).read_text().splitlines()
    assert text[0].endswith(".jpg") and text[1] == "1"
    np.testing.assert_allclose(read_prediction(tmp_path / "out" / written[0]), [[*BOX, 0.9]], atol=1.0)


class BatchDetector(SquareDetector):
    """Finds the square, and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def run_batch(self, images, batch_size):
        self.calls.append((len(images), batch_size))
        return [self.run(image) for image in images]


@pytest.mark.parametrize("batch_size, calls", [(1, []), (2, [(16, 2), (16, 2), (13, 2)]), (1000, [(45, 1000)])])
def test_batches_write_the_same_tree_and_few_images_wait(tmp_path, batch_size, calls):
    split, detector = make_split(tmp_path), BatchDetector()
    found = list(detect_images(detector, IMAGES * 15, split.images, batch_size))
    assert [name for name, _, _ in found] == IMAGES * 15 and detector.calls == calls
    predict_images(detector, IMAGES, split.images, tmp_path / "out", batch_size=batch_size)
    for name in IMAGES:
        written = read_prediction(tmp_path / "out" / name.replace(".jpg", ".txt"))
        np.testing.assert_allclose(written, [[*BOX, 0.9]], atol=1.0)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_images_that_cannot_be_read_are_counted_after_all_others(tmp_path, batch_size):
    split = make_split(tmp_path)
    (split.images / IMAGES[0]).write_bytes(b"junk")
    with pytest.raises(InputError, match=f"1 image .*{IMAGES[0]}"):
        predict_images(BatchDetector(), IMAGES, split.images, tmp_path / "out", batch_size=batch_size)
    assert [prediction_path(tmp_path / "out", name).is_file() for name in IMAGES] == [False, True, True]


def test_predictions_of_other_images_in_the_folder_are_an_error(tmp_path):
    split = make_split(tmp_path)
    predict_images(SquareDetector(), IMAGES, split.images, tmp_path / "out")
    check_folder(tmp_path / "out", IMAGES)              # the same images again are fine
    check_folder(tmp_path / "absent", IMAGES[:1])
    with pytest.raises(InputError):
        check_folder(tmp_path / "out", IMAGES[:1])


@pytest.mark.parametrize("name", ["../label/12.jpg", "e/../../label/12.jpg", "/label/12.jpg", "link/12.jpg"])
def test_predictions_outside_the_folder_are_refused(tmp_path, name):
    (tmp_path / "label").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "label")
    name = name.replace("/label", f"{tmp_path}/label") if name.startswith("/") else name
    with pytest.raises(InputError, match="outside"):
        check_folder(tmp_path / "out", [name])
    with pytest.raises(InputError, match="outside"):
        prediction_path(tmp_path / "out", name)


@pytest.mark.parametrize("content", ["0 0.5 0.5 0.1 0.2\n", "", "a.jpg\n1\n1 2 3 4\n",
                                     "a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n"])
def test_label_files_of_the_user_are_not_overwritten(tmp_path, content):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "a.txt").write_text(content)
    with pytest.raises(InputError, match="e/a.txt"):
        check_folder(tmp_path, ["e/a.jpg"])


class Diverged:
    def run(self, image):
        raise NonFiniteMaps("NaN")

    def run_batch(self, images, batch_size):
        raise NonFiniteMaps("NaN")


def test_unusable_checkpoints_leave_the_others(tmp_path):
    """Of four, b is damaged and c diverged."""
    split = make_split(tmp_path)
    candidates = [Candidate(touch(tmp_path / "model", name) / name, name) for name in "abcd"]
    cfg = options(data_dir=str(split.images), save_dir=str(tmp_path / "out"))
    absent = Candidate(tmp_path / "absent", "absent")

    def load(path):
        if path.name == "b":
            raise InputError("damaged")
        return Diverged() if path.name == "c" else SquareDetector()

    tested = []
    assert predict_checkpoints(candidates, IMAGES, load, cfg, tested.append) == tested
    assert [each.folder for each in tested] == ["a", "d"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "d"}
    assert keep_existing([absent, *candidates]) == candidates and keep_existing([absent]) == [absent]
    for some in (candidates[1:3], candidates[1:2], candidates[2:3]):        # nothing could be tested
        with pytest.raises(InputError):
            predict_checkpoints(some, IMAGES, load, cfg)
    (split.images / IMAGES[0]).write_bytes(b"")                             # a bad image ends all
    with pytest.raises(InputError, match=IMAGES[0]):
        predict_checkpoints(candidates, IMAGES, load, cfg)
