"""Ranks of experiments, and how far they would hold for other subjects.

Experiments are ranked on each case and the ranks are averaged (rank, then aggregate; Wiesenfarth 2021), so a case
counts the same whether it is easy or hard, and a failure is the last rank rather than an arbitrary number.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cohortseg.metrics.bootstrap import percentile_interval, times_drawn
from cohortseg.metrics.columns import sign_of
from cohortseg.metrics.comparison import PAIRED_BY, one_side, ranking_values
from cohortseg.metrics.summary import FEW_SUBJECTS, need_columns

Floats = npt.NDArray[np.float64]

RANK_COLUMNS = (
    *("metric", "experiment", "n_cases", "n_subjects", "n_incomplete", "mean_rank", "rank"),
    *("rank_low", "rank_high", "share_first", "tau", "note"),
)


def rank_experiments(
    rows: pd.DataFrame, *, metric: str, seed: int, n_bootstrap: int = 2000, confidence: float = 0.95
) -> pd.DataFrame:
    """Rank experiments on the cases that all of them were measured on.

    Parameters
    ----------
    rows : DataFrame
        Rows of `metrics_by_case.csv` of one label, stage and split; needs `experiment`, `case`, `subject`,
        `undefined` and the metric. Folds and seeds of the same thing are averaged.
    metric : str
        A metric with a direction. Where only the prediction is empty, surface metrics count as the worst.
    seed, n_bootstrap, confidence
        Of the resampling of subjects.

    Returns
    -------
    DataFrame
        `RANK_COLUMNS`, best first. `mean_rank` is over cases, ties share the mean of their ranks; `rank` is the rank
        of that mean. `n_incomplete` counts cases that some experiment has no value for. Over resampled subjects:
        `rank_low` to `rank_high` is the percentile interval of the rank, `share_first` how often no other experiment
        is better, `tau` the mean of Kendall's tau between the ranking and the resampled one (the same in all rows).
        Empty with less than two experiments or without a complete case.

    Raises
    ------
    ValueError
        When a column is missing or the metric has no direction.
    """
    need_columns(rows, ("experiment", "case", "subject", "undefined", metric))
    if not sign_of(metric):
        raise ValueError(f"{metric} has no direction to rank by")
    table = _values(rows, metric)
    complete = table.dropna()
    if table.shape[1] < 2 or complete.empty:
        return pd.DataFrame(columns=list(RANK_COLUMNS))
    by_case = stats.rankdata(complete.to_numpy(dtype=np.float64) * -sign_of(metric), axis=1)
    codes, subjects = pd.factorize(complete.index.get_level_values("subject"))
    means = by_case.mean(axis=0)
    rank = stats.rankdata(means, method="min")
    drawn = np.concatenate(list(_resampled(by_case, codes, seed=seed, n_bootstrap=n_bootstrap)))
    intervals = [percentile_interval(drawn[:, k], confidence) for k in range(drawn.shape[1])]
    found = pd.DataFrame(
        {
            "metric": metric,
            "experiment": complete.columns,
            "n_cases": len(complete),
            "n_subjects": len(subjects),
            "n_incomplete": len(table) - len(complete),
            "mean_rank": means,
            "rank": rank.astype(int),
            "rank_low": [low for low, _ in intervals],
            "rank_high": [high for _, high in intervals],
            "share_first": (drawn == 1).mean(axis=0),
            "tau": _mean_tau(means, drawn),
            "note": f"fewer than {FEW_SUBJECTS} subjects" if len(subjects) < FEW_SUBJECTS else "",
        }
    )
    return found.sort_values(["mean_rank", "experiment"], kind="stable", ignore_index=True)


def _values(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per case, one column per experiment; failures are infinitely bad or the worst value."""
    keys = [column for column in PAIRED_BY if column in rows.columns and column != "experiment"]
    measured = rows[[*keys, "experiment"]].assign(value=ranking_values(rows, metric))
    sides = {str(name): one_side(part, keys) for name, part in measured.groupby("experiment", sort=True)}
    return pd.DataFrame(sides)


def _resampled(by_case: Floats, codes: npt.NDArray[np.intp], *, seed: int, n_bootstrap: int) -> Iterator[Floats]:
    """Ranks of the experiments in resamples of subjects, float array (resamples, experiments) in parts."""
    n_subjects = int(codes.max()) + 1
    sums = np.zeros((n_subjects, by_case.shape[1]))
    np.add.at(sums, codes, by_case)
    for times in times_drawn(n_subjects, seed=seed, n_bootstrap=n_bootstrap):
        means = (times @ sums) / (times @ np.bincount(codes, minlength=n_subjects))[:, None]
        yield stats.rankdata(means.round(12), method="min", axis=1).astype(np.float64)


def _mean_tau(means: Floats, drawn: Floats) -> float:
    """Mean of Kendall's tau-b between one ranking and many; those that are all tied count as 0."""
    one, many = (np.sign(values[..., :, None] - values[..., None, :]) for values in (means.round(12)[None], drawn))
    agreeing = (one * many).sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        tau = agreeing / np.sqrt(np.abs(one).sum(axis=(1, 2)) * np.abs(many).sum(axis=(1, 2)))
    return float(np.nan_to_num(tau).mean()) if len(drawn) else math.nan
