# SPDX-License-Identifier: Apache-2.0
"""Photographs of every kind, and files that only look like one: what happens to each is stated in docs/formats.md."""
import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dependency.centernet.src.lib.utils.image_header import Header, read_header
from dependency.centernet.src.lib.utils.photo import as_bgr, plain_text, read_photo
from dependency.errors import InputError

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def picture():
    """BGR uint8 [40, 60, 3], smooth."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return cv2.GaussianBlur(noise, (9, 9), 0)


def encode(picture, kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[..., ::-1])).convert(mode).save(file, kind, **options)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


def near(image, picture, most=6):
    return image.shape == picture.shape and np.abs(image.astype(int) - picture).mean() < most


@pytest.mark.parametrize("kind, mode, options", [
    ("JPEG", "RGB", {}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {"quality": 95}), ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}), ("BMP", "RGB", {}), ("WEBP", "RGB", {}), ("WEBP", "RGBA", {}),
    ("WEBP", "RGB", {"lossless": True}), ("TIFF", "RGB", {}), ("TIFF", "CMYK", {}), ("PPM", "RGB", {})])
def test_every_kind_is_read_and_its_header_too(picture, kind, mode, options):
    content = encode(picture, kind, mode, **options)
    assert near(read_photo(content), picture)
    assert read_header(content)[1:] == (60, 40, True)


@pytest.mark.parametrize("kind, mode", [("PNG", "L"), ("PNG", "LA"), ("JPEG", "L"), ("PPM", "L"), ("PNG", "1")])
def test_grey_becomes_colour(picture, kind, mode):
    image = read_photo(encode(picture, kind, mode))
    assert image.shape == picture.shape and (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_become_eight(picture, suffix):
    content = cv2.imencode(suffix, picture.astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_array_equal(read_photo(content), picture)


def test_a_phones_portrait_is_turned_upright(picture):
    image = read_photo(encode(picture, "JPEG", exif=turned(), quality=95))
    assert near(image, cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE))


@pytest.mark.parametrize("kind, mode", [("GIF", "P"), ("WEBP", "RGB"), ("PNG", "RGB")])
def test_of_an_animation_the_first_picture_counts(picture, kind, mode):
    others = [Image.new("RGB", (60, 40), "white").convert(mode)] * 2
    try:
        image = read_photo(encode(picture, kind, mode, save_all=True, append_images=others))
    except InputError as error:                          # OpenCV before 4.11 knows no GIF
        assert kind != "PNG" and "save it again" in str(error) and cv2.__version__ < "4.12"
        return
    assert near(image, picture, 25)                      # a GIF has 256 colours


def test_the_smallest_image():
    assert read_photo(encode(np.full((1, 1, 3), 200, np.uint8), "PNG")).tolist() == [[[200] * 3]]


@pytest.mark.parametrize("name", ["wrong.txt", "no_suffix", "图 ü.jpg", "two\nlines .jpg", " .png", "-x.jpg",
                                  "%d.jpg"])
def test_names_do_not_matter(tmp_path, picture, name):
    path = tmp_path / name
    path.write_bytes(encode(picture, "PNG"))
    np.testing.assert_array_equal(read_photo(path), picture)
    np.testing.assert_array_equal(read_photo(str(path)), picture)


def test_a_message_is_one_line_whatever_the_name(tmp_path):
    (tmp_path / "two\nlines.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"two\\nlines.jpg: an empty file \(0 bytes\)") as error:
        read_photo(tmp_path / "two\nlines.jpg")
    assert "\n" not in str(error.value)
    assert plain_text(os.fsdecode(b"\xff.jpg")) == "\\udcff.jpg"


@pytest.mark.parametrize("content, message", [
    (b"", "an empty file"), (b"junk", "unknown kind"), (b"<svg></svg>", "a web page, SVG"),
    (b"\xff\xd8\xff", "damaged"), (b"GIF89a", "damaged"), (b"P6 x y 255 ", "damaged"),
    (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"), (b"\0\0\0\x18ftypisom" + bytes(20), "a video"),
    (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    (b"BM" + bytes(60), "damaged"), (b"II*\0" + bytes(60), "damaged"), (b"RIFF\4\0\0\0WEBPVP8Q", "damaged")])
def test_what_is_no_image_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        read_photo(content)


@pytest.mark.parametrize("kind, options", [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}),
                                           ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("GIF", {})])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_cut_off_files_are_refused(picture, kind, options, share):
    content = encode(picture, kind, **options)
    with pytest.raises(InputError, match="cut off|damaged"):
        read_photo(content[:int(share * len(content))])


def png_of(width, height):
    """A tiny PNG that declares this size."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BOMBS = {
    "png": png_of(60000, 60000),
    "jpeg": b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 60000, 60000, 3) + bytes(9) + b"\xff\xda\0\2\xff\xd9",
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 60000, -60000) + bytes(28),
    "gif": b"GIF89a" + struct.pack("<HH", 60000, 60000) + bytes(9),
    "webp": b"RIFF\x16\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + (59999).to_bytes(3, "little") * 2,
    "tiff": b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHIIHHII", 256, 4, 1, 60000, 257, 3, 1, 60000) + bytes(4),
    "pnm": b"P6 # a bomb\n60000 60000 255\n",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_of_huge_pixels_is_refused_by_its_header(kind, monkeypatch):
    assert read_header(BOMBS[kind]) == Header(kind, 60000, 60000)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it must not be decoded"))
    with pytest.raises(InputError, match="60000 x 60000 pixels, more than the limit of 200,000,000.*--max_pixels"):
        read_photo(BOMBS[kind])


