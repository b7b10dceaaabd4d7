# SPDX-License-Identifier: Apache-2.0
"""Read image files, by Pillow (JPEG of data sets by OpenCV), as BGR uint8 [H, W, 3].

    image = read_image("val/images/a.jpg")          # of a data set: the pixels as stored
    image = read_image("val/images/a.jpg", reduction=4)      # a quarter as wide and high
    image = read_photo("photo.jpg")                 # of a camera: turned upright as its EXIF tag says
    height, width, orientation = read_header("a.jpg")       # without decoding
    paths = find_images("photos", recursive=True)

The two differ in one thing: the boxes of a data set (WIDER FACE, FDDB) are those of the stored pixels, so `read_image`
never turns them. (Pillow itself turns a TIFF: there all functions give the turned pixels.)
"""
from __future__ import annotations

import io
import logging
import os
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple, Union

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from dependency.errors import InputError
from dependency.files import existing_file, plain_text

LOGGER = logging.getLogger("facedet")
# What counts as an image in a folder. A file that is named one by one may have any name.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm",
                  ".pgm", ".pbm", ".heic", ".heif", ".avif")
# 800 MB when decoded; more than any camera's photograph.
MAX_PIXELS = 200_000_000
UPRIGHT = 1
OF_OPENCV = {("JPEG", "RGB"), ("JPEG", "L")}
END_OF_JPEG = b"\xff\xd9"
REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
           8: cv2.IMREAD_REDUCED_COLOR_8}
# Pillow's names of the formats that are read. Not all that Pillow reads: it passes EPS to ghostscript.
KINDS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF")
# Read where this Pillow can, or the package pillow-heif is installed.
OPTIONAL_KINDS = ("AVIF", "HEIF")
_LARGEST_FILE = 1 << 30
_START = 64
_ARRAYS = "expected a uint8 or uint16 array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], blue first"
_LOCK = threading.Lock()

# How images begin that were encoded as text: data URIs, JPEG, PNG, GIF, WebP.
_BASE64 = ("data:", "/9j/", "iVBOR", "R0lGOD", "UklGR")

Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]


class Header(NamedTuple):
    """Pixels as stored, and the EXIF orientation: 1 upright, 2 to 8 turned or mirrored."""
    height: int
    width: int
    orientation: int


def read_header(path: str | Path) -> Header:
    """Read the size and the orientation of an image file from its first bytes.

    Raises:
        InputError: as `read_image`.
    """
    with _opened(path, MAX_PIXELS) as image:
        return Header(image.height, image.width, _orientation(image))


class StoredImage:
    """An image file whose header is read: `height` and `width` are known before `read` decodes it.

    Raises:
        InputError: the file is missing, empty or not an image, or declares over `MAX_PIXELS`.
    """

    def __init__(self, path: str | Path):
        self._opened = _opened(path, MAX_PIXELS)
        self._image = self._opened.__enter__()
        self.height, self.width = self._image.height, self._image.width

    def read(self, reduction: int = 1, box: Sequence[int] | None = None) -> np.ndarray:
        """Decode the image as `read_image` does; once only.

        Args:
            box: left, top, right and bottom of the part to return, in pixels of the smaller image.
        """
        with ExitStack() as stack:
            stack.push(self._opened)        # closes the file, and gives an error its words
            pixels = _decode_jpeg(self._image, reduction)
            if pixels is None:
                pixels = _decode(self._image)
                if reduction > 1:
                    pixels = np.array(Image.fromarray(pixels).reduce(reduction))
            left, top, right, bottom = box or (0, 0, *pixels.shape[1::-1])
            return pixels[top:bottom, left:right]


def read_image(path: str | Path, reduction: int = 1) -> np.ndarray:
    """Decode an image of a data set to BGR uint8 [H, W, 3]; its EXIF orientation is ignored.

    Args:
        path: the file.
        reduction: 1, 2, 4 or 8: so many times fewer pixels a side, rounded up, each the mean of a square of the image.
            A JPEG is decoded at that scale at once, which takes less time.

    Raises:
        InputError: the file is missing, empty, cut off or not an image, or declares over `MAX_PIXELS`.
    """
    return StoredImage(path).read(reduction)


