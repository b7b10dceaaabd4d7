# SPDX-License-Identifier: Apache-2.0
"""Boxes and landmarks as offsets from anchors, and back.

    loc = bbox_encode(boxes, priors, (0.1, 0.2)); boxes = decode_bbox(loc, priors, (0.1, 0.2))

Boxes are xyxy, priors (centre x, centre y, width, height), both as shares of the input's width and height; row i goes
with prior i. Decoders take leading batch dimensions.

Box (Ren et al. 2015, equation 2, divided by the variances v as in SSD):
t_xy = (centre - prior_xy) / (v0 prior_wh), t_wh = ln(wh / prior_wh) / v1; landmark: t = (p - prior_xy) / (v0 prior_wh).
"""
from collections.abc import Sequence

import numpy as np

POINTS = 5
# Scale of the offsets: centre and landmarks, size.
VARIANCE = (0.1, 0.2)
# ln of a side of zero must stay finite.
SMALLEST_RATIO = 1e-12


def bbox_encode(matched: np.ndarray, priors: np.ndarray, variances: Sequence[float]) -> np.ndarray:
    """Boxes [N, 4] xyxy as offsets [N, 4] float32 from their priors [N, 4]."""
    centres = (matched[:, :2] + matched[:, 2:]) / 2
    ratios = (matched[:, 2:] - matched[:, :2]) / priors[:, 2:]
    offsets = (centres - priors[:, :2]) / (variances[0] * priors[:, 2:])
    sizes = np.log(np.maximum(ratios, SMALLEST_RATIO)) / variances[1]
    return np.concatenate([offsets, sizes], axis=1).astype(np.float32)


def landmark_encode(matched: np.ndarray, priors: np.ndarray, variances: Sequence[float]) -> np.ndarray:
    """Landmarks [N, 10] (x, y of five points) as offsets [N, 10] float32 from their priors [N, 4]."""
    points = matched.reshape(-1, POINTS, 2)
    offsets = (points - priors[:, None, :2]) / (variances[0] * priors[:, None, 2:])
    return offsets.reshape(-1, 2 * POINTS).astype(np.float32)


def decode_bbox(bbox: np.ndarray, priors: np.ndarray, variance: Sequence[float]) -> np.ndarray:
    """Offsets [..., N, 4] to boxes [..., N, 4] xyxy, as shares of the input."""
    centres = priors[:, :2] + bbox[..., :2] * (priors[:, 2:] * np.float32(variance[0]))
    halves = priors[:, 2:] * np.exp(bbox[..., 2:] * np.float32(variance[1])) / 2
    return np.concatenate([centres - halves, centres + halves], axis=-1)


def decode_landm(landm: np.ndarray, priors: np.ndarray, variance: Sequence[float]) -> np.ndarray:
    """Offsets [..., N, 10] to landmarks [..., N, 10] (x, y of five points), as shares of the input."""
    points = landm.reshape(*landm.shape[:-1], POINTS, 2)
    decoded = priors[:, None, :2] + points * (priors[:, None, 2:] * np.float32(variance[0]))
    return decoded.reshape(landm.shape)
