# SPDX-License-Identifier: Apache-2.0
"""Choosing checkpoints and images, and writing the prediction tree."""
import cv2
import numpy as np
import pytest
from easydict import EasyDict

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps
from dependency.errors import InputError
from dependency.evaluate.prediction_io import read_prediction
from src.cli.options import defaults_of
from src.evaluation.checkpoints import Candidate, find_checkpoints, keep_existing
from src.evaluation.options import OPTIONS
from src.evaluation.predict import decode_ahead, detect_images, predict_checkpoints, predict_images
from src.evaluation.split import check_folder, list_images, prediction_name
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


def test_two_checkpoints_of_an_epoch_get_folders_of_their_own(tmp_path):
    touch(tmp_path, "0-1_50.ckpt", "0-1_99.ckpt", "0-2_198.ckpt")
    found = find_checkpoints(options(ckpt_path=str(tmp_path)), set())
    assert [each.folder for each in found] == ["0-1_50", "0-1_99", "2"]


def test_one_checkpoint_by_name_by_path_or_as_test_model(tmp_path):
    model = touch(tmp_path / "model", "a.ckpt")
    expected = [Candidate(model / "a.ckpt", "")]
    assert find_checkpoints(options(test_model=str(model), ckpt_name="a.ckpt"), set()) == expected
    assert find_checkpoints(options(ckpt_name=str(model / "a.ckpt")), set()) == expected
    assert find_checkpoints(options(test_model=str(model / "a.ckpt")), set()) == expected


def test_a_folder_without_checkpoints_is_an_error_that_helps(tmp_path):
    run = tmp_path / "2026-01-01_time_10_00_00"
    run.mkdir()
    with pytest.raises(InputError, match="--ckpt_name"):
        find_checkpoints(options(test_model=str(tmp_path)), set())
    touch(run, "0-1_9.ckpt")
    with pytest.raises(InputError, match=f"--test_model {run}"):
        find_checkpoints(options(test_model=str(tmp_path)), set())
    with pytest.raises(InputError, match="no such folder"):
        find_checkpoints(options(test_model=str(tmp_path / "absent")), set())
    with pytest.raises(InputError, match="--start 5 --end 5"):
        find_checkpoints(options(test_model=str(tmp_path), start=5, end=5), {"end"})


def test_the_images_of_a_split(tmp_path):
    split = make_split(tmp_path)
    assert list_images(split.gt, split.images) == IMAGES == list_images(split.gt / "wider_face_val.mat", split.images)
    (split.gt / "wider_face_val.mat").rename(split.gt / "val.mat")
    assert list_images(split.gt, split.images) == IMAGES
    (split.images / IMAGES[1]).unlink()
    with pytest.raises(InputError, match=rf"1 of 3 images .* {IMAGES[1]}.*--only_existing"):
        list_images(split.gt, split.images)
    assert list_images(split.gt, split.images, only_existing=True) == [IMAGES[0], IMAGES[2]]


def test_missing_folders_and_files_are_named(tmp_path):
    split = make_split(tmp_path)
    with pytest.raises(InputError, match="--data_dir: no folder"):
        list_images(split.gt, tmp_path / "absent")
    with pytest.raises(InputError, match="--ground_truth_mat: no file"):
        list_images(tmp_path / "absent.mat", split.images)
    with pytest.raises(InputError, match="none of the 3 images"):
        list_images(split.gt, split.images / "0--Parade", only_existing=True)


def test_predictions_are_written_as_a_wider_tree(tmp_path):
    split = make_split(tmp_path)
    predict_images(SquareDetector(), IMAGES, split.images, tmp_path / "out")
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


@pytest.mark.parametrize("batch_size, calls", [(1, []), (2, [(15, 2)]), (1000, [(15, 1000)])])
def test_batches_write_the_same_tree(tmp_path, batch_size, calls):
    split, detector = make_split(tmp_path), BatchDetector()
    found = list(detect_images(detector, IMAGES * 5, split.images, batch_size))
    assert [name for name, _, _ in found] == IMAGES * 5 and detector.calls == calls
    predict_images(detector, IMAGES, split.images, tmp_path / "out", batch_size=batch_size)
    for name in IMAGES:
        written = read_prediction(tmp_path / "out" / name.replace(".jpg", ".txt"))
        np.testing.assert_allclose(written, [[*BOX, 0.9]], atol=1.0)


