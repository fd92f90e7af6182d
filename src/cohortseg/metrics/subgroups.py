"""Results by groups of cases: summaries, and the largest gap between groups.

A group below the least number of subjects keeps its row and its counts, so that nobody is left out in silence, but it
has no interval and takes no part in tests and gaps.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cohortseg.metrics.bootstrap import percentile_interval, times_drawn
from cohortseg.metrics.columns import sign_of
from cohortseg.metrics.summary import groups_of, summarise

Floats = npt.NDArray[np.float64]

BY = ("experiment", "label", "split")
INTERVALS = ("ci_low", "ci_high", "median_ci_low", "median_ci_high")
GAP_COLUMNS = (
    *("metric", "property", "n_groups", "n_subjects", "n_too_small", "best", "worst", "gap", "ci_low", "ci_high"),
    *("p_groups", "note"),
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
