"""Learning-rate schedules: pure functions from a step to the factor on the largest learning rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

ScheduleFunction: TypeAlias = Callable[[int, int], float]


@dataclass(frozen=True)
class Schedule:
    """An entry of `SCHEDULES`: `factor(step, steps)` in (0, 1] for step 0 to steps - 1, and where it is described."""

    factor: ScheduleFunction
    source: str


def constant(step: int, steps: int) -> float:  # noqa: ARG001 (one signature for all)
    """Always one."""
    return 1.0


def cosine(step: int, steps: int, *, warm_up: float = 0.05) -> float:
    """A straight rise over the share `warm_up` of the steps, then half a cosine down to nearly zero.

    Examples
    --------
    >>> [round(cosine(step, 100), 3) for step in (0, 4, 5, 52, 99)]
    [0.2, 1.0, 1.0, 0.508, 0.0]
    """
    n_rising = math.ceil(steps * warm_up)
    if step < n_rising:
        return (step + 1) / n_rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - n_rising) / max(1, steps - n_rising)))


def poly(step: int, steps: int, *, power: float = 0.9) -> float:
    """(1 - step / steps) to the power 0.9."""
    return float((1.0 - step / steps) ** power)


def exponential(step: int, steps: int, *, final: float = 0.01) -> float:
    """The same ratio from step to step, reaching `final` after the last."""
    return float(final ** (step / steps))


def step_wise(step: int, steps: int, *, drops: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> float:
    """A tenth after half of the steps, a hundredth after three quarters."""
    return float(factor ** sum(step >= drop * steps for drop in drops))


def per_epoch(factor: float, steps_per_epoch: float) -> ScheduleFunction:
    """The learning rate times `factor` after each whole epoch: factor^epoch, epochs counted from 0.

    Examples
    --------
    >>> round(1e-3 * per_epoch(0.8, 10.0)(95, 1000), 7)
    0.0001342
    """

    def schedule(step: int, steps: int) -> float:  # noqa: ARG001 (one signature for all)
        return float(factor ** int(step / steps_per_epoch))

    return schedule


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(constant, "-"),
    "cosine": Schedule(cosine, "Loshchilov and Hutter 2017; linear warm-up of Goyal 2017"),
    "exponential": Schedule(exponential, "geometric decay, as 0.8 per epoch in common 2D U-Net recipes"),
    "step_wise": Schedule(step_wise, "He 2016: divided by ten when half and three quarters are done"),
    "poly": Schedule(poly, "Chen 2018 (DeepLab); Isensee 2021"),
}
