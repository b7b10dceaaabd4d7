# SPDX-License-Identifier: Apache-2.0
"""Images of a verification: found below a folder, read like photographs."""
import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.errors import InputError
from src.export.images import read_images
from tests.dependency.test_image_file import encode, png_of, turned

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def test_images_are_found_below_a_folder(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "b" / "c" / "x.png"), PICTURE)
    cv2.imwrite(str(tmp_path / "a.jpg"), PICTURE)
    (tmp_path / "notes.txt").write_text("no image")
    images = read_images(tmp_path)
    assert len(images) == 2 and images.name == tmp_path.name
    for _ in range(2):
        assert [image.name for image in images] == ["a.jpg", "b/c/x.png"]
    (tmp_path / "empty").mkdir()
    for folder, message in ((tmp_path / "absent", "no such folder"), (tmp_path / "empty", "no image in this folder")):
        with pytest.raises(InputError, match=message):
            read_images(folder)


def test_images_are_read_as_prediction_reads_them(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(PICTURE, "JPEG", exif=turned()))
    (upright,), (stored,) = read_images(tmp_path), read_images(tmp_path, read_image)
    assert upright.pixels.shape == (128, 96, 3) and stored.pixels.shape == (96, 128, 3)
    for content, message in ((png_of(60000, 60000), "b.png: declares 60000 x 60000 pixels"),
                             (encode(PICTURE, "JPEG")[:-40], "b.png: cut off")):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(InputError, match=message):
            list(read_images(tmp_path))
