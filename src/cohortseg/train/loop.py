"""The training loop: steps, validation, checkpoints; a run cut in two equals the uncut run bit for bit on CPU."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import nn

from cohortseg.errors import CohortError, SettingsError
from cohortseg.train.checkpoint import identity_of, read_checkpoint, write_checkpoint
from cohortseg.train.patches import Source, prefetch
from cohortseg.train.recipe import Recipe
from cohortseg.train.step import Row, State, initial_state, learning_rate, one_step
from cohortseg.train.team import ALONE, Team


class Interrupted(CohortError, RuntimeError):  # noqa: N818 (no error: the run can go on)
    """The run was asked to stop (SIGTERM, SIGUSR1) and has written its checkpoint: start it again to go on."""

    @property
    def out_of_time(self) -> bool:
        """Whether a scheduler warned that the time of the job ends."""
        return str(self).startswith("SIGUSR1")


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
    progress: Callable[[int], None] | None = None,
    team: Team = ALONE,
) -> list[Row]:
    """Train a network in place, resuming from the checkpoint when it belongs to this very run.

    Parameters
    ----------
    network : nn.Module
        On its device, with its initial weights. Holds the trained weights afterwards.
    source : Source
        Gives the batch of each step.
    validate : callable
        Network to numbers of the history, among them `dice` or, of images, `mae`; see `validate.validation`.
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
    progress : callable, optional
        Called with the number of steps done, after each.
    team : Team
        The processes that train together, each with the rows of the batches that are its share. The first validates
        and writes; a signal to any of them stops all after the same step.

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
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last if _dims(network) == 2 else torch.channels_last_3d)  # type: ignore[call-overload]
    state = initial_state(network, recipe)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    run = identity_of({"shapes": shapes, "numbers": recipe.numbers(), "identity": identity})
    saved = read_checkpoint(checkpoint, identity=run) if checkpoint is not None and team.is_first else None
    if (saved := team.from_first(saved)) is not None:
        state.restore(saved)
    team.share_statistics(network)
    network.train()
    written = mark = time.monotonic()
    last_step = state.step if _exhausted(state.history, recipe.patience) else recipe.steps
    with _listening() as signals, closing(prefetch(source, state.step, last_step)) as batches:
        for images, labels in batches:
            one_step(state, recipe, torch.from_numpy(images), torch.from_numpy(labels), team=team)
            stop = team.largest(signals[0] if signals else 0)
            if progress is not None:
                progress(state.step)
            last = state.step == recipe.steps
            if state.step % recipe.validate_every == 0 or last:
                row = _row(state, recipe, validate, source.steps_per_epoch, mark, team)
                mark = time.monotonic()
                if report is not None:
                    report(row)
                last = last or _exhausted(state.history, recipe.patience)
            late = time.monotonic() - written > 60.0 * checkpoint_minutes
            if checkpoint is not None and team.is_first and (stop or late or last):
                write_checkpoint(checkpoint, state.as_dict(), identity=run)
                written = time.monotonic()
            if last:
                break
            if stop:
                team.largest(0)  # nobody leaves before the first has written: srun ends all when one has ended
                raise Interrupted(f"{signal.Signals(stop).name} after step {state.step} of {recipe.steps}")
    network.load_state_dict(state.best if state.best is not None else state.judged.state_dict())
    return state.history


def _dims(network: nn.Module) -> int:
    """Spatial dimensions of a network, from its first convolution."""
    return next(parameter.ndim for parameter in network.parameters() if parameter.ndim > 2) - 2


def _exhausted(history: list[Row], patience: int) -> bool:
    """Whether the last `patience` rows brought no better score than the best before them."""
    scores = [score_of(row) for row in history]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])


def score_of(row: Row) -> float:
    """What a row of the history is judged by, higher is better: the Dice, of images the absolute error times -1."""
    score = row["dice"] if "dice" in row else -row["mae"]
    return -math.inf if math.isnan(score) else score


def _row(
    state: State,
    recipe: Recipe,
    validate: Callable[[nn.Module], Row],
    steps_per_epoch: float,
    began: float,
    team: Team,
) -> Row:
    """Validate, add a row to the history, and keep the weights when they are the best so far."""
    previous = int(state.history[-1]["step"]) if state.history else 0
    loss = float(state.loss_sum) / (state.step - previous)
    state.loss_sum.zero_()
    if not math.isfinite(loss):
        raise SettingsError(f"the loss is no longer finite at step {state.step}: lower the learning rate")
    trained = time.monotonic()
    numbers = team.from_first(validate(state.judged) if team.is_first else None)
    best = max((score_of(row) for row in state.history), default=-math.inf)
    if recipe.keep == "best" and score_of(numbers) > best:
        state.best = {name: value.clone() for name, value in state.judged.state_dict().items()}
    row = {
        "step": state.step,
        "epoch": state.step / steps_per_epoch,
        "learning_rate": learning_rate(recipe, state.step - 1),
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
