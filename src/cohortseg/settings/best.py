"""Settings of the method that takes what other experiments have predicted: the best of them, or their mean."""

from typing import Literal

from pydantic import Field

from cohortseg.settings.base import Name, Part


class BestMethod(Part):
    """The best of other experiments, or the mean of their networks: for each fold chosen by the other folds."""

    method: Literal["best"]
    among: list[Name] = Field(
        default_factory=list,
        description="experiments; all others when empty. Each seed is a model; those that keep their probabilities (`probabilities: true`) can be averaged",
    )
    keep_if: Literal["gain", "interval"] = Field(
        "gain",
        description="gain: the highest mean Dice over subjects; interval: the first one, unless another is better with the whole interval (and at least 0.001)",
    )


class Member(Part):
    """One experiment that takes part."""

    experiment: Name
    seeds: list[int] | None = Field(description="empty for a method without seeds")
    has_probabilities: bool
