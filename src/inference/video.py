# SPDX-License-Identifier: Apache-2.0
"""Faces in videos and camera pictures: read frame by frame, drawn, written, shown.

    status = predict_video(detector, Path("party.mp4"), Path("found/party"), every=2)
    status = watch_camera(detector, 0, record=Path("found/camera"), frames=300)

`<stem>.mp4` is the video with its faces drawn, at the same rate; `<stem>.jsonl` has a line for each frame that was
looked at: {"frame": 12, "seconds": 0.48, "faces": [...]}, faces as in the JSON of an image.
"""
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from typing_extensions import Self

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.image_file import plain_text
from dependency.errors import InputError
from src.common.draw import draw_faces
from src.common.log import LOGGER
from src.training.progress import SECONDS_BETWEEN_LINES, Progress

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp")
# Containers tell their number of frames from their length and rate: so many less are no loss.
_FRAMES_BY_ROUNDING = 2
_UNKNOWN_RATE = 25.0
_FASTEST = 1000.0
_FFMPEG_QUIET = "-8"
_WINDOW = "faces (q or Esc ends)"
_END_KEYS = (ord("q"), 27)


def is_video(path: Path) -> bool:
    """Whether this is a file that is named as a video."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def predict_video(detector: Any, path: Path, stem: Path, every: int = 1) -> int:
    """Find faces in a video file; write `<stem>.mp4` and `<stem>.jsonl`.

    Args:
        detector: a `FaceDetector`.
        every: look at every so manieth frame; those between show the faces of the one before.

    Returns:
        exit status: 1 where the video ends before its declared end; what was read is written.

    Raises:
        InputError: no video that OpenCV can read.
    """
    name = plain_text(path)
    target = Path(f"{stem}.mp4")
    if target.resolve() == path.resolve():
        raise InputError(f"--out {plain_text(stem.parent)}: {plain_text(target.name)} there is the video to look at; "
                         "choose another folder")
    count = 0
    with closing(_Source(str(path.resolve()), name, "a video file that ffmpeg reads")) as source, \
            closing(_Record(stem, source.rate)) as record, _progress(source.total, name) as progress:
        for count, picture in _look(detector, source, every, record):
            record.picture(picture)
            progress.advance()
        record.finish()
    if not count:
        raise InputError(f"{name}: no frame of it can be read; expected a video file that ffmpeg reads")
    print(f"{name}: {count} frames, {record.found} faces -> {plain_text(target)}", flush=True)
    if source.total - count > max(_FRAMES_BY_ROUNDING, 0.01 * source.total):
        LOGGER.warning("%s: frame %d cannot be read, %d are declared: cut off or damaged there; what comes before is "
                       "written", name, count, source.total)
        return 1
    return 0


def watch_camera(detector: Any, index: int, record: Path | None = None, frames: int | None = None,
                 every: int = 1) -> int:
    """Find faces in a camera's pictures until q, Esc, Ctrl-C or the given number of frames; 0 is the exit status.

    Args:
        index: of the camera, from 0.
        record: write the pictures as `<record>.mp4` and `<record>.jsonl`.
        frames: end after so many.
        every: as in `predict_video`.

    Raises:
        InputError: no such camera; neither a window can be shown nor is anything recorded.
    """
    trouble = no_window()
    if trouble and record is None:
        raise InputError(f"no window can be shown ({trouble}); write a video instead: --camera {index} --record")
    with closing(_Source(index, f"camera {index}", "the number of a camera that no other program uses")) as source:
        LOGGER.info("camera %d: %s", index, "q or Esc in the window ends" if not trouble else "Ctrl-C ends")
        target = _Record(record, source.rate) if record else None
        count = 0
        try:
            for count, picture in _look(detector, source, every, target):
                if target:
                    target.picture(picture)
                if not trouble and _shown_and_ended(picture) or count == frames:
                    break
            else:
                LOGGER.warning("camera %d gives no more pictures", index)
        except KeyboardInterrupt:
            LOGGER.info("ended by Ctrl-C")
        finally:
            if target:
                target.finish()
            if not trouble:
                cv2.destroyAllWindows()
    print(f"camera {index}: {count} frames" + (f" -> {plain_text(record)}.mp4" if record else ""), flush=True)
    return 0


def no_window() -> str:
    """Why this process cannot show a window; empty where it can. (OpenCV's Qt ends the process without a display.)"""
    line = next((each for each in cv2.getBuildInformation().splitlines() if each.strip().startswith("GUI:")), "")
    if line.split(":")[-1].strip().upper() in ("", "NONE"):
        return "this OpenCV was built without windows: pip install opencv-python instead of opencv-python-headless"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
    return ""


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Without OpenCV's own lines about what it tried; as it is where this OpenCV has no such setting."""
    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is None:
        yield
        return
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


class _Source:
    """The frames of a file or a camera; rate in frames a second, total 0 where unknown."""

    def __init__(self, source: str | int, name: str, expected: str):
        # One line of ours says what is wrong; ffmpeg would write one for every damaged block.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
        with _quiet_opencv():
            self._capture = capture = cv2.VideoCapture(source)
        if not capture.isOpened():
            raise InputError(f"{name}: OpenCV cannot open it; expected {expected}")
        rate, total = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = float(rate) if np.isfinite(rate) and 0 < rate <= _FASTEST else _UNKNOWN_RATE
        self.total = int(total) if np.isfinite(total) and total > 0 else 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            try:
                is_read, frame = self._capture.read()
            except cv2.error as error:
                LOGGER.warning("OpenCV: %s", error.err)
                return
            if not is_read or frame is None:
                return
            yield frame

    def close(self) -> None:
        self._capture.release()


class _Record:
    """`<stem>.mp4` with pictures, `<stem>.jsonl` with faces. The video has its name when it is whole."""

    def __init__(self, stem: Path, rate: float):
        stem.parent.mkdir(parents=True, exist_ok=True)
        self.rate = rate
        self._path = Path(f"{stem}.mp4")
        self._part = Path(f"{stem}.part.mp4")
        self._stem = stem
        self._lines: Any = None
        self._writer: Any = None
        self._size = (0, 0)
        self.found = 0

    def faces(self, frame: int, faces: Faces) -> None:
        """One line, on the disk at once."""
        if self._lines is None:
            self._lines = open(self._part.with_suffix(".jsonl"), "w", encoding="utf-8")
        self.found += len(faces)
        line = {"frame": frame, "seconds": round(frame / self.rate, 3), **faces.to_dict()}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()

    def picture(self, picture: np.ndarray) -> None:
        """One frame; all have the size of the first."""
        if self._writer is None:
            self._size = size = picture.shape[1::-1]
            self._writer = cv2.VideoWriter(str(self._part.resolve()), cv2.VideoWriter_fourcc(*"mp4v"), self.rate, size)
            if not self._writer.isOpened():
                raise InputError(f"{plain_text(self._path)}: this OpenCV cannot write videos of {size[0]} x {size[1]} "
                                 "pixels; install opencv-python with ffmpeg")
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size)
        self._writer.write(picture)

    def finish(self) -> None:
        """The files are whole and get their names."""
        self.close()
        for part, path in ((self._part, self._path), (self._part.with_suffix(".jsonl"), Path(f"{self._stem}.jsonl"))):
            if part.exists():
                os.replace(part, path)

    def close(self) -> None:
        """What is not finished stays as <stem>.part.mp4 and .part.jsonl; files that had the names before stay too."""
        if self._lines is not None:
            self._lines.close()
        if self._writer is not None:
            self._writer.release()


class _Count:
    """As `Progress`, where nobody knows how many there are."""

    def __init__(self, unit: str, title: str):
        self._unit, self._title, self._done = unit, title, 0
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self) -> None:
        self._done += 1
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            LOGGER.info("%s: %d %s", self._title, self._done, self._unit)


def _progress(total: int, title: str) -> Any:
    return Progress(total, "frames", title) if total else _Count("frames", title)


def _look(detector: Any, source: _Source, every: int, record: _Record | None) -> Iterator[tuple[int, np.ndarray]]:
    """(how many so far, drawn frame) of each frame; faces are found in every so manieth."""
    faces = Faces.from_rows(np.empty(0))
    for number, frame in enumerate(source):
        if number % every == 0:
            faces = detector.detect(frame)
            if record:
                record.faces(number, faces)
        yield number + 1, draw_faces(frame, faces)


def _shown_and_ended(picture: np.ndarray) -> bool:
    """Show it; True where a key or the window's close button ends the show."""
    cv2.imshow(_WINDOW, picture)
    is_end = cv2.waitKey(1) & 0xFF in _END_KEYS
    return is_end or cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1
