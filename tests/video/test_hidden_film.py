# SPDX-License-Identifier: Apache-2.0
"""Films with hidden faces: followed, with their sound, corrected by hand, made again only where they are not whole."""
import json
import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.hide import Hide
from dependency.errors import InputError
from src.inference.known_faces import read_film
from src.video.film import predict_video, render
from src.video.source import Frame, is_stream, is_video, result_name
from src.video.writer import is_written
from tests.inference.test_prediction import write
from tests.video.test_film import FRAMES, RATE, lines, make, packets_of_sound, read

av = pytest.importorskip("av")
SOLID = Hide("solid")


class Sometimes:
    """Finds a face in the middle in frames 15 to 20, except 17; is interrupted at frame `end`."""

    def __init__(self, end=None):
        self.count, self.end = -1, end

    def detect(self, image):
        self.count += 1
        if self.count == self.end:
            raise KeyboardInterrupt
        height, width = image.shape[:2]
        boxes = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], np.float32)
        return Faces(boxes, np.array([0.75], np.float32), np.zeros((1, 5, 2), np.float32))[
            :int(15 <= self.count <= 20 and self.count != 17)]


def bright(path, at=(24, 32)):
    """The numbers of the frames that are not black at a point, of those that `make` draws brighter than that."""
    return [number for number, frame in enumerate(read(path)[1]) if number > 4 and frame[at].mean() > 20]


def test_a_face_is_hidden_before_it_is_found_and_while_it_is_lost(tmp_path):
    path = make(tmp_path / "a.mp4", sound="aac")
    assert predict_video(Sometimes(), path, tmp_path / "out" / "a", hide=SOLID) == 0
    hold, before = round(RATE), round(RATE * Fraction(2, 5))
    hidden = [number for number, line in enumerate(lines(tmp_path / "out" / "a.jsonl")) if line["faces"]]
    assert hidden == list(range(15 - before, min(FRAMES, 21 + hold)))
    assert bright(tmp_path / "out" / "a.mp4") == list(range(5, 15 - before))
    assert bright(tmp_path / "out" / "a.mp4", (2, 2)) == list(range(5, FRAMES))
    assert {face["face"] for line in lines(tmp_path / "out" / "a.jsonl") for face in line["faces"]} == {1}
    assert packets_of_sound(tmp_path / "out" / "a.mp4") == packets_of_sound(path)


