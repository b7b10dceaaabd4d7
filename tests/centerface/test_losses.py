# SPDX-License-Identifier: Apache-2.0
"""The losses equal their specification on dense maps, written out with NumPy."""
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.sample.multi_pose import centre_targets
from src.centerface.decoder import decode_centerface
from tests.training import box_losses

GRID = 16


def batch(seed=0):
    rng = np.random.default_rng(seed)
    samples = []
    for count in (0, 1, 6):
        corner = rng.uniform(-5, 50, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(6, 40, (count, 2))], axis=1).astype(np.float32)
        points = (corner[:, None] + rng.uniform(0, 20, (count, 5, 2))).astype(np.float32)
        samples.append(centre_targets(boxes, points, rng.integers(0, 3, (count, 5)), rng.random(count) < 0.2, GRID,
                                      max_objs=8))
    maps = (rng.uniform(-9.2, 9.2, (3, 1, GRID, GRID)), *(rng.normal(size=(3, c, GRID, GRID)) for c in (2, 2, 10)))
    return [each.astype(np.float32) for each in maps], [np.stack(column) for column in zip(*samples)]


def dense(targets):
    """The list targets as maps [N, 14, h, w], with the 0/1 map of centres [N, h, w]."""
    _heatmap, cells, values, weights = targets
    value_map, weight_map = (np.zeros((3, 14, GRID, GRID)) for _ in range(2))
    centres = np.zeros((3, GRID, GRID))
    for n in range(3):
        for row in np.flatnonzero(weights[n, :, 0] > 0):
            y, x = divmod(int(cells[n, row]), GRID)
            centres[n, y, x] = 1
            value_map[n, :, y, x], weight_map[n, :, y, x] = values[n, row], weights[n, row]
    return centres, value_map, weight_map


def expected_terms(maps, targets):
    """The published formulas; the heatmap as probabilities."""
    hm, wh, off, kps = maps
    heatmap = targets[0]
    p = np.clip(1 / (1 + np.exp(-hm[:, 0].astype(np.float64))), 1e-4, 1 - 1e-4)
    positive = ((1 - p) ** 2 * np.log(p))[heatmap == 1].sum()
    background = (heatmap >= 0) & (heatmap < 1)
    negative = ((1 - heatmap) ** 4 * p ** 2 * np.log(1 - p))[background].sum()
    centres, values, weights = dense(targets)
    count = centres.sum() + 1e-4

    def smooth(prediction, part):
        gap = abs(prediction - values[:, part])
        return (np.where(gap < 1, 0.5 * gap ** 2, gap - 0.5) * weights[:, part] * centres[:, None]).sum() / count

    mask = weights[:, 4:]
    landmarks = (abs(kps - values[:, 4:]) * mask).sum() / (mask.sum() + 1e-4)
    return (-(positive + negative) / max(1, (heatmap == 1).sum()), smooth(wh, slice(0, 2)), smooth(off, slice(2, 4)),
            landmarks)


@pytest.mark.parametrize("seed", range(4))
def test_terms_equal_the_dense_formulas(ms, seed):
    from src.centerface.losses import CenterFaceLoss
    maps, targets = batch(seed)
    loss = CenterFaceLoss(hm_weight=1.0, wh_weight=0.1, off_weight=1.0, landmark_weight=0.1)
    total, terms = loss(tuple(map(ms.Tensor, maps)), *map(ms.Tensor, targets))
    expected = expected_terms(maps, targets)
    np.testing.assert_allclose([float(term.asnumpy()) for term in terms], expected, rtol=1e-6)
    assert float(total.asnumpy()) == pytest.approx(np.dot(expected, [1, .1, 1, .1]), rel=1e-6)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_losses_of_iou_are_those_of_the_boxes_that_a_test_finds(ms, kind):
    """Size and offset make one box; its loss has the weight of the face's area and is the term wh."""
    from src.centerface.losses import CenterFaceLoss
    maps, targets = batch()
    total, terms = CenterFaceLoss(1.0, 5.0, 7.0, 0.1, box_loss=kind)(tuple(map(ms.Tensor, maps)),
                                                                    *map(ms.Tensor, targets))
    heatmap, cells, values, weights = targets
    costs = []
    for n in range(3):
        used = weights[n, :, 0] > 0
        if used.any():
            found, faces = (_boxes_at(cells[n][used], *each) for each in (
                (maps[1][n], maps[2][n]), (_map_of(cells[n][used], values[n][used, :2]),
                                           _map_of(cells[n][used], values[n][used, 2:4]))))
            costs.append(box_losses.iou_loss(kind, found, faces) * weights[n][used, 0])
    expected = np.concatenate(costs).sum() / ((heatmap == 1).sum() + 1e-4)
    plain = expected_terms(maps, targets)
    np.testing.assert_allclose([float(term.asnumpy()) for term in terms], (plain[0], expected, 0, plain[3]), rtol=1e-5)
    assert float(total.asnumpy()) == pytest.approx(np.dot((plain[0], expected, 0, plain[3]), [1, 5, 7, .1]), rel=1e-5)


