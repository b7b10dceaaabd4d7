# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files of every kind that the project reads: each ends in a result or an InputError, soon.

Mutations are seeded: bytes turned, cut out, doubled, sizes made huge, files cut off or joined. A crash of the process
fails the whole test run; a pickle or any other code in a file would leave a mark in the test's folder.
"""
import warnings

import numpy as np
import pytest

from dependency.centernet.src.lib.utils.image_file import read_header, read_photo
from src.annotations.read_write import read_annotations
from tests.dependency.test_image_file import encode, turned
from tests.mutations import mutate, outcome

IMAGES = 100                                # cases of each kind
TEXTS = 200
LIMIT = 1_000_000                           # pixels


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.mark.parametrize("kind, mode, options", [
    ("JPEG", "RGB", {"exif": turned()}), ("JPEG", "CMYK", {"progressive": True}), ("PNG", "RGBA", {}), ("PNG", "P", {}),
    ("GIF", "P", {}), ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("BMP", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("PPM", "RGB", {})])
def test_photographs(picture, kind, mode, options):
    content = encode(picture, kind, mode, **options)
    rng = np.random.default_rng(len(content))
    for _ in range(IMAGES):
        damaged = mutate(content, rng)
        if outcome(read_photo, damaged, LIMIT) == "read":
            image = read_photo(damaged, LIMIT)
            assert image.dtype == np.uint8 and image.shape[2] == 3
            assert image.shape[0] * image.shape[1] <= LIMIT


def test_headers_for_training(tmp_path, picture):
    path = tmp_path / "x.jpg"
    rng = np.random.default_rng(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # Pillow remarks on damaged EXIF
        for kind in ("JPEG", "PNG", "TIFF"):
            content = encode(picture, kind)
            for _ in range(15):
                path.write_bytes(mutate(content, rng))
                outcome(read_header, path)


LABEL = (b"# a/b.jpg\n1 2 30 40 5 6 0.0 7 8 0.0 9 10 1.0 11 12 0.0 13 14 0.0 0.5\n1 2 3 4 " + b"-1.0 " * 16
         + b"\n# c.jpg\n")
WIDER = b"a/b.jpg\n2\n1 2 30 40 0 0 0 0 0 0\n5 6 7 8 1 1 1 1 2 1\nc.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"
COCO = (b'{"categories": [{"id": 1, "name": "face"}], "images": [{"id": 1, "file_name": "a.jpg", "height": 10, '
        b'"width": 9}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": '
        b'[1, 2, 2, 3, 4, 2, 5, 6, 1, 0, 0, 0, 7, 8, 2], "num_keypoints": 4, "area": 12, "iscrowd": 0}]}')


@pytest.mark.parametrize("name, content", [("label.txt", LABEL), ("wider_bbx_gt.txt", WIDER), ("train.json", COCO)])
def test_annotations(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert outcome(read_annotations, path) == "read"
    rng = np.random.default_rng(len(content))
    seen = set()
    for _ in range(TEXTS):
        path.write_bytes(mutate(content, rng))
        seen.add(outcome(read_annotations, path))
    path.write_bytes(b"[" * 200_000)
    assert seen >= {"refused"} and outcome(read_annotations, path) == "refused"
