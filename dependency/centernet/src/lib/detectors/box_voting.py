# SPDX-License-Identifier: Apache-2.0
"""Box voting: greedy suppression whose winners become the mean of what they suppress.

    rows = vote(rows, 0.4)                  # [N, 5 + k] x1 y1 x2 y2 score ... -> the rows that stay, best first

Boxes are xyxy pixels; widths and intersections count pixels inclusively (+ 1), as in `external/suppress.py`. Voting
helps where one face was found several times, at other scales or in the mirror: the mean of the boxes is steadier
than the best of them (Gidaris and Komodakis, ICCV 2015, section 4.3, without its second overlap).
"""
import numpy as np


def vote(rows: np.ndarray, overlap: float) -> np.ndarray:
    """Suppress duplicates; a row that stays is the mean of itself and those it removed, weighed by their scores.

    Args:
        rows: [N, 5 + k]; columns after the score (landmarks) are averaged too.
        overlap: a row joins a better one when their intersection over union is at least this.

    Returns:
        float32 [K, 5 + k], best score first; the score is the best of each group.
    """
    rows = np.asarray(rows, np.float64)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    x1, y1, x2, y2 = rows[:, :4].T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    waiting = np.arange(len(rows))
    voted = []
    while waiting.size:
        best = waiting[0]
        width = np.minimum(x2[waiting], x2[best]) - np.maximum(x1[waiting], x1[best]) + 1
        height = np.minimum(y2[waiting], y2[best]) - np.maximum(y1[waiting], y1[best]) + 1
        shared = width.clip(0) * height.clip(0)
        joins = shared / (area[waiting] + area[best] - shared) >= overlap
        joins[0] = True
        group = rows[waiting[joins]]
        mean = (group * group[:, 4:5]).sum(axis=0) / group[:, 4].sum()
        mean[4] = group[0, 4]
        voted.append(mean)
        waiting = waiting[~joins]
    return np.array(voted, np.float32).reshape(-1, rows.shape[1])
