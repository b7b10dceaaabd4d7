# SPDX-License-Identifier: Apache-2.0
"""Specs of graphs that decode themselves: boxes, scores and landmarks come out instead of raw maps.

    Decoded(spec).decoder(metadata)([boxes, scores, landmarks], (H, W), top_k, score_threshold, peaks)   ->   rows [M, 15]
"""
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps


class Decoded:
    """A spec whose decoder has nothing left to do but to choose; everything else is the model's own.

    Args:
        spec: of the model.
    """
    OUTPUTS = ("boxes", "scores", "landmarks")

    def __init__(self, spec: Any):
        self._recipe = spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recipe, name)

    def decoder(self, metadata: dict[str, Any]) -> Callable[..., np.ndarray]:
        """The function that puts a graph's rows together; whether only peaks count was decided when it was written."""
        return join_rows


def join_rows(outputs: Sequence[np.ndarray], shape: tuple[int, int], top_k: int, score_threshold: float = 0.0,
              peaks: bool = False) -> np.ndarray:
    """Rows [M, 15] (box xyxy, score, landmarks) of one image, as the models' decoders give them.

    Args:
        outputs: boxes [N, 4], scores [N] and landmarks [N, 5, 2] in input pixels, best first.
        shape, peaks: not needed here.
        top_k: most rows returned.
        score_threshold: only rows with a higher score.

    Raises:
        NonFiniteMaps: the rows hold NaN or infinity.
    """
    boxes, scores, landmarks = outputs
    rows = np.concatenate([boxes, scores[:, None], landmarks.reshape(len(scores), 10)], axis=1)
    if not np.isfinite(scores).all():
        raise NonFiniteMaps("the network's scores hold NaN: these weights diverged in training or are damaged; export "
                            "an earlier checkpoint")
    rows = rows[scores > score_threshold][:top_k]
    if not np.isfinite(rows).all():
        raise NonFiniteMaps("the network's boxes or landmarks hold NaN or infinity: these weights diverged in training "
                            "or are damaged; export an earlier checkpoint")
    return rows
