"""Summaries over the rows of `metrics_by_case.csv`: location, spread and intervals of each metric in each group.

Nothing undefined is dropped in silence: it is counted beside the numbers.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cohortseg.metrics.bootstrap import Floats, bootstrap_means, bootstrap_medians, percentile_interval

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
    "median_ci_low",
    "median_ci_high",
    "note",
)

FEW_SUBJECTS = 10
"""Below this many subjects with a value an interval from resampling them is too narrow to be relied on."""


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
        and `median_ci_low`, `median_ci_high` are the percentile intervals of mean and median over resampled subjects
        (Efron 1979), NaN below two subjects with a value. `note` warns of fewer than `FEW_SUBJECTS`. A group without
        a defined value keeps its row, with NaN. No rows: an empty table.

    Raises
    ------
    ValueError
        When a column is missing, or `n_bootstrap` or `confidence` is out of range.
    """
    need_columns(rows, ("case", "subject", *by, *metrics))
    if n_bootstrap < 1 or not 0 < confidence < 1:
        raise ValueError(f"need n_bootstrap >= 1 and 0 < confidence < 1, got {n_bootstrap} and {confidence}")
    lines = []
    for key, group in groups_of(rows, by):
        codes, _ = pd.factorize(group["subject"], sort=True, use_na_sentinel=False)
        options: dict[str, Any] = {"seed": seed, "n_bootstrap": n_bootstrap, "confidence": confidence}
        means = _mean_intervals(group, metrics, codes, **options)
        sizes = (group["case"].nunique(), int(codes.max()) + 1)
        for metric, interval in zip(metrics, means, strict=True):
            values = group[metric].to_numpy(dtype=np.float64)
            numbers = (*_describe(values), *interval, *_median_interval(values, codes, **options))
            lines.append((*key, metric, *sizes, *numbers, _note(values, codes)))
    return pd.DataFrame(lines, columns=[*by, "metric", *SUMMARY_COLUMNS])


def need_columns(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that lacks columns.

    Raises
    ------
    ValueError
        Naming them.
    """
    missing = sorted(set(columns) - set(rows.columns))
    if missing:
        raise ValueError(f"the table of metrics lacks the columns {', '.join(missing)}")


def groups_of(rows: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The groups of rows with the same values of `by`, in sorted order; missing values are values too."""
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


def _mean_intervals(
    group: pd.DataFrame,
    metrics: Sequence[str],
    codes: npt.NDArray[np.intp],
    *,
    seed: int,
    n_bootstrap: int,
    confidence: float,
) -> list[tuple[float, float]]:
    """Percentile interval of the mean of each metric, resampling subjects."""
    sums, counts = (np.zeros((int(codes.max()) + 1, len(metrics))) for _ in range(2))
    for column, metric in enumerate(metrics):
        values = group[metric].to_numpy(dtype=np.float64)
        order = np.lexsort((values, codes))
        order = order[np.isfinite(values[order])]
        np.add.at(sums[:, column], codes[order], values[order])
        np.add.at(counts[:, column], codes[order], 1.0)
    means = bootstrap_means(sums, counts, seed=seed, n_bootstrap=n_bootstrap)
    enough = (counts > 0).sum(axis=0) > 1
    nothing = (math.nan, math.nan)
    return [percentile_interval(means[:, i], confidence) if enough[i] else nothing for i in range(len(metrics))]


def _median_interval(
    values: Floats, codes: npt.NDArray[np.intp], *, seed: int, n_bootstrap: int, confidence: float
) -> tuple[float, float]:
    defined = np.isfinite(values)
    if np.unique(codes[defined]).size < 2:
        return math.nan, math.nan
    medians = bootstrap_medians(values[defined], codes[defined], seed=seed, n_bootstrap=n_bootstrap)
    return percentile_interval(medians, confidence)


def _note(values: Floats, codes: npt.NDArray[np.intp]) -> str:
    n_subjects = np.unique(codes[np.isfinite(values)]).size
    return f"fewer than {FEW_SUBJECTS} subjects" if n_subjects < FEW_SUBJECTS else ""
