"""A recipe refuses what cannot be."""

import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.train.losses import LOSSES
from cohortseg.train.recipe import OPTIMISERS, Recipe
from cohortseg.train.schedules import SCHEDULES

NUMBERS = {
    "loss": LOSSES["dice"].build(),
    "schedule": SCHEDULES["poly"].factor,
    "steps": 10,
    "learning_rate": 0.1,
    "seed": 1,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimiser": "adam"},
        {"keep": "first"},
        {"precision": "fp8"},
        {"steps": 0},
        {"validate_every": 0},
        {"ema_decay": 1.0},
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(SettingsError):
        Recipe(**{**NUMBERS, **wrong})


def test_its_numbers_are_plain_and_without_callables():
    numbers = Recipe(**NUMBERS).numbers()
    assert numbers["steps"] == 10
    assert numbers["optimiser"] == "adamw"
    assert not {"loss", "schedule", "augmentation"} & set(numbers)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_every_optimiser_finds_the_bottom_of_a_bowl(name):
    place = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimiser = OPTIMISERS[name].build([place], 0.02, 0.0)
    for _ in range(1500):
        optimiser.zero_grad()
        (place**2).sum().backward()
        optimiser.step()
    assert place.abs().max() < 0.05
    assert OPTIMISERS[name].source
