# SPDX-License-Identifier: Apache-2.0
"""Centre-point targets: faces in network-input pixels -> one heatmap and a list of regression targets.

    targets = centre_targets(boxes, landmarks, visibility, ignore, grid=128)

Regression targets are lists over the faces, not dense maps: 28 numbers a face travel from the workers instead of 30
maps, and the loss gathers the network's output at the faces' cells. The sums are those of dense maps (tests).
"""
from typing import NamedTuple

import numpy as np

from dependency.centernet.src.lib.utils.gaussian import draw_umich_gaussian, gaussian_radius

STRIDE = 4
IGNORED = -1.0
# (largest area in cells, weight of the size and offset terms). The reference lets small faces count more, except the
# tiniest; large faces then learn their size last, which a short training feels (docs/performance.md).
AREA_WEIGHTS = {
    "reference": ((4, 0.1), (10, 15.0), (20, 10.0), (40, 5.0), (np.inf, 1.0)),
    "uniform": ((np.inf, 1.0),),
}
# Landmarks of faces with no more cells than this (about 11 x 11 input pixels) are closer to each other than one cell.
MIN_LANDMARK_AREA = 8


class CentreTargets(NamedTuple):
    """heatmap: [grid, grid] float32 in 0..1, exactly 1 at centres, -1 where neither face nor background counts.
    cells: [M] int32, row * grid + column of the centres, 0 in unused rows.
    values: [M, 14] float32: ln(w/4), ln(h/4) with w, h in cells; centre offset x, y in 0..1; five landmarks x, y
        relative to the integer centre cell, in units of the box's width and height.
    weights: [M, 14] float32 of each value in the loss; 0 in unused rows and for landmarks that do not count.
    """
    heatmap: np.ndarray
    cells: np.ndarray
    values: np.ndarray
    weights: np.ndarray


def centre_targets(boxes: np.ndarray, landmarks: np.ndarray, visibility: np.ndarray, ignore: np.ndarray, grid: int,
                   max_objs: int = 256, min_face: float = 6.0, area_weights: str = "reference") -> CentreTargets:
    """Compute the targets of one image.

    Args:
        boxes: [N, 4] xyxy in input pixels; may stick out of the input.
        landmarks: [N, 5, 2] input pixels; visibility: [N, 5], 0 = not labelled; ignore: [N] bool.
        grid: cells of a side; the input has grid * 4 pixels a side.
        max_objs: M; when an image has more faces the largest are kept and the others ignored.
        min_face: faces whose longer side is shorter (input pixels) are ignored.
        area_weights: a name in AREA_WEIGHTS.

    Ignored faces switch off the background loss inside their box. Of two faces in one cell the larger is kept.
    """
    clipped = np.clip(boxes / STRIDE, 0, grid).astype(np.float64)
    size = clipped[:, 2:] - clipped[:, :2]
    inside = (size > 0).all(axis=1)
    small = size.max(axis=1, initial=0) * STRIDE < min_face
    area = size[:, 0] * size[:, 1]
    usable = np.flatnonzero(inside & ~ignore & ~small)
    usable = usable[np.argsort(-area[usable], kind="stable")]
    centre = (clipped[:, :2] + clipped[:, 2:]) / 2
    cell = np.minimum(centre.astype(int), grid - 1)

    flat = cell[usable, 1] * grid + cell[usable, 0]
    faces = np.sort(np.unique(flat, return_index=True)[1])[:max_objs]
    if len(faces) == max_objs:
        ignore = ignore.copy()
        ignore[usable[~np.isin(flat, flat[faces])]] = True
    kept = usable[faces]
    heatmap = np.zeros((grid, grid), np.float32)
    for (x, y), (width, height) in zip(cell[kept].tolist(), np.ceil(size[kept]).tolist()):
        draw_umich_gaussian(heatmap, (x, y), max(0, int(gaussian_radius(height, width))))
    cells = np.zeros(max_objs, np.int32)
    values, weights = np.zeros((2, max_objs, 14), np.float32)
    cells[:len(kept)] = flat[faces]
    values[:len(kept), :2] = np.log(size[kept] / STRIDE)
    values[:len(kept), 2:4] = centre[kept] - cell[kept]
    limits, area_weight = np.array(AREA_WEIGHTS[area_weights]).T
    weights[:len(kept), :4] = area_weight[np.searchsorted(limits, area[kept])][:, None]
    points = landmarks[kept] / STRIDE
    labelled = ((visibility[kept] > 0) & ((points >= 0) & (points < grid)).all(axis=2)
                & (area[kept] > MIN_LANDMARK_AREA)[:, None])[..., None]
    points = (points - cell[kept, None]) / size[kept, None] * labelled
    values[:len(kept), 4:] = points.reshape(-1, 10)
    weights[:len(kept), 4:] = np.repeat(labelled, 2, axis=2).reshape(-1, 10)
    _mask_ignored(heatmap, clipped[inside & (ignore | small)])
    return CentreTargets(heatmap, cells, values, weights)


def _mask_ignored(heatmap: np.ndarray, boxes: np.ndarray) -> None:
    """Set IGNORED in the cells that a box touches, except where a face's own Gaussian lies."""
    for x1, y1, x2, y2 in boxes:
        region = heatmap[int(y1):int(np.ceil(y2)), int(x1):int(np.ceil(x2))]
        region[region == 0] = IGNORED
