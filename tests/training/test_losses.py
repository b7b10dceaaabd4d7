# SPDX-License-Identifier: Apache-2.0
"""Losses of boxes equal their published formulas, and their gradients finite differences of these."""
import numpy as np
import pytest

from tests.training import box_losses

KINDS = ("giou", "diou", "ciou")


def boxes_of(parts):
    """Centre x, y and logarithms of width and height [N, 4] -> boxes xyxy."""
    sides = np.exp(parts[:, 2:])
    return np.concatenate([parts[:, :2] - sides / 2, parts[:, :2] + sides / 2], axis=1)


@pytest.mark.parametrize("box, target, giou, diou, ciou", [
    ((0, 0, 2, 2), (0, 0, 2, 2), 0, 0, 0),
    ((0, 0, 2, 2), (1, 1, 3, 3), 1 - 1 / 7 + 2 / 9, 1 - 1 / 7 + 2 / 18, 1 - 1 / 7 + 2 / 18),
    ((0, 0, 1, 1), (3, 0, 4, 1), 1 + 2 / 4, 1 + 9 / 17, 1 + 9 / 17),
    ((1, 1, 2, 2), (0, 0, 3, 3), 1 - 1 / 9, 1 - 1 / 9, 1 - 1 / 9),
    ((0, 0, 2, 1), (0, 0, 1, 2), 2 / 3 + 1 / 4, 2 / 3 + 0.5 / 8, 0.7629183)])
def test_losses_by_hand(ms, box, target, giou, diou, ciou):
    from src.training.losses import iou_loss
    pair = [ms.Tensor(np.array([each], np.float32)) for each in (box, target)]
    found = [float(iou_loss(kind, *pair).asnumpy()[0]) for kind in KINDS]
    assert found == pytest.approx([giou, diou, ciou], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_equal_the_formulas(ms, kind):
    """200 pairs of boxes, some apart, some inside each other."""
    from src.training.losses import corners, iou_loss
    rng = np.random.default_rng(0)
    parts, target = np.concatenate([rng.uniform(0, 4, (2, 200, 2)), rng.uniform(-1.5, 1.5, (2, 200, 2))], axis=-1)
    target = boxes_of(target)

    def cost(parts, target):
        return iou_loss(kind, corners(parts[:, :2], parts[:, 2:]), target)

    costs, gradient = ms.value_and_grad(cost)(*(ms.Tensor(each.astype(np.float32)) for each in (parts, target)))
    np.testing.assert_allclose(costs.asnumpy(), box_losses.iou_loss(kind, boxes_of(parts), target), atol=2e-5)
    alpha, step = box_losses.alphas(boxes_of(parts), target), 1e-6
    for column in range(4):
        moved = np.zeros(4)
        moved[column] = step
        above, below = (box_losses.iou_loss(kind, boxes_of(parts + sign * moved), target, alpha) for sign in (1, -1))
        np.testing.assert_allclose(gradient.asnumpy()[:, column], (above - below) / (2 * step), rtol=2e-3, atol=2e-4)


def test_the_graph_equals_the_functions(ms):
    from src.training.losses import box_iou, corners, iou_loss
    rng = np.random.default_rng(1)
    parts = [ms.Tensor(rng.normal(size=(3, 50, 2)).astype(np.float32)) for _ in range(4)]

    def losses(*parts):
        box, target = corners(*parts[:2]), corners(*parts[2:])
        return (box_iou(box, target), *(iou_loss(kind, box, target) for kind in KINDS))

    for compiled, plain in zip(ms.jit(losses)(*parts), losses(*parts)):
        np.testing.assert_allclose(compiled.asnumpy(), plain.asnumpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_any_output_has_a_finite_loss_and_gradient(ms, kind):
    from src.training.losses import corners, iou_loss
    target = ms.Tensor(np.array([[(-.5, -.5, .5, .5)], [(0, 0, 1e-9, 1e-9)]], np.float32))

    def cost(centre, log_size):
        return iou_loss(kind, corners(centre, log_size), target).sum(axis=0)

    sizes = [(-200, -200), (-20, 3), (3, -20), (50, 50), (1e30, -1e30)]
    parts = [ms.Tensor(np.array(each, np.float32)) for each in ([[0, 0]] * 5 + [[1e5, 1e5]] * 5, sizes * 2)]
    gradients = ms.grad(cost, (0, 1))(*parts)
    costs = cost(*parts).asnumpy()
    assert (costs >= 0).all() and (costs < 6).all()
    assert all(np.isfinite(each.asnumpy()).all() for each in gradients)
