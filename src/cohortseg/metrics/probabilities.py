"""How far predicted probabilities can be trusted, from counts of voxels by probability: calibration and curves.

Probabilities are never stored. What is kept of them is how many voxels fall into each bin of [0, 1], apart for voxels
outside (0) and inside (1) the reference, with the sums of p and p² in each bin. Calibration and Brier score are exact
from these; curves are exact for thresholds at the borders of bins, and their areas lie within the area that ties
inside a bin leave open.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

BINS = 50


@dataclass(frozen=True)
class Histogram:
    """Voxels by probability of one label.

    Parameters
    ----------
    counts : int64 array, shape (2, bins)
        Voxels outside (0) and inside (1) the reference in each bin; equal bins over [0, 1].
    sums, squares : float64 array, shape (2, bins)
        Sum of the probabilities and of their squares.
    """

    counts: Counts
    sums: Floats
    squares: Floats

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.counts + other.counts, self.sums + other.sums, self.squares + other.squares)

    @property
    def n_voxels(self) -> int:
        """All voxels."""
        return int(self.counts.sum())


def histogram(probabilities: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], *, bins: int = BINS) -> Histogram:
    """Count voxels by probability.

    Parameters
    ----------
    probabilities : float array in [0, 1], any shape
    inside : bool array, same shape
        Whether the reference holds the voxel.
    bins : int
        Equal bins; 1 falls into the last.
    """
    place = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
    parts = [[place[here], probabilities[here].astype(np.float64)] for here in (~inside, inside)]
    return Histogram(
        np.stack([np.bincount(where, minlength=bins) for where, _ in parts]),
        np.stack([np.bincount(where, weights=p, minlength=bins) for where, p in parts]),
        np.stack([np.bincount(where, weights=p * p, minlength=bins) for where, p in parts]),
    )


def from_counts(counts: Counts) -> Histogram:
    """A histogram of counts alone: every voxel is taken to have the middle probability of its bin.

    A probability is then off by at most half a bin, so the calibration error too.
    """
    bins = counts.shape[1]
    middles = (np.arange(bins) + 0.5) / bins
    return Histogram(counts.astype(np.int64), counts * middles, counts * middles**2)


def from_record(record: Mapping[str, Any], number: int) -> Histogram:
    """The histogram of one label as `predict` writes it: `probabilities` and, of later versions, `probability_sums`."""
    counts = np.asarray(record["probabilities"][number], dtype=np.int64)
    if "probability_sums" not in record:
        return from_counts(counts)
    sums, squares = (np.asarray(part[number], dtype=np.float64) for part in record["probability_sums"])
    return Histogram(counts, sums, squares)


def probability_metrics(found: Histogram) -> dict[str, float]:
    """The keys of `columns.PROBABILITY_COLUMNS`; NaN where there is nothing to divide by.

    Without a voxel everything is NaN; with the reference empty, or filling the image, ROC area and average precision
    are.
    """
    return {"ece": ece(found), "brier": brier(found), "roc_auc": roc_auc(found), "average_precision": ap(found)}


def ece(found: Histogram) -> float:
    """Expected calibration error: |observed share - mean probability| of each bin, weighed by its voxels.

    Naeini 2015, with equal bins. The background far from everything is well calibrated and in the majority, so the
    number falls as the field of view grows.
    """
    if not found.n_voxels:
        return math.nan
    gap = np.abs(found.counts[1] - found.sums.sum(axis=0))
    return float(gap.sum() / found.n_voxels)


def brier(found: Histogram) -> float:
    """Mean of (p - y)² over the voxels (Brier 1950). Falls as the field of view grows."""
    if not found.n_voxels:
        return math.nan
    total = found.squares.sum() - 2.0 * found.sums[1].sum() + found.counts[1].sum()
    return float(max(total, 0.0) / found.n_voxels)


def roc_points(found: Histogram) -> Floats:
    """ROC curve: float array, shape (bins + 1, 3) of threshold, 1 - specificity and sensitivity, from (0, 0) on.

    A voxel counts as positive when its probability is at least the threshold. A share of nothing is NaN.
    """
    positives = np.concatenate(([[0], [0]], np.cumsum(found.counts[:, ::-1], axis=1)), axis=1)
    with np.errstate(invalid="ignore"):
        shares = positives / found.counts.sum(axis=1, keepdims=True)
    return np.column_stack((_thresholds(found), shares[0], shares[1]))


def pr_points(found: Histogram) -> Floats:
    """Precision-recall curve: float array, shape (bins + 1, 3) of threshold, sensitivity and precision.

    At the highest threshold nothing is positive; there precision is 1, as in scikit-learn.
    """
    false, true = np.concatenate(([[0], [0]], np.cumsum(found.counts[:, ::-1], axis=1)), axis=1)
    with np.errstate(invalid="ignore"):
        sensitivity, precision = true / found.counts[1].sum(), np.where(true + false > 0, true / (true + false), 1.0)
    return np.column_stack((_thresholds(found), sensitivity, precision))


def _thresholds(found: Histogram) -> Floats:
    bins = found.counts.shape[1]
    return np.asarray(np.arange(bins, -1, -1) / bins, dtype=np.float64)


def roc_auc(found: Histogram) -> float:
    """Area under the ROC curve by trapezoids: ties inside a bin count half (Hanley 1982)."""
    points = roc_points(found)
    return float(np.trapezoid(points[:, 2], points[:, 1]))


def ap(found: Histogram) -> float:
    """Average precision: precision at each threshold, weighed by the gain of sensitivity since the one above it."""
    points = pr_points(found)
    return float((np.diff(points[:, 1]) * points[1:, 2]).sum()) if found.counts[1].sum() else math.nan


def reliability(found: Histogram) -> list[dict[str, float | int]]:
    """One line for each bin: `low`, `high`, `n_voxels`, `mean_probability`, `observed` (NaN in an empty bin)."""
    bins = found.counts.shape[1]
    lines: list[dict[str, float | int]] = []
    for number, (n, n_inside, total) in enumerate(
        zip(found.counts.sum(axis=0), found.counts[1], found.sums.sum(axis=0), strict=True)
    ):
        lines.append(
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "n_voxels": int(n),
                "mean_probability": float(total / n) if n else math.nan,
                "observed": float(n_inside / n) if n else math.nan,
            }
        )
    return lines
