# SPDX-License-Identifier: Apache-2.0
"""Image files of every kind, and files that only look like one: what happens to each is stated in docs/formats.md."""
import io
import os
import struct
import zlib

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image, ImageFile

from dependency.centernet.src.lib.utils.image_file import (
    LOGGER,
    as_bgr,
    find_images,
    read_header,
    read_image,
    read_photo,
)
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


def turned(orientation=6):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def near(image, picture, most=6):
    return image.shape == picture.shape and np.abs(image.astype(int) - picture).mean() < most


@pytest.mark.parametrize("kind, mode, options", [
    ("JPEG", "RGB", {}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {"quality": 95}), ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}), ("BMP", "RGB", {}), ("WEBP", "RGB", {}), ("WEBP", "RGBA", {}), ("GIF", "P", {}),
    ("WEBP", "RGB", {"lossless": True}), ("TIFF", "RGB", {}), ("TIFF", "CMYK", {}), ("PPM", "RGB", {})])
def test_every_kind_is_read(tmp_path, picture, kind, mode, options):
    content = encode(picture, kind, mode, **options)
    image = read_photo(content)
    assert near(image, picture, 25 if kind == "GIF" else 6) and image.dtype == np.uint8 and image.flags.writeable
    path = tmp_path / "Ünïcode 图.txt"                       # the name does not matter
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path), image)
    np.testing.assert_array_equal(read_photo(str(path)), image)
    assert read_header(path) == (40, 60, 1)


def test_pixels_are_those_of_opencv(shared_data):
    paths = [*sorted((shared_data / "photos").iterdir()),
             *sorted((shared_data / "wider/val/images").glob("*/*.jpg"))[::20]]
    for path in paths:
        stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        np.testing.assert_array_equal(read_image(path), stored)
        np.testing.assert_array_equal(read_photo(path), cv2.imread(str(path)))


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("kind, mode, options", [
    ("JPEG", "RGB", {"quality": 95}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {"quality": 95}),
    ("JPEG", "L", {}), ("JPEG", "RGB", {"exif": turned()}), ("TIFF", "RGB", {"exif": turned()}), ("PNG", "RGB", {}),
    ("WEBP", "RGB", {})])
@pytest.mark.parametrize("size", [(203, 301), (5, 3), (64, 9)])
def test_a_smaller_image_is_the_mean_of_the_stored_pixels(tmp_path, reduction, kind, mode, options, size):
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    path = tmp_path / "x"
    path.write_bytes(encode(cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC), kind, mode, **options))
    stored, smaller = read_image(path), read_image(path, reduction)
    assert smaller.shape == (*-(-np.array(stored.shape[:2]) // reduction), 3) and smaller.dtype == np.uint8
    expected = np.array(Image.fromarray(stored).reduce(reduction))
    assert np.abs(smaller.astype(int) - expected).mean() < (3 if size == (203, 301) else 32)
    assert smaller.flags["C_CONTIGUOUS"] and (size != (203, 301) or expected.std() > 20), "the bound says something"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"exif": turned()}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_both_decoders_of_jpeg_give_the_same_pixels(tmp_path, mode, options):
    """Pillow decodes a file that does not end as a JPEG does."""
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8), (301, 203))
    content = encode(picture, "JPEG", mode, **options)
    for name, end in (("opencv", b""), ("pillow", b"\0\0")):
        (tmp_path / name).write_bytes(content + end)
    np.testing.assert_array_equal(*(read_image(tmp_path / name) for name in ("opencv", "pillow")))


