"""Does the difference between two experiments depend on the group of cases? A permutation test by subject.

Each subject has one difference a - b for each group that its cases belong to. If group and experiment do not interact,
the differences may change places among the subjects. The statistic is the weighted sum of squares of the group means
around their common mean, each weighed by n / s² of its group (Welch 1951): permuting a studentised statistic keeps
the level also where one group varies more than another, at least in large samples (Chung & Romano 2013).
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cohortseg.metrics.bootstrap import DRAWS_AT_ONCE, percentile_interval, times_drawn
from cohortseg.metrics.comparison import DECIMALS, PAIRED_BY, one_side, ranking_values
from cohortseg.metrics.summary import groups_of

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

CONTRAST_COLUMNS = (
    *("lowest_group", "lowest_difference", "highest_group", "highest_difference"),
    *("contrast", "ci_low", "ci_high"),
)
INTERACTION_COLUMNS = (
    *("label", "split", "metric", "experiment_a", "experiment_b", "n_groups", "n_subjects", "n_left_out"),
    *(*CONTRAST_COLUMNS, "p_interaction", "note"),
)
LEAST_SPREAD = 1e-9
"""Variance of a group is taken to be at least this share of that of all differences, so that nothing divides by 0."""
TIES = 1.0 - 1e-9
"""Statistics within rounding of the one that was found count as equal to it."""


def interactions(
    rows: pd.DataFrame,
    *,
    metric: str,
    min_subjects: int,
    seed: int,
    n_permutations: int = 10_000,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare the paired differences of every two experiments between groups.

    Parameters
    ----------
    rows : DataFrame
        Rows of one stage, with the column `value` of `subgroups.with_groups`.
    metric : str
    min_subjects : int
        Groups with fewer subjects take no part.
    seed, n_permutations, n_bootstrap, confidence
        Of the test and the interval.

    Returns
    -------
    DataFrame
        `INTERACTION_COLUMNS`, one row for each two experiments, label and split. `lowest_difference` and
        `highest_difference` are the smallest and largest mean of a group of the subjects' differences a - b,
        `contrast` is their distance with a percentile interval (subjects resampled within groups); being the largest
        of all pairs of groups it is somewhat larger than it would be in new subjects. `p_interaction` is that of
        `interaction_p`. `n_left_out` counts subjects without a finite difference, and those of small groups alone.
        NaN with less than two groups.
    """
    lines: list[dict[str, Any]] = []
    for key, part in groups_of(rows, ("label", "split")):
        keys = [column for column in PAIRED_BY if column in part.columns and column != "experiment"]
        measured = part[[*keys, "value", "experiment"]].assign(measured=ranking_values(part, metric))
        measured = measured.rename(columns={"value": "group", "measured": "value"})
        by_experiment = measured.groupby("experiment", sort=True)
        sides = {str(experiment): one_side(side, [*keys, "group"]) for experiment, side in by_experiment}
        for first, second in itertools.combinations(sides, 2):
            found = _differences(sides[first], sides[second], min_subjects)
            n_all = part.loc[part["experiment"].isin([first, second]), "subject"].nunique()
            n_used = found.index.get_level_values("subject").nunique()
            n_groups = found.index.get_level_values("group").nunique()
            lines.append(
                {
                    **dict(zip(("label", "split"), key, strict=True)),
                    **{"metric": metric, "experiment_a": first, "experiment_b": second},
                    **{"n_groups": n_groups, "n_subjects": n_used, "n_left_out": n_all - n_used},
                    **_contrast(found, seed=seed, n_bootstrap=n_bootstrap, confidence=confidence),
                    "p_interaction": _p_value(found, seed=seed, n_permutations=n_permutations),
                    "note": "" if n_groups > 1 else f"fewer than two groups of {min_subjects} subjects",
                }
            )
    return pd.DataFrame(lines, columns=list(INTERACTION_COLUMNS))


def _differences(first: pd.Series, second: pd.Series, min_subjects: int) -> pd.Series:
    """Finite difference of each (group, subject), in the groups that are large enough."""
    difference = (first - second).replace([math.inf, -math.inf], math.nan).dropna()
    means = difference.groupby(level=["group", "subject"], sort=True).mean().round(DECIMALS)
    sizes = means.groupby(level="group").transform("size")
    return means[sizes >= min_subjects]


