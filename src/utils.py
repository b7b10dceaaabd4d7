# SPDX-License-Identifier: Apache-2.0
"""The RetinaFace manual's src.utils."""
from src.retinaface.anchors import bbox_encode, decode_bbox, decode_landm, prior_box
from src.retinaface.matching import match

__all__ = ["bbox_encode", "decode_bbox", "decode_landm", "match", "prior_box"]