def test_no_more_than_a_few_batches_of_images_wait_in_memory(tmp_path):
    split, detector = make_split(tmp_path), BatchDetector()
    assert len(list(detect_images(detector, IMAGES * 15, split.images, 2))) == 45
    assert detector.calls == [(16, 2), (16, 2), (13, 2)]


class Diverged:
    def run(self, image):
        raise NonFiniteMaps("NaN")

    def run_batch(self, images, batch_size):
        raise NonFiniteMaps("NaN")


@pytest.mark.parametrize("batch_size", [1, 2])
def test_images_that_diverged_are_named(tmp_path, batch_size):
    split = make_split(tmp_path)
    with pytest.raises(NonFiniteMaps, match=f"{IMAGES[0]}.*NaN"):
        predict_images(Diverged(), IMAGES, split.images, tmp_path / "out", batch_size=batch_size)


def test_predictions_of_other_images_in_the_folder_are_an_error(tmp_path):
    split = make_split(tmp_path)
    predict_images(SquareDetector(), IMAGES, split.images, tmp_path / "out")
    check_folder(tmp_path / "out", IMAGES)              # the same images again are fine
    check_folder(tmp_path / "absent", IMAGES[:1])
    with pytest.raises(InputError, match="2 images"):
        check_folder(tmp_path / "out", IMAGES[:1])


def test_every_written_image_is_reported(tmp_path):
    split, written = make_split(tmp_path), []
    predict_images(SquareDetector(), IMAGES, split.images, tmp_path / "out",
                   on_written=lambda name: written.append((name, (tmp_path / "out" / prediction_name(name)).is_file())))
    assert written == [(name, True) for name in IMAGES]


def test_a_corrupt_image_stops_the_test_and_is_named(tmp_path):
    split = make_split(tmp_path)
    (split.images / IMAGES[2]).write_bytes(b"")
    with pytest.raises(InputError, match="1_Hands_7.jpg"):
        predict_images(SquareDetector(), IMAGES, split.images, tmp_path / "out")


@pytest.mark.parametrize("ahead", [1, 2, 50])
def test_decoding_ahead_keeps_the_order(tmp_path, ahead):
    split = make_split(tmp_path)
    paths = [split.images / name for name in IMAGES] * 3
    images = list(decode_ahead(paths, ahead))
    assert len(images) == len(paths)
    for path, image in zip(paths, images):
        np.testing.assert_array_equal(image, cv2.imread(str(path)))


class Run:
    """Checkpoints a, b, c and d of which b is damaged and c diverged."""

    def __init__(self, folder):
        split = make_split(folder)
        self.candidates = [Candidate(touch(folder / "model", name) / name, name) for name in "abcd"]
        self.cfg = options(data_dir=str(split.images), save_dir=str(folder / "out"))
        self.images = split.images

    def load(self, path):
        if path.name == "b":
            raise InputError("damaged")
        return Diverged() if path.name == "c" else SquareDetector()


def test_unusable_checkpoints_leave_the_others(tmp_path):
    run, tested = Run(tmp_path), []
    assert predict_checkpoints(run.candidates, IMAGES, run.load, run.cfg, tested.append) == tested
    assert [each.folder for each in tested] == ["a", "d"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "d"}


@pytest.mark.parametrize("first, last, error", [(1, 3, "none of 2"), (1, 2, "damaged"), (2, 3, "NaN")])
def test_nothing_tested_is_an_error(tmp_path, first, last, error):
    run = Run(tmp_path)
    with pytest.raises(InputError, match=error):
        predict_checkpoints(run.candidates[first:last], IMAGES, run.load, run.cfg)


def test_a_bad_image_ends_the_run(tmp_path):
    run = Run(tmp_path)
    (run.images / IMAGES[0]).write_bytes(b"")
    with pytest.raises(InputError, match=IMAGES[0]):
        predict_checkpoints(run.candidates, IMAGES, run.load, run.cfg)


def test_absent_checkpoints_are_left_out_unless_it_is_the_only_one(tmp_path):
    run, absent = Run(tmp_path), Candidate(tmp_path / "absent", "absent")
    assert keep_existing([absent, *run.candidates]) == run.candidates
    assert keep_existing([absent]) == [absent]
    with pytest.raises(InputError, match="none of 2"):
        keep_existing([absent, absent])
