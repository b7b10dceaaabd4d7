# SPDX-License-Identifier: Apache-2.0
"""From RetinaFace's raw output to faces.

    rows = decode_retinaface((bbox, conf, landm), canvas.shape[:2], top_k=100000, score_threshold=0.02)

Output of one image, float32: bbox [N, 4] and landm [N, 10] relative to the anchors, conf [N, 2] after the softmax
(background, face). Rows are [M, 15] float32 in input pixels: box xyxy, score, then x y of left eye, right eye, nose,
left and right mouth corner; best score first. Boxes are not clipped.
"""
from collections.abc import Sequence

import numpy as np

from dependency.errors import InputError
from src.inference.detection_rows import MAX_LOG_SIZE, require_finite
from src.retinaface.anchors import VARIANCE, decode_bbox, decode_landm, prior_box

Output = Sequence[np.ndarray]


def decode_retinaface(output: Output, shape: tuple[int, int], top_k: int, score_threshold: float = 0.0,
                      peaks: bool = False, variance: Sequence[float] = VARIANCE, clip: bool = False) -> np.ndarray:
    """Decode the anchors that are likely a face (Deng et al. 2019, arXiv 1905.00641, section 4.2).

    Args:
        output: (bbox, conf, landm) of one image.
        shape: (height, width) of the input; the anchors follow from it.
        top_k: maximum number of rows.
        score_threshold: only anchors with a higher score.
        peaks: must be False; this model has no heatmap.
        variance: scale of the offsets, see `anchors`, that the network was trained with.
        clip: whether it was trained with anchors clipped to the image.

    Raises:
        NonFiniteMaps: the output holds NaN or infinity.
        InputError: the output is not that of an input of this shape; `peaks`.
    """
    if peaks:
        raise InputError("peaks: RetinaFace has no heatmap; give peaks=False")
    bbox, conf, landm = output
    priors = prior_box(shape, clip=clip)
    if len(priors) != len(conf):
        raise InputError(f"the network gave {len(conf)} anchors for an input of {shape[1]} x {shape[0]} pixels, which "
                         f"has {len(priors)}; is this RetinaFace with anchors of stride 8, 16 and 32?")
    scores = conf[:, 1]
    require_finite(scores, "scores")
    chosen = np.flatnonzero(scores > score_threshold)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:top_k]]
    bbox, landm, priors = bbox[chosen], landm[chosen], priors[chosen]
    require_finite(bbox, "boxes")
    require_finite(landm, "landmarks")
    bbox = np.concatenate([bbox[:, :2], np.minimum(bbox[:, 2:], MAX_LOG_SIZE / variance[1])], axis=1)
    size = np.array(shape[::-1], np.float32)
    boxes = decode_bbox(bbox, priors, variance) * np.tile(size, 2)
    landmarks = decode_landm(landm, priors, variance) * np.tile(size, 5)
    rows = np.concatenate([boxes, scores[chosen, None], landmarks], axis=1)
    return rows.astype(np.float32, copy=False)
