# SPDX-License-Identifier: Apache-2.0
"""Cameras: shown in a window or recorded, until somebody ends it."""
import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from src.video import camera
from src.video.camera import watch_camera
from tests.inference.test_prediction import Finder
from tests.video.test_film import Stopped, lines, read


class Camera:
    """Gives pictures of one colour; the third one is of another size."""
    pictures = 6

    def __init__(self, source):
        self.count, self.source = 0, source

    def isOpened(self):
        return self.source == 0

    def read(self):
        self.count += 1
        size = (40, 60, 3) if self.count == 3 else (48, 64, 3)
        return self.count <= self.pictures, np.full(size, 120, np.uint8)

    def release(self):
        self.count = self.pictures


@pytest.fixture
def headless(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(camera, "no_window", lambda: "no display")
    monkeypatch.setattr(cv2, "imshow", lambda *_: pytest.fail("no window may be opened"))


def test_a_camera_is_recorded_where_there_is_no_window(headless, tmp_path, capsys):
    assert watch_camera(Finder(), 0, tmp_path / "camera", frames=4, every=2) == 0
    found = lines(tmp_path / "camera.jsonl")
    times, pictures = read(tmp_path / "camera.mp4")
    assert [line["frame"] for line in found] == [0, 2] and "camera 0: 4 frames" in capsys.readouterr().out
    assert len(times) == 4 and times[0] == 0 and times[2] == pytest.approx(found[1]["seconds"], abs=2e-3)
    assert pictures[2].shape == (48, 64, 3)


def test_a_recording_never_replaces_an_earlier_one(headless, tmp_path):
    (tmp_path / "camera_1.jsonl").write_text("kept")
    for stem in ("camera", "camera_2"):
        assert watch_camera(Finder(), 0, tmp_path / "camera", frames=1) == 0 and (tmp_path / f"{stem}.mp4").is_file()
    assert (tmp_path / "camera_1.jsonl").read_text() == "kept" and not (tmp_path / "camera_1.mp4").exists()


def test_a_camera_ends_by_ctrl_c_or_without_more_pictures(headless, tmp_path):
    for finder, count in ((Stopped(), 4), (Finder(), Camera.pictures)):
        assert watch_camera(finder, 0, tmp_path / "camera") == 0
        newest = max(tmp_path.glob("*.mp4"))
        assert len(lines(newest.with_suffix(".jsonl"))) == len(read(newest)[0]) == count


def test_without_window_and_record_the_error_says_what_to_type(headless, tmp_path):
    with pytest.raises(InputError, match="--camera 3 --record"):
        watch_camera(Finder(), 3)
    with pytest.raises(InputError, match="camera 3"):
        watch_camera(Finder(), 3, tmp_path / "camera")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key, visible, shown", [(ord("q"), 1, 1), (27, 1, 1), (255, 1, Camera.pictures), (255, 0, 1)])
def test_a_window_ends_by_its_keys_and_its_button(monkeypatch, key, visible, shown):
    pictures = []
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(camera, "no_window", lambda: "")
    for name, function in (("imshow", lambda _, picture: pictures.append(picture)), ("waitKey", lambda _: key),
                           ("getWindowProperty", lambda *_: visible), ("destroyAllWindows", lambda: None)):
        monkeypatch.setattr(cv2, name, function)
    assert watch_camera(Finder(), 0) == 0 and len(pictures) == shown
