"""Settings of a search: which settings of an experiment are tried, how, and on which cases it is decided."""

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from cohortseg.settings.base import Part

DEFAULT_TRIALS = 20
"""Trials of a random or Bayesian search where the settings name none."""
MOST_CORNERS = 256
"""Corners of a space that are checked before anything runs; a trial that cannot be is recorded as failed."""
NOT_SEARCHED: dict[str, str] = {
    **dict.fromkeys(
        ("overlap", "mirror", "threshold", "skip_empty", "probabilities", "uncertainty"),
        "it says how a trained network predicts",
    ),
    **dict.fromkeys(("channels_last", "compile", "checkpoint_minutes"), "it changes no result"),
    **dict.fromkeys(("precision", "processes"), "it belongs to the machine"),
    **dict.fromkeys(
        ("labels_from", "reference_share", "boxes"), "a search scores by references; make one experiment of each"
    ),
    "minutes": "trials are as long as `steps`",
    "seeds": "the best of several seeds is luck, not a setting",
    "targets": "make one experiment of each and compare them",
    "architecture": "networks of one ensemble must be of one kind; make one experiment of each",
    **dict.fromkeys(("method", "model", "channel", "resolution", "cascade"), "make one experiment of each"),
}
"""Setting: why no search chooses it."""


class Range(Part):
    """Numbers between two limits."""

    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(False, description="every order of magnitude counts the same")
    points: int | None = Field(None, ge=2, le=1000, description="number of values of a grid, limits included")

    @model_validator(mode="after")
    def _order(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"`log` needs a `low` above 0, got {self.low:g}")
        return self

    def values(self, *, is_whole: bool) -> list[float] | list[int]:
        """The values of a grid."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        last = (self.points or 2) - 1
        between = [low + (high - low) * place / last for place in range(1, last)]
        found = [self.low, *(math.exp(value) if self.log else value for value in between), self.high]
        return sorted({round(value) for value in found}) if is_whole else found


Axis: TypeAlias = Annotated[
    Annotated[Range, Tag("limits")] | Annotated[list[Any], Field(min_length=1), Tag("values")],
    Discriminator(lambda given: "values" if isinstance(given, list) else "limits"),
]


class TuneSettings(Part):
    """A search over settings of one experiment, on its training cases only, anew in each fold."""

    search: Literal["grid", "random", "bayes"] = Field(
        "bayes", description="every point of a grid; draws; draws where earlier trials were good (TPE)"
    )
    space: dict[str, Axis] = Field(
        min_length=1,
        description="setting of the experiment: list of its values, or limits `{low, high}` with `log`, for a grid `points`",
    )
    trials: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description=f"number of trials; {DEFAULT_TRIALS} when empty, a grid has as many as points",
    )
    at_once: int = Field(
        4,
        ge=1,
        le=1000,
        description="trials of a round of `bayes`: they run side by side and learn from earlier rounds",
    )
    startup: int = Field(8, ge=1, description="random trials before `bayes` looks at results")
    seed: int = Field(1, ge=0, description="seed of the draws and of the inner folds")
    metric: Literal["dice", "jaccard", "nsd", "closeness"] = Field(
        "dice",
        description="what is made as large as possible; closeness, of images alone: 1 - MAE / width of `synthesis.range`, inside the body",
    )
    stage: Literal["raw", "post"] = Field(
        "post",
        description="labels that are scored: as found, or after `postprocess` (what `postprocess: auto` chooses comes later and is left out)",
    )
    inner_folds: int = Field(
        4, ge=2, le=20, description="parts that the training subjects are dealt into, where the method is trained"
    )
    scored_folds: int = Field(
        1, ge=1, le=20, description="how many of them are kept out in turn and scored; 1: a single inner split"
    )
    steps: int | None = Field(
        None, ge=1, description="optimiser steps of a trial, where they are fewer than the training's"
    )

    @model_validator(mode="after")
    def _possible(self) -> "TuneSettings":
        for name, axis in self.space.items():
            if isinstance(axis, list) and len({repr(value) for value in axis}) < len(axis):
                raise ValueError(f"`space.{name}` names a value twice")
            if isinstance(axis, Range) and self.search == "grid" and axis.points is None:
                raise ValueError(f"`space.{name}`: a grid needs `points`, or a list of values")
        if self.search == "grid" and self.trials is not None:
            raise ValueError("`trials` is for random and bayes: a grid tries each of its points")
        if self.scored_folds > self.inner_folds:
            raise ValueError(f"`scored_folds` is more than `inner_folds`, {self.inner_folds}")
        if self.steps is not None and "steps" in self.space:
            raise ValueError("`steps` is a part of `space` already")
        return self

    def grid(self, method: type[Part]) -> Iterator[dict[str, Any]]:
        """The points of a grid, the last setting running fastest."""
        values = [self._values(method, name) for name in self.space]
        return (dict(zip(self.space, point, strict=True)) for point in itertools.product(*values))

    def _values(self, method: type[Part], name: str) -> list[Any]:
        axis = self.space[name]
        return list(axis.values(is_whole=is_whole(method, name))) if isinstance(axis, Range) else axis

    def n_trials(self, method: type[Part]) -> int:
        """Number of trials in a fold."""
        if self.search == "grid":
            return math.prod(len(self._values(method, name)) for name in self.space)
        return self.trials or DEFAULT_TRIALS

    def corners(self, method: type[Part]) -> Iterator[dict[str, Any]]:
        """Limits of the ranges and all values of the lists with each other, `MOST_CORNERS` at most."""
        values: list[list[Any]] = []
        for name, axis in self.space.items():
            limits = [axis.low, axis.high] if isinstance(axis, Range) else axis
            values.append([round(value) for value in limits] if is_range_of_whole(axis, method, name) else limits)
        points = itertools.islice(itertools.product(*values), MOST_CORNERS)
        return (dict(zip(self.space, point, strict=True)) for point in points)


def is_range_of_whole(axis: Any, method: type[Part], name: str) -> bool:
    """Whether an axis of a space gives whole numbers."""
    return isinstance(axis, Range) and is_whole(method, name)


def is_whole(method: type[Part], name: str) -> bool:
    """Whether a setting is a whole number."""
    kinds = set(_kinds(method.model_fields[name].annotation))
    return int in kinds and float not in kinds


def _kinds(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def why_not(name: str, method: type[Part]) -> str:
    """Why a setting is not searched; empty where it can be."""
    if name not in method.model_fields:
        known = sorted(field for field in method.model_fields if field not in NOT_SEARCHED)
        return f"no setting of the method; choices: {', '.join(known)}"
    return f"not searched: {NOT_SEARCHED[name]}" if name in NOT_SEARCHED else ""
