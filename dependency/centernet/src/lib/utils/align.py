# SPDX-License-Identifier: Apache-2.0
"""Turn faces upright, as face recognisers need them.

    chips = align_faces(image, landmarks, 112)          # [N, 5, 2] -> uint8 [N, 112, 112, 3]

Landmarks are pixels, in the project's order: left eye, right eye, nose, left and right mouth corner, left in the image.
"""
import cv2
import numpy as np

from dependency.errors import InputError

# Where ArcFace's networks have the landmarks in images of 112 x 112 (Deng et al. 2019; its authors' alignment).
TEMPLATE_SIDE = 112
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
                     [70.7299, 92.2041]], np.float64)


def align_faces(image: np.ndarray, landmarks: np.ndarray, size: int = TEMPLATE_SIDE) -> np.ndarray:
    """Cut out each face, turned and scaled so that its landmarks lie on the template; black outside the image.

    Args:
        image: uint8 [H, W, 3].
        landmarks: [N, 5, 2] pixels of the image.
        size: side of the results; the template grows with it.

    Returns:
        uint8 [N, size, size, 3].

    Raises:
        InputError: a face whose landmarks are one point or not finite; size under 1.
    """
    if size < 1:
        raise InputError(f"size {size}: the side of an aligned face has at least 1 pixel")
    target = TEMPLATE * (size / TEMPLATE_SIDE)
    chips = [cv2.warpAffine(image, similarity(points, target), (size, size), flags=cv2.INTER_LINEAR)
             for points in landmarks]
    return np.stack(chips) if chips else np.empty((0, size, size, 3), np.uint8)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the rotation, scale and shift that bring points nearest to others in the sum of squares, without mirroring.

    The solution of Umeyama (1991, equations 40 - 43). In the plane, with points as complex numbers, it is one division.

    Args:
        source, target: [N, 2].

    Returns:
        [2, 3] float64: target ~ matrix[:, :2] @ source + matrix[:, 2].

    Raises:
        InputError: the source is one point or not finite.
    """
    a, b = (np.asarray(points, np.float64) @ (1, 1j) for points in (source, target))
    centred = a - a.mean()
    spread = np.vdot(centred, centred).real
    if not (np.isfinite(spread) and spread > 0):
        raise InputError(f"landmarks {np.asarray(source).tolist()} are one point, or not finite: this face cannot be "
                         "aligned; was the network trained with landmarks?")
    factor = np.vdot(centred, b) / spread
    shift = b.mean() - factor * a.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
