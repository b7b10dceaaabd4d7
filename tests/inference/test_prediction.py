# SPDX-License-Identifier: Apache-2.0
"""Photographs: which files are looked at, and what is written for each."""
import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.align import TEMPLATE
from dependency.centernet.src.lib.utils.image_file import read_photo
from dependency.errors import InputError
from src.common.log import LOGGER
from src.inference import prediction
from src.inference.prediction import Item, check_outputs, list_items, predict_photos
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


def test_results_of_an_earlier_run_are_not_looked_at(tmp_path, monkeypatch):
    write(tmp_path / "sub" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    for out, sheet in (("found", "sheet.jpg"), ("found", "sheet.jpg"), ("other", "s.webp"), ("third", "s.webp")):
        items = list_items(["."], True, sheet)
        assert stems(items) == ["sub/a"]
        check_outputs(items, [], Path(out), sheet)
        assert predict_photos(Finder(), items, Path(out), sheet, crop=0.0, align=56) == 0
    assert stems(list_items(["found/sub"])) == ["a"]                            # unless nothing else is there


def test_nothing_is_written_outside_the_output_folder(tmp_path):
    write(tmp_path / "a.jpg").rename(tmp_path / "..jpg")
    items = list_items([tmp_path / "..jpg"])
    assert predict_photos(Finder(), items, tmp_path / "out", crop=0.0) == 0
    assert names(tmp_path) == ["..jpg", "out"] and names(tmp_path / "out" / "crops") == ["..jpg_001.png"]
    image = write(tmp_path / "in" / "sub" / "a.jpg")
    items = list_items([tmp_path / "in"], True)
    (tmp_path / "own").mkdir()
    for link in ("sub", "crops"):
        (tmp_path / f"out_{link}").mkdir()
        (tmp_path / f"out_{link}" / link).symlink_to(tmp_path / "own")
    for wrong, out in ((items, tmp_path / "out_sub"), ([Item(image, Path("../a"))], tmp_path / "out")):
        with pytest.raises(InputError, match="outside"):
            check_outputs(wrong, [], out)
    assert predict_photos(Finder(), items, tmp_path / "out_crops", crop=0.0) == 1
    assert names(tmp_path / "own") == []


@pytest.mark.parametrize("name, content", [("a.txt", b"0 0.5 0.5 0.1 0.2\n"), ("a.json", b'{"version": "5.0.1"}'),
                                           ("a.jpg", b"photograph"), ("v.mp4", b"\0\0\0\x18ftypisom")])
def test_files_of_others_are_not_overwritten(tmp_path, name, content):
    items = [Item(tmp_path / "a.png", Path("a"))]
    videos = [Item(tmp_path / "v.mov", Path("v"))]
    write(tmp_path / "a.png")
    assert predict_photos(Finder(), items, tmp_path) == 0
    check_outputs(items, videos, tmp_path)                                      # its own are
    for path in tmp_path.glob("a.[jt]*"):
        path.unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        check_outputs(items, videos, tmp_path)


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
    for name in ("a_001.png", "a_002.png", "a_004.png", "a_1000.png", "a_b_002.png", "a_100_002.png"):
        write(tmp_path / "out" / "crops" / "sub" / name)
    items = list_items([tmp_path / "in"], True)
    assert predict_photos(Finder(), items, tmp_path / "out", crop=0.0, align=56) == 0
    assert names(tmp_path / "out" / "crops" / "sub") == ["a_001.png", "a_100_002.png", "a_b_002.png"]
    crop = cv2.imread(str(tmp_path / "out" / "crops" / "sub" / "a_001.png"))
    np.testing.assert_array_equal(crop, cv2.imread(str(image)))
    aligned = cv2.imread(str(tmp_path / "out" / "aligned" / "sub" / "a_001.png"))
    assert aligned.shape == (56, 56, 3) and (aligned[2:-2, 2:-2] == 90).all()


def test_what_cannot_be_written_does_not_stop_the_others(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    images = [write(tmp_path / "in" / "wide.png", size=(1, 65501)), write(tmp_path / "in" / "b.png"),
              write(tmp_path / "in" / "c.png")]
    (tmp_path / "out" / "b.txt").mkdir(parents=True)
    assert predict_photos(Finder(), list_items(images), tmp_path / "out") == 1
    assert {"c.jpg", "c.json", "c.txt"} <= set(names(tmp_path / "out")) and "2 of 3 images" in caplog.text


def test_names_as_long_as_names_may_be(tmp_path):
    long = ["x" * 251, "x" * 250 + "y", "照" * 83]
    images = [write(tmp_path / "in" / f"{name}.png") for name in long]
    assert predict_photos(Finder(), list_items(images), tmp_path / "out", crop=0.0, align=56) == 0
    results = [json.loads(path.read_text())["image"] for path in (tmp_path / "out").glob("*.json")]
    assert sorted(results) == sorted(map(str, images)) and len(names(tmp_path / "out" / "crops")) == 3


def test_a_full_disk_ends_the_run(tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prediction, "write_image", fill)
    finder, images = Finder(), [write(tmp_path / f"{name}.png") for name in "abcdef"]
    with pytest.raises(OSError):
        predict_photos(finder, list_items(images), tmp_path / "out")
    assert finder.looked_at == 2


def test_a_name_that_is_no_text_for_the_sheet(tmp_path):
    sheet = os.fsdecode(b"\xff.\xfe")
    with pytest.raises(InputError, match="--sheet"):        # OpenCV itself crashes
        check_outputs([], [], tmp_path, sheet)
