"""Results by groups of cases: summaries, the largest gap between groups, and whether experiments differ in it.

A group below the least number of subjects keeps its row and its counts, so that nobody is left out in silence, but it
has no interval and takes no part in tests and gaps.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cohortseg.metrics.bootstrap import percentile_interval, times_drawn
from cohortseg.metrics.columns import sign_of
from cohortseg.metrics.comparison import PAIRED_BY, one_side, ranking_values
from cohortseg.metrics.summary import groups_of, summarise

Floats = npt.NDArray[np.float64]

BY = ("experiment", "label", "split")
INTERVALS = ("ci_low", "ci_high", "median_ci_low", "median_ci_high")
GAP_COLUMNS = (
    *("metric", "property", "n_groups", "n_subjects", "n_too_small", "best", "worst", "gap", "ci_low", "ci_high"),
    *("p_groups", "note"),
)
INTERACTION_COLUMNS = (
    *("label", "split", "metric", "property", "experiment_a", "experiment_b", "n_groups", "n_subjects"),
    *("lowest_difference", "highest_difference", "p_interaction", "note"),
)


def with_groups(rows: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """The rows with a column `value`: the group of their case, `unknown` where it has none."""
    found = rows["case"].map(lambda case: str(values.get(case, "")).strip())
    return rows.assign(value=found.where(found != "", "unknown"))


def subgroups(
    rows: pd.DataFrame, *, metric: str, min_subjects: int, seed: int, n_bootstrap: int = 2000, confidence: float = 0.95
) -> pd.DataFrame:
    """Summary of a metric in each group of each experiment, label and split.

    Parameters
    ----------
    rows : DataFrame
        Rows of one stage, with the column `value` of `with_groups`.
    metric : str
    min_subjects : int
        Groups with fewer subjects that have a value get no interval.
    seed, n_bootstrap, confidence
        Of the intervals.

    Returns
    -------
    DataFrame
        `experiment, label, split, value, metric` and the columns of `summary.summarise`.
    """
    table = summarise(
        rows, by=[*BY, "value"], metrics=[metric], seed=seed, n_bootstrap=n_bootstrap, confidence=confidence
    )
    defined = rows[np.isfinite(rows[metric])].groupby([*BY, "value"])["subject"].nunique()
    sizes = [defined.get(key, 0) for key in table[[*BY, "value"]].itertuples(index=False, name=None)]
    small = np.asarray(sizes) < min_subjects
    table.loc[small, list(INTERVALS)] = math.nan
    table.loc[small, "note"] = f"fewer than {min_subjects} subjects"
    return table


def gaps(
    rows: pd.DataFrame,
    *,
    metric: str,
    name: str,
    min_subjects: int,
    seed: int,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The largest difference between the means of two groups, of each experiment, label and split.

    Parameters
    ----------
    rows, metric, min_subjects, seed, n_bootstrap, confidence
        As in `subgroups`.
    name : str
        The property that makes the groups.

    Returns
    -------
    DataFrame
        `experiment, label, split` and `GAP_COLUMNS`. `best` and `worst` are groups (highest and lowest mean where
        the metric has no direction), `gap` is the distance of their means, at least 0. Its interval resamples
        subjects within groups and measures the same two groups, so it may reach below 0; being the largest of all
        pairs, the gap is somewhat larger than it would be in new subjects. `p_groups` is the Kruskal-Wallis test of
        the means of subjects over all groups. `unknown` is a group like others. NaN with less than two groups.
    """
    lines = []
    for key, part in groups_of(rows, BY):
        groups = _subject_means(part, metric)
        large = {value: means for value, means in groups.items() if means.size >= min_subjects}
        line = {
            **dict(zip(BY, key, strict=True)),
            **{"metric": metric, "property": name},
            "n_groups": len(large),
            "n_subjects": sum(means.size for means in large.values()),
            "n_too_small": len(groups) - len(large),
            **_gap(large, sign_of(metric), seed=seed, n_bootstrap=n_bootstrap, confidence=confidence),
            "p_groups": kruskal_p(list(large.values())),
            "note": "" if len(large) > 1 else f"fewer than two groups of {min_subjects} subjects",
        }
        lines.append(line)
    return pd.DataFrame(lines, columns=[*BY, *GAP_COLUMNS])


