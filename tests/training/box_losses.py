# SPDX-License-Identifier: Apache-2.0
"""The published losses of boxes, one pair at a time, in float64."""
import numpy as np


def iou_loss(kind, box, target, alpha=None):
    """Return the loss of boxes [N, 4] xyxy, [N]; `alpha` [N] of "ciou", where given, is a constant."""
    losses = [_of_pair(kind, *pair) for pair in zip(np.asarray(box, float), np.asarray(target, float))]
    base, v, own_alpha = map(np.array, zip(*losses))
    return base + (own_alpha if alpha is None else alpha) * v


def alphas(box, target):
    """Return alpha of "ciou", [N]."""
    return np.array([_of_pair("ciou", *pair)[2] for pair in zip(np.asarray(box, float), np.asarray(target, float))])


def iou(box, target):
    """Return the IoU of each pair, [N]."""
    return np.array([_overlap(*pair)[0] for pair in zip(np.asarray(box, float), np.asarray(target, float))])


def _overlap(box, target):
    width = max(0, min(box[2], target[2]) - max(box[0], target[0]))
    height = max(0, min(box[3], target[3]) - max(box[1], target[1]))
    union = sum((each[2] - each[0]) * (each[3] - each[1]) for each in (box, target)) - width * height
    return width * height / union, union


def _of_pair(kind, box, target):
    """Return loss without its last term, v and alpha."""
    overlap, union = _overlap(box, target)
    width, height = max(box[2], target[2]) - min(box[0], target[0]), max(box[3], target[3]) - min(box[1], target[1])
    if kind == "giou":
        return 1 - (overlap - (width * height - union) / (width * height)), 0.0, 0.0
    gap = [(box[axis] + box[axis + 2]) / 2 - (target[axis] + target[axis + 2]) / 2 for axis in (0, 1)]
    diou = 1 - overlap + (gap[0] ** 2 + gap[1] ** 2) / (width ** 2 + height ** 2)
    if kind == "diou":
        return diou, 0.0, 0.0
    angles = [np.arctan((each[2] - each[0]) / (each[3] - each[1])) for each in (target, box)]
    v = 4 / np.pi ** 2 * (angles[0] - angles[1]) ** 2
    return diou, v, v / (1 - overlap + v) if v else 0.0