def read_photo(source: Source | Image.Image, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a photograph to BGR uint8 [H, W, 3], turned as its EXIF tag says; the first picture of an animation.

    The format is detected from the content, not from the name. 16 bits a channel become 8, grey and CMYK become colour,
    an alpha channel is left out.

    Args:
        source: a path, the content of a file, or an image of Pillow, which stays as it is.
        max_pixels: an image that declares more is refused before it is decoded.

    Raises:
        InputError: the file is missing, empty, cut off or not an image, or too large.
    """
    if isinstance(source, Image.Image):
        try:
            return _decode_upright(source)
        except Exception as error:          # Pillow decodes only now
            raise InputError(f"an image of Pillow, {source.mode}: cut off or damaged ({error})") from error
    with _opened(source, max_pixels) as image:
        return _decode_upright(image)


def read_profile(path: str | Path) -> bytes:
    """Read the ICC profile that says what the colours of a photograph mean; b"" where `read_photo` changes these.

    Raises:
        InputError: as `read_image`.
    """
    with _opened(path, MAX_PIXELS) as image:
        profile = image.info.get("icc_profile") or b""
        return profile if image.mode.startswith("RGB") and profile[16:20] == b"RGB " else b""


def find_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the files of a folder with one of the `IMAGE_SUFFIXES`, by name; log how many other files there are.

    Args:
        folder: where they are.
        recursive: also in the folders below, links followed, each folder once.

    Raises:
        InputError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{plain_text(folder)}: no such folder")
    images: list[Path] = []
    others: Counter[str] = Counter()
    folders = folders_below(folder) if recursive else [folder]
    for path in (path for each in folders for path in sorted(each.iterdir())):
        if path.is_dir():
            others["folders (--recursive)"] += not recursive
        elif not path.is_file():
            others["links to nothing, or devices"] += 1
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            others[plain_text(path.suffix.lower()) or "without suffix"] += 1
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()) if count)
    if not images:
        raise InputError(f"{plain_text(folder)}: no image in this folder; expected .jpg, .png or the like, found "
                         f"{counts or 'nothing'}")
    if counts:
        LOGGER.info("%s: not looked at: %s; name a file itself to have it looked at", plain_text(folder), counts)
    return images


def find_named(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Find images by names without suffix, as the WIDER files list them.

    Args:
        folder: holds them.
        names: "<event>/<name>", or deeper, or "<name>".

    Returns:
        A dict from each name that has a file to the name with the file's suffix.

    Raises:
        InputError: two images have one of these names.
    """
    names = set(names)
    found: dict[str, str] = {}
    for event in sorted({os.path.dirname(name) for name in names}):
        for file in sorted(os.listdir(folder / event)) if (folder / event).is_dir() else []:
            name, suffix = os.path.splitext(os.path.join(event, file))
            if name in names and suffix.lower() in IMAGE_SUFFIXES:
                if name in found:
                    raise InputError(f"{folder}: {found[name]} and {name}{suffix} are both the image {name}; move one "
                                     "of them away")
                found[name] = f"{name}{suffix}"
    return found


def missing_text(missing: Sequence[str], count: int, folder: Path) -> str:
    """Say which of `count` images are not in a folder; where all are missing, what is there instead."""
    text = f"{len(missing):,} of {count:,} images are not in {plain_text(folder)}, first {', '.join(missing[:3])}"
    if len(missing) < count:
        return text
    found = next((path for each in folders_below(folder) for path in sorted(each.iterdir())
                  if path.suffix.lower() in IMAGE_SUFFIXES), "no image")
    return f"{text}; expected for example {plain_text(folder / missing[0])}, found {plain_text(found)}"


def as_bgr(array: np.ndarray) -> np.ndarray:
    """Convert an array to uint8 [H, W, 3] BGR; return it unchanged if it has this form already.

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
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        hints = {1: "; of the content of a file: array.tobytes()", 4: "; of several images: list(array)"}
        raise InputError(f"an image of shape {list(array.shape)}: {_ARRAYS}{hints.get(array.ndim, '')}")
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return array if array.shape[2] == 3 else np.ascontiguousarray(array[..., :3])


@contextmanager
def _opened(source: Source, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image file and let Pillow read its header; an error inside the block becomes an InputError."""
    name = f"image of {len(source)} bytes" if isinstance(source, (bytes, bytearray, memoryview)) else \
        plain_text(os.fspath(source))
    with _file(source, name) as file:
        start = file.read(_START)
        if not start:
            raise InputError(f"{name}: an empty file (0 bytes); copy the image again")
        try:
            with _open_unlimited(file, _kinds(start)) as image:
                if image.width * image.height > max_pixels:
                    raise InputError(f"{name}: declares {image.width} x {image.height} pixels, more than the limit of "
                                     f"{max_pixels:,}; make it smaller, or raise the limit: predict.py --max_pixels, "
                                     "max_pixels= in Python")
                yield image
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(f"{name}: not an image, damaged at its start, or of an unknown kind{_hint(start)}; give a "
                             "JPEG, PNG, BMP, GIF, WebP, TIFF or PNM file") from error
        except Exception as error:          # a damaged file makes Pillow raise nearly anything
            raise InputError(f"{name}: cut off or damaged ({str(error) or type(error).__name__}); copy the image "
                             "again, or remove it") from error


def _file(source: Source, name: str) -> IO[bytes]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    file = existing_file(os.fspath(source), "an image file", _text_hint(os.fspath(source))).open("rb")
    if os.fstat(file.fileno()).st_size > _LARGEST_FILE:
        file.close()
        raise InputError(f"{name}: larger than {_LARGEST_FILE >> 20} MiB; not a photograph")
    return file


def _open_unlimited(file: IO[bytes], kinds: tuple[str, ...]) -> Image.Image:
    """Call `Image.open` without Pillow's own limit of pixels.

    Pillow's limit holds for the whole process; the limit of this module's callers holds for one call.
    """
    with _LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=kinds)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _kinds(start: bytes) -> tuple[str, ...]:
    """Return Pillow's names of the formats that a file with these first bytes may have."""
    if start[4:8] != b"ftyp":
        return KINDS
    Image.init()
    with suppress(ImportError):
        import pillow_heif
        pillow_heif.register_heif_opener()
    return tuple(kind for kind in OPTIONAL_KINDS if kind in Image.OPEN)