def _subject_means(rows: pd.DataFrame, metric: str) -> dict[str, Floats]:
    """Group: the mean of each of its subjects, over what is defined."""
    defined = rows[np.isfinite(rows[metric])]
    means = defined.groupby(["value", "subject"], sort=True)[metric].mean()
    return {str(value): part.to_numpy(dtype=np.float64) for value, part in means.groupby(level="value", sort=True)}


def _gap(
    groups: Mapping[str, Floats], sign: int, *, seed: int, n_bootstrap: int, confidence: float
) -> dict[str, float | str]:
    if len(groups) < 2:
        return {"best": "", "worst": "", "gap": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    ordered = sorted(groups, key=lambda value: (float(groups[value].mean()) * (sign or 1), value))
    worst, best = ordered[0], ordered[-1]
    gap = abs(float(groups[best].mean() - groups[worst].mean()))
    means = [
        _resampled_means(groups[value], seed=seed + place, n_bootstrap=n_bootstrap)
        for place, value in enumerate((best, worst))
    ]
    low, high = percentile_interval((means[0] - means[1]) * (sign or 1), confidence)
    return {"best": best, "worst": worst, "gap": gap, "ci_low": low, "ci_high": high}


def _resampled_means(values: Floats, *, seed: int, n_bootstrap: int) -> Floats:
    parts = times_drawn(values.size, seed=seed, n_bootstrap=n_bootstrap)
    return np.concatenate([times @ values / values.size for times in parts])


def kruskal_p(groups: Sequence[Floats]) -> float:
    """The p value of the Kruskal-Wallis test (1952) that groups come from one distribution.

    1 where all values are equal, NaN with less than two groups.
    """
    if len(groups) < 2 or min(part.size for part in groups) < 1:
        return math.nan
    if np.ptp(np.concatenate(groups)) == 0:
        return 1.0
    return float(stats.kruskal(*groups).pvalue)


def interactions(rows: pd.DataFrame, *, metric: str, name: str, min_subjects: int) -> pd.DataFrame:
    """Does the difference between two experiments depend on the group?

    Parameters
    ----------
    rows, metric, name, min_subjects
        As in `gaps`.

    Returns
    -------
    DataFrame
        `INTERACTION_COLUMNS`, one row for each two experiments, label and split. The differences a - b of the
        subjects are compared between groups by the Kruskal-Wallis test; `lowest_difference` and `highest_difference`
        are the smallest and largest median of a group. NaN with less than two groups.
    """
    lines = []
    for key, part in groups_of(rows, ("label", "split")):
        keys = [column for column in PAIRED_BY if column in part.columns and column != "experiment"]
        measured = part[[*keys, "value", "experiment"]].assign(measured=ranking_values(part, metric))
        measured = measured.rename(columns={"value": "group", "measured": "value"})
        by_experiment = measured.groupby("experiment", sort=True)
        sides = {str(experiment): one_side(side, [*keys, "group"]) for experiment, side in by_experiment}
        for first, second in itertools.combinations(sides, 2):
            groups = _differences(sides[first], sides[second], min_subjects)
            medians = [float(np.median(values)) for values in groups]
            lines.append(
                {
                    **dict(zip(("label", "split"), key, strict=True)),
                    **{"metric": metric, "property": name, "experiment_a": first, "experiment_b": second},
                    "n_groups": len(groups),
                    "n_subjects": sum(values.size for values in groups),
                    "lowest_difference": min(medians, default=math.nan),
                    "highest_difference": max(medians, default=math.nan),
                    "p_interaction": kruskal_p(groups),
                    "note": "" if len(groups) > 1 else f"fewer than two groups of {min_subjects} subjects",
                }
            )
    return pd.DataFrame(lines, columns=list(INTERACTION_COLUMNS))


def _differences(first: pd.Series, second: pd.Series, min_subjects: int) -> list[npt.NDArray[np.float64]]:
    """Differences of the subjects in each group that is large enough."""
    difference = (first - second).replace([math.inf, -math.inf], math.nan).dropna()
    means = difference.groupby(level=["group", "subject"], sort=True).mean()
    groups = [part.to_numpy(dtype=np.float64).round(12) for _, part in means.groupby(level="group", sort=True)]
    return [part for part in groups if part.size >= min_subjects]
