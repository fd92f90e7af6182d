"""How many steps fit a number of minutes on this device, and how large a network: measured before the first step."""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cohortseg.train.patches import Source
from cohortseg.train.recipe import Recipe
from cohortseg.train.step import Row, initial_state, one_step
from cohortseg.train.team import ALONE, Team

WANTED_STEPS = 800
"""Steps below which a smaller network learns more in the same time."""
WARM_UP, MEASURED = 2, 6
"""Steps thrown away, and steps whose median counts."""
SHARE = 0.95
"""Share of the minutes for training; the rest is for reading, checkpoints and the first step."""


@dataclass(frozen=True)
class Budget:
    """What fits the minutes.

    Parameters
    ----------
    features : list of int
        Channels per level of the network chosen.
    seconds_per_step, seconds_per_validation : float
        Measured.
    steps : int
        As many as fit, at least one.
    tried : mapping
        Features at full resolution to the steps that would have fitted, for each network that was measured.
    """

    features: list[int]
    seconds_per_step: float
    seconds_per_validation: float
    steps: int
    tried: Mapping[str, int]


def fit_budget(
    build: Callable[[Sequence[int]], nn.Module],
    candidates: Sequence[Sequence[int]],
    source: Source,
    validate: Callable[[nn.Module], Row],
    recipe: Recipe,
    *,
    minutes: float,
    team: Team = ALONE,
) -> Budget:
    """The largest network that still takes `WANTED_STEPS` steps in the minutes, or the smallest there is.

    Parameters
    ----------
    build : callable
        Channels per level to a network on its device.
    candidates : sequence of sequences of int
        Channels per level of each network to choose from, largest first.
    source, validate, recipe
        As in training.
    minutes : float
        For training and its validations.
    team : Team
        The processes that will train together; what the first measures counts for all.
    """
    tried: dict[str, int] = {}
    for number, features in enumerate(candidates):
        step_s, validation_s = measure(build(features), source, validate, recipe, team)
        steps = max(1, int(60.0 * minutes * SHARE / (step_s + validation_s / recipe.validate_every)))
        tried[str(features[0])] = steps
        if steps >= WANTED_STEPS or number == len(candidates) - 1:
            break
    return Budget(list(features), step_s, validation_s, steps, tried)


def measure(
    network: nn.Module, source: Source, validate: Callable[[nn.Module], Row], recipe: Recipe, team: Team = ALONE
) -> tuple[float, float]:
    """Median seconds of a step (with its batch, which a training cuts ahead) and of a validation; nothing is kept."""
    state = initial_state(copy.deepcopy(network).train(), recipe)
    seconds = []
    for number in range(WARM_UP + MEASURED):
        images, labels = source.batch(number)
        _wait(state.loss_sum.device)
        began = time.perf_counter()
        one_step(state, recipe, torch.from_numpy(images), torch.from_numpy(labels), team=team)
        _wait(state.loss_sum.device)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    if team.is_first:
        validate(state.network)
        _wait(state.loss_sum.device)
    found: tuple[float, float] = team.from_first((statistics.median(seconds), time.perf_counter() - began))
    return found


def _wait(device: torch.device) -> None:
    """Until a graphics card has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
