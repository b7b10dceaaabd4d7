# SPDX-License-Identifier: Apache-2.0
"""Videos and cameras: every frame, the same rate, and what was read is kept when something breaks."""
import json

import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from src.inference import video
from src.inference.video import is_video, no_window, predict_video, watch_camera
from tests.test_predict_py import Finder, write

FRAMES, RATE = 12, 12.5


@pytest.fixture
def film(tmp_path):
    """A video of FRAMES frames, each brighter than the one before."""
    return make(tmp_path / "in" / "film 图.avi")


def make(path, codec="MJPG", size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), RATE, size)
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    noise = np.random.default_rng(0).integers(0, 20, (size[1], size[0], 3), np.uint8)
    for number in range(FRAMES):
        writer.write(noise + np.uint8(10 * number))
    writer.release()
    return path


def frames(path):
    capture = cv2.VideoCapture(str(path))
    rate, read = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return rate, read
        read.append(frame)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("every", [1, 5])
def test_every_frame_is_written_at_the_same_rate(film, tmp_path, every, capsys):
    finder = Finder()
    assert predict_video(finder, film, tmp_path / "out" / "film", every) == 0
    rate, drawn = frames(tmp_path / "out" / "film.mp4")
    assert rate == RATE and len(drawn) == FRAMES and drawn[0].shape == (48, 64, 3)
    # The box, on each frame.
    assert all(frame[0, 10:54, 1].mean() > frame[24, 10:20, 1].mean() + 40 for frame in drawn[:4])
    found = lines(tmp_path / "out" / "film.jsonl")
    assert [line["frame"] for line in found] == list(range(0, FRAMES, every)) and finder.looked_at == len(found)
    assert found[1]["seconds"] == round(every / RATE, 3) and found[1]["faces"][0]["box_xyxy"] == [0, 0, 64, 48]
    assert f"{FRAMES} frames, {len(found)} faces" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["film.jsonl", "film.mp4"]


def test_a_video_that_breaks_off_keeps_what_was_read(film, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(video.LOGGER, "propagate", True)
    content = film.read_bytes()
    film.write_bytes(content[:len(content) * 6 // 10])
    assert predict_video(Finder(), film, tmp_path / "film") == 1
    count = len(frames(tmp_path / "film.mp4")[1])
    assert 0 < count < FRAMES and len(lines(tmp_path / "film.jsonl")) == count
    assert f"frame {count} cannot be read, {FRAMES} are declared" in caplog.text


def test_what_was_read_is_kept_under_another_name_when_the_program_ends(film, tmp_path):
    class Stopped(Finder):
        def detect(self, images):
            if self.looked_at == 4:
                raise KeyboardInterrupt
            return super().detect(images)
    with pytest.raises(KeyboardInterrupt):
        predict_video(Stopped(), film, tmp_path / "film")
    assert len(frames(tmp_path / "film.part.mp4")[1]) == len(lines(tmp_path / "film.part.jsonl")) == 4
    assert not (tmp_path / "film.mp4").exists()


def test_what_is_no_video(tmp_path):
    for name, content in (("empty.mp4", b""), ("text.mp4", b"no video" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: OpenCV cannot open it"):
            predict_video(Finder(), tmp_path / name, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.mp4", "text.mp4"]


def test_the_video_is_never_overwritten(tmp_path):
    film = make(tmp_path / "film.mp4", "mp4v")
    before = film.read_bytes()
    with pytest.raises(InputError, match="choose another folder"):
        predict_video(Finder(), film, tmp_path / "film")
    assert film.read_bytes() == before


def test_a_video_is_a_file_with_the_name_of_one(tmp_path, film):
    (tmp_path / "folder.mp4").mkdir()
    assert is_video(film) and not is_video(write(tmp_path / "a.png"))
    assert not is_video(tmp_path / "absent.mp4") and not is_video(tmp_path / "folder.mp4")


class Camera:
    """Gives pictures of one colour; the third one is of another size."""
    pictures = 6

    def __init__(self, source):
        self.taken, self.source = 0, source

    def isOpened(self):
        return self.source == 0

    def get(self, _):
        return 0.0

    def read(self):
        self.taken += 1
        size = (40, 60, 3) if self.taken == 3 else (48, 64, 3)
        return self.taken <= self.pictures, np.full(size, 120, np.uint8)

    def release(self):
        self.taken = self.pictures


@pytest.fixture
def headless(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(video, "no_window", lambda: "no display")
    monkeypatch.setattr(cv2, "imshow", lambda *_: pytest.fail("no window may be opened"))


def test_a_camera_is_recorded_where_there_is_no_window(headless, tmp_path, capsys):
    assert watch_camera(Finder(), 0, tmp_path / "camera", frames=4, every=2) == 0
    seen = [line["frame"] for line in lines(tmp_path / "camera.jsonl")]
    assert seen == [0, 2] and "camera 0: 4 frames" in capsys.readouterr().out
    assert (tmp_path / "camera.mp4").stat().st_size > 0


def test_a_camera_that_ends(headless, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(video.LOGGER, "propagate", True)
    assert watch_camera(Finder(), 0, tmp_path / "camera") == 0
    assert len(lines(tmp_path / "camera.jsonl")) == Camera.pictures and "no more pictures" in caplog.text


def test_ctrl_c_ends_a_camera_well(headless, tmp_path, monkeypatch):
    class Stopped(Finder):
        def detect(self, images):
            if self.looked_at == 2:
                raise KeyboardInterrupt
            return super().detect(images)
    assert watch_camera(Stopped(), 0, tmp_path / "camera") == 0
    assert len(lines(tmp_path / "camera.jsonl")) == 2 and (tmp_path / "camera.mp4").is_file()


def test_without_window_and_record_the_error_says_what_to_type(headless, tmp_path):
    with pytest.raises(InputError, match=r"no display.*--camera 3 --record"):
        watch_camera(Finder(), 3)
    with pytest.raises(InputError, match="camera 3: OpenCV cannot open it"):
        watch_camera(Finder(), 3, tmp_path / "camera")


@pytest.mark.parametrize("key, visible, shown", [(ord("q"), 1, 1), (27, 1, 1), (255, 1, Camera.pictures), (255, 0, 1)])
def test_a_window_ends_by_its_keys_and_its_button(monkeypatch, key, visible, shown):
    pictures = []
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(video, "no_window", lambda: "")
    for name, function in (("imshow", lambda _, picture: pictures.append(picture)), ("waitKey", lambda _: key),
                           ("getWindowProperty", lambda *_: visible), ("destroyAllWindows", lambda: None)):
        monkeypatch.setattr(cv2, name, function)
    assert watch_camera(Finder(), 0) == 0 and len(pictures) == shown


@pytest.mark.parametrize("gui, display, trouble", [("NONE", ":0", "opencv-python-headless"), ("QT5", "", "DISPLAY"),
                                                   ("QT5", ":0", ""), ("GTK3", ":0", "")])
def test_why_there_is_no_window(monkeypatch, gui, display, trouble):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"General\n  GUI:                           {gui}\n")
    monkeypatch.setattr(video.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert trouble in no_window() and bool(trouble) == bool(no_window())
