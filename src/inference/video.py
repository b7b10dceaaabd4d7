# SPDX-License-Identifier: Apache-2.0
"""Find faces in videos: frames in, drawn frames and the original sound out, by PyAV (FFmpeg).

    status = predict_video(detector, Path("party.mp4"), Path("found/party"), every=2)

`<stem>.mp4` is the video with its faces drawn, each frame at its own time; `<stem>.jsonl` has a line for each frame
that was searched: {"frame": 12, "seconds": 0.48, "faces": [...]}, faces as in the JSON of an image, seconds from the
first frame on. Both get their names when they are whole.
"""
from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Callable, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_faces
from dependency.errors import InputError
from dependency.files import atomic_write, plain_text, remove_partial
from src.common.log import LOGGER
from src.common.progress import progress_bar

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp")
DEFAULT_RATE = Fraction(25)
# A video that ends this much before its declared end was cut off; less is rounding.
CUT_OFF_SECONDS = 0.5
ENCODER = {"preset": "veryfast", "crf": "20"}


class Frame(NamedTuple):
    """A frame of a video: its number, its time in ticks from the first frame on, BGR uint8 [H, W, 3] upright."""
    number: int
    ticks: int
    pixels: np.ndarray


def is_video(path: Path) -> bool:
    """Check whether this is an existing file with the suffix of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def predict_video(detector: Any, path: Path, stem: Path, every: int = 1) -> int:
    """Find faces in a video file; write `<stem>.mp4` and `<stem>.jsonl`.

    KeyboardInterrupt finishes both files after the frame at hand before it is raised again.

    Args:
        detector: a `FaceDetector`.
        every: search every Nth frame; those between show the faces of the one before.

    Returns:
        exit status: 1 where the video is damaged or ends before its declared end; what could be read is written.

    Raises:
        InputError: not a video that PyAV can read, or PyAV is not installed.
        OSError: a result cannot be written; files that had the names before stay.
    """
    name, target = plain_text(path), Path(f"{stem}.mp4")
    if target.resolve() == path.resolve():
        raise InputError(f"--out {plain_text(stem.parent)}: {plain_text(target.name)} there is the video to look at; "
                         "choose another folder")
    with closing(_Source(path, name)) as source, \
            write_video(stem, source.clock, source.rate, source.sound) as drawn, \
            progress_bar(source.frame_count, "frames", name) as bar:
        interrupt = _draw(detector, source, drawn, every, bar)
        if not drawn.frames:
            raise InputError(f"{name}: no frame of it can be read; expected a video file")
    print(f"{name}: {drawn.frames} frames, {drawn.faces} faces -> {plain_text(target)}", flush=True)
    if interrupt:
        LOGGER.warning("%s: stopped after frame %d; what comes before is written", name, drawn.frames)
        raise interrupt
    if source.is_damaged or source.end < source.declared_end - CUT_OFF_SECONDS:
        LOGGER.warning("%s: cut off or damaged: frame %d is the last that could be read, at %.1f s of %.1f s; what "
                       "comes before is written", name, drawn.frames, source.end, source.declared_end)
        return 1
    return 0


def _draw(detector: Any, source: _Source, drawn: VideoWriter, every: int, bar: tqdm) -> BaseException | None:
    """Write all frames and the sound of a video; returns what interrupted it."""
    faces = Faces.from_rows(np.empty(0))
    try:
        for item in source:
            if not isinstance(item, Frame):
                drawn.add_sound(item)
                continue
            if item.number % every == 0:
                faces = detector.detect(item.pixels)
                drawn.add_faces(item, faces)
            drawn.add_frame(item._replace(pixels=draw_faces(item.pixels, faces)))
            bar.update()
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


class _Source:
    """The frames of a video file and the packets of its sound; close it in the end.

    Attributes:
        clock: seconds of a tick. rate: frames a second on average. sound: the streams of sound.
        frame_count: as declared, 0 where it is not.
        declared_end, end: seconds; the end of the last frame that was read.
        is_damaged: a part could not be decoded.

    Raises:
        InputError: not a video that PyAV can read, or PyAV is not installed.
    """

    def __init__(self, path: Path, name: str):
        self._av = av = _import_av()
        try:
            # For titles that are not UTF-8; PyAV 19 has no such argument and reads them anyway.
            lenient = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
            self._container = av.open(str(path), **lenient)
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{name}: not a video that FFmpeg can read ({error.strerror or error})") from error
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise InputError(f"{name}: holds no pictures; expected a video file")
        stream.thread_type = "AUTO"
        self._stream = stream
        self.sound = [each for each in self._container.streams.audio if each.codec_context]
        if len(self.sound) < len(self._container.streams.audio):
            LOGGER.warning("%s: sound that FFmpeg does not know is left out", name)
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


@contextmanager
def write_video(stem: Path, clock: Fraction, rate: Fraction, sound: Sequence[Any] = ()) -> Iterator[VideoWriter]:
    """Open `<stem>.mp4` and `<stem>.jsonl` for a block; they get their names when it ends well.

    Args:
        clock: seconds of a tick, the unit of the frames' times.
        rate: frames a second, about.
        sound: streams of another file, whose packets are going to be added.

    Raises:
        InputError: FFmpeg cannot write these pictures or this sound, or PyAV is not installed.
        OSError: the disk is full, or a file may not be written.
    """
    av = _import_av()
    remove_partial(stem.parent)
    with atomic_write(f"{stem}.jsonl") as lines, atomic_write(f"{stem}.mp4", "wb") as file:
        try:
            with closing(VideoWriter(lines, file, clock, rate, sound)) as writer:
                yield writer
                writer.flush()
            lines.flush()       # both files are whole before one gets its name
            os.fsync(lines.fileno())
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise InputError(f"{plain_text(stem)}.mp4: FFmpeg cannot write it ({error})") from error


class VideoWriter:
    """Writes frames as H.264, copies sound, and writes a line of JSON for faces; see `write_video`."""

    def __init__(self, lines: IO[str], file: IO[bytes], clock: Fraction, rate: Fraction, sound: Sequence[Any]):
        self._av = av = _import_av()
        self._lines = lines
        self._container = av.open(_Output(file), "w", format="mp4")
        self._clock, self._rate = clock, rate
        self._sound = {stream.index: self._add_sound_stream(stream) for stream in sound}
        self._stream: Any = None
        self.frames = self.faces = 0

    def add_faces(self, frame: Frame, faces: Faces) -> None:
        """Write the line of a frame that was searched."""
        self.faces += len(faces)
        line = {"frame": frame.number, "seconds": round(float(frame.ticks * self._clock), 3), **faces.to_dict()}
        self._lines.write(json.dumps(line) + "\n")

    def add_frame(self, frame: Frame) -> None:
        """Write a frame; all get the size of the first."""
        pixels = frame.pixels
        if self._stream is None:
            self._size = pixels.shape[1::-1]
            self._stream = self._add_stream(*self._size)
        if pixels.shape[1::-1] != self._size:
            pixels = cv2.resize(pixels, self._size)
        width, height = self._size
        pixels = cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = self._av.VideoFrame.from_ndarray(pixels, format="bgr24")
        picture.pts, picture.time_base = frame.ticks, self._clock
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def add_sound(self, packet: Any) -> None:
        """Write a packet of one of the streams of sound, encoded again where MP4 does not take it."""
        stream, is_copied = self._sound[packet.stream.index]
        if not is_copied:
            try:
                frames = packet.decode()
            except self._av.InvalidDataError:
                LOGGER.warning("a damaged part of the sound is left out")
                return
            for frame in frames:
                self._container.mux(stream.encode(frame))
        elif packet.dts is not None:            # the last packet that `demux` gives is empty
            packet.stream = stream
            self._container.mux(packet)

    def flush(self) -> None:
        """Write what the encoders hold back."""
        for stream, is_copied in [*self._sound.values(), (self._stream, self._stream is None)]:
            if not is_copied:
                self._container.mux(stream.encode(None))

    def close(self) -> None:
        """Write the end of the file."""
        self._container.close()

    def _add_stream(self, width: int, height: int) -> Any:
        """Add a stream of H.264; its sides are made even."""
        stream = self._container.add_stream("h264", rate=self._rate, options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.codec_context.time_base = self._clock
        return stream

    def _add_sound_stream(self, source: Any) -> tuple[Any, bool]:
        """Add a stream of sound; return it, and whether packets are copied into it (else they are encoded again)."""
        name = source.codec_context.codec.canonical_name
        if name in self._container.supported_codecs and not name.startswith("pcm_"):    # which few players play in MP4
            return self._container.add_stream_from_template(source), True
        return self._container.add_stream("aac", rate=source.codec_context.sample_rate), False


class _Output:
    """A file to write that raises its first error only: PyAV prints each further one with a traceback."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._is_broken = False

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        return self._call(self._file.write, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        return self._call(self._file.seek, offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._call(self._file.tell)

    def _call(self, function: Callable[..., int], *arguments: Any) -> int:
        try:
            return function(*arguments)
        except OSError:
            if self._is_broken:
                return 0
            self._is_broken = True
            raise


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise InputError("videos are read and written by the package av; type: pip install av") from error
    return av
