# SPDX-License-Identifier: Apache-2.0
"""Images that a certificate compares on, or a quantisation calibrates on.

    images = read_images("photos")
    for image in images: image.name, image.pixels       # read as they are taken, as often as wanted
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.utils.image_file import find_images, read_photo


class Image(NamedTuple):
    """A picture: its name, for messages, and uint8 [H, W, 3] BGR."""
    name: str
    pixels: np.ndarray


class ImageSet:
    """Images to take one after another, again and again.

    Args:
        name: of their folder, for the certificate.
        items: what `read` turns into an `Image` when it is its turn.
    """

    def __init__(self, name: str, items: Sequence[Any], read: Callable[[Any], Image] = lambda image: image):
        self.name = name
        self._items, self._read = items, read
        self._digests: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Image]:
        for item in self._items:
            image = self._read(item)
            self._digests.add(hashlib.sha256(image.pixels.tobytes()).digest())
            yield image

    def shared_with(self, other: ImageSet) -> int:
        """How many pictures of this set are in the other, too, among those that were taken of both."""
        return len(self._digests & other._digests)


def read_images(folder: str | Path, read: Callable[[Path], np.ndarray] = read_photo) -> ImageSet:
    """All images of a folder and of those below it, in order of their names; other files are passed over.

    Args:
        folder: the folder.
        read: `read_photo` turns photographs upright; `image.read_image` for a data set, whose boxes want it otherwise.
            Raises InputError, when it is its turn, for one that cannot be read.

    Raises:
        InputError: no such folder, or no image in it.
    """
    folder = Path(folder)
    paths = find_images(folder, recursive=True)
    return ImageSet(folder.resolve().name, paths,
                    lambda path: Image(path.relative_to(folder).as_posix(), read(path)))
