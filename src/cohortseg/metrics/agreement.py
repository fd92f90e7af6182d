"""Agreement of predicted and reference volumes: limits of agreement, intraclass and concordance correlation."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cohortseg.metrics.bootstrap import bootstrap_means, percentile_interval
from cohortseg.metrics.summary import FEW_SUBJECTS, need_columns

Floats = npt.NDArray[np.float64]

AGREEMENT_COLUMNS = (
    *("n_cases", "n_subjects", "n_left_out", "bias_ml", "bias_low_ml", "bias_high_ml", "sd_ml"),
    *("limit_low_ml", "limit_high_ml", "limit_error_ml", "slope", "slope_p"),
    *("icc_agreement", "icc_low", "icc_high", "icc_consistency", "concordance", "note"),
)


def volume_agreement(
    rows: pd.DataFrame, *, seed: int, n_bootstrap: int = 2000, confidence: float = 0.95
) -> dict[str, float | int | str]:
    """Bland-Altman analysis and correlations of `prediction_ml` with `reference_ml`.

    Parameters
    ----------
    rows : DataFrame
        Rows of one experiment, label, stage and split; needs `case`, `subject`, `reference_ml`, `prediction_ml`.
        Folds and seeds of a case are averaged. A case where both volumes are 0 says nothing of agreement and is left
        out, counted in `n_left_out`.
    seed, n_bootstrap
        Of the interval of the bias, over resampled subjects.
    confidence : float
        Of all intervals.

    Returns
    -------
    dict
        `AGREEMENT_COLUMNS`. `bias_ml` is the mean of prediction - reference, `limit_*_ml` are bias ± 1.96 SD,
        `limit_error_ml` is the standard error of a limit, SD sqrt(1/n + 1.96² / (2 (n - 1))) (Bland and Altman 1999).
        `slope` is that of the differences on the means, with its p: other than 0, the bias grows with the volume.
        `icc_agreement` is ICC(2,1) with its interval, `icc_consistency` ICC(3,1) (Shrout and Fleiss 1979; McGraw and
        Wong 1996), `concordance` that of Lin (1989). NaN below three cases or where volumes do not vary.
    """
    need_columns(rows, ("case", "subject", "reference_ml", "prediction_ml"))
    by_case = rows.groupby(["subject", "case"], sort=True)[["reference_ml", "prediction_ml"]].mean().dropna()
    seen = by_case[(by_case > 0).any(axis=1)]
    reference, prediction = (seen[name].to_numpy(dtype=np.float64) for name in ("reference_ml", "prediction_ml"))
    codes, subjects = pd.factorize(seen.index.get_level_values("subject"))
    note = f"fewer than {FEW_SUBJECTS} subjects" if len(subjects) < FEW_SUBJECTS else ""
    sizes = {"n_cases": len(seen), "n_subjects": len(subjects), "n_left_out": len(by_case) - len(seen)}
    if len(seen) < 3:
        blank = dict.fromkeys([name for name in AGREEMENT_COLUMNS if name not in sizes], math.nan)
        return {**sizes, **blank, "note": "fewer than 3 cases"}
    bias = _bias_interval(prediction - reference, codes, seed=seed, n_bootstrap=n_bootstrap, confidence=confidence)
    ratings = np.column_stack((reference, prediction))
    icc, low, high = icc_agreement(ratings, confidence=confidence)
    return {
        **sizes,
        **bland_altman(reference, prediction),
        "bias_low_ml": bias[0],
        "bias_high_ml": bias[1],
        "icc_agreement": icc,
        "icc_low": low,
        "icc_high": high,
        "icc_consistency": icc_consistency(ratings),
        "concordance": concordance(reference, prediction),
        "note": note,
    }


def _bias_interval(
    differences: Floats, codes: npt.NDArray[np.intp], *, seed: int, n_bootstrap: int, confidence: float
) -> tuple[float, float]:
    sums = np.asarray(np.bincount(codes, weights=differences)[:, None], dtype=np.float64)
    counts = np.asarray(np.bincount(codes)[:, None], dtype=np.float64)
    if len(sums) < 2:
        return math.nan, math.nan
    return percentile_interval(bootstrap_means(sums, counts, seed=seed, n_bootstrap=n_bootstrap)[:, 0], confidence)


def bland_altman(reference: Floats, prediction: Floats) -> dict[str, float]:
    """Bias, its limits and its slope; see `volume_agreement`. At least three values."""
    differences, means = prediction - reference, (prediction + reference) / 2.0
    n, bias, deviation = differences.size, float(differences.mean()), float(differences.std(ddof=1))
    line = stats.linregress(means, differences) if np.ptp(means) > 0 else None
    return {
        "bias_ml": bias,
        "sd_ml": deviation,
        "limit_low_ml": bias - 1.96 * deviation,
        "limit_high_ml": bias + 1.96 * deviation,
        "limit_error_ml": deviation * math.sqrt(1.0 / n + 1.96**2 / (2.0 * (n - 1))),
        "slope": float(line.slope) if line else math.nan,
        "slope_p": float(line.pvalue) if line else math.nan,
    }


def _mean_squares(ratings: Floats) -> tuple[float, float, float]:
    """Mean squares between the rated, between the raters, and of the rest, of a two-way layout."""
    n, k = ratings.shape
    grand = ratings.mean()
    rows = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    rest = ((ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0) + grand) ** 2).sum()
    return float(rows), float(columns), float(rest / ((n - 1) * (k - 1)))


def icc_agreement(ratings: Floats, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """ICC(2,1): two-way random effects, absolute agreement, single rating, and its interval.

    Parameters
    ----------
    ratings : float array, shape (rated, raters)
        At least two of each.
    confidence : float

    Returns
    -------
    (float, float, float)
        Estimate, low, high (Shrout and Fleiss 1979). NaN where nothing varies; where raters agree to the last digit,
        1 without an interval.
    """
    n, k = ratings.shape
    rows, columns, rest = _mean_squares(ratings)
    whole = rows + (k - 1) * rest + k * (columns - rest) / n
    if not whole:
        return math.nan, math.nan, math.nan
    icc = (rows - rest) / whole
    if not rest:
        return icc, math.nan, math.nan
    ratio = columns / rest
    share = k * icc * ratio + n * (1 + (k - 1) * icc) - k * icc
    freedom = (k - 1) * (n - 1) * share**2
    freedom /= (n - 1) * k**2 * icc**2 * ratio**2 + (n * (1 + (k - 1) * icc) - k * icc) ** 2
    tail = (1.0 + confidence) / 2.0
    upper, lower = stats.f.ppf(tail, n - 1, freedom), stats.f.ppf(tail, freedom, n - 1)
    inner = k * columns + (k * n - k - n) * rest
    return (
        float(icc),
        float(n * (rows - upper * rest) / (upper * inner + n * rows)),
        float(n * (lower * rows - rest) / (inner + n * lower * rows)),
    )


def icc_consistency(ratings: Floats) -> float:
    """ICC(3,1): two-way mixed effects, consistency, single rating (Shrout and Fleiss 1979). NaN: nothing varies."""
    rows, _, rest = _mean_squares(ratings)
    whole = rows + (ratings.shape[1] - 1) * rest
    return (rows - rest) / whole if whole else math.nan


def concordance(one: Floats, other: Floats) -> float:
    """Lin's concordance correlation coefficient (1989), with variances over n. NaN: nothing varies."""
    whole = one.var() + other.var() + (one.mean() - other.mean()) ** 2
    return float(2.0 * ((one - one.mean()) * (other - other.mean())).mean() / whole) if whole else math.nan
