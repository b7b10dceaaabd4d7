# SPDX-License-Identifier: Apache-2.0
"""The losses equal their published values and their specification written out with NumPy."""
import numpy as np
import pytest

from dependency.errors import InputError
from src.retinaface.anchors import VARIANCE, decode_bbox
from src.retinaface.matching import IGNORED
from tests.retinaface import sample_faces
from tests.training import box_losses

WEIGHTS = {"loc_weight": 2.0, "class_weight": 1.0, "landm_weight": 1.0}


def run(ms, loss, predictions, targets):
    pairs = [array for pair in zip(predictions, targets) for array in pair]
    return [float(term.asnumpy()) for term in loss(*map(ms.Tensor, pairs))]


def random_batch(seed, images=3, anchors=200, ties=False):
    """Predictions and targets; the last image has no face."""
    rng = np.random.default_rng(seed)
    conf_t = rng.choice([0, 1, -1, IGNORED], (images, anchors), p=[0.9, 0.03, 0.03, 0.04]).astype(np.int32)
    conf_t[-1] = np.where(conf_t[-1] == IGNORED, IGNORED, 0)
    logits = rng.normal(0, 3, (images, anchors, 2))
    if ties:
        logits = np.rint(logits / 3)
    arrays = [rng.normal(size=(images, anchors, 4)), logits, rng.normal(size=(images, anchors, 10))]
    targets = [rng.normal(size=(images, anchors, 4)), conf_t, rng.normal(size=(images, anchors, 10))]
    return ([each.astype(np.float32) for each in arrays],
            [each.astype(np.float32) if each is not conf_t else each for each in targets])


def expected_terms(predictions, targets, ratio=7, background_images=False):
    """Section 3 of the specification in float64; anchors ranked one image at a time."""
    loc, logits, landm = (each.astype(np.float64) for each in predictions)
    loc_t, conf_t, landm_t = targets
    face, anchors = (conf_t == 1) | (conf_t == -1), conf_t.shape[1]

    def smooth(prediction, target, mask):
        gap = abs(prediction - target)[mask]
        return np.where(gap < 1, gap ** 2 / 2, gap - 0.5).sum() / max(mask.sum(), 1)

    entropy = np.logaddexp(logits[..., 0], logits[..., 1]) - np.where(face, logits[..., 1], logits[..., 0])
    total = entropy[face].sum()
    for image in range(len(conf_t)):
        count = face[image].sum()
        if background_images and count == 0:
            count = np.ceil(max(face.sum(), 1) / len(face))
        wanted = min(ratio * int(count), anchors - 1)
        total += np.sort(entropy[image][conf_t[image] == 0])[::-1][:wanted].sum()
    return [smooth(loc, loc_t, face), total / max(face.sum(), 1), smooth(landm, landm_t, conf_t == 1)]


def test_published_losses(ms):
    from src.retinaface.loss import MultiBoxLoss
    terms = run(ms, MultiBoxLoss(2, 168, 7, 2), sample_faces.predictions(), sample_faces.targets(matching="reference"))
    assert terms == pytest.approx([4.2434106, 6.6837449, 21.3875465], rel=2e-6)
    assert np.dot(terms, [2, 1, 1]) == pytest.approx(36.5581131, rel=2e-6)


def test_published_number_of_mined_anchors(ms):
    """91 and 84, seven times the positives: an anchor counts where the loss depends on it."""
    from src.retinaface.loss import MultiBoxLoss
    loc, logits, landm = sample_faces.predictions()
    targets = sample_faces.targets(matching="reference")
    slopes = gradient_of_logits(ms, MultiBoxLoss(2, 168, 7), loc, logits, landm, targets)
    counted = (slopes != 0).any(axis=-1)
    assert list((counted & (targets[1] == 0)).sum(axis=1)) == [91, 84]
    assert counted[targets[1] != 0].all()


def gradient_of_logits(ms, loss, loc, logits, landm, targets):
    return gradients_of_class_loss(ms, loss, loc, logits, landm, targets)[0]


