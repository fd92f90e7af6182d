"""Losses against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy as judge_cross_entropy

from cohortseg.train.losses import LOSSES, cross_entropy, dice, dice_bce, dice_ce, focal, one_hot, soft_dice


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
