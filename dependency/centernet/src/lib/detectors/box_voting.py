# SPDX-License-Identifier: Apache-2.0
"""Box voting: greedy suppression whose winners become the mean of what they suppress.

    rows = vote(rows, 0.4)                  # [N, 5 + k] x1 y1 x2 y2 score ... -> the rows that stay, best first

Boxes are xyxy pixels; widths and intersections count pixels inclusively (+ 1), as in `external/suppress.py`. Voting
helps where one face was found several times, at other scales or in the mirror: the mean of the boxes is steadier
than the best of them (Gidaris and Komodakis, ICCV 2015, section 4.3, without its second overlap).
"""
import numpy as np

from dependency.evaluate.overlaps import box_overlaps


def vote(rows: np.ndarray, overlap: float) -> np.ndarray:
    """Suppress duplicates; a row that stays is the mean of itself and those it removed, weighed by their scores
    (all alike where every score is 0).

    Args:
        rows: [N, 5 + k]; columns after the score (landmarks) are averaged too.
        overlap: a row joins a better one when their intersection over union is at least this.

    Returns:
        float32 [K, 5 + k], best score first; the score is the best of each group.
    """
    rows = np.asarray(rows, np.float64)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    columns = rows.shape[1]
    voted = []
    while len(rows):
        joins = box_overlaps(rows[:, :4], rows[:1, :4])[:, 0] >= overlap
        joins[0] = True
        group, rows = rows[joins], rows[~joins]
        weights = group[:, 4:5] if group[:, 4].any() else np.ones((len(group), 1))
        mean = (group * weights).sum(axis=0) / weights.sum()
        mean[4] = group[0, 4]
        voted.append(mean)
    return np.array(voted, np.float32).reshape(-1, columns)