def gradients_of_class_loss(ms, loss, loc, logits, landm, targets):
    """Return those of the logits and of the box codes."""
    from mindspore import nn

    class Entropy(nn.Cell):
        """The class loss as a function of the logits."""

        def __init__(self):
            super().__init__()
            self.loss = loss

        def construct(self, logits, loc, landm, loc_t, conf_t, landm_t):
            return self.loss(loc, loc_t, logits, conf_t, landm, landm_t)[1]

    gradients = ms.grad(Entropy(), (0, 1))(*map(ms.Tensor, (logits, loc, landm, *targets)))
    return [each.asnumpy() for each in gradients]


@pytest.mark.parametrize("seed, ties", [(0, False), (1, False), (2, True), (3, True)])
def test_terms_equal_the_formulas(ms, seed, ties):
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(seed, ties=ties)
    assert run(ms, MultiBoxLoss(2, 200, 7), predictions, targets) == pytest.approx(
        expected_terms(predictions, targets), rel=1e-5)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_losses_of_iou_are_those_of_the_decoded_boxes(ms, kind):
    """The anchors of the sample are 16 to 512 pixels wide: the unit of the boxes does not matter."""
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = sample_faces.predictions(), sample_faces.targets()
    predictions[0] *= 30
    terms = run(ms, MultiBoxLoss(2, 168, 7, box_loss=kind), predictions, targets)
    face = abs(targets[1]) == 1
    boxes, faces = (decode_bbox(loc.astype(float), sample_faces.PRIORS, VARIANCE)[face]
                    for loc in (predictions[0], targets[0]))
    expected = [box_losses.iou_loss(kind, boxes, faces).mean(), *expected_terms(predictions, targets)[1:]]
    assert terms == pytest.approx(expected, rel=1e-5)


def focal(kind, margin, loc, targets):
    """The published formulas, [B, N]: Lin et al. 2017, equation 5, and Li et al. 2020, equation 4; 0 where ignored."""
    loc_t, conf_t, _ = targets
    face, p = abs(conf_t) == 1, 1 / (1 + np.exp(-margin.astype(np.float64)))
    if kind == "focal":
        cost = np.where(face, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p ** 2 * np.log(1 - p))
    else:
        # Codes are of a square anchor of side 1 here; of others the IoU is the same.
        anchors = np.tile([0.5, 0.5, 1, 1], (conf_t.size, 1))
        boxes, faces = (decode_bbox(each.reshape(-1, 4).astype(float), anchors, VARIANCE) for each in (loc, loc_t))
        y = np.where(face, box_losses.iou(boxes, faces).reshape(face.shape), 0)
        cost = -abs(y - p) ** 2 * ((1 - y) * np.log(1 - p) + y * np.log(p))
    return np.where(conf_t == IGNORED, 0, cost)


