"""Statistics over the rows of `metrics_by_case.csv`: summaries with intervals, and paired comparisons.

Nothing undefined is dropped in silence: summaries count it beside the numbers, comparisons count the pairs they
leave out. The subject is the unit of chance throughout: several scans or labels of one person are not independent,
so the bootstrap draws subjects and the test sees one difference for each subject.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Floats = npt.NDArray[np.float64]

SUMMARY_COLUMNS = (
    "n_cases",
    "n_subjects",
    "n_defined",
    "n_undefined",
    "mean",
    "sd",
    "median",
    "q1",
    "q3",
    "min",
    "max",
    "ci_low",
    "ci_high",
)

COMPARISON_COLUMNS = (
    "metric",
    "first",
    "second",
    "n_pairs",
    "n_subjects",
    "n_excluded",
    "n_unmatched",
    "median_difference",
    "p",
    "p_holm",
    "rank_biserial",
    "note",
)

PAIRED_BY = ("study", "experiment", "case", "subject", "label", "stage")
"""Columns that tell one measured thing from another; folds and seeds of the same thing are averaged."""

WORST = {"hd_mm": math.inf, "hd95_mm": math.inf, "assd_mm": math.inf, "nsd": 0.0}
"""What a surface metric counts as in a comparison when the prediction is empty."""

MIN_PAIRS = 6
"""Below this no two-sided signed-rank p can reach 0.05."""

DECIMALS = 12
"""Differences are rounded to this, so that equal ones stay tied after floating-point subtraction."""

DRAWS_AT_ONCE = 4_000_000
"""Bootstrap draws held in memory together."""


def summarise(
    rows: pd.DataFrame,
    *,
    by: Sequence[str],
    metrics: Sequence[str],
    seed: int,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Describe each metric in each group of rows.

    Parameters
    ----------
    rows : DataFrame
        Rows of `metrics_by_case.csv`; needs `case`, `subject`, the columns of `by` and the metrics.
    by : sequence of str
        Columns that make the groups, such as experiment, label, stage, split. Empty: one group of all rows.
    metrics : sequence of str
        Columns to describe. NaN and infinite values count as undefined.
    seed : int
        Seed of the bootstrap. Every group starts from it, so a new group changes no other.
    n_bootstrap : int
        Resamples of the interval.
    confidence : float
        Confidence of the interval, between 0 and 1.

    Returns
    -------
    DataFrame
        One row for each group and metric: `by`, `metric` and `SUMMARY_COLUMNS`. `n_defined` and `n_undefined` count
        rows. `sd` is the sample deviation (NaN below two values); quartiles interpolate linearly; `ci_low`, `ci_high`
        are the percentile interval of the mean over resampled subjects (Efron 1979), NaN below two subjects with a
        value. A group without a defined value keeps its row, with NaN. No rows: an empty table.

    Raises
    ------
    ValueError
        When a column is missing, or `n_bootstrap` or `confidence` is out of range.
    """
    _need(rows, ("case", "subject", *by, *metrics))
    if n_bootstrap < 1 or not 0 < confidence < 1:
        raise ValueError(f"need n_bootstrap >= 1 and 0 < confidence < 1, got {n_bootstrap} and {confidence}")
    lines = []
    for key, group in _groups(rows, by):
        intervals = _intervals(group, metrics, seed=seed, n_bootstrap=n_bootstrap, confidence=confidence)
        sizes = (group["case"].nunique(), group["subject"].nunique(dropna=False))
        lines += [
            (*key, metric, *sizes, *_describe(group[metric].to_numpy(dtype=np.float64)), *interval)
            for metric, interval in zip(metrics, intervals, strict=True)
        ]
    return pd.DataFrame(lines, columns=[*by, "metric", *SUMMARY_COLUMNS])


def _need(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = sorted(set(columns) - set(rows.columns))
    if missing:
        raise ValueError(f"the table of metrics lacks the columns {', '.join(missing)}")


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    if rows.empty:
        return
    if not by:
        yield (), rows
        return
    for key, group in rows.groupby(list(by), dropna=False, sort=True):
        yield tuple(key), group  # a list of one column also gives a tuple


def _describe(values: Floats) -> tuple[float, ...]:
    """Count of defined and undefined values, then mean, sd, median, q1, q3, min, max of the defined."""
    defined = np.sort(values[np.isfinite(values)])  # sorted: sums do not depend on the order of the rows
    counts = (defined.size, values.size - defined.size)
    if not defined.size:
        return (*counts, *[math.nan] * 7)
    deviation = float(defined.std(ddof=1)) if defined.size > 1 else math.nan
    q1, median, q3 = (float(q) for q in np.quantile(defined, (0.25, 0.5, 0.75)))
    return (*counts, float(defined.mean()), deviation, median, q1, q3, float(defined[0]), float(defined[-1]))


def _intervals(
    group: pd.DataFrame, metrics: Sequence[str], *, seed: int, n_bootstrap: int, confidence: float
) -> list[tuple[float, float]]:
    """Percentile interval of the mean of each metric, resampling subjects."""
    codes, _ = pd.factorize(group["subject"], sort=True, use_na_sentinel=False)
    sums, counts = (np.zeros((int(codes.max()) + 1, len(metrics))) for _ in range(2))
    for column, metric in enumerate(metrics):
        values = group[metric].to_numpy(dtype=np.float64)
        order = np.lexsort((values, codes))
        order = order[np.isfinite(values[order])]
        np.add.at(sums[:, column], codes[order], values[order])
        np.add.at(counts[:, column], codes[order], 1.0)
    means = bootstrap_means(sums, counts, seed=seed, n_bootstrap=n_bootstrap)
    tails = ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0)
    enough = (counts > 0).sum(axis=0) > 1
    pairs = [np.nanquantile(means[:, i], tails) if enough[i] else (math.nan, math.nan) for i in range(len(metrics))]
    return [(float(low), float(high)) for low, high in pairs]


