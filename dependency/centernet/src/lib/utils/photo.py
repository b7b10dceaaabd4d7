# SPDX-License-Identifier: Apache-2.0
"""Photographs of unknown origin as the one kind of array that a detector takes: BGR uint8 [H, W, 3], upright.

    image = read_photo("photo.jpg")              # a path, or the bytes of a file
    image = as_bgr(array)                        # grey, with alpha, 16 bit

Data sets are read by `image.read_image`: their boxes are drawn on the pixels as stored.
"""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.image_header import read_header
from dependency.errors import InputError

# 600 MB when decoded; more than any camera's photograph.
MAX_PIXELS = 200_000_000
KINDS = "JPEG, PNG, BMP, GIF, WebP, TIFF or PNM"
_LARGEST_FILE = 1 << 30
_ARRAYS = "expected a uint8 or uint16 array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], blue first"


def read_photo(source: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file to BGR uint8 [H, W, 3], turned as its EXIF tag says; the first picture of an animation.

    The kind is told by the content, never by the name. 16 bits a channel become 8, grey and CMYK become colour,
    an alpha channel is left out.

    Args:
        source: a path (any name), or the content of a file.
        max_pixels: an image that declares more is refused before it is decoded.

    Raises:
        InputError: no such file, empty, no image, cut off, or too large.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        content, name = bytes(source), f"image of {len(source)} bytes"
    else:
        path = Path(source)
        name = plain_text(path)
        content = _content(path, name)
    if not content:
        raise InputError(f"{name}: an empty file (0 bytes); copy the image again")
    header = read_header(content)
    if header is None:
        raise InputError(f"{name}: not an image, damaged at its start, or of an unknown kind{_hint(content)}; give a "
                         f"{KINDS} file")
    if header.width * header.height > max_pixels:
        raise InputError(f"{name}: declares {header.width} x {header.height} pixels, more than the limit of "
                         f"{max_pixels:,}; if that is meant, raise it: predict.py --max_pixels, or "
                         "max_pixels= in Python")
    if not header.is_whole:
        raise InputError(f"{name}: cut off after {len(content)} bytes; copy the image again")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{name}: OpenCV cannot decode this {header.kind} file ({error.err}); save it again as JPEG "
                         "or PNG") from error
    if image is None:
        raise InputError(f"{name}: damaged, or of a sort of {header.kind} that OpenCV {cv2.__version__} cannot read; "
                         "save it again as JPEG or PNG")
    return image


def as_bgr(array: np.ndarray) -> np.ndarray:
    """The array as uint8 [H, W, 3] BGR: itself where it is that.

    Grey is repeated, a fourth channel (alpha) left out, uint16 divided by 256, as `read_photo` does with files.

    Raises:
        InputError: another type or shape; nothing is guessed of floating point numbers.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"an image of type {type(array).__name__}: {_ARRAYS}")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        hint = "; numbers in 0 .. 1: (255 * image).round().astype('uint8')" if array.dtype.kind == "f" else ""
        raise InputError(f"an image of {array.dtype}: {_ARRAYS}{hint}")
    grey = array.ndim == 2 or array.ndim == 3 and array.shape[2] == 1
    if not grey and (array.ndim != 3 or array.shape[2] not in (3, 4)) or not array.size:
        raise InputError(f"an image of shape {list(array.shape)}: {_ARRAYS}")
    if grey:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2BGR)
    return array if array.shape[2] == 3 else np.ascontiguousarray(array[..., :3])


def plain_text(path: str | Path) -> str:
    """A file's name for one line of text: line breaks and bytes that are no text are written as escapes."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def _content(path: Path, name: str) -> bytes:
    if path.is_dir():
        raise InputError(f"{name}: a folder, not an image file")
    if not path.is_file():
        raise InputError(f"{name}: no such image file")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{name}: larger than {_LARGEST_FILE >> 20} MiB; not a photograph")
    return path.read_bytes()


def _hint(content: bytes) -> str:
    """What a file is that people take for an image."""
    if content[4:8] == b"ftyp":
        brand = content[8:12].decode("ascii", "replace")
        is_image = brand in ("heic", "heix", "hevc", "mif1", "msf1", "avif", "avis")
        return f" ({'HEIC or AVIF' if is_image else 'a video'}, brand '{brand}')"
    if content.lstrip()[:1] == b"<":
        return " (a web page, SVG or XML)"
    if content.startswith(b"version https://git-lfs"):
        return " (a git-lfs pointer: git lfs pull fetches the image)"
    return ""
