# SPDX-License-Identifier: Apache-2.0
"""Videos: every frame at its own time, upright, with its sound, and what happens when something breaks."""
import json
import os
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from dependency.errors import InputError
from src.video import film
from src.video.film import predict_video
from tests.conftest import ROOT
from tests.inference.test_prediction import Finder

av = pytest.importorskip("av")
FRAMES, RATE, SOUND_RATE = 30, Fraction(25, 2), 44100


def make(path, codec="libx264", sound=None, size=(64, 48), times=range(FRAMES), clock=1 / RATE, seconds=FRAMES / RATE):
    """A video of frames, each brighter than the one before, at these ticks; a tone as its sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = clock
        tone = container.add_stream(sound, rate=SOUND_RATE) if sound else None
        for number, ticks in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 8 * number, np.uint8), format="bgr24")
            frame.pts, frame.time_base = ticks, clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            wave = (8000 * np.sin(np.arange(int(SOUND_RATE * seconds)) / 20)).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
            container.mux(tone.encode(samples))
            container.mux(tone.encode(None))
    return path


def read(path):
    """(times in seconds, BGR frames) of a video."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    return [time for time, _ in frames], [pixels for _, pixels in frames]


def packets_of_sound(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("name, codec, size", [("a.avi", "mjpeg", (64, 48)), ("图 a.mkv", "ffv1", (63, 47)),
                                               ("a.mp4", "libx264", (64, 48)), ("a.ts", "libx264", (64, 48))])
def test_every_frame_is_drawn_at_its_time(tmp_path, name, codec, size, every, capsys):
    finder = Finder()
    path = make(tmp_path / "in" / name, codec, size=size)
    assert predict_video(finder, path, tmp_path / "out" / "film", every) == 0
    times, drawn = read(tmp_path / "out" / "film.mp4")
    assert times == pytest.approx([number / RATE for number in range(FRAMES)], abs=1e-3)
    assert drawn[0].shape == (48, 64, 3)                                        # sides of H.264 are even
    assert all(frame[0, 10:54, 1].mean() > frame[24, 10:20, 1].mean() + 40 for frame in drawn[:4])      # the box
    found = lines(tmp_path / "out" / "film.jsonl")
    assert [line["frame"] for line in found] == list(range(0, FRAMES, every)) and finder.looked_at == len(found)
    assert found[1]["seconds"] == pytest.approx(float(every / RATE))
    assert found[1]["faces"][0]["box_xyxy"] == [0, 0, *size]
    assert f"{FRAMES} frames, {len(found)} faces" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["film.jsonl", "film.mp4"]


def test_times_of_a_variable_rate_are_kept(tmp_path):
    ticks = [0, 40, 50, 300, 2000, 2010]
    path = make(tmp_path / "in.mkv", times=ticks, clock=Fraction(1, 1000))
    assert predict_video(Finder(), path, tmp_path / "film") == 0
    assert read(tmp_path / "film.mp4")[0] == pytest.approx([each / 1000 for each in ticks], abs=1e-3)
    assert [line["seconds"] for line in lines(tmp_path / "film.jsonl")] == [each / 1000 for each in ticks]


@pytest.mark.parametrize("times, declared", [((0, 40, 2500), None), ((3000, 3040, 3080), None), ((0,), None),
                                             ((0, 40, 80), 10.0)],
                         ids=["uneven", "begins late", "one frame", "still at its end"])
@pytest.mark.parametrize("name, codec, sound", [("a.mkv", "libx264", "aac"), ("a.webm", "libvpx", None),
                                                ("a.mp4", "libx264", "aac")])
def test_a_whole_video_is_never_called_damaged(tmp_path, name, codec, sound, times, declared):
    path = make(tmp_path / name, codec, sound, times=times, clock=Fraction(1, 1000), seconds=5)
    content = bytearray(path.read_bytes())
    at = content.find(b"\x44\x89\x88")                    # Matroska's Duration, in milliseconds: the recording's time
    if declared and name != "a.mp4":
        assert at > 0
        content[at + 3:at + 11] = struct.pack(">d", 1000 * declared)
        path.write_bytes(content.replace(b"DURATION", b"xURATION"))
    assert predict_video(Finder(), path, tmp_path / "film") == 0
    assert read(tmp_path / "film.mp4")[0] == pytest.approx([(each - times[0]) / 1000 for each in times], abs=1e-3)


def test_frames_that_are_not_to_be_shown_are_not_missing(tmp_path):
    path = make(tmp_path / "a.mp4", clock=1 / RATE)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12                        # milliseconds of the part that is shown: the first second
    assert struct.unpack(">I", content[at:at + 4])[0] == pytest.approx(2400, abs=100)
    content[at:at + 4] = struct.pack(">I", 1000)
    path.write_bytes(content)
    assert predict_video(Finder(), path, tmp_path / "film") == 0
    assert len(read(tmp_path / "film.mp4")[0]) == pytest.approx(float(RATE), abs=1)


@pytest.mark.parametrize("name, sound, is_copied", [("a.mp4", "aac", True), ("a.mkv", "mp2", True),
                                                    ("a.avi", "pcm_s16le", False), ("a.mov", "pcm_mulaw", False)])
def test_sound_is_copied_or_encoded_where_mp4_does_not_take_it(tmp_path, name, sound, is_copied):
    path = make(tmp_path / name, sound=sound, seconds=4)                        # longer than the pictures
    assert predict_video(Finder(), path, tmp_path / "out" / "film") == 0
    drawn = tmp_path / "out" / "film.mp4"
    with av.open(str(drawn)) as container:
        assert container.streams.audio[0].duration * container.streams.audio[0].time_base == pytest.approx(4, abs=0.1)
    assert (packets_of_sound(drawn) == packets_of_sound(path)) == is_copied
    assert len(read(drawn)[0]) == FRAMES


def test_a_phones_portrait_is_turned_upright(tmp_path):
    path = make(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44                                        # turned by 90 degrees clockwise
    content[matrix:matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(content)
    assert predict_video(Finder(), path, tmp_path / "film") == 0
    assert read(tmp_path / "film.mp4")[1][0].shape == (64, 48, 3)
    assert lines(tmp_path / "film.jsonl")[0]["faces"][0]["box_xyxy"] == [0, 0, 48, 64]


@pytest.mark.parametrize("name, codec", [("a.avi", "mjpeg"), ("a.mkv", "ffv1")])
def test_a_video_that_breaks_off_keeps_what_was_read(tmp_path, name, codec, caplog, monkeypatch):
    monkeypatch.setattr(film.LOGGER, "propagate", True)
    path = make(tmp_path / name, codec)
    content = path.read_bytes()
    path.write_bytes(content[:len(content) * 6 // 10])
    assert predict_video(Finder(), path, tmp_path / "film") == 1
    count = len(read(tmp_path / "film.mp4")[0])
    assert 0 < count < FRAMES and len(lines(tmp_path / "film.jsonl")) == count
    assert f"frame {count} is the last" in caplog.text


class Stopped(Finder):
    """Is interrupted at the fifth frame."""

    def detect(self, images):
        if self.looked_at == 4:
            raise KeyboardInterrupt
        return super().detect(images)


def test_an_interrupt_finishes_the_files(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_video(Stopped(), make(tmp_path / "a.mp4", sound="aac"), tmp_path / "film")
    assert len(read(tmp_path / "film.mp4")[0]) == len(lines(tmp_path / "film.jsonl")) == 4


def test_a_full_disk_is_one_error_and_leaves_the_former_file(tmp_path):
    resource = pytest.importorskip("resource")
    path = make(tmp_path / "in" / "a.mp4", size=(640, 480))
    (tmp_path / "film.mp4").write_text("former")
    code = (f"from pathlib import Path\nfrom src.video.film import predict_video\n"
            f"from tests.inference.test_prediction import Finder\n"
            f"predict_video(Finder(), Path({str(path)!r}), Path({str(tmp_path / 'film')!r}))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)))
    last = done.stderr.splitlines()[-1]
    assert "dropped" not in done.stderr                     # PyAV's tracebacks
    assert done.returncode and last.startswith("OSError") and last.count("cannot write") == 1 and "film.mp4" in last
    assert (tmp_path / "film.mp4").read_text() == "former"
    assert sorted(each for each in os.listdir(tmp_path) if each != "in") == ["film.mp4"]


@pytest.mark.soak
def test_a_disk_that_fills_at_any_byte_leaves_the_former_files(tmp_path):
    resource = pytest.importorskip("resource")
    path = make(tmp_path / "in" / "a.mp4", size=(320, 240), sound="aac")
    predict_video(Finder(), path, tmp_path / "film")
    size, limits = (tmp_path / "film.mp4").stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("film.mp4", "film.jsonl"):
        (tmp_path / name).write_text("former")
    for most in [*range(0, size, size // 40), size - 1]:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
            with pytest.raises(OSError):
                predict_video(Finder(), path, tmp_path / "film")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sorted(os.listdir(tmp_path)) == ["film.jsonl", "film.mp4", "in"]
        assert {(tmp_path / f"film.{suffix}").read_text() for suffix in ("mp4", "jsonl")} == {"former"}


@pytest.mark.soak
def test_mutated_videos_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(5)
    for path in (make(tmp_path / "a.mp4", sound="aac"), make(tmp_path / "a.webm", "libvpx"),
                 make(tmp_path / "a.mkv", sound="mp2"), make(tmp_path / "a.avi", "mjpeg"), make(tmp_path / "a.ts")):
        content = path.read_bytes()
        for _ in range(40):
            changed = bytearray(content)
            for _ in range(rng.choice((1, 3, 30))):
                changed[rng.integers(min(len(content), rng.choice((600, len(content)))))] = rng.integers(256)
            path.write_bytes(changed[:rng.integers(1, 3 * len(content))])
            try:
                assert predict_video(Finder(), path, tmp_path / "film") in (0, 1)
            except InputError as error:
                assert "\n" not in str(error)


def test_what_cannot_be_read_or_written(tmp_path, monkeypatch):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"no video" * 100)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:                # sound alone
        tone = container.add_stream("aac", rate=SOUND_RATE)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        samples.sample_rate = SOUND_RATE
        container.mux(tone.encode(samples))
        container.mux(tone.encode(None))
    film = make(tmp_path / "film.mp4")
    before = film.read_bytes()
    for name, out, named in (("empty", "out", "empty.mp4"), ("text", "out", "text.mp4"), ("sound", "out", "sound.mp4"),
                             ("film", "film", "--out")):                        # the video itself
        with pytest.raises(InputError, match=named):
            predict_video(Finder(), tmp_path / f"{name}.mp4", tmp_path / out)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install av"):
        predict_video(Finder(), film, tmp_path / "out")
    assert film.read_bytes() == before and not (tmp_path / "out.mp4").exists()
