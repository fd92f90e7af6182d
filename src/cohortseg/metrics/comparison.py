"""Paired comparisons of experiments on the same cases.

Nothing undefined is dropped in silence: pairs that are left out are counted. The subject is the unit of chance:
several scans or labels of one person are not independent, so the tests see one difference for each subject.
"""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from cohortseg.metrics.bootstrap import bootstrap_means, percentile_interval
from cohortseg.metrics.columns import WORST, sign_of
from cohortseg.metrics.corrections import holm
from cohortseg.metrics.paired_tests import rank_biserial, sign_flip_p, signed_rank_p
from cohortseg.metrics.summary import need_columns

Floats = npt.NDArray[np.float64]

COMPARISON_COLUMNS = (
    "metric",
    "first",
    "second",
    "n_pairs",
    "n_subjects",
    "n_excluded",
    "n_unmatched",
    "median_difference",
    "mean_difference",
    "ci_low",
    "ci_high",
    "p",
    "p_holm",
    "p_permutation",
    "rank_biserial",
    "better",
    "note",
)

PAIRED_BY = ("study", "experiment", "case", "subject", "label", "stage")
"""Columns that tell one measured thing from another; folds and seeds of the same thing are averaged."""

MIN_PAIRS = 6
"""Below this no two-sided signed-rank p can reach 0.05."""

DECIMALS = 12
"""Differences are rounded to this, so that equal ones stay tied after floating-point subtraction."""


