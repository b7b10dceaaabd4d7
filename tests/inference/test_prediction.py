# SPDX-License-Identifier: Apache-2.0
"""Photographs: which files are looked at, and what is written for each."""
import json

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.align import TEMPLATE
from dependency.centernet.src.lib.utils.image_file import read_photo
from dependency.errors import InputError
from src.common.log import LOGGER
from src.inference.prediction import check_outputs, list_items, predict_photos
from tests.conftest import read_prediction


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


def stems(items):
    return [item.stem.as_posix() for item in items]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_and_folders_in_order_once_each(tmp_path):
    inside = [write(tmp_path / "f" / name) for name in ("a.jpg", "b.PNG", "ü 图.jpeg")]
    other = tmp_path / "z.bmp"
    write(other).rename(tmp_path / "any name")
    items = list_items([tmp_path / "f", tmp_path / "any name", inside[0]])
    assert [item.path for item in items] == [*inside, tmp_path / "any name"]
    for source in (tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(InputError, match=source.name):
            list_items([source])


def test_names_never_collide_and_no_image_is_overwritten(tmp_path):
    images = [write(tmp_path / folder / name) for folder, name in (("a", "x.jpg"), ("b", "x.jpg"), ("b", "x.png"))]
    items = list_items(images)
    assert stems(items) == ["x", "x_2", "x_3"]
    check_outputs(items, [], tmp_path / "out", "sheet.png")
    for out, sheet in ((tmp_path / "b", None), (tmp_path / "out", str(images[2])), (tmp_path / "out", "sheet.pdf")):
        with pytest.raises(InputError):
            check_outputs(items, [], out, sheet)


def test_results_of_an_earlier_run_are_not_looked_at(tmp_path):
    write(tmp_path / "sub" / "a.jpg")
    out = tmp_path / "found"
    for _ in range(2):
        items = list_items([tmp_path], True, out)
        assert stems(items) == ["sub/a"] and predict_photos(Finder(), items, out) == 0
    assert stems(list_items([out], True, out)) == ["sub/a"]                     # unless they are named


def test_drawing_text_json_and_sheet_are_written(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    images = [write(tmp_path / "in" / "a.png"), tmp_path / "in" / "broken.jpg", write(tmp_path / "in" / "图.jpg")]
    images[1].write_bytes(b"junk")
    assert predict_photos(Finder(), list_items(images), tmp_path / "out", str(tmp_path / "sheet.png")) == 1
    assert names(tmp_path / "out") == ["a.jpg", "a.json", "a.txt", "图.jpg", "图.json", "图.txt"]
    np.testing.assert_allclose(read_prediction(tmp_path / "out" / "a.txt"), [[0, 0, 60, 40, 0.75]])
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["width"] == 60 and content["faces"][0]["box_xyxy"] == [0, 0, 60, 40]
    assert len(content["faces"][0]["landmarks"]) == 5
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")).shape == (40, 60, 3)
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None and "broken.jpg" in caplog.text
    assert "a.png: 1 face, best score 0.750" in capsys.readouterr().out


def test_faces_are_written_cropped_and_upright_in_place_of_former_ones(tmp_path):
    image = write(tmp_path / "in" / "sub" / "a.png", 90, (112, 112))
    for name in ("a_001.png", "a_002.png", "a_003.png", "a_b_002.png"):
        write(tmp_path / "out" / "crops" / "sub" / name)
    items = list_items([tmp_path / "in"], True)
    assert predict_photos(Finder(), items, tmp_path / "out", crop=0.0, align=56) == 0
    assert names(tmp_path / "out" / "crops" / "sub") == ["a_001.png", "a_b_002.png"]
    crop = cv2.imread(str(tmp_path / "out" / "crops" / "sub" / "a_001.png"))
    np.testing.assert_array_equal(crop, cv2.imread(str(image)))
    aligned = cv2.imread(str(tmp_path / "out" / "aligned" / "sub" / "a_001.png"))
    assert aligned.shape == (56, 56, 3) and (aligned[2:-2, 2:-2] == 90).all()


@pytest.mark.parametrize("name, size", [("wide.png", (1, 65501)), ("x" * 251 + ".png", (8, 8))],
                         ids=["too wide for a JPEG", "no room for .json"])
def test_what_cannot_be_written_does_not_stop_the_others(tmp_path, name, size):
    images = [write(tmp_path / "in" / name, size=size), write(tmp_path / "in" / ("照" * 80 + ".png"))]
    assert predict_photos(Finder(), list_items(images), tmp_path / "out") == 1
    assert {"照" * 80 + suffix for suffix in (".jpg", ".json", ".txt")} <= set(names(tmp_path / "out"))