def _map_of(cells, values):
    """values [M, C] in their cells -> [C, h, w]."""
    flat = np.zeros((values.shape[1], GRID * GRID), np.float32)
    flat[:, cells] = values.T
    return flat.reshape(-1, GRID, GRID)


def _boxes_at(cells, wh, off):
    """The boxes [M, 4] that the decoder makes of the maps at these cells, in their order."""
    heat = np.zeros(GRID * GRID, np.float32)
    heat[cells] = np.linspace(0.9, 0.5, len(cells))
    maps = (heat.reshape(1, GRID, GRID), wh, off, np.zeros((10, GRID, GRID), np.float32))
    return decode_centerface(maps, (4 * GRID, 4 * GRID), len(cells), 0.1, peaks=False)[:, :4]


@pytest.mark.parametrize("logit", [9.3, 30.0, 100.0])
def test_a_certain_mistake_costs_its_logit_and_has_a_gradient(ms, logit):
    """The clamp of the probability has none outside of [1e-4, 1 - 1e-4]."""
    from src.centerface.losses import FocalLoss
    target = np.zeros((1, 4, 4), np.float32)
    target[0, 1, 1] = 1
    logits = logit * (1 - 2 * target[:, None])
    loss, gradient = ms.value_and_grad(FocalLoss())(ms.Tensor(logits), ms.Tensor(target))
    assert float(loss.asnumpy()) == pytest.approx(16 * logit, rel=2e-3)
    np.testing.assert_allclose(gradient.asnumpy(), np.sign(logits), rtol=2e-3)


def test_images_without_a_face_push_every_cell_down(ms):
    from src.centerface.losses import CenterFaceLoss, FocalLoss
    maps, targets = batch()
    background = [ms.Tensor(np.zeros_like(column)) for column in targets]
    maps = tuple(map(ms.Tensor, maps))
    loss, gradient = ms.value_and_grad(FocalLoss())(maps[0], background[0])
    p = 1 / (1 + np.exp(-maps[0].asnumpy().astype(np.float64)))
    assert float(loss.asnumpy()) == pytest.approx((-p ** 2 * np.log(1 - p)).sum(), rel=1e-5)
    assert (gradient.asnumpy() > 0).all()
    _, terms = CenterFaceLoss()(maps, *background)
    assert [float(term.asnumpy()) for term in terms] == [float(loss.asnumpy()), 0, 0, 0]


def test_ignored_cells_do_not_count(ms):
    from src.centerface.losses import FocalLoss
    target = np.zeros((1, 4, 4), np.float32)
    target[0, 1, 1] = 1
    target[0, 2:] = -1
    logits = np.random.default_rng(0).uniform(-2, 2, (2, 1, 4, 4)).astype(np.float32)
    logits[1, 0, :2] = logits[0, 0, :2]
    first, second = (float(FocalLoss()(ms.Tensor(each[None]), ms.Tensor(target)).asnumpy()) for each in logits)
    assert first == pytest.approx(second)
