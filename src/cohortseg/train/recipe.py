"""What decides what a training computes: its numbers and callables, and the table of optimisers."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.train.losses import LossFunction
from cohortseg.train.schedules import ScheduleFunction


@dataclass(frozen=True)
class Optimiser:
    """An entry of `OPTIMISERS`: `build(parameters, learning_rate, weight_decay)`, and where it is described."""

    build: Callable[[Any, float, float], torch.optim.Optimizer]
    source: str


def _adamw(parameters: Any, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def _sgd_nesterov(parameters: Any, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.99, nesterov=True, weight_decay=weight_decay)


OPTIMISERS: dict[str, Optimiser] = {
    "adamw": Optimiser(_adamw, "Loshchilov and Hutter 2019"),
    "sgd_nesterov": Optimiser(_sgd_nesterov, "Nesterov 1983; momentum 0.99 as Ronneberger 2015 and Isensee 2021"),
}


@dataclass(frozen=True)
class Recipe:
    """The numbers and callables that decide what a training computes.

    Parameters
    ----------
    loss : callable
        `(logits, target)` to a scalar; see `losses.LOSSES`.
    schedule : callable
        `(step, steps)` to the factor on the learning rate; see `schedules.SCHEDULES`.
    steps : int
        Optimiser steps of the whole run.
    learning_rate, weight_decay : float
        Largest learning rate; decay per step, times the learning rate for AdamW.
    seed : int
        Decides augmentation and dropout, step by step.
    optimiser : str
        A key of `OPTIMISERS`.
    precision : 'fp32', 'bf16' or 'fp16'
        Arithmetic of the network; loss, weights and optimiser are always fp32. fp16 scales the loss, on GPUs only.
    gradient_clip : float
        Largest norm of the gradient; 0 for no limit.
    augmentation : callable, optional
        `(images, labels, seed=int)` to changed images and labels, tensors on the network's device.
    validate_every : int
        Steps per row of the history; the last step always makes one.
    ema_decay : float in [0, 1)
        Validate and keep the running average of the weights with this decay; 0 for the weights themselves.
    keep : 'last' or 'best'
        Which weights the network holds in the end: the last, or those of the row with the highest `dice` (of images the
        lowest `mae`).
    accumulate : int
        Parts that a batch goes through the network in; their gradients are added up.
    patience : int
        Rows without a better one after which training ends early; 0 for never.
    channels_last : bool
        Memory format of the network and its input.
    compile : bool
        Whether the network is compiled by torch.
    loss_at : callable, optional
        Step to the loss of that step, where it changes; `loss` then stands for its last form.
    contour_weight : float
        Weight of the contours of networks with a head for them.

    Raises
    ------
    SettingsError
        When a name is not available or a number makes no sense.
    """

    loss: LossFunction
    schedule: ScheduleFunction
    steps: int
    learning_rate: float
    seed: int
    weight_decay: float = 1e-4
    optimiser: str = "adamw"
    precision: str = "fp32"
    gradient_clip: float = 12.0
    augmentation: Callable[..., tuple[Tensor, Tensor]] | None = None
    validate_every: int = 100
    ema_decay: float = 0.0
    keep: str = "last"
    accumulate: int = 1
    patience: int = 0
    channels_last: bool = False
    compile: bool = False
    loss_at: Callable[[int], LossFunction] | None = None
    contour_weight: float = 1.0

    def __post_init__(self) -> None:
        choose("optimiser", self.optimiser, OPTIMISERS)
        if self.keep not in ("last", "best") or self.precision not in ("fp32", "bf16", "fp16"):
            raise SettingsError(
                f"keep is last or best, precision fp32, bf16 or fp16; got {self.keep}, {self.precision}"
            )
        if self.steps < 1 or self.validate_every < 1 or not 0.0 <= self.ema_decay < 1.0:
            raise SettingsError(f"impossible steps or ema_decay: {self.steps}, {self.validate_every}, {self.ema_decay}")
        if self.accumulate < 1 or self.patience < 0:
            raise SettingsError(f"impossible accumulate or patience: {self.accumulate}, {self.patience}")

    def numbers(self) -> dict[str, Any]:
        """All but the callables."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, int | float | str)}
