# SPDX-License-Identifier: Apache-2.0
"""Write a film and what is known of its faces: H.264, copied sound, a line of JSON for each frame that was searched.

    with write_video(Path("found/party"), source.clock, source.rate, source.sound) as writer:
        writer.add_faces(frame, faces.to_dict()["faces"])
        writer.add_frame(frame)

`<stem>.jsonl` has a line for each frame that was searched: {"frame": 12, "seconds": 0.48, "faces": [...]}, seconds from
the first frame on. Both files get their names when they are whole; where the film was stopped, or breaks off, the last
line says "stopped": true.
"""
from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Callable

import cv2

from dependency.errors import InputError
from dependency.files import atomic_write, plain_text, remove_partial
from src.common.draw import MARK
from src.common.log import LOGGER
from src.video.source import Frame, import_av

ENCODER = {"preset": "veryfast", "crf": "20"}
COLOURS = ("color_primaries", "color_trc", "colorspace")
# Colour spaces that FFmpeg converts to, by their numbers in ITU-T H.273.
SPACES = (1, 4, 5, 6, 7, 9)
# What files without a layout mean, as AVI and WAV.
LAYOUTS = {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}


def is_written(stem: Path, note: str) -> bool:
    """Check whether `<stem>.mp4` and `<stem>.jsonl` are there, not stopped, and have this note."""
    video, lines = Path(f"{stem}.mp4"), Path(f"{stem}.jsonl")
    if not (video.is_file() and lines.is_file()):
        return False
    with suppress(import_av().FFmpegError, OSError, ValueError), import_av().open(str(video)) as container:
        last = json.loads(lines.read_bytes().splitlines()[-1])
        return container.metadata.get("comment") == _comment(note) and "stopped" not in last
    return False


def _comment(note: str) -> str:
    return MARK.decode() + note


@contextmanager
def write_video(stem: Path, clock: Fraction, rate: Fraction, sound: Sequence[Any] = (), pictures: Any = None,
                note: str = "") -> Iterator[VideoWriter]:
    """Open `<stem>.mp4` and `<stem>.jsonl` for a block; they get their names when it ends well.

    Args:
        clock: seconds of a tick, the unit of the frames' times.
        rate: frames a second, about.
        sound: streams of another file, whose packets are going to be added.
        pictures: the stream of another file whose colours the frames have.
        note: written into the file, for `is_written`.

    Raises:
        InputError: FFmpeg cannot write these pictures or this sound, or PyAV is not installed.
        OSError: the disk is full, or a file may not be written.
    """
    av = import_av()
    remove_partial(stem.parent)
    with atomic_write(f"{stem}.jsonl") as lines, atomic_write(f"{stem}.mp4", "wb") as file:
        try:
            with closing(VideoWriter(lines, file, clock, rate, sound, pictures, _comment(note))) as writer:
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

    def __init__(self, lines: IO[str], file: IO[bytes], clock: Fraction, rate: Fraction, sound: Sequence[Any],
                 pictures: Any, comment: str):
        self._av = av = import_av()
        self._lines = lines
        self._container = av.open(_Output(file), "w", format="mp4")
        self._container.metadata["comment"] = comment
        self._clock, self._rate = clock, rate
        self._sound = {stream.index: self._add_sound_stream(stream) for stream in sound}
        self._stream: Any = None
        self._pictures = pictures
        space = None if pictures is None else pictures.codec_context.colorspace
        self._space = space if space in SPACES else None
        self._line: dict[str, Any] = {}
        self._early: list[Any] = []         # packets of sound before the first frame, whose stream must be there first
        self.frames = self.faces = 0

    def add_faces(self, frame: Frame, faces: Sequence[dict[str, Any]]) -> None:
        """Write the line of a frame that was searched."""
        self._write_line()
        self.faces += len(faces)
        self._line = {"frame": frame.number, "seconds": round(float(frame.ticks * self._clock), 3), "faces": faces}

    def stop(self) -> None:
        """Say in the last line that the film has more frames."""
        self._line["stopped"] = True

    def _write_line(self) -> None:
        if self._line:
            self._lines.write(json.dumps(self._line) + "\n")

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
        # The colour space is that of the film: its name alone, which the encoder writes, would shift all colours.
        picture = picture.reformat(format="yuv420p", dst_colorspace=self._space)
        picture.pts, picture.time_base = frame.ticks, self._clock
        self._container.mux(self._stream.encode(picture))
        self.frames += 1
        while self._early:
            self.add_sound(self._early.pop(0))

    def add_sound(self, packet: Any) -> None:
        """Write a packet of one of the streams of sound, encoded again where MP4 does not take it."""
        if self._stream is None:
            self._early.append(packet)
            return
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
        """Write what the encoders hold back, and the last line."""
        self._write_line()
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
        for name in COLOURS if self._pictures is not None else ():
            setattr(stream.codec_context, name, getattr(self._pictures.codec_context, name))
        return stream

    def _add_sound_stream(self, source: Any) -> tuple[Any, bool]:
        """Add a stream of sound; return it, and whether packets are copied into it (else they are encoded again).

        What is not compressed becomes ALAC, which keeps every sample of up to 24 bits.
        """
        name = source.codec_context.codec.canonical_name
        if name in self._container.supported_codecs and not name.startswith("pcm_"):    # which few players play in MP4
            return self._container.add_stream_from_template(source), True
        coder = "alac" if name.startswith("pcm_") else "aac"
        layout = LAYOUTS.get(source.layout.name, source.layout.name)
        stream = self._container.add_stream(coder, rate=source.codec_context.sample_rate, layout=layout)
        if coder == "alac":
            stream.format = "s32p" if source.format.bytes > 2 else "s16p"
        return stream, False


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
