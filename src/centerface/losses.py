# SPDX-License-Identifier: Apache-2.0
"""Losses of CenterFace: focal on the heatmap, smooth L1 on size and offset (or IoU), L1 on landmarks.

    FocalLoss()(logits [N, 1, h, w], target [N, h, w])
    CenterFaceLoss()(outputs, heatmap, cells, values, weights) -> (total, (hm, wh, off, landmarks))
"""
from mindspore import Tensor, nn, ops

from dependency.centernet.src.lib.datasets.sample.multi_pose import STRIDE
from src.training.distributed import Total
from src.training.losses import corners, iou_loss, smooth_l1

TERMS = ("hm", "wh", "off", "landmarks")


class FocalLoss(nn.Cell):
    """Penalty-reduced focal loss (Zhou et al. 2019, arXiv 1904.07850, equation 1; alpha 2, beta 4).

    It takes logits: a certain mistake costs a finite amount, and has a gradient. The customary clamp of the probability
    to [1e-4, 1 - 1e-4] has none outside of it; within it the value is the same.
    Cells with a negative target count neither as face nor as background.

    Args:
        world_size: see `CenterFaceLoss`.
    """

    def __init__(self, world_size: int = 1):
        super().__init__()
        self.total = Total(world_size)
        self.world_size = world_size

    def construct(self, logits: Tensor, target: Tensor) -> Tensor:
        logits = logits.reshape(target.shape)
        probability = ops.sigmoid(logits)
        # -ln(1 - p); -ln(p) is this minus the logit.
        cost = ops.softplus(logits)
        is_centre = (target == 1).astype("float32")
        is_background = (target >= 0).astype("float32") * (1 - is_centre)
        gap = 1 - target
        positive = (cost - logits) * ops.square(1 - probability) * is_centre
        negative = cost * ops.square(probability) * ops.square(ops.square(gap)) * is_background
        faces = self.total(is_centre.sum()).clip(1.0, None) / self.world_size
        return (positive.sum() + negative.sum()) / faces


class CenterFaceLoss(nn.Cell):
    """The weighted sum of the four terms (Xu et al. 2019, arXiv 1911.03599, equation 8).

    Args:
        hm_weight, wh_weight, off_weight, landmark_weight: weights of the terms in the total.
        box_loss: "smooth_l1"; or a kind of `iou_loss`, of the box of size and offset: it is the term wh, and off is 0
            (as TTFNet replaces both by GIoU: Liu et al. 2019, arXiv 1909.00700, section 3).
        world_size: number of devices that share the batch; each term is divided by the faces of all of them, so that
            the mean over the devices is the loss of the whole batch.
    """

    def __init__(self, hm_weight: float = 1.0, wh_weight: float = 0.1, off_weight: float = 1.0,
                 landmark_weight: float = 0.1, world_size: int = 1, box_loss: str = "smooth_l1"):
        super().__init__()
        self.focal = FocalLoss(world_size)
        self.total = Total(world_size)
        self.world_size = world_size
        self.box_loss = box_loss
        self.term_weights = (hm_weight, wh_weight, off_weight, landmark_weight)

    def construct(self, outputs: tuple, heatmap: Tensor, cells: Tensor, values: Tensor,
                  weights: Tensor) -> tuple[Tensor, tuple]:
        """Compute the total and the terms.

        Args:
            outputs: of `CenterfaceMobilev2.raw`.
            heatmap [N, h, w], cells [N, M], values [N, M, 14], weights [N, M, 14]: see `CentreTargets`.
        """
        hm, wh, off, kps = outputs
        faces = (self.total((heatmap == 1).astype("float32").sum()) + 1e-4) / self.world_size
        wh, off = _gather(wh, cells), _gather(off, cells)
        if self.box_loss == "smooth_l1":
            wh_error = (smooth_l1(wh, values[..., :2]) * weights[..., :2]).sum()
            off_error = (smooth_l1(off, values[..., 2:4]) * weights[..., 2:4]).sum()
        else:
            # In units of STRIDE cells.
            boxes, targets = corners(off / STRIDE, wh), corners(values[..., 2:4] / STRIDE, values[..., :2])
            wh_error = (iou_loss(self.box_loss, boxes, targets) * weights[..., 0]).sum()
            off_error = ops.zeros_like(wh_error)
        mask = weights[..., 4:]
        landmarks = (self.total(mask.sum()) + 1e-4) / self.world_size
        landmark_error = ops.abs(_gather(kps, cells) - values[..., 4:]) * mask
        terms = (self.focal(hm, heatmap), wh_error / faces, off_error / faces,
                 landmark_error.sum() / landmarks)
        total = 0.0
        for term, weight in zip(terms, self.term_weights):
            total = total + term * weight
        return total, terms


def _gather(maps: Tensor, cells: Tensor) -> Tensor:
    """Read maps [N, C, h, w] at the cells [N, M]; return the values [N, M, C]."""
    n, channels, height, width = maps.shape
    index = ops.broadcast_to(cells.expand_dims(1), (n, channels, cells.shape[1]))
    return ops.gather_elements(maps.reshape(n, channels, height * width), 2, index).transpose(0, 2, 1)
