# SPDX-License-Identifier: Apache-2.0
"""What happens to an image of the training set that cannot be read.

    image = read_training_image(image_dir, record.path, index)      # in a data worker; raises BadImageError
    bad = BadImages(samples.describe);  bad.note(column)            # in the main process: names each file once
"""
from pathlib import Path
from typing import Callable

import numpy as np

from dependency.centernet.src.lib.utils.image import read_image
from dependency.errors import InputError
from src.common.log import LOGGER

NONE_BAD = -1
# So many images in a row that cannot be read are not bad images: something is wrong with all of them.
MOST_IN_A_ROW = 20


class BadImageError(InputError):
    """An image of the training set cannot be read; `index` says which one."""

    def __init__(self, message: str, index: int = NONE_BAD):
        super().__init__(message)
        self.index = index


def read_training_image(image_dir: Path, name: str, index: int) -> np.ndarray:
    """The image as uint8 BGR [H, W, 3].

    Args:
        image_dir, name: where it is. index: its place among the records, for the error.

    Raises:
        BadImageError: this image is missing, empty, not readable, or no image.
        InputError: the whole folder is gone.
    """
    try:
        return read_image(image_dir / name)
    except (InputError, OSError) as error:
        if not image_dir.is_dir():
            raise InputError(f"{image_dir}: the image folder is gone (it was there when training began); bring it "
                             "back and go on from the last checkpoint") from error
        raise BadImageError(str(error), index) from error


class BadImages:
    """Says once of every file that it cannot be read.

    Args:
        describe: image index -> its name.
    """

    def __init__(self, describe: Callable[[int], str]):
        self.describe = describe
        self.known: set[int] = set()

    def note(self, column: np.ndarray) -> int:
        """Name the new ones of a batch, int32 [B] with NONE_BAD for good samples; how many samples were replaced."""
        bad = column[column != NONE_BAD]
        for index in sorted(set(bad.tolist()) - self.known):
            self.known.add(index)
            LOGGER.warning("skipped image: %s cannot be read, another one takes its place (--bad_images error ends "
                           "the training instead)", self.describe(index))
        return len(bad)
