"""Losses against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy as judge_cross_entropy

from cohortseg.train.losses import (
    IGNORE,
    LOSSES,
    cross_entropy,
    dice,
    dice_bce,
    dice_ce,
    dice_focal,
    focal,
    focal_tversky,
    generalised_dice,
    jaccard,
    lovasz_softmax,
    one_hot,
    soft_dice,
    tversky,
)


def logits_of(probabilities):
    """Logits whose softmax is the probabilities; rows are voxels, columns classes."""
    return torch.tensor(probabilities).log().T[None]


def random_case(shape=(2, 4, 3, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, target


def certain(target, n_classes, margin=60.0):
    """Logits that leave no doubt: background 0, the true foreground class far above, the others far below."""
    logits = (2.0 * one_hot(target, n_classes) - 1.0) * margin
    logits[:, 0] = 0.0
    return logits


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_is_near_zero_for_the_truth_and_large_for_its_opposite(name):
    loss = LOSSES[name].build()
    target = torch.tensor([[[0, 1, 2, 1], [2, 0, 1, 1]]])
    assert loss(certain(target, 3), target) < 1e-4
    assert loss(certain((target + 1) % 3, 3), target) > 0.5


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 3, 4, 5)])
def test_every_gradient_is_finite_also_where_a_class_is_absent(name, shape):
    loss = LOSSES[name].build()
    logits, _ = random_case(shape)
    for target in (torch.zeros((shape[0], *shape[2:]), dtype=torch.long), random_case(shape)[1]):
        for scale in (1.0, 1e4):
            leaf = (logits * scale).requires_grad_()
            value = loss(leaf, target)
            assert value.ndim == 0
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(leaf.grad).all()
            assert leaf.grad.abs().max() <= 2.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_step_down_the_gradient_lowers_every_loss(name):
    loss = LOSSES[name].build()
    logits, target = random_case()
    logits.requires_grad_()
    before = loss(logits, target)
    before.backward()
    assert loss(logits.detach() - 0.1 * logits.grad / logits.grad.norm(), target) < before


def test_cross_entropy_is_the_mean_of_minus_log_p():
    logits = logits_of([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    expected = -(math.log(0.25) + math.log(0.1)) / 2
    assert cross_entropy()(logits, torch.tensor([[2, 0]])).item() == pytest.approx(expected, rel=1e-6)


def test_uniform_probabilities_cost_the_log_of_the_number_of_classes():
    assert cross_entropy()(torch.zeros(1, 5, 3), torch.tensor([[0, 2, 4]])).item() == pytest.approx(math.log(5))


def test_cross_entropy_and_its_gradient_agree_with_the_judge():
    logits, target = random_case()
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value, judged = cross_entropy()(ours, target), judge_cross_entropy(theirs, target)
    value.backward()
    judged.backward()
    torch.testing.assert_close(value, judged)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_focal_loss_weighs_an_easy_voxel_a_hundredth():
    logits, target = logits_of([[0.9, 0.1]]), torch.tensor([[0]])
    assert focal()(logits, target).item() == pytest.approx(0.01 * -math.log(0.9), rel=1e-4)
    torch.testing.assert_close(focal(gamma=0.0)(logits, target), cross_entropy()(logits, target))


def test_dice_by_hand_over_the_batch_without_background():
    # class 1: p = .5 .5 | 0 0, truth 1 0 | 0 0: shared .5, sums 1 + 1; class 2: p = 0 0 | 1 0, truth 0 0 | 1 1
    probabilities = torch.tensor([[[0.5, 0.5], [0.0, 1.0]], [[0.5, 0.5], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    logits = probabilities.transpose(0, 1).clamp_min(1e-12).log()
    target = torch.tensor([[1, 0], [2, 2]])
    first = (2 * 0.5 + 1) / (1 + 1 + 1)
    second = (2 * 1 + 1) / (1 + 2 + 1)
    assert dice()(logits, target).item() == pytest.approx(1 - (first + second) / 2, rel=1e-5)
    zeroth = (2 * 0.5 + 1) / (2 + 1 + 1)
    with_background = 1 - (zeroth + first + second) / 3
    assert dice(background=True)(logits, target).item() == pytest.approx(with_background, rel=1e-5)


def test_dice_of_hard_masks_is_one_minus_the_dice_coefficient():
    prediction = torch.tensor([[0, 1, 1, 1, 0]])
    target = torch.tensor([[0, 0, 1, 1, 1]])
    assert dice(smooth=0.0)(certain(prediction, 2), target).item() == pytest.approx(1 - 4 / 6, rel=1e-5)


def test_a_class_neither_there_nor_predicted_is_no_loss():
    nothing = torch.zeros(1, 2, 7)
    assert soft_dice(nothing, nothing).tolist() == [1.0, 1.0]


def test_dice_ce_is_the_sum_of_its_parts():
    logits, target = random_case()
    torch.testing.assert_close(dice_ce()(logits, target), dice()(logits, target) + cross_entropy()(logits, target))


def test_dice_bce_with_one_class_has_the_softmax_as_probability():
    logits = logits_of([[0.7, 0.3], [0.2, 0.8]])
    target = torch.tensor([[0, 1]])
    overlap = (2 * 0.8 + 1) / (0.3 + 0.8 + 1 + 1)
    entropy = -(math.log(0.7) + math.log(0.8)) / 2
    assert dice_bce()(logits, target).item() == pytest.approx(1 - overlap + entropy, rel=1e-5)


def test_dice_bce_with_several_classes_by_hand():
    # one voxel of class 2; logits minus the background's: log 3 and 0, so sigmoids .75 and .5
    logits = torch.tensor([[[1.0], [1.0 + math.log(3.0)], [1.0]]])
    entropy = -(math.log(0.25) + math.log(0.5)) / 2
    overlap = ((0 + 1) / (0.75 + 0 + 1) + (2 * 0.5 + 1) / (0.5 + 1 + 1)) / 2
    assert dice_bce()(logits, torch.tensor([[2]])).item() == pytest.approx(1 - overlap + entropy, rel=1e-5)


def test_half_precision_logits_are_judged_in_full_precision():
    logits, target = random_case()
    for entry in LOSSES.values():
        assert entry.build()(logits.bfloat16(), target).dtype == torch.float32


def test_every_loss_names_its_source():
    assert all(entry.source for entry in LOSSES.values())


# ---- further losses -------------------------------------------------------------------------------------------------


def two_voxels():
    """Class 1 with p = 0.5 where it is and 0.2 where it is not: TP 0.5, FP 0.2, FN 0.5."""
    return logits_of([[0.5, 0.5], [0.8, 0.2]]), torch.tensor([[1, 0]])


def test_tversky_by_hand():
    logits, target = two_voxels()
    assert tversky(smooth=0.0)(logits, target).item() == pytest.approx(
        1 - 0.5 / (0.5 + 0.3 * 0.2 + 0.7 * 0.5), rel=1e-5
    )
    with_smooth = 1 - 1.5 / (0.5 + 0.3 * 0.2 + 0.7 * 0.5 + 1)
    assert tversky()(logits, target).item() == pytest.approx(with_smooth, rel=1e-5)
    assert focal_tversky()(logits, target).item() == pytest.approx(with_smooth**0.75, rel=1e-5)


def test_tversky_of_equal_halves_is_dice():
    logits, target = random_case()
    half = tversky(alpha=0.5, beta=0.5, smooth=0.5)(logits, target)
    torch.testing.assert_close(half, dice(smooth=1.0)(logits, target))


def test_jaccard_of_hard_masks_is_one_minus_intersection_over_union():
    prediction, target = torch.tensor([[0, 1, 1, 1, 0]]), torch.tensor([[0, 0, 1, 1, 1]])
    assert jaccard(smooth=0.0)(certain(prediction, 2), target).item() == pytest.approx(1 - 2 / 4, rel=1e-5)


def test_generalised_dice_by_hand_and_of_equal_volumes_the_dice_of_all():
    logits = logits_of([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    target = torch.tensor([[0, 0, 0, 1]])
    # weights 1/9 and 1; shared 1.8 and 0.8, sums 2 + 3 and 2 + 1
    expected = 1 - 2 * (1.8 / 9 + 0.8) / (5 / 9 + 3)
    assert generalised_dice(smooth=0.0)(logits, target).item() == pytest.approx(expected, rel=1e-5)
    equal = torch.tensor([[0, 0, 1, 1]])
    # all weights are the same and cancel: 2 (1.5 + 1.5) / (2 + 2 + 2 + 2)
    assert generalised_dice(smooth=0.0)(logits, equal).item() == pytest.approx(1 - 6 / 8, rel=1e-5)


def test_lovasz_of_hard_masks_is_one_minus_the_mean_jaccard_index():
    prediction, target = torch.tensor([[0, 1, 1, 1, 0]]), torch.tensor([[0, 0, 1, 1, 1]])
    # background: 1 of 3, foreground: 2 of 4
    assert lovasz_softmax()(certain(prediction, 2), target).item() == pytest.approx(1 - (1 / 3 + 2 / 4) / 2, rel=1e-5)


def test_lovasz_counts_present_classes_alone_and_no_order_of_voxels():
    logits, target = random_case((1, 3, 7, 5))
    target = target.clamp_max(1)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(1))
    shuffled = lovasz_softmax()(logits.flatten(2)[..., order], target.flatten(1)[:, order])
    torch.testing.assert_close(lovasz_softmax()(logits, target), shuffled)
    everywhere = torch.ones_like(target)
    expected = 1 - torch.softmax(logits, 1)[:, 1].mean()
    torch.testing.assert_close(lovasz_softmax()(logits, everywhere), expected)


def test_dice_focal_is_the_sum_of_its_parts():
    logits, target = random_case()
    torch.testing.assert_close(dice_focal()(logits, target), dice()(logits, target) + focal()(logits, target))


# ---- sparse annotation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_voxels_that_nobody_annotated_count_for_nothing(name):
    loss = LOSSES[name].build()
    logits, target = random_case((1, 3, 6, 4))
    sparse = target.clone()
    sparse[:, 3:] = IGNORE
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, sparse)
    value.backward()
    torch.testing.assert_close(value.detach(), loss(logits[:, :, :3], target[:, :3]))
    assert (leaf.grad[:, :, 3:] == 0).all()
    assert (leaf.grad[:, :, :3] != 0).any()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_batch_without_any_annotation_has_no_gradient(name):
    leaf = random_case((1, 3, 6, 4))[0].requires_grad_()
    LOSSES[name].build()(leaf, torch.full((1, 6, 4), IGNORE)).backward()
    assert (leaf.grad == 0).all()
