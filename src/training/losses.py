# SPDX-License-Identifier: Apache-2.0
"""Losses of boxes that both models have.

    cost = iou_loss("giou", corners(centre, log_size), target_boxes)        # [...]; boxes [..., 4] xyxy, any unit

All are float32 and finite, whatever the network gives.
"""
from __future__ import annotations

import math

from mindspore import Tensor, ops

from src.inference.detection_rows import MAX_LOG_SIZE

# Divisors are at least this.
EPSILON = 1e-7


def smooth_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the elementwise smooth L1 with its knee at 1 (Girshick 2015, arXiv 1504.08083, equation 3)."""
    return ops.smooth_l1_loss(prediction, target, beta=1.0, reduction="none")


def corners(centre: Tensor, log_size: Tensor) -> Tensor:
    """Compute boxes [..., 4] xyxy of centres [..., 2] and of logarithms of width and height [..., 2].

    A logarithm counts as MAX_LOG_SIZE at most, as in the decoders; beyond it there is no gradient.
    """
    half = ops.exp(log_size.clip(None, MAX_LOG_SIZE)) / 2
    return ops.concat((centre - half, centre + half), axis=-1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Compute the IoU of each box with its partner, boxes [..., 4] xyxy -> [...]."""
    return _iou_and_union(first, second)[0]


def iou_loss(kind: str, box: Tensor, target: Tensor) -> Tensor:
    """Compute 1 - IoU and a penalty that has a gradient for boxes that do not overlap, too.

    "giou": the share of the smallest enclosing box that neither box covers (Rezatofighi et al. 2019, arXiv 1902.09630,
    algorithm 1). "diou": the squared distance of the centres over the squared diagonal of that box; "ciou": and
    alpha v, v the difference of aspect ratios (Zheng et al. 2020, arXiv 1911.08287, equations 7 and 8 to 11); alpha is
    a weight without gradient.

    Args:
        box, target: [..., 4] xyxy. Their unit does not matter.

    Returns:
        [...], 0 for equal boxes, below 2 for "giou" and "diou", below 3 for "ciou".
    """
    iou, union = _iou_and_union(box, target)
    enclosing = ops.maximum(box[..., 2:], target[..., 2:]) - ops.minimum(box[..., :2], target[..., :2])
    if kind == "giou":
        area = enclosing[..., 0] * enclosing[..., 1]
        return 1 - iou + (area - union) / area.clip(EPSILON, None)
    gap = (box[..., :2] + box[..., 2:] - target[..., :2] - target[..., 2:]) / 2
    loss = 1 - iou + ops.square(gap).sum(axis=-1) / ops.square(enclosing).sum(axis=-1).clip(EPSILON, None)
    if kind == "ciou":
        v = 4 / math.pi ** 2 * ops.square(_aspect(target) - _aspect(box))
        loss = loss + ops.stop_gradient(v / (1 - iou + v).clip(EPSILON, None)) * v
    return loss


def _iou_and_union(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    sides = ops.relu(ops.minimum(first[..., 2:], second[..., 2:]) - ops.maximum(first[..., :2], second[..., :2]))
    intersection = sides[..., 0] * sides[..., 1]
    union = _area(first) + _area(second) - intersection
    return intersection / union.clip(EPSILON, None), union


def _area(box: Tensor) -> Tensor:
    return (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])


def _aspect(box: Tensor) -> Tensor:
    """Compute the angle of the diagonal, arctan(width / height)."""
    sides = (box[..., 2:] - box[..., :2]).clip(EPSILON, None)
    return ops.atan(sides[..., 0] / sides[..., 1])
