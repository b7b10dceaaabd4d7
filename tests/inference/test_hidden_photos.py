# SPDX-License-Identifier: Apache-2.0
"""Photographs with hidden faces: nothing of the face is left in the file, the rest is as it was."""
import json

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.hide import Hide
from dependency.centernet.src.lib.utils.image_file import read_photo
from src.inference.hidden_photos import hide_photos
from src.inference.prediction import is_written, left_to_do, list_items
from tests.inference.test_prediction import Finder, names, write

BOX = [40, 20, 80, 60]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class OneFace(Finder):
    """Finds one face at the same place."""

    def detect(self, images):
        self.looked_at += len(images)
        return [Faces(np.array([BOX], np.float32), np.array([0.75], np.float32), np.zeros((1, 5, 2), np.float32))
                for _ in images]


def picture():
    image = np.full((100, 160, 3), 90, np.uint8)
    cv2.rectangle(image, BOX[:2], BOX[2:], (0, 0, 255), -1)        # the face is red
    image[25:55:2, 45:75] = 0
    return image


def photograph(path, turned=False, **options):
    """A photograph with a face, its thumbnail in the EXIF, a text and a profile; `turned` as by a camera."""
    image = Image.fromarray(picture()[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    exif[0x010F] = "camera of Jane"
    image = image.transpose(Image.Transpose.ROTATE_90) if turned else image
    exif.get_ifd(0x8825)[1] = "N"
    image.save(path, exif=exif.tobytes() + b"thumbnail of Jane", icc_profile=PROFILE, **options)
    return path


@pytest.mark.parametrize("style", ["blur", "mosaic", "solid"])
@pytest.mark.parametrize("turned", [False, True])
def test_neither_pixels_nor_metadata_show_the_face(tmp_path, turned, style):
    path = photograph(tmp_path / "a.jpg", turned, comment=b"Jane")
    before = path.read_bytes()
    items = list_items([path])
    assert hide_photos(OneFace(), items, tmp_path / "out", Hide(style)) == 0
    assert path.read_bytes() == before and names(tmp_path / "out") == ["a.jpg", "a.json"]
    with Image.open(tmp_path / "out" / "a.jpg") as hidden:
        assert hidden.size == (160, 100) and not hidden.getexif() and hidden.info["icc_profile"] == PROFILE
        assert b"Jane" not in hidden.info["comment"]
    assert b"Jane" not in (tmp_path / "out" / "a.jpg").read_bytes()
    pixels = read_photo(tmp_path / "out" / "a.jpg").astype(int)
    assert np.ptp(pixels[25:55, 45:75].sum(axis=2), axis=0).max() < 200       # of 255: no stripes
    assert np.abs(pixels[80:] - 90).max() < 4
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["faces"] == [{"score": 0.75, "box_xyxy": BOX}] and content["height"] == 100


def test_of_several_pictures_in_a_file_only_the_first_is_written(tmp_path):
    first, second = Image.fromarray(picture()[..., ::-1]), Image.new("RGB", (160, 100), "red")
    for name in ("a.mpo", "b.gif", "c.tif", "d.webp"):
        first.copy().save(tmp_path / name, save_all=True, append_images=[second.copy()])
    assert hide_photos(OneFace(), list_items([tmp_path]), tmp_path / "out", Hide("solid")) == 0
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        content = (tmp_path / "out" / name).read_bytes()
        assert content.count(b"\xff\xd8\xff") == 1
        assert np.abs(read_photo(tmp_path / "out" / name)[90:].astype(int) - 90).max() < 6


def test_profiles_of_other_colours_are_left_out(tmp_path):
    write(tmp_path / "a.png")
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "b.jpg", icc_profile=PROFILE)
    assert hide_photos(OneFace(), list_items([tmp_path]), tmp_path / "out", Hide()) == 0
    for name in ("a.jpg", "b.jpg"):
        with Image.open(tmp_path / "out" / name) as hidden:
            assert "icc_profile" not in hidden.info


def test_a_profile_of_many_segments_is_whole(tmp_path):
    profile = PROFILE[:16] + b"RGB " + bytes(range(256)) * 600
    Image.fromarray(picture()).save(tmp_path / "a.png", icc_profile=profile)
    assert hide_photos(OneFace(), list_items([tmp_path]), tmp_path / "out", Hide()) == 0
    with Image.open(tmp_path / "out" / "a.jpg") as hidden:
        assert hidden.info["icc_profile"] == profile


def test_whole_results_of_the_same_kind_are_skipped(tmp_path, capsys):
    items, out = list_items([write(tmp_path / "a.png"), write(tmp_path / "b.png")]), tmp_path / "out"
    assert left_to_do(items, out, str(Hide()), is_written) == items
    hide_photos(OneFace(), items, out, Hide())
    assert left_to_do(items, out, str(Hide()), is_written) == [] and capsys.readouterr().out.count("skipped") == 2
    for other in (str(Hide("solid")), str(Hide(grow=1.5)), "faces drawn"):
        assert left_to_do(items, out, other, is_written) == items
    (out / "a.json").unlink()                                        # half a result
    write(tmp_path / "b.png", size=(30, 30))                        # another image of this name
    assert left_to_do(items, out, str(Hide()), is_written) == items


def test_an_image_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"junk")
    write(tmp_path / "b.png")
    assert hide_photos(OneFace(), list_items([tmp_path]), tmp_path / "out", Hide()) == 1
    assert names(tmp_path / "out") == ["b.jpg", "b.json"]
