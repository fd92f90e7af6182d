"""Networks that make images: losses by hand, targets that stay floats, augmentation that moves them and no more."""

import numpy as np
import pytest
import torch

from cohortseg.train.augment import AUGMENTATIONS, Augmentation, augment
from cohortseg.train.image_losses import BETA, IMAGE_LOSSES, l1, l2, smooth_l1
from cohortseg.train.loop import train
from cohortseg.train.losses import dice_ce
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.validate_images import validation_of_images

TARGET = torch.tensor([[0.0, 0.5], [1.0, 0.25]])[None]
"""One image of two by two."""


# ---- losses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "offset", "value"),
    [
        (l1(), 0.3, 0.3),
        (l2(), 0.3, 0.09),
        (smooth_l1(), 0.3, 0.3 - BETA / 2),  # above beta a line
        (smooth_l1(), BETA / 2, BETA / 8),  # below it a parabola: (beta / 2)^2 / (2 beta)
        (smooth_l1(beta=1.0), 0.3, 0.045),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_constant_offset_costs_what_the_formula_says(loss, offset, value, sign):
    assert float(loss((TARGET + sign * offset)[:, None], TARGET)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_the_target_itself_costs_nothing_and_every_voxel_has_a_gradient_elsewhere(name):
    loss = IMAGE_LOSSES[name].build()
    assert float(loss(TARGET[:, None], TARGET)) == 0.0
    result = (TARGET[:, None] + torch.tensor([0.2, -0.2])).requires_grad_()
    loss(result, TARGET).backward()
    assert torch.equal(result.grad.sign(), torch.tensor([1.0, -1.0]).expand(1, 1, 2, 2))
    assert IMAGE_LOSSES[name].source


# ---- targets --------------------------------------------------------------------------------------------------------


def pair(seed=0, shape=(4, 12, 10)):
    """An input, and a target that is a line of it, as a case."""
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    body = np.ones(shape, np.uint8)
    return Case(image, (0.2 * image + 0.5).astype(np.float16), foreground_rows(body, per_class=50))


def test_patches_of_a_target_keep_its_values_and_lie_where_the_image_lies():
    source = patch_source([pair()], patch=(2, 6, 6), batch_size=3, foreground_share=0.5, seed=1)
    images, targets = source.batch(0)
    assert (images.dtype, targets.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(targets, 0.2 * images[:, 0] + 0.5, atol=1e-3)


def ramp():
    """Straight lines along both axes: between voxels only linear interpolation keeps them straight."""
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    return ((y + 2 * x) / 30.0)[None]


def test_a_target_moves_with_its_image_by_linear_interpolation():
    target = ramp()
    how = Augmentation(rotation_deg=20.0, shift=0.1, scale=0.2)
    image, moved = augment(target[None], target, how, seed=3)
    torch.testing.assert_close(moved, image[:, 0])
    fresh = set(moved.flatten().tolist()) - set(target.flatten().tolist())
    assert len(fresh) > 40  # values between those that were there


def test_labels_still_move_by_the_nearest_voxel():
    labels = (ramp() * 30).long()
    _, moved = augment(ramp()[None], labels, Augmentation(rotation_deg=20.0, shift=0.1), seed=3)
    assert moved.dtype == torch.int64
    assert set(moved.flatten().tolist()) <= set(labels.flatten().tolist())


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_change_of_intensities_touches_the_target(name):
    """Of a constant target nothing can change by moving it: whatever does is a change of intensities."""
    target = torch.full((4, 8, 12, 10), 0.75)
    images = torch.randn((4, 2, 8, 12, 10), generator=torch.Generator().manual_seed(1))
    changed = False
    for seed in range(5):
        image, kept = augment(images, target, AUGMENTATIONS[name], seed=seed)
        torch.testing.assert_close(kept, target)
        changed |= not torch.equal(image, images)
    assert changed == (name != "none")


# ---- the loop -------------------------------------------------------------------------------------------------------


def recipe(steps, **more):
    return Recipe(loss=l1(), schedule=SCHEDULES["constant"].factor, steps=steps, learning_rate=0.05, seed=1, **more)


def line():
    network = torch.nn.Conv3d(1, 1, 1)
    torch.nn.init.zeros_(network.weight)
    torch.nn.init.zeros_(network.bias)
    return network


def validation_in(unit):
    return validation_of_images([pair(5)], patch=(2, 6, 6), loss=l1(), unit=unit)


def test_validation_is_in_the_unit_of_the_target_and_an_identity_has_no_error():
    same = Case(pair().image, pair().image, pair().foreground)
    identity = torch.nn.Identity()
    identity.weight = torch.nn.Parameter(torch.zeros(1))
    validate = validation_of_images([same], patch=(2, 6, 6), loss=l1(), unit=3000.0)
    assert validate(identity) == pytest.approx({"validation_loss": 0.0, "mae": 0.0}, abs=1e-3)
    found = validation_in(3000.0)(line())
    assert found["mae"] == pytest.approx(3000.0 * found["validation_loss"], rel=1e-5)


def test_a_line_learns_a_line_and_the_best_weights_are_those_with_the_smallest_error():
    source = patch_source([pair(1), pair(2)], patch=(2, 6, 6), batch_size=4, foreground_share=0.5, seed=1)
    network = line()
    history = train(network, source, validation_in(1.0), recipe(40, validate_every=2, keep="best"))
    errors = [row["mae"] for row in history]
    assert "dice" not in history[0]
    assert min(errors) < 0.3 * errors[0]
    assert validation_in(1.0)(network)["mae"] == pytest.approx(min(errors), abs=1e-6)


def test_training_ends_when_the_error_stays():
    source = patch_source([pair(1)], patch=(2, 6, 6), batch_size=2, foreground_share=0.5, seed=1)
    errors = iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.0])
    history = train(
        line(),
        source,
        lambda _: {"validation_loss": 0.0, "mae": next(errors)},
        recipe(60, validate_every=10, patience=2),
    )
    assert [row["mae"] for row in history] == [3.0, 2.0, 2.5, 2.0]


def test_a_loss_of_labels_is_another_table():
    assert not set(IMAGE_LOSSES) & {"dice_ce", "cross_entropy"}
    assert float(dice_ce()(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))) > 0
