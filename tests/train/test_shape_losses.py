"""Losses on shapes against sums worked out by hand."""

import math

import numpy as np
import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.train.losses import IGNORE, cross_entropy, generalised_dice, one_hot
from cohortseg.train.shape_losses import (
    SHAPE_LOSSES,
    border_distance,
    border_weighted_cross_entropy,
    boundary,
    gap_weights,
    hausdorff,
    iou_balanced,
    iou_of_objects,
    signed_distance,
    weighted_cross_entropy,
)


def certain(target, n_classes=2, margin=60.0):
    return (2.0 * one_hot(target, n_classes) - 1.0) * margin


def random_case(shape=(2, 3, 9, 8), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator)
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


def square(side=9, low=2, high=6):
    target = torch.zeros((1, side, side), dtype=torch.long)
    target[0, low:high, low:high] = 1
    return target


@pytest.mark.parametrize("name", sorted(SHAPE_LOSSES))
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (1, 2, 5, 6, 7)])
def test_every_gradient_is_finite_and_leads_down(name, shape):
    loss = SHAPE_LOSSES[name].build()
    logits, target = random_case(shape)
    for truth in (target, torch.zeros_like(target), torch.ones_like(target)):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, truth)
        value.backward()
        assert value.ndim == 0
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()
    leaf = logits.clone().requires_grad_()
    before = loss(leaf, target)
    before.backward()
    assert loss(logits - 0.02 * leaf.grad / leaf.grad.norm(), target) < before


@pytest.mark.parametrize("name", sorted(SHAPE_LOSSES))
def test_the_truth_is_better_than_a_moved_one_and_ignored_voxels_have_no_gradient(name):
    loss = SHAPE_LOSSES[name].build()
    target = square()
    assert loss(certain(target), target) < loss(certain(target.roll(2, 1)), target)
    logits = random_case((1, 2, 9, 9))[0].requires_grad_()
    sparse = target.clone()
    sparse[0, :, 7:] = IGNORE
    loss(logits, sparse).backward()
    assert (logits.grad[0, :, :, 7:] == 0).all()
    assert (logits.grad[0, :, :, :7] != 0).any()


def test_weighted_cross_entropy_by_hand():
    logits = torch.zeros(1, 2, 4)  # q = 1/2
    assert weighted_cross_entropy(class_weights=(1.0, 2.0))(logits, torch.ones(1, 4).long()) == pytest.approx(
        2 * math.log(2)
    )
    assert weighted_cross_entropy(class_weights=(1.0, 2.0))(logits, torch.zeros(1, 4).long()) == pytest.approx(
        math.log(2)
    )
    case = random_case()
    assert weighted_cross_entropy()(*case) == pytest.approx(float(cross_entropy()(*case)), rel=1e-6)
    with pytest.raises(SettingsError, match="names 2 classes, there are 3"):
        weighted_cross_entropy(class_weights=(1.0, 2.0))(*case)


def test_the_middle_between_two_cells_four_apart_has_the_weight_of_the_paper():
    mask = np.zeros((5, 40), bool)
    mask[:, 3:8] = mask[:, 11:15] = True  # columns 7 and 11: four apart, the middle two from each
    weights = gap_weights(mask, 10.0, 5.0)
    assert weights[2, 9] == pytest.approx(1 + 10 * math.exp(-((2 + 2) ** 2) / 50), rel=1e-5)
    assert weights[2, 9] == pytest.approx(1 + 7.26, abs=0.01)
    assert weights[2, 39] == pytest.approx(1.0, abs=1e-6)
    assert (weights[mask] == 1).all()
    assert (gap_weights(mask & (np.arange(40) < 9), 10.0, 5.0) == 1).all()  # one cell has no gap
    wide = gap_weights(mask, 10.0, 5.0, spacing=(1.0, 3.0))
    assert wide[2, 9] == pytest.approx(1 + 10 * math.exp(-((6 + 6) ** 2) / 50), rel=1e-5)


def test_border_weights_multiply_the_cross_entropy_of_their_voxels():
    target = torch.zeros((1, 5, 20), dtype=torch.long)
    target[0, :, 3:8] = target[0, :, 11:15] = 1
    weights = gap_weights(target[0].numpy() == 1, 10.0, 5.0)
    found = border_weighted_cross_entropy()(torch.zeros(1, 2, 5, 20), target)
    assert found == pytest.approx(math.log(2) * weights.mean(), rel=1e-5)


