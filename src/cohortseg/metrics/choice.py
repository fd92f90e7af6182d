"""Which of several candidates is kept: the one that helps, by more than chance, where help is measured by subject."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bootstrap import Floats, bootstrap_means

ROUNDING = 1e-9
"""Gains that differ by less are equal."""
LEAST_GAIN = 0.001
"""Smaller gains show in no table and are not worth a step more, however certain they are."""


@dataclass(frozen=True)
class Rules:
    """When a candidate is kept.

    Parameters
    ----------
    keep_if : {'interval', 'gain'}
        `interval`: the low end of the interval of the mean gain is above 0, so one lucky case in many keeps nothing,
        and the gain is at least `LEAST_GAIN`. `gain`: the mean gain is above 0, as nnU-Net does (Isensee et al. 2021).
    min_subjects : int
        With fewer nothing is kept.
    seed, n_bootstrap, confidence
        Of the interval, which holds for all candidates together (`_reaches`).
    """

    keep_if: Literal["interval", "gain"]
    min_subjects: int
    seed: int
    n_bootstrap: int
    confidence: float


@dataclass(frozen=True)
class Judged:
    """What a candidate was worth.

    Parameters
    ----------
    before, after, gain : float
        Means over subjects of the score without it, with it, and of the difference; NaN without subjects.
    ci_low, ci_high : float
        Interval of the gain over resampled subjects, for all candidates together; NaN below two subjects.
    n_predictions, n_subjects : int
        Predictions (cases times seeds) and subjects that were looked at.
    verdict : str
        kept, less gain (another one was kept), tiny gain, within noise, no gain, too few subjects.
    """

    before: float
    after: float
    gain: float
    ci_low: float
    ci_high: float
    n_predictions: int
    n_subjects: int
    verdict: str = ""


def overlap_score(n_reference: int, n_prediction: int, n_shared: int) -> float:
    """Dice; of an empty reference 1 for an empty prediction and 0 for any other.

    Unlike the Dice of the tables, which is undefined where both are empty: a choice must see that a false finding was
    removed from a scan without any.
    """
    if n_reference == 0:
        return float(n_prediction == 0)
    return 2.0 * n_shared / (n_reference + n_prediction)


def judge(scores: Floats, changed: Floats, subjects: Sequence[str], rules: Rules) -> tuple[int, list[Judged]]:
    """Choose one of several candidates.

    Parameters
    ----------
    scores : float array, shape (candidates, cases)
        Higher is better; the first candidate is to leave everything as it is.
    changed : float array, shape (candidates, cases)
        How much each candidate changes: of equal gains the one that changes least is taken, then the first.
    subjects : sequence of str, length cases
        The person of each case. A subject counts once, with the mean over its cases.
    rules : Rules

    Returns
    -------
    (int, list of Judged)
        Place of the choice, 0 when none helps, and what each candidate was worth.
    """
    n_predictions = scores.shape[1]
    names, codes = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    if not n_predictions:
        unknown = Judged(math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0, "too few subjects")
        return 0, [replace(unknown, verdict="kept"), *[unknown] * (len(scores) - 1)]
    means = _by_subject(scores, codes, len(names))
    gains = means - means[0]
    gains[np.abs(gains) < ROUNDING] = 0.0
    judged = []
    for after, gain, reach in zip(means.mean(axis=1), gains.mean(axis=1), _reaches(gains, rules), strict=True):
        worth = (float(means[0].mean()), float(after), float(gain), float(gain - reach), float(gain + reach))
        one = Judged(*worth, n_predictions, len(names))
        judged.append(replace(one, verdict=_verdict(one, rules)))
    costs = _by_subject(changed, codes, len(names)).mean(axis=1)
    helping = [place for place, one in enumerate(judged) if one.verdict == "less gain"]
    best = min(helping, key=lambda place: (-round(judged[place].gain / ROUNDING), costs[place], place), default=0)
    judged[best] = replace(judged[best], verdict="kept")
    return best, judged


def _reaches(gains: Floats, rules: Rules) -> Floats:
    """Half widths of intervals of the mean gains that hold for all candidates together.

    The largest deviation of any candidate, in its own standard errors, in resampled subjects (single-step max-t,
    Westfall & Young 1993): the best of many candidates has a gain by chance alone, which the interval of each by itself
    does not know of. NaN below two subjects.
    """
    n = gains.shape[1]
    if n < 2:
        return np.full(len(gains), math.nan)
    draws = bootstrap_means(gains.T, np.ones_like(gains.T), seed=rules.seed, n_bootstrap=rules.n_bootstrap)
    errors = draws.std(axis=0)
    differ = errors > ROUNDING
    if not differ.any():
        return np.zeros(len(gains))
    deviations = np.abs(draws - gains.mean(axis=1))[:, differ] / errors[differ]
    times = np.quantile(deviations.max(axis=1), rules.confidence)
    # Resampled means of n subjects spread as if divided by n, not by n - 1.
    return np.where(differ, times * errors * math.sqrt(n / (n - 1)), 0.0)


def _by_subject(values: Floats, codes: npt.NDArray[np.intp], n: int) -> Floats:
    """Mean of each subject: float array, shape (candidates, subjects)."""
    sums = np.stack([np.bincount(codes, weights=row, minlength=n) for row in values])
    return np.asarray(sums / np.bincount(codes, minlength=n), dtype=np.float64)


def _verdict(one: Judged, rules: Rules) -> str:
    """Why a candidate is not kept, or `less gain` where it could be."""
    if one.n_subjects < rules.min_subjects:
        return "too few subjects"
    if one.gain < ROUNDING:
        return "no gain"
    if rules.keep_if == "gain":
        return "less gain"
    if not one.ci_low > 0:
        return "within noise"
    return "less gain" if one.gain >= LEAST_GAIN else "tiny gain"