def samples(path, number):
    """All samples of a stream of sound, [N, channels]."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray().T if frame.format.is_planar else
                               frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
                               for frame in container.decode(audio=number)])


@pytest.mark.parametrize("name, codec, form, layout", [
    ("a.mkv", "pcm_s16le", "s16", "mono"), ("a.mov", "pcm_s24le", "s32", "stereo"), ("a.mp4", "aac", "fltp", "stereo"),
    ("a.mkv", "libopus", "s16", "mono"), ("a.mkv", "flac", "s16", "mono")])
def test_every_sample_of_every_stream_of_sound_is_kept(tmp_path, name, codec, form, layout):
    path, rate, rng = tmp_path / name, 48000, np.random.default_rng(2)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        tones = [container.add_stream(codec, rate=rate, layout=layout) for _ in range(2)]
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8), format="bgr24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for tone in tones:
            count = 1 if layout == "mono" else 2
            wave = (rng.normal(0, 3e3, (1, count * rate)) * (1 << 16 if form == "s32" else 1))
            wave = wave.astype({"s16": np.int16, "s32": np.int32}.get(form, np.float32))
            wave = (wave.reshape(count, -1) / 1e5).astype(np.float32) if form == "fltp" else wave
            frame = av.AudioFrame.from_ndarray(wave, format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(tone.encode(frame))
            container.mux(tone.encode(None))
    assert predict_video(Sometimes(), path, tmp_path / "out" / "a", hide=SOLID) == 0
    for number in range(2):
        heard, expected = samples(tmp_path / "out" / "a.mp4", number), samples(path, number)
        if codec == "libopus":      # PyAV does not leave out what a player of Opus does: the packets are compared
            assert packets_of_sound(tmp_path / "out" / "a.mp4") == packets_of_sound(path)
            break
        assert len(heard) == len(expected) >= rate and (heard.astype(expected.dtype) == expected).all()


def test_a_film_is_hidden_again_by_the_corrected_lines(tmp_path):
    path, found = make(tmp_path / "a.mp4"), tmp_path / "out" / "a.jsonl"
    predict_video(Sometimes(), path, tmp_path / "out" / "a", hide=SOLID)
    corrected = lines(found)
    for line in corrected:
        line["faces"] = [{"box_xyxy": [0, 0, 20, 20]}] if line["frame"] < 8 else []
    found.write_text("".join(json.dumps(line) + "\n" for line in corrected))
    assert predict_video(None, path, tmp_path / "out" / "a", hide=SOLID, known=read_film(found)) == 0
    assert bright(tmp_path / "out" / "a.mp4") == list(range(5, FRAMES))
    assert bright(tmp_path / "out" / "a.mp4", (8, 8)) == list(range(8, FRAMES))
    assert [line["faces"] for line in lines(found)] == [line["faces"] for line in corrected]
    former = (tmp_path / "out" / "a.mp4").read_bytes()
    for count in (FRAMES - 1, FRAMES + 1):
        with pytest.raises(InputError, match=f"{count} frames"):
            predict_video(None, path, tmp_path / "out" / "a", hide=SOLID, known=[[]] * count)
    assert (tmp_path / "out" / "a.mp4").read_bytes() == former


def test_only_a_whole_film_of_the_same_kind_is_skipped(tmp_path):
    path, stem = make(tmp_path / "a.mp4"), tmp_path / "out" / "a"
    assert not is_written(stem, "hidden")
    with pytest.raises(KeyboardInterrupt):
        predict_video(Sometimes(end=18), path, stem, hide=SOLID, note="hidden")
    assert len(read(f"{stem}.mp4")[0]) == 18 == len(lines(tmp_path / "out" / "a.jsonl"))
    assert bright(f"{stem}.mp4") == list(range(5, 10))            # what waited is hidden, too
    assert not is_written(stem, "hidden")
    predict_video(Sometimes(), path, stem, hide=SOLID, note="hidden")
    assert is_written(stem, "hidden") and not is_written(stem, "drawn")
    for suffix in ("mp4", "jsonl"):
        content = (tmp_path / "out" / f"a.{suffix}").read_bytes()
        (tmp_path / "out" / f"a.{suffix}").write_bytes(content[:len(content) // 2])
        assert not is_written(stem, "hidden")
        (tmp_path / "out" / f"a.{suffix}").write_bytes(content)


def test_frames_wait_only_as_long_as_they_must():
    read_ahead = 0

    def frames():
        nonlocal read_ahead
        for number in range(100):
            read_ahead = number
            yield Frame(number, number, np.zeros((8, 8, 3), np.uint8))
    for count, frame in enumerate(render(frames(), Sometimes(), 1, SOLID, lambda *_: None, rate=Fraction(10))):
        assert frame.number == count and read_ahead - count <= 10


def test_what_counts_as_a_video(tmp_path):
    film, image = make(tmp_path / "a.mkv"), write(tmp_path / "b.png")
    for path, name, is_one in ((film, "film without suffix", True), (film, "a.mxf", True), (image, "image", False)):
        assert is_video(str(path.rename(tmp_path / name))) == is_one
        (tmp_path / name).rename(path)
    (tmp_path / "text").write_text("text")
    assert not is_video(str(tmp_path / "text")) and not is_video(str(tmp_path)) and not is_video("none.mp4")
    assert is_video("rtsp://a/b") and is_stream("/dev/video0")
    assert [result_name(each) for each in ("rtsp://a/", "http://a/b.ts?x=1", "/dev/video0", "x/a#b?.mp4")] == [
        "stream", "b.ts", "video0", "a#b?.mp4"]


def test_a_stream_is_read_and_its_password_not_shown(tmp_path, capsys):
    make(tmp_path / "a.ts")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://jane:secret@127.0.0.1:{server.server_port}/a.ts"
        assert predict_video(Sometimes(), address, tmp_path / "out" / "a", hide=SOLID) == 0
    finally:
        server.shutdown()
    assert len(read(tmp_path / "out" / "a.mp4")[0]) == FRAMES and "secret" not in capsys.readouterr().out


def test_colours_stay_those_of_the_film(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        for _ in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane, value in zip(frame.planes, (120, 90, 200)):
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    predict_video(Sometimes(), path, tmp_path / "b", hide=SOLID)
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        assert container.streams.video[0].codec_context.colorspace == 1
        assert [np.frombuffer(plane, np.uint8)[0] for plane in frame.planes] == pytest.approx([120, 90, 200], abs=3)
