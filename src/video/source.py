# SPDX-License-Identifier: Apache-2.0
"""Read films, streams and cameras by PyAV (FFmpeg): upright frames at their times, and packets of sound.

    with closing(Source("party.mp4")) as source:
        for item in source: ...                 # a Frame, or a packet of sound

A source is a file of any container that FFmpeg reads, an address such as rtsp://host/stream, or /dev/video0.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from dependency.centernet.src.lib.utils.image_file import IMAGE_SUFFIXES, read_header
from dependency.errors import InputError
from dependency.files import plain_text
from src.common.log import LOGGER

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp")
DEFAULT_RATE = Fraction(25)
DEVICE = "/dev/video"
# A stream that sends nothing for so many seconds has ended.
PATIENCE = 20


class Frame(NamedTuple):
    """A frame of a video: its number, its time in ticks from the first frame on, BGR uint8 [H, W, 3] upright."""
    number: int
    ticks: int
    pixels: np.ndarray


def is_stream(name: str) -> bool:
    """Check whether this is the address of a stream, or a camera's device, not a file."""
    return "://" in name or name.startswith(DEVICE)


def is_video(name: str) -> bool:
    """Check whether this is a stream, or an existing file of a video: by its suffix, else by its content."""
    path = Path(name)
    if is_stream(name) or not path.is_file():
        return is_stream(name)
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or suffix not in IMAGE_SUFFIXES and _has_frames(path)


def result_name(name: str) -> str:
    """Return the name that the results get: that of the file, or the last part of an address."""
    return (Path(urlsplit(name).path).name or "stream") if "://" in name else Path(name).name


def _has_frames(path: Path) -> bool:
    with suppress(InputError):
        read_header(path)
        return False        # an image, which FFmpeg reads too
    with suppress(ImportError, OSError, ValueError):        # av.FFmpegError is one of the last two
        import av
        with av.open(str(path), metadata_errors="ignore") as container:
            return bool(container.streams.video)
    return False


class Source:
    """The frames of a video and the packets of its sound; close it in the end.

    Attributes:
        name: for messages; passwords are left out.
        clock: seconds of a tick. rate: frames a second on average. sound: the streams of sound.
        frame_count: as declared, 0 where it is not.
        declared_end, end: seconds; the end of the last frame that was read.
        is_damaged: a part could not be decoded.

    Raises:
        InputError: not a video that PyAV can read, or PyAV is not installed.
    """

    def __init__(self, name: str):
        self.name = plain_text(re.sub(r"(?<=://)[^/@]*@", "", name))
        self._av = av = import_av()
        options: dict[str, Any] = {"timeout": PATIENCE} if is_stream(name) else {}
        if name.startswith(DEVICE):
            options["format"] = "v4l2"
        # For titles that are not UTF-8; PyAV 19 has no such argument and reads them anyway.
        if int(av.__version__.split(".")[0]) < 19:
            options["metadata_errors"] = "ignore"
        try:
            self._container = av.open(name, **options)
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{self.name}: not a video that FFmpeg can read ({error.strerror or error})") from error
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise InputError(f"{self.name}: holds no pictures; expected a video file")
        stream.thread_type = "AUTO"
        self._stream = self.pictures = stream
        self.sound = [each for each in self._container.streams.audio if each.codec_context]
        if len(self.sound) < len(self._container.streams.audio):
            LOGGER.warning("%s: sound that FFmpeg does not know is left out", self.name)
        self.clock, self.rate = stream.time_base, stream.average_rate or DEFAULT_RATE
        self._is_matroska = "matroska" in self._container.format.name
        self.declared_end = self._declared_end()
        self.frame_count = stream.frames or round(self.declared_end * self.rate)
        self.end, self.is_damaged = 0.0, False
        self._origin: int | None = None
        self._number, self._ticks = -1, -1

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Any]:
        """Yield `Frame`s, and packets of sound with their time counted from the first frame; a frame comes first."""
        waiting: list[Any] = []
        for packet in self._packets():
            if packet.stream == self._stream:
                for frame in self._decode(packet):
                    yield self._timed(frame)
            else:
                waiting.append(packet)
            if self._origin is not None:
                yield from map(self._shifted, waiting)
                waiting.clear()

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux([self._stream, *self.sound])
        except self._av.FFmpegError:
            self.is_damaged = True

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return packet.decode()
        except self._av.InvalidDataError:
            self.is_damaged = True
            return []

    def _timed(self, frame: Any) -> Frame:
        step = max(1, round(1 / (self.rate * self.clock)))
        time = self._ticks + step if frame.pts is None else frame.pts - (self._origin or 0)
        if self._origin is None:
            self._origin, time = frame.pts or 0, 0
            if self._is_matroska:
                self.declared_end -= float(self._origin * self.clock)
        self._number, self._ticks = self._number + 1, max(time, self._ticks + 1)
        self.end = float((self._ticks + (frame.duration or step)) * self.clock)
        pixels = np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90)
        return Frame(self._number, self._ticks, np.ascontiguousarray(pixels))

    def _shifted(self, packet: Any) -> Any:
        shift = round((self._origin or 0) * self.clock / packet.time_base)
        if packet.dts is not None:
            packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        return packet

    def _declared_end(self) -> float:
        """Return the time in seconds at which the pictures end; 0 where the file does not say.

        It counts from the first frame, in Matroska from the start of the file.
        """
        stream = self._stream
        if self._is_matroska:
            # The end of this track stands in a tag, as hours:minutes:seconds. That of the file is the longest track's,
            # or the time of the recording, though the screen stood still.
            text = stream.metadata.get("DURATION", "")
            times = text.split(":") if re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", text) else []
            return sum(float(time) * 60 ** power for power, time in enumerate(reversed(times)))
        if stream.duration and "mov" in self._container.format.name:    # it counts frames, too, that are not shown
            return float(stream.duration * self.clock)
        if stream.duration or stream.frames:
            return float(max((stream.duration or 0) * self.clock, stream.frames / self.rate))
        alone = self._container.duration and not self.sound
        return self._container.duration / self._av.time_base if alone else 0.0


def import_av() -> ModuleType:
    """Import PyAV, which is loaded only where there are videos."""
    try:
        import av
    except ImportError as error:
        raise InputError("videos are read and written by the package av; type: pip install av") from error
    return av