def test_distance_times_difference_is_the_distance_over_the_wrong_voxels():
    """Kervadec 2019: sum of phi s minus sum of phi g is the sum of |phi| over all voxels where s and g differ."""
    truth = np.zeros((12, 13), bool)
    truth[3:8, 4:9] = True
    found = np.zeros_like(truth)
    found[5:11, 2:7] = True
    far = signed_distance(truth)
    assert far[5, 6] == -2  # three steps to the outside, of which one is given back
    assert far[3, 4] == 0
    assert far[3, 3] == 1
    wrong = truth ^ found
    assert far[found].sum() - far[truth].sum() == pytest.approx(np.abs(far[wrong]).sum())
    assert np.abs(far[wrong]).sum() > 10


def test_the_boundary_part_is_the_mean_of_distance_times_probability():
    target = square()
    far = signed_distance(target[0].numpy() == 1)
    logits = random_case((1, 2, 9, 9))[0]
    found = boundary(region_weight=0.0, boundary_weight=1.0)(logits, target)
    assert found == pytest.approx(float((far * torch.softmax(logits, 1)[0, 1].numpy()).mean()), rel=1e-5)
    perfect = boundary(region_weight=0.0, boundary_weight=1.0)(certain(target), target)
    assert perfect == pytest.approx(far[target[0].numpy() == 1].sum() / 81, rel=1e-5)
    assert perfect < 0
    assert boundary(boundary_weight=0.0)(logits, target) == pytest.approx(float(generalised_dice()(logits, target)))
    thick = signed_distance(np.array([[False, True], [False, False]]), spacing=(5.0, 1.0))
    np.testing.assert_allclose(thick, [[1.0, 0.0], [math.hypot(5, 1), 5.0]], rtol=1e-6)


def test_distances_of_a_class_that_is_not_there_are_zero():
    for mask in (np.zeros((3, 4), bool), np.ones((3, 4), bool)):
        assert not signed_distance(mask).any()
        assert not border_distance(mask).any()


def test_the_hausdorff_part_by_hand():
    target = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    found = torch.tensor([[[0, 1, 1, 1, 0, 0]]])  # moved by one: two voxels wrong, each next to both borders
    truth_far, found_far = (border_distance(mask[0].numpy() == 1) for mask in (target, found))
    np.testing.assert_array_equal(truth_far, [[2, 1, 1, 2, 1, 1]])
    np.testing.assert_array_equal(found_far, [[1, 1, 2, 1, 1, 2]])
    logits = torch.zeros(1, 2, 1, 6)
    logits[0, 1] = torch.tensor([-2.0, 1.0, 2.0, 2.0, -1.0, -2.0])
    logits = logits.requires_grad_()
    p = torch.sigmoid(logits[0, 1] - logits[0, 0])
    far = torch.from_numpy(truth_far**2 + found_far**2)
    by_hand = ((p - target[0]) ** 2 * far).mean()
    overlap = (2 * (p * target[0]).sum() + 1) / (p.sum() + 3 + 1)
    value = hausdorff()(logits, target)
    torch.testing.assert_close(value, 2 * (1 - overlap))  # both parts weigh the same
    expected = torch.autograd.grad((1 - overlap) + by_hand * ((1 - overlap) / by_hand).detach(), logits)[0]
    torch.testing.assert_close(torch.autograd.grad(value, logits)[0], expected)


def test_a_well_found_object_counts_more_and_the_sum_stays():
    truth = np.zeros((6, 20), bool)
    truth[1:5, 1:5] = truth[1:5, 10:14] = True
    found = np.zeros_like(truth)
    found[1:5, 1:4] = True  # three quarters of the first: 12 / 16
    found[1:5, 13:17] = True  # 4 shared, 28 together
    iou = iou_of_objects(truth, found)
    assert iou[2, 2] == pytest.approx(0.75)
    assert iou[2, 11] == pytest.approx(4 / 28)
    logits = torch.where(torch.from_numpy(found), 1.0, -1.0)[None, None] * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    logits = logits.clone().requires_grad_()
    target = torch.from_numpy(truth)[None].long()
    for eta in (0.0, 1.5):
        torch.testing.assert_close(iou_balanced(eta=eta)(logits, target), cross_entropy()(logits, target))
    slopes = [torch.autograd.grad(loss(logits, target), logits)[0][0, 1] for loss in (iou_balanced(), cross_entropy())]
    ratio = slopes[0] / slopes[1]
    assert ratio[2, 2] / ratio[2, 11] == pytest.approx((0.75 / (4 / 28)) ** 1.5, rel=1e-4)
    assert ratio[0, 8] == pytest.approx(1.0)


def test_where_no_object_is_found_it_is_plain_cross_entropy():
    target = square()
    logits = torch.zeros(1, 2, 9, 9)
    logits[:, 0] = 1.0
    logits.requires_grad_()
    slopes = [torch.autograd.grad(loss(logits, target), logits)[0] for loss in (iou_balanced(), cross_entropy())]
    torch.testing.assert_close(*slopes)
