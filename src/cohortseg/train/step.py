"""One optimiser step, and all that changes by it; what is random in it depends on seed and step alone."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from cohortseg.errors import SettingsError
from cohortseg.infer.architectures.parts import SideBySide, WithContours
from cohortseg.infer.architectures.parts import middle as inner
from cohortseg.train.contours import contour_loss
from cohortseg.train.losses import LossFunction
from cohortseg.train.recipe import OPTIMISERS, Recipe
from cohortseg.train.team import ALONE, Team

Row: TypeAlias = dict[str, float]

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Kinds of numbers of half the width, in which convolutions are computed; weights, loss and optimiser are fp32."""


@dataclass
class State:
    """Everything that changes while training; all of it goes into a checkpoint."""

    network: nn.Module
    average: nn.Module | None
    optimiser: torch.optim.Optimizer
    history: list[Row]
    loss_sum: Tensor
    call: Callable[[Tensor], Any]
    scaler: torch.amp.GradScaler
    step: int = 0
    best: dict[str, Tensor] | None = None

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.network if self.average is None else self.average

    def as_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
            "loss_sum": self.loss_sum,
            "step": self.step,
            "best": self.best,
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave."""
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.history = list(saved["history"])
        self.loss_sum.copy_(saved["loss_sum"])
        self.step, self.best = saved["step"], saved["best"]
        self.scaler.load_state_dict(saved.get("scaler", {}))


def initial_state(network: nn.Module, recipe: Recipe) -> State:
    """Before the first step; frozen parameters are not given to the optimiser.

    Raises
    ------
    SettingsError
        For fp16 on a CPU.
    """
    build = OPTIMISERS[recipe.optimiser].build
    average = copy.deepcopy(network) if recipe.ema_decay else None
    nothing = torch.zeros((), dtype=torch.float64, device=next(network.parameters()).device)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = build(trained, recipe.learning_rate, recipe.weight_decay)
    call = torch.compile(network) if recipe.compile else network
    return State(network, average, optimiser, [], nothing, call, loss_scaler(nothing.device, recipe.precision))


def loss_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """What keeps small gradients of fp16 from vanishing (Micikevicius 2018): the loss times a factor that adapts.

    Other kinds of numbers reach far enough and are left as they are.

    Raises
    ------
    SettingsError
        For fp16 on a CPU, which gains nothing by it.
    """
    if precision == "fp16" and device.type != "cuda":
        raise SettingsError("`precision: fp16` trains on graphics cards alone; take bf16, fp32 or auto on a CPU")
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def one_step(state: State, recipe: Recipe, images: Tensor, labels: Tensor, *, team: Team = ALONE) -> None:
    """Augment, forward, backward in as many parts as the recipe says, clip, update weights and their average.

    Images and labels are the rows of the batch that this process of the team computes; the loss is that of all.
    """
    device = state.loss_sum.device
    images, labels = images.to(device), labels.to(device)
    seed = int(np.random.SeedSequence([recipe.seed, state.step]).generate_state(1, np.uint32)[0])
    torch.manual_seed(seed)
    if recipe.augmentation is not None:
        images, labels = recipe.augmentation(images, labels, seed=seed)
    if team.rank:
        torch.manual_seed(seed + team.rank)  # dropout of other rows is other dropout
    if recipe.channels_last:
        images = images.to(memory_format=torch.channels_last if images.ndim == 4 else torch.channels_last_3d)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(recipe, state.step)
    state.optimiser.zero_grad()
    parts = min(recipe.accumulate, len(images))
    for some, truth in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True):
        with torch.autocast(device.type, HALF.get(recipe.precision), enabled=recipe.precision in HALF):
            logits = state.call(some)
        loss = recipe.loss if recipe.loss_at is None else recipe.loss_at(state.step)
        value = supervised(loss, logits, truth, recipe.contour_weight, team) * (len(some) / len(images))
        state.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        state.loss_sum += value.detach()
    team.add_up_gradients(state.network)
    # Summed before: a gradient that overflowed in one process makes all leave out the step.
    state.scaler.unscale_(state.optimiser)
    if recipe.gradient_clip:
        nn.utils.clip_grad_norm_(state.network.parameters(), recipe.gradient_clip)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.step += 1
    if state.average is not None:
        # Early on the average follows faster: the first weights are of no use.
        _follow(state.average, state.network, min(recipe.ema_decay, (1.0 + state.step) / (10.0 + state.step)))


def supervised(
    loss: LossFunction,
    logits: Tensor | list[Tensor] | WithContours | SideBySide,
    target: Tensor,
    contour_weight: float = 1.0,
    team: Team = ALONE,
) -> Tensor:
    """The loss of the logits; of several resolutions (finest first) the mean, each weighted half as much as the finer.

    The target of a coarser one holds the nearest voxels, so that no class appears that is not there. The contours of
    networks that find them too have a loss of their own, which is added. Of networks side by side it is the mean.
    """
    if isinstance(logits, SideBySide):
        of_each = [supervised(loss, one, target, contour_weight, team) for one in logits.each]
        return torch.stack(of_each).mean()
    if isinstance(logits, WithContours):
        edges = supervised(contour_loss, logits.contours, target, team=team)
        return supervised(loss, logits.classes, target, team=team) + contour_weight * edges
    loss = team.loss_of_all(loss)
    if isinstance(logits, Tensor):
        # A network without padding says nothing of the border of its patch.
        return loss(logits, inner(target[:, None], logits.shape[2:])[:, 0])
    weights = [0.5**number for number in range(len(logits))]
    total = torch.zeros((), device=target.device)
    for weight, found in zip(weights, logits, strict=True):
        coarse = target
        for axis, size in enumerate(found.shape[2:], start=1):
            whole = target.shape[axis]
            middle = (torch.arange(size, device=target.device) * 2 + 1) * whole // (2 * size)
            coarse = coarse.index_select(axis, middle)
        total = total + weight / sum(weights) * loss(found, coarse)
    return total


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step."""
    return recipe.learning_rate * recipe.schedule(step, recipe.steps)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1.0 - decay)
    # The statistics of a batch norm are averages already.
    for held, current in zip(average.buffers(), network.buffers(), strict=True):
        held.copy_(current)
