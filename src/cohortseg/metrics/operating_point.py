"""The operating point of a detector: the score from which a candidate counts, and what scans then look like."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cohortseg.metrics.bootstrap import Floats, bootstrap_means, percentile_interval, times_drawn
from cohortseg.metrics.detection import FALSE_ALARMS, froc, froc_score


class Scan(NamedTuple):
    """One case of a detector.

    Parameters
    ----------
    subject : str
        Whose it is.
    n_lesions : int
        Lesions of the reference.
    found, false : float array, shape (lesions hit,) and (false candidates,)
        Best score of those that hit each lesion; scores of the candidates that hit none.
    """

    subject: str
    n_lesions: int
    found: Floats
    false: Floats

    def at(self, threshold: float) -> tuple[int, int]:
        """Lesions found and false candidates where only scores of at least a threshold count."""
        return int((self.found >= threshold).sum()), int((self.false >= threshold).sum())


SHARES = ("sensitivity_per_lesion", "sensitivity_per_scan", "specificity_per_scan", "false_per_scan")
"""What `at_operating_point` measures."""


def froc_of(scans: Sequence[Scan]) -> Floats:
    """The free-response ROC of some cases, as `detection.froc`."""
    nothing = [np.empty(0)]
    found, false = (np.concatenate([*parts, *nothing]) for parts in _columns(scans))
    return froc(found, false, n_lesions=sum(scan.n_lesions for scan in scans), n_cases=len(scans))


def _columns(scans: Sequence[Scan]) -> tuple[list[Floats], list[Floats]]:
    return [scan.found for scan in scans], [scan.false for scan in scans]


def operating_point(scans: Sequence[Scan], false_per_scan: float) -> float:
    """The highest score that finds as many lesions as can be found with at most so many false candidates per scan.

    Returns
    -------
    float
        Infinity where no lesion can be found with so few (nothing counts then); NaN without a lesion or a scan.
    """
    curve = froc_of(scans)
    allowed = curve[curve[:, 1] <= false_per_scan]
    if not len(allowed) or np.isnan(allowed[0, 2]):
        return math.nan
    return float(allowed[np.argmax(allowed[:, 2]), 0])


def at_operating_point(
    scans: Sequence[Scan], thresholds: Sequence[float], *, seed: int, n_bootstrap: int = 2000, confidence: float = 0.95
) -> dict[str, tuple[float, float, float]]:
    """What a detector does with each scan's candidates from a threshold on.

    Parameters
    ----------
    scans : sequence of Scan
    thresholds : sequence of float
        One for each scan; they stay as they are in the resamples.

    Returns
    -------
    dict
        By the names of `SHARES` the value and the ends of its percentile interval over resampled subjects: found
        lesions of all; scans with a found lesion of all with a lesion; scans without a candidate of all without a
        lesion; false candidates per scan. NaN where there is nothing to count, ends NaN for a single subject.
    """
    names = sorted({scan.subject for scan in scans})
    sums, counts = np.zeros((2, len(names), len(SHARES)))
    for scan, threshold in zip(scans, thresholds, strict=True):
        row, (n_found, n_false) = names.index(scan.subject), scan.at(threshold)
        is_positive = scan.n_lesions > 0
        sums[row] += (n_found, is_positive and n_found > 0, not is_positive and n_false == 0, n_false)
        counts[row] += (scan.n_lesions, is_positive, not is_positive, 1)
    with np.errstate(invalid="ignore"):
        values = sums.sum(axis=0) / counts.sum(axis=0)
    if len(names) < 2:
        return {name: (float(value), math.nan, math.nan) for name, value in zip(SHARES, values, strict=True)}
    draws = bootstrap_means(sums, counts, seed=seed, n_bootstrap=n_bootstrap)
    ends = [percentile_interval(column, confidence) for column in draws.T]
    return {name: (float(value), *end) for name, value, end in zip(SHARES, values, ends, strict=True)}


def mean_sensitivity(
    scans: Sequence[Scan], *, seed: int, n_bootstrap: int = 2000, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean sensitivity at 1/8 to 8 false candidates per scan (`detection.froc_score`), with its interval.

    Returns
    -------
    (float, float, float)
        NaN without a lesion, ends NaN for a single subject.
    """
    value = froc_score(froc_of(scans)) if scans else math.nan
    names = sorted({scan.subject for scan in scans})
    if len(names) < 2 or math.isnan(value):
        return value, math.nan, math.nan
    owner_of = {name: number for number, name in enumerate(names)}
    draws = [
        score
        for times in times_drawn(len(names), seed=seed, n_bootstrap=n_bootstrap)
        for score in _resampled(scans, [owner_of[scan.subject] for scan in scans], times)
    ]
    return value, *percentile_interval(np.asarray(draws), confidence)


def _resampled(scans: Sequence[Scan], owners: Sequence[int], times: Floats) -> list[float]:
    """The score of each resample, of which `times` says how often each subject was drawn."""
    parts = [(side, owner, values) for scan, owner in zip(scans, owners, strict=True) for side, values in _sides(scan)]
    scores = np.concatenate([values for _, _, values in parts])
    is_found = np.repeat([side for side, _, _ in parts], [values.size for _, _, values in parts]).astype(bool)
    owner = np.repeat([owner for _, owner, _ in parts], [values.size for _, _, values in parts]).astype(int)
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True] * bool(scores.size)))  # of equal scores
    lesions = np.bincount(owners, weights=[scan.n_lesions for scan in scans], minlength=times.shape[1])
    cases = np.bincount(owners, minlength=times.shape[1])
    found = []
    for drawn in times:
        weight, is_hit = drawn[owner[order]], is_found[order]
        hit, false = (np.append(0.0, np.cumsum(weight * side)[last]) for side in (is_hit, ~is_hit))
        places = np.searchsorted(false / (drawn @ cases), FALSE_ALARMS, side="right") - 1
        n_lesions = drawn @ lesions
        found.append(float(hit[places].mean() / n_lesions) if n_lesions else math.nan)
    return found


def _sides(scan: Scan) -> list[tuple[bool, Floats]]:
    return [(True, scan.found), (False, scan.false)]