def bootstrap_means(sums: Floats, counts: Floats, *, seed: int, n_bootstrap: int) -> Floats:
    """Means of resampled subjects, all metrics from the same draws.

    Parameters
    ----------
    sums, counts : float array, shape (subjects, metrics)
        Sum and number of the defined values of each subject.
    seed : int
        Seed of the draws.
    n_bootstrap : int
        Resamples; each draws as many subjects as there are, with replacement.

    Returns
    -------
    float array, shape (n_bootstrap, metrics)
        Mean over the values of the drawn subjects; NaN where none of them has a value.
    """
    rng = np.random.default_rng(seed)
    n_subjects, n_metrics = sums.shape
    means = np.empty((n_bootstrap, n_metrics))
    at_once = max(1, DRAWS_AT_ONCE // n_subjects)
    for start in range(0, n_bootstrap, at_once):
        size = min(at_once, n_bootstrap - start)
        drawn = rng.integers(n_subjects, size=(size, n_subjects)) + n_subjects * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n_subjects).reshape(size, n_subjects).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means[start : start + size] = (times @ sums) / (times @ counts)
    return means


def compare(rows: pd.DataFrame, *, metric: str, by: str = "experiment") -> pd.DataFrame:
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

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`, one row for each two values in sorted order. `median_difference` (first - second) and
        `rank_biserial` (matched pairs, positive where the first is larger; Kerby 2014) are over subjects; `p` is the
        two-sided Wilcoxon signed-rank test without zero differences (1 when all are zero), `p_holm` the same
        corrected for all rows of the table that have one. Fewer than `MIN_PAIRS` subjects: both p are NaN and `note`
        says "too few pairs".

    Raises
    ------
    ValueError
        When a column is missing, or `by` is the case or the subject.
    """
    _need(rows, ("case", "subject", "undefined", by, metric))
    if by in ("case", "subject"):
        raise ValueError(f"cannot pair cases by {by}")
    keys = [column for column in PAIRED_BY if column in rows.columns and column != by]
    measured = rows[[*keys, by]].assign(value=_ranking_values(rows, metric))
    sides = {name: _one_side(side, keys) for name, side in measured.groupby(by, dropna=False, sort=True)}
    lines = [
        {"metric": metric, "first": first, "second": second, **_compare_two(sides[first], sides[second])}
        for first, second in itertools.combinations(sides, 2)
    ]
    table = pd.DataFrame(lines, columns=list(COMPARISON_COLUMNS))
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=np.float64)))


def _ranking_values(rows: pd.DataFrame, metric: str) -> Floats:
    values = rows[metric].to_numpy(dtype=np.float64, copy=True)
    if metric in WORST:
        values[np.isnan(values) & (rows["undefined"] == "prediction_empty").to_numpy(dtype=np.bool_)] = WORST[metric]
    return values


def _one_side(rows: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Mean value of each measured thing; NaN when one of its values is."""
    rows = rows.sort_values([*keys, "value"])
    groups = rows.groupby(keys, dropna=False, sort=True)["value"]
    return groups.sum(min_count=1).where(groups.count() == groups.size()) / groups.size()


def _compare_two(first: pd.Series, second: pd.Series) -> dict[str, float | int | str]:
    matched = first.index.intersection(second.index, sort=True)
    left, right = first.loc[matched], second.loc[matched]
    used = left.notna() & right.notna()
    differences = _by_subject(left[used], right[used])
    enough = differences.size >= MIN_PAIRS
    return {
        "n_pairs": int(used.sum()),
        "n_subjects": differences.size,
        "n_excluded": int((~used).sum()),
        "n_unmatched": len(first) + len(second) - 2 * len(matched),
        "median_difference": _median(differences),
        "p": signed_rank_p(differences) if enough else math.nan,
        "rank_biserial": rank_biserial(differences),
        "note": "" if enough else "too few pairs",
    }


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


def signed_rank_p(differences: Floats) -> float:
    """Two-sided p of the Wilcoxon signed-rank test (1945), exact when small.

    Zeros are left out; without anything else p is 1. Infinite differences share the highest rank.
    """
    nonzero = differences[differences != 0]
    return float(stats.wilcoxon(nonzero).pvalue) if nonzero.size else 1.0


def rank_biserial(differences: Floats) -> float:
    """Matched-pairs rank-biserial correlation: (rank sum of positive - of negative) / all, in [-1, 1].

    Zeros are left out; 0 when all are zero, NaN without a difference.
    """
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 0.0 if differences.size else math.nan
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def holm(p_values: Floats) -> Floats:
    """Holm's step-down correction of p values (1979).

    Parameters
    ----------
    p_values : float array, shape (tests,)
        NaN marks a test that was not made; it stays NaN and does not count.

    Returns
    -------
    float array, shape (tests,)
        The k-th smallest of m becomes (m - k + 1) p, never less than a smaller one's, at most 1.
    """
    corrected = np.full(p_values.shape, math.nan)
    order = np.argsort(p_values, kind="stable")[: int((~np.isnan(p_values)).sum())]  # NaN sorts last
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected
