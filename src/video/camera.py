# SPDX-License-Identifier: Apache-2.0
"""Find faces in the pictures of a camera: shown in a window, or recorded, by OpenCV.

    status = watch_camera(detector, 0, record=Path("found/camera"), frames=300)
"""
from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.hide import Hide
from dependency.errors import InputError
from dependency.files import plain_text
from src.common.log import LOGGER
from src.video.film import render
from src.video.source import DEFAULT_RATE, Frame
from src.video.writer import write_video

CLOCK = Fraction(1, 1000)
WINDOW = "faces (q or Esc ends)"
END_KEYS = (ord("q"), 27)


def watch_camera(detector: Any, index: int, record: Path | None = None, frames: int | None = None,
                 every: int = 1, hide: Hide | None = None) -> int:
    """Find faces in a camera's pictures until q, Esc, Ctrl-C or the given number of frames; 0 is the exit status.

    Args:
        detector: a `FaceDetector`.
        index: of the camera, from 0.
        record: write the pictures as `<record>.mp4` and `<record>.jsonl`, as `predict_video` does; where an earlier
            recording has this name, as `<record>_1`, `<record>_2`, ...
        frames: end after this many.
        every: search every Nth picture; those between show the faces of the one before.
        hide: hide the faces, instead of drawing them; pictures are then shown a second late, see `render`.

    Raises:
        InputError: no such camera; neither can a window be shown nor is anything recorded.
    """
    problem = no_window()
    if problem and record is None:
        raise InputError(f"no window can be shown ({problem}); write a video instead: --camera {index} --record")
    count = 0
    record = record and _new_stem(record)
    with ExitStack() as stack:
        camera = _open_camera(index, stack)
        writer = stack.enter_context(write_video(record, CLOCK, DEFAULT_RATE)) if record else None
        if not problem:
            stack.callback(cv2.destroyAllWindows)
        LOGGER.info("camera %d: %s", index, "Ctrl-C ends" if problem else "q or Esc in the window ends")
        pictures = islice(_frames(camera, index), frames)
        try:
            for frame in render(pictures, detector, every, hide, writer.add_faces if writer else lambda *_: None):
                count = frame.number + 1
                if writer:
                    writer.add_frame(frame)
                if not problem and _show(frame.pixels):
                    break
        except KeyboardInterrupt:
            LOGGER.info("ended by Ctrl-C")
    print(f"camera {index}: {count} frames" + (f" -> {plain_text(record)}.mp4" if record else ""), flush=True)
    return 0


def no_window() -> str:
    """Say why this process can show no window; empty where it can. (OpenCV's Qt ends the process without a display.)"""
    line = next((each for each in cv2.getBuildInformation().splitlines() if each.strip().startswith("GUI:")), "")
    if line.split(":")[-1].strip().upper() in ("", "NONE"):
        return "this OpenCV was built without windows: pip install opencv-python instead of opencv-python-headless"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
    return ""


def _new_stem(stem: Path) -> Path:
    """Return the stem, or <stem>_1, <stem>_2, ... where a recording of that name is there already."""
    stems = itertools.chain([stem], (stem.with_name(f"{stem.name}_{number}") for number in itertools.count(1)))
    return next(each for each in stems if not any(Path(f"{each}{suffix}").exists() for suffix in (".mp4", ".jsonl")))


def _open_camera(index: int, stack: ExitStack) -> cv2.VideoCapture:
    camera = cv2.VideoCapture(index)
    stack.callback(camera.release)
    if not camera.isOpened():
        raise InputError(f"camera {index}: OpenCV cannot open it; expected the number of a camera that no program "
                         "uses")
    return camera


def _frames(camera: cv2.VideoCapture, index: int) -> Iterator[Frame]:
    """Yield the camera's pictures, with milliseconds since the first one."""
    number, ticks, start = 0, -1, time.monotonic()
    while True:
        is_read, pixels = camera.read()
        if not is_read:
            LOGGER.warning("camera %d gives no more pictures", index)
            return
        ticks = max(ticks + 1, round((time.monotonic() - start) / CLOCK)) if number else 0
        start = start if number else time.monotonic()
        yield Frame(number, ticks, pixels)
        number += 1


def _show(pixels: np.ndarray) -> bool:
    """Show a picture; True where a key or the window's close button ends the show."""
    cv2.imshow(WINDOW, pixels)
    is_end = cv2.waitKey(1) & 0xFF in END_KEYS
    return is_end or cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1