def folders_below(top: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, each once, even if links lead back to a folder above."""
    entered = set()
    for folder, below, _ in os.walk(top, followlinks=True, onerror=_tell):
        real = os.path.realpath(folder)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below.sort()
        yield Path(folder)


def _tell(error: OSError) -> None:
    LOGGER.error("%s: this folder is not searched (%s)", plain_text(error.filename), error.strerror)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        # EXIF that cannot be read says nothing about the pixels.
        return UPRIGHT


def _decode_upright(image: Image.Image) -> np.ndarray:
    image.load()
    return _decode(image if _orientation(image) == UPRIGHT else ImageOps.exif_transpose(image))


def _decode_jpeg(image: Image.Image, reduction: int) -> np.ndarray | None:
    """Decode a JPEG by OpenCV, to Pillow's pixels in three quarters of its time; None for what Pillow must decode.

    Of a file that is cut off, without an end marker, OpenCV would make the rest grey: Pillow says that it is cut off.
    """
    if not isinstance(image, JpegImageFile) or (image.format, image.mode) not in OF_OPENCV or not image.fp:
        return None
    image.fp.seek(0)
    content = image.fp.read()
    if not content.endswith(END_OF_JPEG):
        return None
    return cv2.imdecode(np.frombuffer(content, np.uint8), REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)


def _decode(image: Image.Image) -> np.ndarray:
    image.load()
    if image.mode in ("La", "RGBa"):        # colours that were multiplied by alpha
        image = image.convert(image.mode.upper())
    if image.mode == "F":
        raise ValueError("floating point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):          # 16 bits of grey
        return as_bgr(np.asarray(image).clip(0, 0xFFFF).astype(np.uint16))
    if image.mode != "RGB":
        image = image.convert("RGB")
    return cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)      # faster than Pillow's own "BGR"


def _hint(start: bytes) -> str:
    """Say what a file is that is often given in place of an image, as " (...)"; return "" if the kind is not known."""
    if start[4:8] == b"ftyp":
        brand = start[8:12].decode("ascii", "replace")
        if brand in ("heic", "heix", "hevc", "mif1", "msf1", "avif", "avis"):
            return f" (HEIC or AVIF, brand '{brand}': pip install pillow-heif)"
        return f" (a video, brand '{brand}')"
    if start.lstrip()[:1] == b"<":
        return " (a web page, SVG or XML)"
    if start.startswith(b"version https://git-lfs"):
        return " (a git-lfs pointer: git lfs pull fetches the image)"
    hint = _text_hint(start.decode("ascii", "replace"))
    return hint and f"; {hint}"


def _text_hint(text: str) -> str:
    """Say what to do with text that is not the name of a file; return "" if it is not known."""
    if text.startswith(_BASE64):
        return "of base64 text, or of a data URI after its comma: give base64.b64decode(text)"
    return "a URL: download it, and give the file or its bytes" if "://" in text else ""
