# SPDX-License-Identifier: Apache-2.0
"""Rows of faces [M, 15], float32: box xyxy, score, five landmarks x y, as every decoder gives them.

    rows = join_rows([boxes, scores, landmarks], (H, W), top_k=1000)    # of a graph that decodes itself (--decode 1)
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps

# Outputs of a graph that decodes itself.
ROW_OUTPUTS = ("boxes", "scores", "landmarks")
# Decoders limit the logarithm of a face's size to this. exp(8) cells or anchors are more pixels than any image has:
# where a network met nothing like this image in training its sizes may run away, and must not overflow.
MAX_LOG_SIZE = 8.0


def require_finite(values: np.ndarray, what: str) -> None:
    """Raise NonFiniteMaps where values hold NaN or infinity; `what` names them in the message ("scores")."""
    if not np.isfinite(values).all():
        raise NonFiniteMaps(f"the network's {what} hold NaN or infinity: these weights diverged in training or are "
                            "damaged; use an earlier checkpoint")


def join_rows(outputs: Sequence[np.ndarray], shape: tuple[int, int], top_k: int, score_threshold: float = 0.0,
              peaks: bool = False) -> np.ndarray:
    """Join the outputs of a graph that decodes itself to rows [M, 15], best score first.

    Args:
        outputs: boxes [N, 4], scores [N] and landmarks [N, 5, 2] of one image in input pixels, best first.
        shape, peaks: of other decoders; the graph itself took care of them.
        top_k: maximum number of rows.
        score_threshold: only rows with a higher score.

    Raises:
        NonFiniteMaps: the rows hold NaN or infinity.
    """
    del shape, peaks
    boxes, scores, landmarks = outputs
    rows = np.concatenate([boxes, scores[:, None], landmarks.reshape(len(scores), 10)], axis=1)
    require_finite(scores, "scores")
    rows = rows[scores > score_threshold][:top_k]
    require_finite(rows, "boxes or landmarks")
    return rows
