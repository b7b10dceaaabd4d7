# SPDX-License-Identifier: Apache-2.0
"""The loss of RetinaFace, and the cells that put it behind the network.

    MultiBoxLoss(2, 29126, 7)(loc_data, loc_t, conf_data, conf_t, landm_data, landm_t) -> (loc, conf, landm)
    RetinaFaceTerms(network, loss)(image, loc_t, conf_t, landm_t) -> (total, (loc, conf, landm))
    TrainingWrapper(RetinaFaceWithLossCell(network, loss, cfg), optimizer)      # for mindspore.train.Model

Targets come from `matching.match`, B images with N anchors each: loc_t [B, N, 4], conf_t int32 [B, N] (1 face with
landmarks, -1 face without, 0 background, -2 neither), landm_t [B, N, 10].
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.communication import get_group_size

from dependency.errors import InputError
from src.common.normalise import Normalise
from src.retinaface.anchors import VARIANCE, square_side
from src.retinaface.layers import NETWORK_INPUT
from src.retinaface.matching import BACKGROUND, IGNORED
from src.training.distributed import GradientMean, Total
from src.training.losses import box_iou, corners, iou_loss, smooth_l1

TERMS = ("loc", "conf", "landm")
# Of the focal loss: weight of the anchors of faces (Lin et al. 2017, section 5.1).
ALPHA = 0.25


class MultiBoxLoss(nn.Cell):
    """Box, class and landmark loss with hard negative mining (Deng et al. 2019, arXiv 1905.00641, section 3).

    loc: smooth L1 over the anchors of faces; conf: cross entropy over these and the hardest background anchors of the
    image, as in SSD (Liu et al. 2016, arXiv 1512.02325, section 2.2); both divided by the number of anchors with a face
    in the batch. landm: smooth L1 over the anchors of faces with landmarks, divided by their number.

    The box loss may be an IoU loss of the boxes that the codes stand for. A focal class loss counts every anchor that
    is not ignored, and mines none (Lin et al. 2017, arXiv 1708.02002, equation 5, gamma 2; Li et al. 2020, arXiv
    2006.04388, equation 4, beta 2): with y the class, 1 or 0, of "quality_focal" the IoU of the box that the network
    gives with the anchor's face, or 0, and p = softmax(logits)[1] = sigmoid(logits[1] - logits[0]), it is
    (y - p)^2 times the cross entropy of p and y; "focal" weighs faces by ALPHA and background by 1 - ALPHA.

    Args:
        num_classes: 2, background and face.
        num_boxes: anchors of an image, `anchor_count(image_size)`.
        neg_pre_positive: background anchors mined for every anchor with a face.
        batch_size: not used; accepted for the manual's scripts.
        world_size: number of devices that share the batch; the terms are divided by the anchors of all of them, so
            that the mean over the devices is the loss of the whole batch.
        background_images: mine in an image without a face as many anchors as in an average image of the batch; without
            it such an image adds nothing.
        box_loss: "smooth_l1", or a kind of `iou_loss`.
        class_loss: "cross_entropy", "focal" or "quality_focal".
        variance: scale of the box codes.
    """

    def __init__(self, num_classes: int, num_boxes: int, neg_pre_positive: int, batch_size: int | None = None,
                 world_size: int = 1, background_images: bool = False, box_loss: str = "smooth_l1",
                 class_loss: str = "cross_entropy", variance: Sequence[float] = VARIANCE):
        super().__init__()
        del batch_size
        self.num_classes = num_classes
        self.num_boxes = num_boxes
        self.neg_pre_positive = neg_pre_positive
        self.total = Total(world_size)
        self.world_size = world_size
        self.background_images = background_images
        self.box_loss = box_loss
        self.class_loss = class_loss
        self.centre_scale, self.size_scale = map(float, variance)

    def construct(self, loc_data: Tensor, loc_t: Tensor, conf_data: Tensor, conf_t: Tensor, landm_data: Tensor,
                  landm_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _check_shapes(loc_data.shape, loc_t.shape, conf_data.shape, self.num_boxes, self.num_classes)
        has_face = ops.logical_and(conf_t != BACKGROUND, conf_t != IGNORED)
        face = has_face.astype("float32")
        has_landmarks = (conf_t > BACKGROUND).astype("float32")
        faces = self.total(face.sum()).clip(1.0, None) / self.world_size
        marked = self.total(has_landmarks.sum()).clip(1.0, None) / self.world_size
        loc, logits = loc_data.astype("float32"), conf_data.astype("float32")
        loss_loc = (self._box_cost(loc, loc_t) * face).sum() / faces
        landm_cost = smooth_l1(landm_data.astype("float32"), landm_t).sum(axis=-1)
        loss_landm = (landm_cost * has_landmarks).sum() / marked
        if self.class_loss == "cross_entropy":
            class_cost = self._mined_entropy(logits, conf_t, face, faces)
        else:
            class_cost = self._focal(logits, loc, loc_t, face) * (conf_t != IGNORED).astype("float32")
        return loss_loc, class_cost.sum() / faces, loss_landm

    def _mined_entropy(self, logits: Tensor, conf_t: Tensor, face: Tensor, faces: Tensor) -> Tensor:
        """Compute the cross entropy of the anchors of faces and of the mined ones, 0 for the others: [B, N]."""
        entropy = _log_sum_exp(logits) - ops.where(face > 0, logits[..., 1], logits[..., 0])
        counts = face.sum(axis=1, keepdims=True)
        if self.background_images:
            counts = ops.where(counts > 0, counts, ops.ceil(faces / counts.shape[0]))
        mined = self._mine(ops.stop_gradient(entropy), conf_t == BACKGROUND, counts)
        return entropy * (face + mined)

    def _focal(self, logits: Tensor, loc: Tensor, loc_t: Tensor, face: Tensor) -> Tensor:
        """Compute the focal loss of every anchor, [B, N]."""
        margin = logits[..., 1] - logits[..., 0]
        wanted, weight = face, ALPHA * face + (1 - ALPHA) * (1 - face)
        if self.class_loss == "quality_focal":
            wanted, weight = ops.stop_gradient(box_iou(self._boxes(loc), self._boxes(loc_t))) * face, 1.0
        entropy = ops.softplus(margin) - wanted * margin
        return weight * ops.square(wanted - ops.sigmoid(margin)) * entropy

    def _box_cost(self, loc: Tensor, loc_t: Tensor) -> Tensor:
        """Compute the loss of every anchor's box, codes [B, N, 4] -> [B, N]."""
        if self.box_loss == "smooth_l1":
            return smooth_l1(loc, loc_t).sum(axis=-1)
        return iou_loss(self.box_loss, self._boxes(loc), self._boxes(loc_t))

    def _boxes(self, loc: Tensor) -> Tensor:
        """Decode codes [B, N, 4] to boxes xyxy, seen from the anchor's centre in units of its side.

        An anchor is square, so losses of IoU are the same as in pixels.
        """
        return corners(loc[..., :2] * self.centre_scale, loc[..., 2:] * self.size_scale)

    def _mine(self, entropy: Tensor, is_background: Tensor, faces: Tensor) -> Tensor:
        """Weigh the mined background anchors, [B, N]: 1 or 0; anchors exactly at the threshold share the remainder.

        Padding gives thousands of anchors the very same entropy, so that a bare threshold would take them all.
        """
        count = entropy.shape[1]
        background = is_background.astype("float32")
        quota = ops.minimum(self.neg_pre_positive * faces, count - 1)
        entropy = ops.where(is_background, entropy, ops.full_like(entropy, -1.0))
        ranked, _ = ops.topk(entropy, count, -1)
        threshold = ops.gather_elements(ranked, 1, (quota - 1).clip(0.0, None).astype("int32"))
        above = (entropy > threshold).astype("float32")
        equal = (entropy == threshold).astype("float32") * background
        remainder = quota - above.sum(axis=1, keepdims=True)
        return above + equal * remainder / equal.sum(axis=1, keepdims=True).clip(1.0, None)