@pytest.mark.parametrize("kind", ["focal", "quality_focal"])
def test_focal_losses_and_their_gradients_equal_the_formulas(ms, kind):
    """Every anchor counts, also those of images without a face; the quality is a target without gradient."""
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(11)
    loc, logits, landm = predictions
    loss, faces = MultiBoxLoss(2, 200, 7, class_loss=kind), (abs(targets[1]) == 1).sum()
    margin = logits[..., 1].astype(np.float64) - logits[..., 0]
    expected = expected_terms(predictions, targets)
    expected[1] = focal(kind, margin, loc, targets).sum() / faces
    assert run(ms, loss, predictions, targets) == pytest.approx(expected, rel=1e-5)
    slopes, slopes_of_boxes = gradients_of_class_loss(ms, loss, loc, logits, landm, targets)
    above, below = (focal(kind, margin + step, loc, targets) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slopes[..., 1], (above - below) / 2e-5 / faces, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(slopes[..., 0], -slopes[..., 1], rtol=1e-5)
    assert not slopes_of_boxes.any()


def test_focal_losses_by_hand(ms):
    """Two anchors of score 0.5, one of a face that the box meets with an IoU of 1/2."""
    from src.retinaface.loss import MultiBoxLoss
    predictions = [np.zeros((1, 2, numbers), np.float32) for numbers in (4, 2, 10)]
    targets = [np.zeros((1, 2, 4), np.float32), np.array([[1, 0]], np.int32), np.zeros((1, 2, 10), np.float32)]
    targets[0][0, 0, 2] = np.log(2) / 0.2
    terms = [run(ms, MultiBoxLoss(2, 2, 7, class_loss=kind), predictions, targets)[1]
             for kind in ("focal", "quality_focal")]
    assert terms == pytest.approx([0.25 * np.log(2) * (0.25 + 0.75), 0.25 * np.log(2) * (0 + 1)], rel=1e-5)


def test_more_wanted_than_there_are(ms):
    """Half of the anchors have faces: all background counts, no ignored anchor and no face twice."""
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(4)
    targets[1][:2, ::2] = 1
    assert run(ms, MultiBoxLoss(2, 200, 7), predictions, targets) == pytest.approx(
        expected_terms(predictions, targets), rel=1e-5)


def test_equally_hard_anchors_share_their_places(ms):
    """Padding makes thousands of anchors alike: only seven times the positives count, and none is preferred."""
    from src.retinaface.loss import MultiBoxLoss
    predictions = [np.zeros((1, 200, numbers), np.float32) for numbers in (4, 2, 10)]
    targets = [np.zeros((1, 200, 4), np.float32), np.zeros((1, 200), np.int32), np.zeros((1, 200, 10), np.float32)]
    targets[1][0, :5] = 1
    loss = MultiBoxLoss(2, 200, 7)
    assert run(ms, loss, predictions, targets)[1] == pytest.approx(np.log(2) * 8, rel=1e-5)
    slopes = gradient_of_logits(ms, loss, *predictions, targets)[0]
    np.testing.assert_allclose(slopes[5:, 1], 0.5 / 5 * 35 / 195, rtol=1e-5)


def test_images_without_faces_cost_nothing(ms):
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(5)
    targets[1] = np.where(targets[1] == IGNORED, IGNORED, 0).astype(np.int32)
    assert run(ms, MultiBoxLoss(2, 200, 7), predictions, targets) == [0, 0, 0]


@pytest.mark.parametrize("faces", [True, False])
def test_background_images_are_mined_as_much_as_an_average_image(ms, faces):
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(8)
    if not faces:
        targets[1] = np.where(targets[1] == IGNORED, IGNORED, 0).astype(np.int32)
    loss = MultiBoxLoss(2, 200, 7, background_images=True)
    terms = run(ms, loss, predictions, targets)
    assert terms == pytest.approx(expected_terms(predictions, targets, background_images=True), rel=1e-5)
    slopes = gradient_of_logits(ms, loss, *predictions, targets)
    counted = (slopes != 0).any(axis=-1)
    assert np.isfinite(slopes).all() and not counted[targets[1] == IGNORED].any()
    expected = 7 * int(np.ceil(max((abs(targets[1]) == 1).sum(), 1) / 3))
    assert counted[-1].sum() == expected and (slopes[-1, counted[-1], 1] > 0).all()


def test_faces_without_landmarks_have_no_landmark_loss(ms):
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(6)
    loss = MultiBoxLoss(2, 200, 7)
    before = run(ms, loss, predictions, targets)
    targets[1] = np.where(targets[1] == 1, -1, targets[1]).astype(np.int32)
    after = run(ms, loss, predictions, targets)
    assert after[:2] == before[:2] and before[2] > 0 and after[2] == 0


@pytest.mark.parametrize("options", [{}, {"box_loss": "ciou", "class_loss": "quality_focal"}])
def test_ignored_anchors_do_not_matter(ms, options):
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(7)
    loss = MultiBoxLoss(2, 200, 7, **options)
    before = run(ms, loss, predictions, targets)
    ignored = targets[1] == IGNORED
    assert ignored.sum() > 10
    predictions[1][ignored] = (-50, 50)
    predictions[0][ignored] = 1e6
    assert run(ms, loss, predictions, targets) == before


def test_confident_logits_stay_exact(ms):
    """With one maximum for the whole batch, rows far below it would be log(0)."""
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(8)
    predictions[1][0] += 5000
    predictions[1][1] -= 5000
    expected = expected_terms(predictions, targets)
    assert run(ms, MultiBoxLoss(2, 200, 7), predictions, targets) == pytest.approx(expected, rel=1e-5)


def test_half_precision_predictions(ms):
    from src.retinaface.loss import MultiBoxLoss
    predictions, targets = random_batch(9)
    predictions = [each.astype(np.float16) for each in predictions]
    assert run(ms, MultiBoxLoss(2, 200, 7), predictions, targets) == pytest.approx(
        expected_terms(predictions, targets), rel=1e-5)


def test_the_batch_size_is_that_of_the_data(ms):
    from src.retinaface.loss import MultiBoxLoss
    loss = MultiBoxLoss(2, 200, 7, 8)
    for images in (1, 3):
        predictions, targets = random_batch(10, images + 1)
        assert run(ms, loss, predictions, targets) == pytest.approx(expected_terms(predictions, targets), rel=1e-5)


@pytest.mark.parametrize("arguments, message", [
    ((2, 29126, 7), (r"num_boxes is 29126 \(image_size 840\), but the network gives 168 \(image_size 64\) anchors; "
                    r"set cfg\['num_anchor'\] = 168, or change cfg\['image_size'\]")),
    ((3, 168, 7), "num_classes is 3, but the network has 2 classes")])
def test_a_wrong_size_is_named(ms, tmp_path, monkeypatch, arguments, message):
    from src.retinaface.loss import MultiBoxLoss
    monkeypatch.chdir(tmp_path)     # MindSpore writes its own report of a failed compilation to the current folder
    with pytest.raises(InputError, match=message):
        run(ms, MultiBoxLoss(*arguments), sample_faces.predictions(), sample_faces.targets())


def test_targets_of_another_size_are_named(ms, tmp_path, monkeypatch):
    from src.retinaface.loss import MultiBoxLoss
    monkeypatch.chdir(tmp_path)
    targets = [np.concatenate([each, each], axis=1) for each in sample_faces.targets()]
    with pytest.raises(InputError, match="the targets have 336"):
        run(ms, MultiBoxLoss(2, 168, 7), sample_faces.predictions(), targets)


def test_both_cells_weigh_the_terms(ms):
    from src.retinaface.loss import MultiBoxLoss, RetinaFaceTerms, RetinaFaceWithLossCell
    from tests.retinaface.small_detector import ANCHORS, SmallDetector, batch
    loss, network = MultiBoxLoss(2, ANCHORS, 7), SmallDetector()
    image, *targets = batch(2)
    total, terms = RetinaFaceTerms(network, loss, (3.0, 0.5, 2.0))(*map(ms.Tensor, (image, *targets)))
    expected = np.dot([float(term.asnumpy()) for term in terms], (3.0, 0.5, 2.0))
    assert float(total.asnumpy()) == pytest.approx(expected, rel=1e-6)
    normalised = image.astype(np.float32).transpose(0, 3, 1, 2) - np.float32([[[104]], [[117]], [[123]]])
    config = {"loc_weight": 3.0, "class_weight": 0.5, "landm_weight": 2.0}
    cell = RetinaFaceWithLossCell(network, loss, config)
    assert float(cell(*map(ms.Tensor, (normalised, *targets))).asnumpy()) == pytest.approx(expected, rel=1e-5)


def test_names_of_the_weights(ms):
    from src.retinaface.loss import MultiBoxLoss, RetinaFaceTerms, RetinaFaceWithLossCell
    from tests.retinaface.small_detector import ANCHORS, SmallDetector
    loss = MultiBoxLoss(2, ANCHORS, 7)
    assert {p.name for p in RetinaFaceTerms(SmallDetector(), loss).get_parameters()} == {"dense.weight", "dense.bias"}
    wrapped = RetinaFaceWithLossCell(SmallDetector(), loss, WEIGHTS)
    assert {p.name for p in wrapped.get_parameters()} == {"network.dense.weight", "network.dense.bias"}
