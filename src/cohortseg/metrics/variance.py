"""How much of the spread of a metric comes from the fold and from the seed of the training."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cohortseg.metrics.summary import need_columns

Floats = npt.NDArray[np.float64]

VARIANCE_COLUMNS = (
    *("metric", "factor", "n_levels", "n_cases", "n_undefined", "lowest", "highest", "sd_of_means", "sd_within"),
    *("sd_component", "note"),
)


def fold_variance(rows: pd.DataFrame, *, metric: str) -> dict[str, Any]:
    """Spread between the models of the folds, each measured on other cases.

    Parameters
    ----------
    rows : DataFrame
        Rows of one experiment, label, stage and split; needs `case`, `fold` and the metric. Seeds are averaged.

    Returns
    -------
    dict
        `VARIANCE_COLUMNS`. `lowest`, `highest` and `sd_of_means` describe the means of the folds; part of that
        spread is due to the cases alone. `sd_component` is what remains of it after the spread of cases within a fold
        (`sd_within`) is taken off: the root of the variance component of a one-way analysis of variance, not less
        than 0 (Searle 1992). NaN with less than two folds.
    """
    need_columns(rows, ("case", "fold", metric))
    by_case = rows.groupby(["fold", "case"], sort=True)[metric].mean()
    defined = by_case[np.isfinite(by_case)]
    groups = [part.to_numpy(dtype=np.float64) for _, part in defined.groupby(level="fold", sort=True)]
    return _line(metric, "fold", groups, len(by_case) - len(defined), _fold_component(groups))


def _fold_component(groups: list[Floats]) -> tuple[float, float]:
    """SD within folds and of the component between them."""
    sizes = np.array([part.size for part in groups])
    n, k = int(sizes.sum()), len(groups)
    if k < 2 or n <= k:
        return math.nan, math.nan
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in groups) / (n - k)
    grand = np.concatenate(groups).mean()
    between = sum(part.size * (part.mean() - grand) ** 2 for part in groups) / (k - 1)
    typical = (n - (sizes**2).sum() / n) / (k - 1)
    return math.sqrt(within), math.sqrt(max(0.0, (between - within) / typical))


def seed_variance(rows: pd.DataFrame, *, metric: str) -> dict[str, Any]:
    """Spread between trainings that differ in nothing but their seed, measured on the same cases.

    Parameters
    ----------
    rows : DataFrame
        Rows of one experiment, label, stage and split; needs `case`, `seed` and the metric. Only cases with a value
        under every seed count, the others are `n_undefined`.

    Returns
    -------
    dict
        `VARIANCE_COLUMNS`. `lowest`, `highest` and `sd_of_means` describe the mean over the same cases under each
        seed: how far a reported mean moves by luck. `sd_within` is the SD of one case over seeds (root mean square),
        `sd_component` equals `sd_of_means`, since the cases are the same. NaN with less than two seeds.
    """
    need_columns(rows, ("case", "seed", metric))
    table = rows.pivot_table(index="case", columns="seed", values=metric, aggfunc="mean", dropna=False)
    complete = table[np.isfinite(table).all(axis=1)]
    values = complete.to_numpy(dtype=np.float64)
    groups = list(values.T) if len(values) else []
    if len(groups) < 2:
        return _line(metric, "seed", groups, len(table) - len(complete), (math.nan, math.nan))
    within = math.sqrt(float(values.var(axis=1, ddof=1).mean()))
    return _line(metric, "seed", groups, len(table) - len(complete), (within, float(values.mean(axis=0).std(ddof=1))))


def _line(
    metric: str, factor: str, groups: list[Floats], n_undefined: int, spreads: tuple[float, float]
) -> dict[str, Any]:
    means = np.array([part.mean() for part in groups])
    n_cases = sum(part.size for part in groups) if factor == "fold" else (groups[0].size if groups else 0)
    return {
        "metric": metric,
        "factor": factor,
        "n_levels": len(groups),
        "n_cases": n_cases,
        "n_undefined": n_undefined,
        "lowest": float(means.min()) if means.size else math.nan,
        "highest": float(means.max()) if means.size else math.nan,
        "sd_of_means": float(means.std(ddof=1)) if means.size > 1 else math.nan,
        "sd_within": spreads[0],
        "sd_component": spreads[1],
        "note": "" if means.size > 1 else f"a single {factor}",
    }
