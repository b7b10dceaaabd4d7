# SPDX-License-Identifier: Apache-2.0
"""Images that a verification compares on, or a quantisation calibrates on.

    images = read_images("photos")
    for image in images: image.name, image.pixels       # read one after another, in every loop anew
"""
from __future__ import annotations

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
    """Images that are read when a loop comes to them.

    Args:
        name: of their folder, for the report.
        items: of each image a path, or whatever else `read` takes.
        read: item -> image.
    """

    def __init__(self, name: str, items: Sequence[Any], read: Callable[[Any], Image] = lambda image: image):
        self.name, self.items, self._read = name, items, read

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Image]:
        return map(self._read, self.items)


def read_images(folder: str | Path, read: Callable[[Path], np.ndarray] = read_photo) -> ImageSet:
    """Find the images of a folder and of its subfolders, sorted by name; ignore other files.

    Args:
        folder: the folder.
        read: `read_photo` turns photographs upright; `read_image` is for a data set, whose boxes are those of the
            stored pixels. Raises InputError, in the loop, for an image that cannot be read.

    Raises:
        InputError: no such folder, or no image in it.
    """
    folder = Path(folder)
    return ImageSet(folder.resolve().name, find_images(folder, recursive=True),
                    lambda path: Image(path.relative_to(folder).as_posix(), read(path)))