def _contrast(differences: pd.Series, *, seed: int, n_bootstrap: int, confidence: float) -> dict[str, Any]:
    """The groups with the lowest and the highest mean difference, and how far apart they are."""
    means = differences.groupby(level="group", sort=True).mean()
    if len(means) < 2:
        return dict.fromkeys(CONTRAST_COLUMNS, math.nan) | {"lowest_group": "", "highest_group": ""}
    ends = (str(means.idxmin()), str(means.idxmax()))
    draws = []
    for place, group in enumerate(ends):
        values = differences[differences.index.get_level_values("group") == group].to_numpy(dtype=np.float64)
        parts = times_drawn(values.size, seed=seed + place, n_bootstrap=n_bootstrap)
        draws.append(np.concatenate([times @ values / values.size for times in parts]))
    low, high = percentile_interval(draws[1] - draws[0], confidence)
    found = {"lowest_group": ends[0], "lowest_difference": means[ends[0]]}
    found |= {"highest_group": ends[1], "highest_difference": means[ends[1]]}
    return found | {"contrast": means[ends[1]] - means[ends[0]], "ci_low": low, "ci_high": high}


def _p_value(differences: pd.Series, *, seed: int, n_permutations: int) -> float:
    groups = pd.factorize(differences.index.get_level_values("group"))[0]
    subjects = pd.factorize(differences.index.get_level_values("subject"))[0]
    values = differences.to_numpy(dtype=np.float64)
    return interaction_p(values, groups, subjects, seed=seed, n_permutations=n_permutations)


def interaction_p(
    differences: Floats, groups: Indices, subjects: Indices, *, seed: int, n_permutations: int = 10_000
) -> float:
    """P of the permutation test that the mean of paired differences is the same in all groups.

    Parameters
    ----------
    differences : float array, shape (n,)
        Finite; one for each subject and group.
    groups, subjects : int array, shape (n,)
        Numbers from 0 on; a subject may occur in several groups, once in each.
    seed, n_permutations : int
        Draws besides the order that was found, which counts as one of them (Phipson & Smyth 2010).

    Returns
    -------
    float
        1 when all differences are equal, NaN with less than two groups. Subjects with the same number of groups change
        places as a whole, and within a subject its groups change places (whole-block and within-block permutation;
        Winkler 2015), so several scans of one person never count as several people.
    """
    n_groups = int(groups.max()) + 1 if groups.size else 0
    if n_groups < 2:
        return math.nan
    if np.ptp(differences) == 0:
        return 1.0
    centred = differences - differences.mean()  # squares of small numbers do not cancel
    found, n_extreme = float(_statistics(centred, groups[None], n_groups)[0]), 0
    for labels in _relabelled(groups, subjects, seed=seed, n_permutations=n_permutations):
        n_extreme += int((_statistics(centred, labels, n_groups) >= found * TIES).sum())
    return (n_extreme + 1) / (n_permutations + 1)


def _relabelled(
    groups: Indices, subjects: Indices, *, seed: int, n_permutations: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Orders of the groups among the differences: arrays of shape (some permutations, n)."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(subjects)
    order = np.argsort(subjects, kind="stable")
    blocks = [order[counts[subjects[order]] == size].reshape(-1, size) for size in np.unique(counts[counts > 0])]
    at_once = max(1, DRAWS_AT_ONCE // groups.size)
    for start in range(0, n_permutations, at_once):
        size = min(at_once, n_permutations - start)
        labels = np.empty((size, groups.size), np.intp)
        for block in blocks:
            drawn = rng.permuted(np.tile(np.arange(len(block)), (size, 1)), axis=1)
            mixed = groups[block][drawn]
            labels[:, block.ravel()] = (rng.permuted(mixed, axis=2) if block.shape[1] > 1 else mixed).reshape(size, -1)
        yield labels


def _statistics(differences: Floats, labels: npt.NDArray[np.intp], n_groups: int) -> Floats:
    """Welch's weighted sum of squares between groups, for each row of labels."""
    least = LEAST_SPREAD * float(differences.var())
    squares = differences**2
    means, weights = [], []
    for group in range(n_groups):
        inside = (labels == group).astype(np.float64)
        n = inside.sum(axis=1)
        mean = inside @ differences / n
        variance = np.maximum((inside @ squares - n * mean**2) / np.maximum(n - 1, 1), least)
        means.append(mean)
        weights.append(n / variance)
    mean, weight = np.stack(means), np.stack(weights)
    common = (weight * mean).sum(axis=0) / weight.sum(axis=0)
    return np.asarray((weight * (mean - common) ** 2).sum(axis=0))
