"""Which of several candidates is kept: the one that helps, by more than chance, where help is measured by subject."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bootstrap import Floats, bootstrap_means, percentile_interval

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
        Of the interval: percentiles over resampled subjects (Efron 1979).
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
        Percentile interval of the gain over resampled subjects; NaN below two subjects.
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
    draws = bootstrap_means(gains.T, np.ones_like(gains.T), seed=rules.seed, n_bootstrap=rules.n_bootstrap)
    judged = []
    for after, gain, drawn in zip(means, gains, draws.T, strict=True):
        low, high = percentile_interval(drawn, rules.confidence) if len(names) > 1 else (math.nan, math.nan)
        numbers = (
            float(means[0].mean()),
            float(after.mean()),
            float(gain.mean()),
            low,
            high,
            n_predictions,
            len(names),
        )
        judged.append(Judged(*numbers, verdict=_verdict(numbers, rules)))
    costs = _by_subject(changed, codes, len(names)).mean(axis=1)
    helping = [place for place, one in enumerate(judged) if one.verdict == "less gain"]
    best = min(helping, key=lambda place: (-round(judged[place].gain / ROUNDING), costs[place], place), default=0)
    judged[best] = replace(judged[best], verdict="kept")
    return best, judged


def _by_subject(values: Floats, codes: npt.NDArray[np.intp], n: int) -> Floats:
    """Mean of each subject: float array, shape (candidates, subjects)."""
    sums = np.stack([np.bincount(codes, weights=row, minlength=n) for row in values])
    return np.asarray(sums / np.bincount(codes, minlength=n), dtype=np.float64)


def _verdict(numbers: tuple[float, float, float, float, float, int, int], rules: Rules) -> str:
    """Why a candidate is not kept, or `less gain` where it could be."""
    _, _, gain, low, _, _, n_subjects = numbers
    if n_subjects < rules.min_subjects:
        return "too few subjects"
    if gain < ROUNDING:
        return "no gain"
    if rules.keep_if == "gain":
        return "less gain"
    if not low > 0:
        return "within noise"
    return "less gain" if gain >= LEAST_GAIN else "tiny gain"