class RetinaFaceWithLossCell(nn.Cell):
    """Normalised images and targets -> the weighted sum of the three losses.

    The weights of the network get the prefix `network.`, as in checkpoints of the reference.

    Args:
        network: image [B, 3, S, S] -> (loc [B, N, 4], conf logits [B, N, 2], landm [B, N, 10]).
        multibox_loss: a `MultiBoxLoss`.
        config: a mapping with loc_weight, class_weight and landm_weight.
    """

    def __init__(self, network: nn.Cell, multibox_loss: nn.Cell, config: Any):
        super().__init__()
        self.network = network
        self.multibox_loss = multibox_loss
        self.term_weights = tuple(float(config[f"{name}_weight"]) for name in ("loc", "class", "landm"))

    def construct(self, img: Tensor, loc_t: Tensor, conf_t: Tensor, landm_t: Tensor) -> Tensor:
        loc, conf, landm = self.network(img)
        return _weighted(self.multibox_loss(loc, loc_t, conf, conf_t, landm, landm_t), self.term_weights)


class RetinaFaceTerms(nn.Cell):
    """uint8 BGR images [B, S, S, 3] and targets -> (total loss, its three terms); normalisation runs in the graph.

    Args:
        network, multibox_loss: as for `RetinaFaceWithLossCell`; the weights keep the network's own names.
        term_weights: of loc, conf and landm in the total.
    """

    def __init__(self, network: nn.Cell, multibox_loss: nn.Cell, term_weights: Sequence[float] = (2.0, 1.0, 1.0)):
        super().__init__(auto_prefix=False)
        self.normalise = Normalise(**NETWORK_INPUT)
        self.network = network
        self.multibox_loss = multibox_loss
        self.term_weights = tuple(map(float, term_weights))

    def construct(self, image: Tensor, loc_t: Tensor, conf_t: Tensor, landm_t: Tensor) -> tuple[Tensor, tuple]:
        loc, conf, landm = self.network(self.normalise(image))
        terms = self.multibox_loss(loc, loc_t, conf, conf_t, landm, landm_t)
        return _weighted(terms, self.term_weights), terms


