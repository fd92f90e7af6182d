"""How a metric goes along with a continuous property of the cases."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cohortseg.metrics.summary import groups_of

Floats = npt.NDArray[np.float64]

MOST_ORDERED = 7
"""Up to this many pairs p is counted over all orders."""

BY = ("experiment", "label", "split")
COVARIATE_COLUMNS = (
    *("metric", "covariate", "n_subjects", "n_left_out", "rho", "ci_low", "ci_high", "p_value", "note"),
)


def correlations(
    rows: pd.DataFrame,
    values: Mapping[str, float],
    *,
    metric: str,
    name: str,
    min_subjects: int,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Spearman's correlation of a metric with a covariate, of each experiment, label and split.

    Parameters
    ----------
    rows : DataFrame
        Rows of one stage.
    values : mapping
        Case: its number; a case that is missing, or not finite, is left out and counted.
    metric, name : str
        The metric and what the covariate is called.
    min_subjects : int
        Below this there is no correlation; at least 4.
    confidence : float

    Returns
    -------
    DataFrame
        `BY` and `COVARIATE_COLUMNS`. Metric and covariate are averaged within each subject first. The interval is
        tanh(atanh(rho) ± z sqrt((1 + rho² / 2) / (n - 3))) (Bonett and Wright 2000). NaN where one of the two does
        not vary.
    """
    lines: list[dict[str, Any]] = []
    known = rows.assign(covariate=rows["case"].map(lambda case: values.get(case, math.nan)).astype(float))
    for key, part in groups_of(known, BY):
        used = part[np.isfinite(part[metric]) & np.isfinite(part["covariate"])]
        means = used.groupby("subject", sort=True)[[metric, "covariate"]].mean()
        enough = len(means) >= max(min_subjects, 4)
        varies = bool(len(means)) and all(np.ptp(means[column].to_numpy()) > 0 for column in means)
        line = {**dict(zip(BY, key, strict=True)), "metric": metric, "covariate": name, "n_subjects": len(means)}
        line["n_left_out"] = part["subject"].nunique() - len(means)
        line |= dict.fromkeys(("rho", "ci_low", "ci_high", "p_value"), math.nan)
        line["note"] = "" if enough and varies else ("does not vary" if enough else "too few subjects")
        if enough and varies:
            rho, p_value = spearman(*(means[column].to_numpy(dtype=np.float64) for column in (metric, "covariate")))
            line |= {"rho": rho, "p_value": p_value}
            line["ci_low"], line["ci_high"] = rank_interval(rho, len(means), confidence)
        lines.append(line)
    return pd.DataFrame(lines, columns=[*BY, *COVARIATE_COLUMNS])


def spearman(one: Floats, other: Floats) -> tuple[float, float]:
    """Spearman's rho and its two-sided p; neither side is constant.

    All orders are counted up to `MOST_ORDERED` pairs. Above, p is that of Student's t (Kendall and Stuart 1973), but
    never below the 2 / n! of a perfect order.
    """
    ranks = [stats.rankdata(side) for side in (one, other)]
    rho = float(np.clip(np.corrcoef(ranks[0], ranks[1])[0, 1], -1.0, 1.0))
    n = one.size
    if n <= MOST_ORDERED:
        orders = ranks[1][np.array(list(itertools.permutations(range(n))))]
        centred = ranks[0] - ranks[0].mean()
        found = np.abs(orders @ centred)
        return rho, float((found >= abs(ranks[1] @ centred) - 1e-9).mean())
    return rho, max(float(stats.spearmanr(one, other).pvalue), 2.0 * math.exp(-math.lgamma(n + 1)))


def rank_interval(rho: float, n: int, confidence: float) -> tuple[float, float]:
    """Interval of Spearman's rho of n > 3 pairs (Bonett and Wright 2000); NaN where rho is ±1."""
    if abs(rho) >= 1.0:
        return math.nan, math.nan
    half = stats.norm.ppf((1.0 + confidence) / 2.0) * math.sqrt((1.0 + rho**2 / 2.0) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