def compare(
    rows: pd.DataFrame,
    *,
    metric: str,
    by: str = "experiment",
    seed: int = 1,
    n_bootstrap: int = 2000,
    n_permutations: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare every two values of `by` on the same cases.

    A pair is one case, label and stage (`PAIRED_BY`) measured under both; rows of several folds or seeds of the same
    thing are averaged first. Pairs with an undefined value on either side are excluded and counted, and so are rows
    found under one side only. One exception: where the prediction is empty, surface metrics count as `WORST`, so
    failing is never better than being measured; two such failures tie. Differences are averaged within a subject
    (an excess of failures on one side outweighs every finite difference), then tested.

    Parameters
    ----------
    rows : DataFrame
        Rows of `metrics_by_case.csv`, of the splits that are to be compared; needs `subject`, `case`, `undefined`,
        `by` and the metric.
    metric : str
        Column to compare.
    by : str
        Column whose values are compared.
    seed, n_bootstrap, n_permutations : int
        Of the interval and of the permutation test.
    confidence : float
        Of the interval.

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`, one row for each two values in sorted order. `median_difference` (first - second) and
        `rank_biserial` (matched pairs, positive where the first is larger; Kerby 2014) are over subjects; `p` is the
        two-sided Wilcoxon signed-rank test without zero differences (1 when all are zero), `p_holm` the same
        corrected for all rows of the table that have one. `mean_difference` has a percentile interval over resampled
        subjects and the p of flipped signs; all are NaN where a difference is infinite. `better` names the side that
        the effect favours, empty where no direction is better or neither side is. Fewer than `MIN_PAIRS` subjects: all
        p are NaN and `note` says "too few pairs".

    Raises
    ------
    ValueError
        When a column is missing, or `by` is the case or the subject.
    """
    need_columns(rows, ("case", "subject", "undefined", by, metric))
    if by in ("case", "subject"):
        raise ValueError(f"cannot pair cases by {by}")
    keys = [column for column in PAIRED_BY if column in rows.columns and column != by]
    measured = rows[[*keys, by]].assign(value=ranking_values(rows, metric))
    sides = {name: one_side(side, keys) for name, side in measured.groupby(by, dropna=False, sort=True)}
    lines = []
    for first, second in itertools.combinations(sides, 2):
        counts, differences = paired_differences(sides[first], sides[second])
        effect = rank_biserial(differences)
        lines.append(
            {
                "metric": metric,
                "first": first,
                "second": second,
                **counts,
                **_tests(differences, seed=seed, n_permutations=n_permutations),
                **_mean(differences, seed=seed, n_bootstrap=n_bootstrap, confidence=confidence),
                "rank_biserial": effect,
                "better": _better(effect * sign_of(metric), str(first), str(second)),
            }
        )
    table = pd.DataFrame(lines, columns=list(COMPARISON_COLUMNS))
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=np.float64)))


def ranking_values(rows: pd.DataFrame, metric: str) -> Floats:
    """The values of a metric, with `WORST` where only the prediction is empty."""
    values = rows[metric].to_numpy(dtype=np.float64, copy=True)
    if metric in WORST:
        values[np.isnan(values) & (rows["undefined"] == "prediction_empty").to_numpy(dtype=np.bool_)] = WORST[metric]
    return values


def one_side(rows: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Mean value of each measured thing; NaN when one of its values is."""
    rows = rows.sort_values([*keys, "value"])
    groups = rows.groupby(keys, dropna=False, sort=True)["value"]
    return groups.sum(min_count=1).where(groups.count() == groups.size()) / groups.size()


def _better(favour: float, first: str, second: str) -> str:
    return first if favour > 0 else second if favour < 0 else ""


def paired_differences(first: pd.Series, second: pd.Series) -> tuple[dict[str, int], Floats]:
    """Counts of the pairs of two sides (`one_side`), and one difference (first - second) for each subject."""
    matched = first.index.intersection(second.index, sort=True)
    left, right = first.loc[matched], second.loc[matched]
    used = left.notna() & right.notna()
    differences = _by_subject(left[used], right[used])
    return {
        "n_pairs": int(used.sum()),
        "n_subjects": differences.size,
        "n_excluded": int((~used).sum()),
        "n_unmatched": len(first) + len(second) - 2 * len(matched),
    }, differences


def _tests(differences: Floats, *, seed: int, n_permutations: int) -> dict[str, float | str]:
    if differences.size < MIN_PAIRS:
        return {"p": math.nan, "p_permutation": math.nan, "note": "too few pairs"}
    permuted = sign_flip_p(differences, seed=seed, n_permutations=n_permutations)
    return {"p": signed_rank_p(differences), "p_permutation": permuted, "note": ""}


def _mean(differences: Floats, *, seed: int, n_bootstrap: int, confidence: float) -> dict[str, float]:
    """Median and mean difference, and the interval of the mean."""
    numbers = {"median_difference": _median(differences), "mean_difference": math.nan}
    numbers |= {"ci_low": math.nan, "ci_high": math.nan}
    if not differences.size or not np.isfinite(differences).all():
        return numbers
    numbers["mean_difference"] = float(differences.mean())
    if differences.size > 1:
        column = differences[:, None]
        means = bootstrap_means(column, np.ones_like(column), seed=seed, n_bootstrap=n_bootstrap)
        numbers["ci_low"], numbers["ci_high"] = percentile_interval(means[:, 0], confidence)
    return numbers


def _by_subject(first: pd.Series, second: pd.Series) -> Floats:
    """One difference for each subject; infinite where one side fails in more of the subject's pairs."""
    failures = np.isinf(first).astype(int) - np.isinf(second).astype(int)
    finite = (first - second).where(np.isfinite(first) & np.isfinite(second))
    net = failures.groupby(level="subject", dropna=False).sum().to_numpy(dtype=np.float64)
    mean = finite.groupby(level="subject", dropna=False).mean().fillna(0.0).to_numpy(dtype=np.float64)
    differences: Floats = np.where(net == 0, mean, np.copysign(math.inf, net))
    return differences.round(DECIMALS)


def _median(differences: Floats) -> float:
    """Median; NaN without a value, or when it falls between a failure of each side."""
    with np.errstate(invalid="ignore"):
        return float(np.median(differences)) if differences.size else math.nan
