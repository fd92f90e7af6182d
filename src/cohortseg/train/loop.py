"""The training loop: steps, validation, checkpoints; a run cut in two equals the uncut run bit for bit on CPU."""

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from cohortseg.errors import CohortError, SettingsError
from cohortseg.train.checkpoint import identity_of, read_checkpoint, write_checkpoint
from cohortseg.train.patches import Source, prefetch
from cohortseg.train.recipe import OPTIMISERS, Recipe

Row: TypeAlias = dict[str, float]


class Interrupted(CohortError, RuntimeError):  # noqa: N818 (no error: the run can go on)
    """The run was asked to stop (SIGTERM, SIGUSR1) and has written its checkpoint: start it again to go on."""

    @property
    def out_of_time(self) -> bool:
        """Whether a scheduler warned that the time of the job ends."""
        return str(self).startswith("SIGUSR1")


@dataclass
class State:
    """Everything that changes while training; all of it goes into a checkpoint."""

    network: nn.Module
    average: nn.Module | None
    optimiser: torch.optim.Optimizer
    history: list[Row]
    loss_sum: Tensor
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


def train(  # noqa: PLR0913 (each has its name)
    network: nn.Module,
    source: Source,
    validate: Callable[[nn.Module], Row],
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    checkpoint_minutes: float = 5.0,
    identity: str = "",
    report: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Train a network in place, resuming from the checkpoint when it belongs to this very run.

    Parameters
    ----------
    network : nn.Module
        On its device, with its initial weights. Holds the trained weights afterwards.
    source : Source
        Gives the batch of each step.
    validate : callable
        Network to numbers of the history, among them `dice`; see `validate.validation`.
    recipe : Recipe
        What is computed.
    checkpoint : Path, optional
        Resume file. It is left in place, so that a finished run returns at once.
    checkpoint_minutes : float
        Time between two checkpoints.
    identity : str
        What else makes this run itself (a digest of cases, loss, schedule, augmentation): a checkpoint with another one
        is ignored.
    report : callable, optional
        Called with each new row.

    Returns
    -------
    list of dict
        Per interval: step, epoch, learning_rate, loss (mean over the interval), the numbers of `validate`, and
        seconds_train, seconds_validate, the only ones that differ from run to run.

    Raises
    ------
    Interrupted
        On SIGTERM or SIGUSR1, after the checkpoint is written.
    SettingsError
        When the loss is no longer finite.
    """
    state = _initial(network, recipe)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    run = identity_of({"shapes": shapes, "numbers": recipe.numbers(), "identity": identity})
    if checkpoint is not None and (saved := read_checkpoint(checkpoint, identity=run)) is not None:
        state.restore(saved)
    network.train()
    written = mark = time.monotonic()
    with _listening() as signals, closing(prefetch(source, state.step, recipe.steps)) as batches:
        for images, labels in batches:
            _step(state, recipe, torch.from_numpy(images), torch.from_numpy(labels))
            last = state.step == recipe.steps
            if state.step % recipe.validate_every == 0 or last:
                row = _row(state, recipe, validate, source.steps_per_epoch, mark)
                mark = time.monotonic()
                if report is not None:
                    report(row)
            late = time.monotonic() - written > 60.0 * checkpoint_minutes
            if checkpoint is not None and (signals or late or last):
                write_checkpoint(checkpoint, state.as_dict(), identity=run)
                written = time.monotonic()
            if signals and not last:
                raise Interrupted(f"{signal.Signals(signals[0]).name} after step {state.step} of {recipe.steps}")
    network.load_state_dict(state.best if state.best is not None else state.judged.state_dict())
    return state.history


def _initial(network: nn.Module, recipe: Recipe) -> State:
    build = OPTIMISERS[recipe.optimiser].build
    average = copy.deepcopy(network) if recipe.ema_decay else None
    nothing = torch.zeros((), dtype=torch.float64, device=next(network.parameters()).device)
    return State(network, average, build(network.parameters(), recipe.learning_rate, recipe.weight_decay), [], nothing)


def _step(state: State, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
    """One optimiser step; everything random in it depends on seed and step alone."""
    device = state.loss_sum.device
    images, labels = images.to(device), labels.to(device)
    seed = int(np.random.SeedSequence([recipe.seed, state.step]).generate_state(1, np.uint32)[0])
    torch.manual_seed(seed)
    if recipe.augmentation is not None:
        images, labels = recipe.augmentation(images, labels, seed=seed)
    for group in state.optimiser.param_groups:
        group["lr"] = _learning_rate(recipe, state.step)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits = state.network(images)
    value = recipe.loss(logits, labels)
    state.optimiser.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    if recipe.gradient_clip:
        nn.utils.clip_grad_norm_(state.network.parameters(), recipe.gradient_clip)
    state.optimiser.step()
    state.loss_sum += value.detach()
    state.step += 1
    if state.average is not None:
        # Early on the average follows faster: the first weights are of no use.
        _follow(state.average, state.network, min(recipe.ema_decay, (1.0 + state.step) / (10.0 + state.step)))


def _learning_rate(recipe: Recipe, step: int) -> float:
    return recipe.learning_rate * recipe.schedule(step, recipe.steps)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1.0 - decay)


def _row(
    state: State, recipe: Recipe, validate: Callable[[nn.Module], Row], steps_per_epoch: float, began: float
) -> Row:
    """Validate, add a row to the history, and keep the weights when they are the best so far."""
    previous = int(state.history[-1]["step"]) if state.history else 0
    loss = float(state.loss_sum) / (state.step - previous)
    state.loss_sum.zero_()
    if not math.isfinite(loss):
        raise SettingsError(f"the loss is no longer finite at step {state.step}: lower the learning rate")
    trained = time.monotonic()
    numbers = validate(state.judged)
    best = max((row["dice"] for row in state.history if not math.isnan(row["dice"])), default=-1.0)
    if recipe.keep == "best" and numbers["dice"] > best:
        state.best = {name: value.clone() for name, value in state.judged.state_dict().items()}
    row = {
        "step": state.step,
        "epoch": state.step / steps_per_epoch,
        "learning_rate": _learning_rate(recipe, state.step - 1),
        "loss": loss,
        **numbers,
        "seconds_train": trained - began,
        "seconds_validate": time.monotonic() - trained,
    }
    state.history.append(row)
    return row


@contextmanager
def _listening() -> Iterator[list[int]]:
    """The signals to stop that arrived; outside the main thread Python cannot listen, and the list stays empty."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    previous = {number: signal.signal(number, lambda found, _: caught.append(found)) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
