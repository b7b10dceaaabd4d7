# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of an image file say of it, before any decoder is trusted with the rest.

    header = read_header(Path("photo.jpg").read_bytes())        # None: no image of a known kind
    header.kind, header.width, header.height, header.is_whole   # "jpeg", 4000, 3000, True

A file of a few bytes can declare gigabytes of pixels, and decoders allocate what is declared.
"""
from __future__ import annotations

import re
import struct
from typing import Callable, NamedTuple

# No photograph has more parts before its pixels; a hostile file must not cost time.
_MOST_PARTS = 10_000
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, b"\xff\xd9"
_JPEG_FILL = re.compile(rb"\xff*")
_TIFF_NUMBERS = {3: "H", 4: "I"}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PNM_START = 1024


class Header(NamedTuple):
    """An image as its header declares it.

    kind: "jpeg", "png", "gif", "bmp", "webp", "tiff" or "pnm".
    width, height: pixels as stored, before any turning.
    is_whole: False where the file ends before its image does, as far as that shows without decoding.
    """
    kind: str
    width: int
    height: int
    is_whole: bool = True


def read_header(content: bytes) -> Header | None:
    """The header of an image file; None where it is none of the known kinds, or damaged at its start."""
    for magic, read in _READERS:
        if magic.match(content):
            try:
                header = read(content)
            except (struct.error, IndexError):      # ends inside the header
                return None
            return header if header and header.width > 0 and header.height > 0 else None
    return None


def _jpeg(content: bytes) -> Header | None:
    """ITU-T T.81, B.1: segments `FF marker length data`, of which a frame header has the size."""
    place, size = 2, None
    for _ in range(_MOST_PARTS):
        place = _JPEG_FILL.match(content, place).end()
        marker = content[place]
        if marker == _JPEG_SCAN:
            # Inside a scan every FF of the data is followed by 00 or a restart marker: this is no chance.
            return size and Header("jpeg", *size, content.find(_JPEG_END, place) >= 0)
        length, = struct.unpack_from(">H", content, place + 1)
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", content, place + 4)
            size = width, height
        place += 1 + max(2, length)
        if content[place] != 0xFF:
            return None
    return None


def _png(content: bytes) -> Header | None:
    width, height = struct.unpack_from(">II", content, 16)
    return Header("png", width, height, content.rfind(b"IEND") >= 0)


def _gif(content: bytes) -> Header | None:
    return Header("gif", *struct.unpack_from("<HH", content, 6))


def _bmp(content: bytes) -> Header | None:
    size, = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", content, 18)
    return Header("bmp", abs(width), abs(height))


def _webp(content: bytes) -> Header | None:
    """RFC 9649: one of three headers behind `RIFF size WEBP`."""
    length, kind = struct.unpack_from("<I4x4s", content, 4)
    is_whole = len(content) >= length + 8
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[place:place + 3], "little") for place in (24, 27))
    elif kind == b"VP8L":
        bits, = struct.unpack_from("<I", content, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    else:
        return None
    return Header("webp", width, height, is_whole)


def _tiff(content: bytes) -> Header | None:
    """TIFF 6.0, section 2: the first directory of `tag type count value`."""
    order = "<" if content[:1] == b"I" else ">"
    place, = struct.unpack_from(f"{order}I", content, 4)
    count, = struct.unpack_from(f"{order}H", content, place)
    values = {}
    for entry in range(place + 2, place + 2 + 12 * min(count, _MOST_PARTS), 12):
        tag, kind = struct.unpack_from(f"{order}HH", content, entry)
        if kind in _TIFF_NUMBERS and tag not in values:        # of two the first counts, as in libtiff
            values[tag], = struct.unpack_from(f"{order}{_TIFF_NUMBERS[kind]}", content, entry + 8)
    return Header("tiff", values.get(_TIFF_WIDTH, 0), values.get(_TIFF_HEIGHT, 0))


def _pnm(content: bytes) -> Header | None:
    words = re.sub(rb"#[^\r\n]*", b"", content[:_PNM_START]).split(maxsplit=3)
    if len(words) < 3 or not (words[1].isdigit() and words[2].isdigit()):
        return None
    return Header("pnm", int(words[1]), int(words[2]))


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], Header | None]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(re.escape(_PNG) + rb"....IHDR", re.DOTALL), _png),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"II\*\0|MM\0\*"), _tiff),
    (re.compile(rb"P[1-6]\s"), _pnm),
)
