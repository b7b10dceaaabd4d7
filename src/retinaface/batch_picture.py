# SPDX-License-Identifier: Apache-2.0
"""A training batch as a picture: what the network was shown and what its anchors were told."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from src.common.draw import contact_sheet, draw_faces, write_image
from src.retinaface.anchors import prior_box
from src.retinaface.coding import VARIANCE, decode_bbox, decode_landm
from src.retinaface.matching import BACKGROUND, IGNORED

GREY = 0.4


def batch_picture(batch: Sequence[np.ndarray], path: Path, variance: Sequence[float] = VARIANCE,
                  clip: bool = False) -> None:
    """Draw every sample with the faces that its anchors learn, ignored anchors darkened, into a PNG.

    Args:
        batch: image [B, S, S, 3] uint8 BGR, loc, conf and landm as `match` gives them, stacked.
        variance: of the coding. clip: of the anchors.
    """
    shown = []
    for image, loc, conf, landm in zip(*batch[:4]):
        faces = target_faces(loc, conf, landm, image.shape[0], variance, clip)
        shown.append(draw_faces(_darken(image, conf), faces, scores=False))
    write_image(path, contact_sheet(shown, columns=4, cell=320))


def target_faces(loc: np.ndarray, conf: np.ndarray, landm: np.ndarray, size: int,
                 variance: Sequence[float] = VARIANCE, clip: bool = False) -> Faces:
    """The different faces that a sample's targets describe, in pixels of the input of side `size`.

    Args:
        loc [N, 4], conf [N], landm [N, 10]: see `match`. Landmarks of faces without any are zeros.
    """
    has_face = (conf != BACKGROUND) & (conf != IGNORED)
    priors = prior_box((size, size), clip=clip)[has_face]
    boxes = decode_bbox(loc[has_face], priors, variance) * size
    landmarks = decode_landm(landm[has_face], priors, variance).reshape(-1, 5, 2) * size
    landmarks[conf[has_face] < 0] = 0
    _, first = np.unique(np.round(boxes, 1), axis=0, return_index=True)
    return Faces(boxes[first].astype(np.float32), np.ones(len(first), np.float32), landmarks[first].astype(np.float32))


def _darken(image: np.ndarray, conf: np.ndarray) -> np.ndarray:
    """The image with the cells of ignored anchors dark."""
    size = image.shape[0]
    dark = image.astype(np.float32)
    for x, y, width, height in prior_box((size, size))[conf == IGNORED] * size:
        left, top = int(max(0, x - width / 2)), int(max(0, y - height / 2))
        dark[top:int(y + height / 2) + 1, left:int(x + width / 2) + 1] = GREY * image[
            top:int(y + height / 2) + 1, left:int(x + width / 2) + 1]
    return dark.astype(np.uint8)