class TrainingWrapper(nn.Cell):
    """One optimiser step for `mindspore.train.Model`; returns the loss.

    It trains what the optimiser holds, under whatever names: the optimiser may be built before or after the network
    was put behind its loss.

    Args:
        network: (*batch) -> scalar loss.
        optimizer: over weights of `network`.
        sens: the gradients are multiplied by it; the optimiser's loss_scale should be the same.

    Raises:
        InputError: the optimiser holds the weights of another network object.
    """

    def __init__(self, network: nn.Cell, optimizer: nn.Optimizer, sens: float = 1.0):
        super().__init__(auto_prefix=False)
        own = {id(parameter) for parameter in network.get_parameters()}
        if not all(id(parameter) in own for parameter in optimizer.parameters):
            raise InputError("TrainingWrapper: the optimiser was built from the weights of another network, so nothing "
                             "would be trained; build the network first, then "
                             "opt = nn.SGD(net.trainable_params(), ...)")
        self.network = network
        self.optimizer = optimizer
        self.weights = optimizer.parameters
        self.sens = sens
        world_size = get_group_size()     # 1 unless mindspore.communication.init was called
        self.gradient_mean = GradientMean(self.weights, world_size) if world_size > 1 else None

    def forward(self, batch: tuple) -> tuple[Tensor, Tensor]:
        loss = self.network(*batch)
        return loss * self.sens, loss

    @ms.jit
    def construct(self, *batch) -> Tensor:
        results, grads = ms.value_and_grad(self.forward, None, self.weights, has_aux=True)(batch)
        if self.gradient_mean is not None:
            grads = self.gradient_mean(grads)
        self.optimizer(grads)
        return results[1]


def _weighted(terms: tuple, weights: tuple) -> Tensor:
    total = 0.0
    for term, weight in zip(terms, weights):
        total = total + term * weight
    return total


def _log_sum_exp(logits: Tensor) -> Tensor:
    """Compute the log of the sum of exponentials over C: [B, N, C] -> [B, N].

    The largest is subtracted first, so that no exponential overflows.
    """
    largest = ops.stop_gradient(logits.max(axis=-1, keepdims=True))
    return ops.log(ops.exp(logits - largest).sum(axis=-1)) + largest.squeeze(-1)


@ops.constexpr
def _check_shapes(loc: tuple, target: tuple, conf: tuple, num_boxes: int, num_classes: int) -> None:
    """Raise while the graph is built where predictions, targets and num_boxes belong to different image sizes."""
    if conf[-1] != num_classes:
        raise InputError(f"MultiBoxLoss: num_classes is {num_classes}, but the network has {conf[-1]} classes")
    for name, count in (("the network gives", loc[1]), ("the targets have", target[1])):
        if count != num_boxes:
            raise InputError(f"MultiBoxLoss: num_boxes is {_of_size(num_boxes)}, but {name} {_of_size(count)} anchors; "
                             f"set cfg['num_anchor'] = {count}, or change cfg['image_size']")


def _of_size(count: int) -> str:
    side = square_side(count)
    return f"{count} (image_size {side})" if side else f"{count} (no image_size)"