@pytest.mark.parametrize("content", [
    b"II*\0\x08\0\0\0\3\0" + struct.pack("<" + "HHII" * 3, 256, 3, 1, 60000, 256, 3, 1, 1, 257, 3, 1, 50000),
    b"P6\n# a remark\r60000 50000 255\n", b"P6\r60000\r50000\r255\r",
    b"P6\n# a remark\r\n60000 # another\n50000 255\n"],
    ids=["tiff with a tag twice", "pnm remark up to CR", "pnm with CR", "pnm with CRLF"])
def test_sizes_that_another_reading_would_miss(content):
    """The decoder's reading counts: otherwise huge pixels pass as few."""
    assert read_header(content)[1:3] == (60000, 50000)


def test_the_limit_can_be_moved(picture):
    content = encode(picture, "PNG")
    assert read_photo(content, max_pixels=2400).shape == picture.shape
    with pytest.raises(InputError, match="limit of 2,399"):
        read_photo(content, max_pixels=2399)


def test_a_jpeg_of_endless_parts_takes_no_time():
    assert read_header(b"\xff\xd8" + b"\xff\xe1\0\2" * 3_000_000) is None


def test_files_that_are_none(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name, message in (("x.jpg", "a folder"), ("loop.jpg", "no such"), ("absent.jpg", "no such")):
        with pytest.raises(InputError, match=message):
            read_photo(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match="no such image file"):
        read_photo(tmp_path / "pipe.jpg")


def test_arrays_of_every_accepted_form(picture):
    assert as_bgr(picture) is picture
    alpha = np.dstack([picture, np.zeros((40, 60), np.uint8)])
    np.testing.assert_array_equal(as_bgr(alpha), picture)
    assert as_bgr(alpha).flags["C_CONTIGUOUS"]
    for grey in (picture[..., 1], picture[..., 1:2]):
        np.testing.assert_array_equal(as_bgr(grey), np.dstack([picture[..., 1]] * 3))
    np.testing.assert_array_equal(as_bgr(picture.astype(np.uint16) * 256 + 255), picture)


@pytest.mark.parametrize("array, message", [
    (np.zeros((4, 4, 3), np.float32), r"float32.*\(255 \* image\)"), (np.zeros((4, 4, 3), np.int32), "int32"),
    (np.zeros((4, 4, 3), bool), "bool"), (np.zeros((4, 4, 2), np.uint8), r"shape \[4, 4, 2\]"),
    (np.zeros((2, 4, 4, 3), np.uint8), r"shape \[2, 4, 4, 3\]"), (np.zeros((0, 4, 3), np.uint8), r"shape \[0, 4, 3\]"),
    (np.zeros(4, np.uint8), r"shape \[4\]"), ([[1, 2], [3, 4]], "type list"), (np.array([None]), "object")])
def test_other_arrays_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        as_bgr(array)
