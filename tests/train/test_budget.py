"""Minutes become steps, and the network is as large as the time allows."""

import numpy as np
import pytest
import torch

from cohortseg.infer.networks import build_network
from cohortseg.train import budget
from cohortseg.train.budget import fit_budget, measure
from cohortseg.train.losses import LOSSES
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES

RECIPE = Recipe(
    loss=LOSSES["dice_ce"].build(),
    schedule=SCHEDULES["cosine"].factor,
    steps=10,
    learning_rate=0.01,
    seed=1,
    validate_every=50,
)
WIDTHS = [[32, 64], [16, 32], [8, 16]]


class Batches:
    steps_per_epoch = 1.0

    def batch(self, step):
        draw = np.random.default_rng(step)
        return draw.normal(size=(2, 1, 8, 8)).astype(np.float32), draw.integers(0, 2, (2, 8, 8))


@pytest.mark.parametrize(
    ("minutes", "features", "tried"),
    [
        (100.0, 32, {"32": 2850}),
        (20.0, 16, {"32": 570, "16": 1140}),
        (1.0, 8, {"32": 28, "16": 57, "8": 114}),
        (0.0001, 8, {"32": 1, "16": 1, "8": 1}),
    ],
)
def test_the_largest_network_with_enough_steps_is_chosen(monkeypatch, minutes, features, tried):
    """Step and validation grow with the features; a validation counts for a fiftieth of a step."""
    monkeypatch.setattr(budget, "measure", lambda network, *_: (network / 16 - network / 1000, network / 20))
    found = fit_budget(lambda widths: widths[0], WIDTHS, Batches(), None, RECIPE, minutes=minutes)
    assert found.features[0] == features
    assert found.tried == tried
    assert found.steps == tried[str(features)]


def test_a_measurement_leaves_the_network_as_it_was():
    network = build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": [4, 8]}, seed=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    judged = []
    step_s, validation_s = measure(network, Batches(), lambda each: judged.append(each) or {"dice": 0.0}, RECIPE)
    assert step_s > 0.0
    assert validation_s >= 0.0
    assert len(judged) == 1
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