def test_a_smaller_image_is_cut_off_as_a_whole_one_is(tmp_path, picture):
    path = tmp_path / "cut.jpg"
    content = encode(picture, "JPEG")
    path.write_bytes(content[:len(content) * 2 // 3])
    for reduction in (1, 2, 8):
        with pytest.raises(InputError, match="cut off or damaged"):
            read_image(path, reduction)


@pytest.mark.parametrize("kind, mode", [("PNG", "L"), ("PNG", "LA"), ("JPEG", "L"), ("PPM", "L"), ("PNG", "1")])
def test_grey_becomes_colour(picture, kind, mode):
    image = read_photo(encode(picture, kind, mode))
    assert image.shape == picture.shape and (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pnm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_eight(picture, suffix, channels):
    pixels = picture if channels == 3 else picture[..., 0]
    content = cv2.imencode(suffix, pixels.astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_array_equal(read_photo(content), as_bgr(pixels))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_and_images_of_data_sets_are_not(tmp_path, picture, suffix, orientation):
    path = tmp_path / f"x.{suffix}"
    kind = {"jpg": "JPEG"}.get(suffix, suffix.upper())
    path.write_bytes(encode(picture, kind, exif=turned(orientation)))
    across = picture.transpose(1, 0, 2)
    upright = {1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1], 5: across,
               6: across[:, ::-1], 7: across[::-1, ::-1], 8: across[::-1]}[orientation]
    assert near(read_photo(path), upright, 12)
    stored = read_image(path)
    assert read_header(path) == (*stored.shape[:2], orientation)
    assert suffix == "tiff" or near(stored, picture, 12)


@pytest.mark.parametrize("kind, mode", [("GIF", "P"), ("WEBP", "RGB"), ("PNG", "RGB")])
def test_of_an_animation_the_first_picture_counts(picture, kind, mode):
    others = [Image.new("RGB", (60, 40), "white").convert(mode)] * 2
    assert near(read_photo(encode(picture, kind, mode, save_all=True, append_images=others)), picture, 25)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_photographs_of_phones(picture, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif "AVIF" not in (Image.init(), Image.SAVE)[1]:
        pytest.skip("this Pillow writes no AVIF")
    assert near(read_photo(encode(picture, kind, quality=90)), picture)
    turned_photo = read_photo(encode(picture, kind, quality=90, exif=turned().tobytes()))
    assert near(turned_photo, picture.transpose(1, 0, 2)[:, ::-1])


def test_the_smallest_image():
    assert read_photo(encode(np.full((1, 1, 3), 200, np.uint8), "PNG")).tolist() == [[[200] * 3]]


def test_a_message_is_one_line_whatever_the_name(tmp_path):
    (tmp_path / "two\nlines.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"two\\nlines.jpg") as error:
        read_photo(tmp_path / "two\nlines.jpg")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [
    b"", b"junk", b"<svg></svg>", b"\xff\xd8\xff", b"GIF89a", b"P6 x y 255 ", b"\0\0\0\x18ftypheic" + bytes(20),
    b"\0\0\0\x18ftypisom" + bytes(20), b"version https://git-lfs.github.com/spec/v1", b"\xff\xd8\xff\xe0" + bytes(40),
    b"BM" + bytes(60), b"II*\0" + bytes(60), b"RIFF\4\0\0\0WEBPVP8Q", b"8BPS\0\1" + bytes(20),
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "x.jpg").write_bytes(content)
    for read in (read_photo, read_image, read_header):
        with pytest.raises(InputError, match="x.jpg"):
            read(tmp_path / "x.jpg")


@pytest.mark.parametrize("kind, options", [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}),
                                           ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("GIF", {})])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_cut_off_files_are_refused(picture, kind, options, share):
    content = encode(picture, kind, **options)
    with pytest.raises(InputError):
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
    "gif": b"GIF89a" + struct.pack("<HH", 60000, 60000) + bytes(3) + b",\0\0\0\0" + struct.pack("<HH", 60000, 60000)
           + b"\0\x08\1\0\0;",
    "pnm": b"P6 # a bomb\n60000 60000 255\n",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_of_huge_pixels_is_refused_by_its_header(tmp_path, kind, monkeypatch):
    (tmp_path / "bomb").write_bytes(BOMBS[kind])
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it must not be decoded"))
    for read in (read_photo, read_image, read_header):
        with pytest.raises(InputError, match="bomb.*60000 x 60000 pixels.*--max_pixels"):
            read(tmp_path / "bomb")


def test_the_limit_can_be_moved_and_pillows_own_stays(picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    content = encode(picture, "PNG")
    assert read_photo(content, max_pixels=2400).shape == picture.shape and Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(InputError, match="2,399"):
        read_photo(content, max_pixels=2399)


def test_files_that_are_none(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")                        # nobody waits for it
    for name in ("x.jpg", "loop.jpg", "absent.jpg", "pipe.jpg"):
        for read in (read_photo, read_image, read_header):
            with pytest.raises(InputError, match=name):
                read(tmp_path / name)


def test_arrays_of_every_accepted_form(picture):
    assert as_bgr(picture) is picture
    alpha = np.dstack([picture, np.zeros((40, 60), np.uint8)])
    np.testing.assert_array_equal(as_bgr(alpha), picture)
    assert as_bgr(alpha).flags["C_CONTIGUOUS"]
    for grey in (picture[..., 1], picture[..., 1:2]):
        np.testing.assert_array_equal(as_bgr(grey), np.dstack([picture[..., 1]] * 3))
    np.testing.assert_array_equal(as_bgr(picture.astype(np.uint16) * 256 + 255), picture)


@pytest.mark.parametrize("array", [
    np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.int32), np.zeros((4, 4, 3), bool),
    np.zeros((4, 4, 2), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8),
    np.zeros(4, np.uint8), [[1, 2], [3, 4]], np.array([None])], ids=str)
def test_other_arrays_are_refused(array):
    with pytest.raises(InputError):
        as_bgr(array)


def test_folders_are_searched_in_order_and_those_that_lead_back_once(tmp_path):
    top, elsewhere = tmp_path / "a", tmp_path / "elsewhere"
    for path in (top / "1.JPG", top / "b" / "3.jfif", elsewhere / "2.jpg", elsewhere / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (top / "b" / "back").symlink_to(top)
    (top / "self").symlink_to(top / "self")
    (top / "link").symlink_to(elsewhere)
    (top / "nothing.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (top / "folder.jpg").mkdir()
    assert [path.relative_to(top).as_posix() for path in find_images(top, True)] == ["1.JPG", "b/3.jfif", "link/2.jpg"]
    assert find_images(top) == [top / "1.JPG"]
    for folder in (top / "folder.jpg", tmp_path, tmp_path / "absent", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=folder.name):
            find_images(folder)


def test_what_is_passed_over_in_a_folder_is_counted(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    caplog.set_level("INFO")
    for name in ("a.jpg", "b.HEIC", "c.jpe", "d.mp4", "e.MP4", "notes"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "f.jpg").symlink_to(tmp_path / "absent")
    (tmp_path / "g").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg", "b.HEIC", "c.jpe"]
    for text in ("2 .mp4", "1 without suffix", "1 links to nothing", "1 folders"):
        assert text in caplog.text
    with pytest.raises(InputError, match="nothing"):
        find_images(tmp_path / "g")


def test_alpha_is_not_multiplied_in():
    """TIFF, grey 100 under alpha 128: as it is (ExtraSamples 2), and multiplied already (1), which is undone."""
    # Pillow 11 opens no grey TIFF of the second kind: an error, as for any file that is no image.
    for extra, stored in ((2, 100), (1, 50)) if int(PIL.__version__.split(".")[0]) >= 13 else ((2, 100),):
        tags = {256: (1, 4), 257: (1, 4), 258: (2, 8, 8), 262: (1, 1), 273: (1, 134), 277: (1, 2), 278: (1, 4),
                279: (1, 32), 338: (1, extra)}
        entries = b"".join(struct.pack("<HHI4s", tag, 3, count, struct.pack(f"<{count}H", *values))
                           for tag, (count, *values) in tags.items())
        head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries
        content = head.ljust(134, b"\0") + bytes([stored, 128]) * 16
        assert abs(int(read_photo(content)[0, 0, 0]) - 100) <= 1


def test_images_of_pillow_are_turned_and_stay_as_they_are(picture):
    image = Image.open(io.BytesIO(encode(picture, "PNG", exif=turned())))
    np.testing.assert_array_equal(read_photo(image), np.rot90(picture, -1))
    assert image.size == (60, 40)
    assert read_photo(Image.new("I;16", (2, 2), 1000)).max() == 1000 // 256
    cut = encode(picture, "PNG")[:400]
    with pytest.raises(InputError, match="Pillow"):
        read_photo(Image.open(io.BytesIO(cut)))
