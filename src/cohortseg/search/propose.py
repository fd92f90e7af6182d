"""What a trial of a search tries: a draw, or a draw from where earlier trials were good.

No state is kept between trials and no database is needed: what trial number n tries follows from the seed, from n, and
from the results of the rounds before its own. So the trials of a round can run anywhere and in any order, and a search
that was cut off goes on as if it had not been.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cohortseg.errors import StudyError

if TYPE_CHECKING:
    import optuna

Point = dict[str, Any]
"""Setting: value."""


@dataclass(frozen=True)
class Axis:
    """One setting that is searched: a list of values, or numbers between two limits.

    Parameters
    ----------
    values : tuple, optional
        The values to choose from, of any type.
    low, high : float
        Limits, both included.
    is_log : bool
        Every order of magnitude counts the same.
    is_whole : bool
        Whole numbers only.
    """

    values: tuple[Any, ...] | None = None
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    is_whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value lies on the axis."""
        if self.values is not None:
            return value in self.values
        return isinstance(value, int | float) and self.low <= value <= self.high

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """The axis in the words of the sampler; a choice is the number of its value, which may be of any type."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values is not None:
            return CategoricalDistribution(range(len(self.values)))
        if self.is_whole:
            return IntDistribution(round(self.low), round(self.high), log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log)

    def encode(self, value: Any) -> Any:
        """A value as the sampler knows it."""
        return self.values.index(value) if self.values is not None else value

    def decode(self, value: Any) -> Any:
        """A value of the sampler as the setting."""
        return self.values[value] if self.values is not None else value


@dataclass(frozen=True)
class Finished:
    """The result of an earlier trial: what it tried, and its score (larger is better); None where it failed."""

    number: int
    point: Point
    score: float | None


def round_of(number: int, at_once: int) -> int:
    """The first trial of the round that a trial belongs to."""
    return number // at_once * at_once


def propose(  # noqa: PLR0913 (each has its name)
    space: Mapping[str, Axis],
    finished: Iterable[Finished],
    *,
    number: int,
    kind: Literal["random", "bayes"],
    at_once: int,
    startup: int,
    seed: int,
    first: Point | None = None,
) -> Point:
    """The settings of one trial.

    Parameters
    ----------
    space : mapping
        Setting: axis.
    finished : iterable of Finished
        The trials of the rounds before; `random` does not look at them.
    number : int
        Number of the trial, from 0.
    kind : {'random', 'bayes'}
        Independent draws, or the tree-structured Parzen estimator (Bergstra et al. 2011) with joint densities, where
        trials of the same round count as poor until they are finished, so that they keep apart.
    at_once : int
        Trials of a round.
    startup : int
        Random trials before the estimator is asked.
    seed : int
        With the number of the trial it decides the draw.
    first : dict, optional
        What trial 0 tries instead of a draw.

    Returns
    -------
    dict
        Setting: value. A failed trial counts as a score of 0, the worst there is.

    Raises
    ------
    StudyError
        When a trial of an earlier round is missing.
    """
    if number == 0 and first is not None:
        return dict(first)
    distributions = {name: axis.distribution() for name, axis in sorted(space.items())}
    if kind == "random":
        study = _study()
        study.sampler = _sampler("random", startup, seed, number)
        return _point(space, study.ask(distributions).params)
    begin, study = round_of(number, at_once), _study()
    known = sorted((one for one in finished if one.number < begin), key=lambda one: one.number)
    if [one.number for one in known] != list(range(begin)):
        raise StudyError(f"trial {number} needs the results of trials 0 to {begin - 1}")
    for one in known:
        study.add_trial(_told(space, distributions, one))
    asked: Point = {}
    for place in range(begin, number + 1):
        if place == 0 and first is not None:
            study.enqueue_trial({name: axis.encode(first[name]) for name, axis in space.items()})
        study.sampler = _sampler("random" if place < startup else "bayes", startup, seed, place)
        asked = study.ask(distributions).params
    return _point(space, asked)


def _study() -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))


def _sampler(kind: str, startup: int, seed: int, number: int) -> "optuna.samplers.BaseSampler":
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if kind == "random":
        return RandomSampler(mixed)
    return TPESampler(seed=mixed, n_startup_trials=min(startup, 1), multivariate=True, constant_liar=True)


def _told(
    space: Mapping[str, Axis], distributions: "Mapping[str, optuna.distributions.BaseDistribution]", one: Finished
) -> "optuna.trial.FrozenTrial":
    import optuna

    return optuna.trial.create_trial(
        params={name: axis.encode(one.point[name]) for name, axis in sorted(space.items())},
        distributions=dict(distributions),
        value=0.0 if one.score is None else one.score,
    )


def _point(space: Mapping[str, Axis], params: Mapping[str, Any]) -> Point:
    return {name: axis.decode(params[name]) for name, axis in space.items()}
