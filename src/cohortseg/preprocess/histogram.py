"""Histograms of intensities: exact counts of integers, fine bins of floats, and the numbers read off them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array

Counts = npt.NDArray[np.int64]

PERCENTILES: dict[str, float] = {"p00_5": 0.005, "p05": 0.05, "p50": 0.5, "p95": 0.95, "p99_5": 0.995}
FLOAT_BINS = 4096
EXACT_BINS = 2**20
"""Integers that span more values than this are binned like floats."""
STORED_BINS = 512
"""Bins of the histograms in the fingerprint: a few kB a case, so that ten thousand cases can be pooled at once."""


@dataclass(frozen=True)
class Bins:
    """Equal bins; for exact counting each integer is the centre of a bin of width 1."""

    lower: float
    width: float
    n: int
    exact: bool

    def index(self, values: Array) -> npt.NDArray[np.intp]:
        """The bin of each value."""
        if self.exact:
            return values.astype(np.intp) - int(self.lower + 0.5)
        scaled = (values.astype(np.float64) - self.lower) / self.width
        return np.minimum(scaled.astype(np.intp), self.n - 1)

    def centres(self) -> npt.NDArray[np.float64]:
        """Float array, shape (n,)."""
        return self.lower + self.width * (np.arange(self.n, dtype=np.float64) + 0.5)


@dataclass(frozen=True)
class Tally:
    """What was seen of one group of voxels. Of exact bins the counts say everything and the rest stays empty.

    `total` and `squares` are sums of differences from the lower edge of the bins, for precision.
    """

    counts: Counts
    total: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.counts + other.counts,
            self.total + other.total,
            self.squares + other.squares,
            min(self.low, other.low),
            max(self.high, other.high),
        )


def tally(values: Array, bins: Bins) -> Tally:
    """Count voxels (array of any shape, also empty)."""
    counts = np.bincount(bins.index(values.ravel()), minlength=bins.n)
    if bins.exact or values.size == 0:
        return Tally(counts)
    shifted = values.astype(np.float64) - bins.lower
    low, high = float(values.min()), float(values.max())
    return Tally(counts, float(shifted.sum()), float((shifted**2).sum()), low, high)


def statistics(group: Tally, bins: Bins) -> dict[str, float] | None:
    """Numbers of one group; None when it is empty."""
    n = int(group.counts.sum())
    if n == 0:
        return None
    centres = bins.centres()
    if bins.exact:
        filled = np.flatnonzero(group.counts)
        low, high = float(centres[filled[0]]), float(centres[filled[-1]])
        mean = float(group.counts @ centres) / n
        variance = float(group.counts @ (centres - mean) ** 2) / n
    else:
        low, high = group.low, group.high
        mean = bins.lower + group.total / n
        variance = max(0.0, group.squares / n - (group.total / n) ** 2)
    percentiles = {name: min(max(quantile(group.counts, centres, q), low), high) for name, q in PERCENTILES.items()}
    return {"min": low, "max": high, "mean": mean, "sd": float(np.sqrt(variance)), **percentiles}


def quantile(counts: Counts, centres: npt.NDArray[np.float64], q: float) -> float:
    """Quantile with linear interpolation between neighbours in rank, as numpy.percentile gives it."""
    cumulative = np.cumsum(counts)
    rank = q * (cumulative[-1] - 1)
    below, above = centres[np.searchsorted(cumulative, [np.floor(rank), np.ceil(rank)], side="right")]
    return float(below + (rank - np.floor(rank)) * (above - below))


def stored(counts: Counts, bins: Bins) -> dict[str, Any] | None:
    """The filled range of a histogram in at most `STORED_BINS` bins; None when it is empty."""
    filled = np.flatnonzero(counts)
    if filled.size == 0:
        return None
    first, last = filled[0], filled[-1] + 1
    merged = -(-(last - first) // STORED_BINS)
    merged_counts = np.add.reduceat(counts[first:last], np.arange(0, last - first, merged))
    return {
        "lower": float(bins.lower + bins.width * first),
        "width": float(bins.width * merged),
        "counts": merged_counts.tolist(),
    }
