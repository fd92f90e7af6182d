"""The loss of a training as its settings say it, epoch by epoch."""

import math

import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.settings import UNetMethod
from cohortseg.steps.objective import final_loss, objective_of
from cohortseg.train.losses import dice, dice_bce, dice_ce, generalised_dice
from cohortseg.train.shape_losses import boundary
from cohortseg.train.step import State

CASE = (
    torch.randn(2, 2, 6, 7, generator=torch.Generator().manual_seed(1)),
    torch.randint(2, (2, 6, 7), generator=torch.Generator().manual_seed(2)),
)


def objective(loss, spacing_mm=(1.0, 1.0), n_classes=1, **options):
    method = UNetMethod(method="unet", loss=loss, loss_options=options or None)
    return objective_of(method, n_classes=n_classes, spacing_mm=spacing_mm)


@pytest.mark.parametrize(("name", "build"), [("dice_bce", dice_bce), ("dice_ce", dice_ce)])
def test_the_dice_is_privileged_in_the_first_epochs_and_equal_after(name, build):
    at = objective(name, first_epochs=50, first_dice_share=0.8)
    region = float(dice()(*CASE))
    entropy = float(build()(*CASE)) - region
    assert at(0)(*CASE) == pytest.approx(1.6 * region + 0.4 * entropy, rel=1e-5)
    assert at(49.99)(*CASE) == pytest.approx(float(at(0)(*CASE)))
    assert at(50)(*CASE) == pytest.approx(region + entropy, rel=1e-5)
    assert final_loss(at)(*CASE) == pytest.approx(float(at(50)(*CASE)))


def test_an_empty_slice_teaches_by_the_cross_entropy_alone():
    logits, empty = CASE[0].clone().requires_grad_(), torch.zeros((2, 6, 7), dtype=torch.long)
    size = {}
    for share in (1.0, 0.0):
        loss = objective("dice_bce", dice_share=share)(0)(logits, empty)
        size[share] = torch.autograd.grad(loss, logits)[0].abs().sum()
    assert size[1.0] < 0.1 * size[0.0]
    assert size[0.0] > 0


def test_the_boundary_grows_and_the_region_shrinks_to_a_tenth():
    at = objective("boundary", boundary_weight=0.01, boundary_growth=0.02)
    region = float(generalised_dice()(*CASE))
    far = float(boundary(region_weight=0.0, boundary_weight=1.0)(*CASE))
    for epoch, weights in ((0, (1.0, 0.01)), (10.9, (0.8, 0.21)), (45, (0.1, 0.91)), (200, (0.1, 4.01))):
        assert at(epoch)(*CASE) == pytest.approx(weights[0] * region + weights[1] * far, rel=1e-4, abs=1e-6)


def test_distances_are_in_voxels_of_the_finest_axis():
    target = torch.zeros((1, 5, 9), dtype=torch.long)
    target[0, 2, 4] = 1
    logits = torch.zeros(1, 2, 5, 9)
    same = [objective("boundary", spacing_mm=spacing)(0)(logits, target) for spacing in ((3.0, 1.0), (6.0, 2.0))]
    assert same[0] == same[1]
    assert objective("boundary")(0)(logits, target) < same[0]


def test_weights_of_classes_reach_the_loss_and_must_be_as_many():
    logits, target = torch.zeros(1, 2, 3), torch.ones(1, 3).long()
    found = objective("weighted_cross_entropy", class_weights=(1.0, 4.0))(0)(logits, target)
    assert found == pytest.approx(4 * math.log(2))
    with pytest.raises(SettingsError, match="names 2 classes, there are 3"):
        objective("weighted_cross_entropy", n_classes=2, class_weights=(1.0, 4.0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "dice", "loss_options": {"eta": 2.0}}, "loss_options.eta"),
        ({"loss": "iou_balanced", "loss_options": {"first_epochs": 3}}, "loss_options.first_epochs"),
        ({"loss_options": {"contour_weight": 2.0}}, "loss_options.contour_weight"),
        ({"loss": "weighted_cross_entropy"}, "class_weights"),
    ],
)
def test_a_number_that_nothing_would_read_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        UNetMethod(method="unet", **settings)
    UNetMethod(method="unet", architecture={"name": "dcan"}, loss_options={"contour_weight": 2.0})


def test_each_step_asks_for_the_loss_of_its_epoch(monkeypatch):
    from torch import nn

    from cohortseg.train.recipe import Recipe
    from cohortseg.train.schedules import constant
    from cohortseg.train.step import initial_state, one_step

    at, asked = objective("dice_bce", first_epochs=2), []

    def loss_at(step):
        asked.append(step)
        return at(step / 2)

    recipe = Recipe(loss=final_loss(at), loss_at=loss_at, schedule=constant, steps=6, learning_rate=1e-9, seed=1)
    state: State = initial_state(nn.Conv2d(1, 2, 1), recipe)
    image = torch.randn(2, 1, 6, 7, generator=torch.Generator().manual_seed(3))
    seen = []
    for _ in range(6):
        before = float(state.loss_sum)
        one_step(state, recipe, image, CASE[1])
        seen.append(float(state.loss_sum) - before)
    assert asked == [0, 1, 2, 3, 4, 5]
    assert seen[3] == pytest.approx(seen[0], rel=1e-4)
    assert seen[4] == pytest.approx(seen[5], rel=1e-4)
    assert abs(seen[3] - seen[4]) > 1e-3
