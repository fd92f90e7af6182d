"""Resampling subjects: they are the unit of chance, because scans, labels and lesions of one person go together."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS_AT_ONCE = 4_000_000
"""Bootstrap draws held in memory together."""


def times_drawn(n_subjects: int, *, seed: int, n_bootstrap: int) -> Iterator[Floats]:
    """How often each subject is drawn in each resample, some resamples at a time.

    Parameters
    ----------
    n_subjects : int
        Each resample draws as many, with replacement.
    seed : int
        Seed of the draws; the same seed and number of subjects give the same draws.
    n_bootstrap : int
        Resamples.

    Yields
    ------
    float array, shape (resamples, subjects)
        Parts that make up all resamples.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // n_subjects)
    for start in range(0, n_bootstrap, at_once):
        size = min(at_once, n_bootstrap - start)
        drawn = rng.integers(n_subjects, size=(size, n_subjects)) + n_subjects * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_subjects).reshape(size, n_subjects).astype(np.float64)


def bootstrap_means(sums: Floats, counts: Floats, *, seed: int, n_bootstrap: int) -> Floats:
    """Means of resampled subjects, all metrics from the same draws.

    Parameters
    ----------
    sums, counts : float array, shape (subjects, metrics)
        Sum and number of the defined values of each subject.
    seed : int
        Seed of the draws.
    n_bootstrap : int
        Resamples.

    Returns
    -------
    float array, shape (n_bootstrap, metrics)
        Mean over the values of the drawn subjects; NaN where none of them has a value.
    """
    parts = []
    for times in times_drawn(len(sums), seed=seed, n_bootstrap=n_bootstrap):
        with np.errstate(invalid="ignore"):
            parts.append((times @ sums) / (times @ counts))
    return np.concatenate(parts)


def bootstrap_medians(values: Floats, subjects: npt.NDArray[np.intp], *, seed: int, n_bootstrap: int) -> Floats:
    """Medians of resampled subjects.

    Parameters
    ----------
    values : float array, shape (values,)
        Defined values.
    subjects : int array, shape (values,)
        Subject of each value, 0 to n - 1.
    seed, n_bootstrap : int

    Returns
    -------
    float array, shape (n_bootstrap,)
        The value in the middle of all values of the drawn subjects, the lower of two; NaN where there is none.
    """
    order = np.argsort(values, kind="stable")
    ordered, owner = values[order], subjects[order]
    parts = []
    for times in times_drawn(int(subjects.max()) + 1, seed=seed, n_bootstrap=n_bootstrap):
        reached = np.cumsum(times[:, owner], axis=1)
        place = (reached * 2.0 < reached[:, -1:]).sum(axis=1)
        parts.append(np.where(reached[:, -1] > 0, ordered[np.minimum(place, ordered.size - 1)], math.nan))
    return np.concatenate(parts)


def percentile_interval(draws: Floats, confidence: float) -> tuple[float, float]:
    """The middle share of resamples (percentile interval, Efron 1979); NaN without a defined one."""
    tails = ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0)
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.quantile(defined, tails)
    return float(low), float(high)
