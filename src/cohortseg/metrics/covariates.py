"""How a metric goes along with a continuous property of the cases."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cohortseg.metrics.summary import groups_of

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
            found = stats.spearmanr(means[metric], means["covariate"])
            line |= {"rho": float(found.statistic), "p_value": float(found.pvalue)}
            line["ci_low"], line["ci_high"] = rank_interval(float(found.statistic), len(means), confidence)
        lines.append(line)
    return pd.DataFrame(lines, columns=[*BY, *COVARIATE_COLUMNS])


def rank_interval(rho: float, n: int, confidence: float) -> tuple[float, float]:
    """Interval of Spearman's rho of n > 3 pairs (Bonett and Wright 2000); a point where rho is ±1."""
    if abs(rho) >= 1.0:
        return rho, rho
    half = stats.norm.ppf((1.0 + confidence) / 2.0) * math.sqrt((1.0 + rho**2 / 2.0) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
