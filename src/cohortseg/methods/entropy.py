"""Thresholds from a histogram by entropy (Kapur, Tsallis) and by its valleys."""

import itertools

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
Centres = npt.NDArray[np.float64]

SMOOTH_SHARE = 0.02
"""Standard deviation of the smoothing before valleys are sought, as a share of the range of grey levels."""
PROMINENCE = 0.02
"""A peak or valley counts when it stands out by this share of the highest peak: less is noise of the histogram."""
TSALLIS_BINS = 512


def tsallis(counts: Counts, centres: Centres, *, q: float = 0.8) -> float:
    """The threshold with the largest Tsallis entropy of the two classes, which add up pseudo-additively.

    S = S_A + S_B + (1 - q) S_A S_B with S = (1 - sum p^q) / (q - 1); at q = 1 it is Kapur's criterion.

    Source: Portes de Albuquerque et al. 2004, Pattern Recognit. Lett. 25(9); Kapur et al. 1985.
    """
    return float(tsallis_thresholds(counts, centres, 1, q=q)[0])


def tsallis_thresholds(counts: Counts, centres: Centres, n: int, *, q: float = 0.8) -> npt.NDArray[np.float64]:
    """The n thresholds with the largest Tsallis entropy of n + 1 classes, exact on at most 512 grey levels.

    Parameters
    ----------
    counts, centres : float array, shape (bins,)
        Histogram; merged to 512 bins where there are more.
    n : int
        Number of thresholds.
    q : float
        Entropic index; 1 is Shannon's entropy.

    Returns
    -------
    float array, shape (n,)
        Ascending; objects are brighter. Fewer where there are fewer than n + 1 grey levels.

    Notes
    -----
    The pseudo-additive sum is a product: with e = 1 + (1 - q) S = sum p^q, the total is (prod e - 1) / (1 - q). Its
    largest value is found by dynamic programming over the classes.
    """
    counts, centres = _merged(counts, centres)
    used = counts > 0
    counts, centres = counts[used], centres[used]
    n = min(n, counts.size - 1)
    score = _scores(counts, q)
    best, back = score[0].copy(), []
    for _ in range(n):
        total = best[:-1, None] + score[1:, :]  # the last class begins after row i + 1
        back.append(total.argmax(axis=0))
        best = total.max(axis=0)
    ends, end = [], counts.size - 1
    for step in reversed(back):
        end = int(step[end])
        ends.append(end)
    return np.asarray(centres[np.array(ends[::-1], dtype=int)])


def _scores(counts: Counts, q: float) -> npt.NDArray[np.float64]:
    """Score of the class of bins i..j: something that adds up over classes and is largest where the entropy is.

    At q = 1 Shannon's entropy; else log(sum p^q) / (1 - q), whose sum rises and falls with the pseudo-additive one.
    """
    mass = np.concatenate([[0.0], np.cumsum(counts)])
    total = mass[None, 1:] - mass[:-1, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        if abs(q - 1) < 1e-9:
            sums = np.concatenate([[0.0], np.cumsum(counts * np.log(counts))])
            score = np.log(total) - (sums[None, 1:] - sums[:-1, None]) / total
        else:
            sums = np.concatenate([[0.0], np.cumsum(counts**q)])
            score = (np.log(sums[None, 1:] - sums[:-1, None]) - q * np.log(total)) / (1 - q)
    score[np.tril_indices(counts.size, -1)] = -np.inf
    return np.asarray(score, dtype=np.float64)


def valleys(counts: Counts, centres: Centres) -> npt.NDArray[np.float64]:
    """The lowest places between neighbouring peaks of the smoothed histogram; none where it has one peak.

    Peaks count when they stand out from their surroundings by 2 % of the highest.

    Source: Prewitt & Mendelsohn 1966, Ann. N. Y. Acad. Sci. 128(3) (the mode method).
    """
    return centres[_valley_places(_smooth(counts))]


def deepest_valley(counts: Counts, centres: Centres) -> float:
    """The valley that is deepest below the lower of the peaks beside it; Otsu's threshold where there is none."""
    from skimage.filters import threshold_otsu

    smooth = _smooth(counts)
    places = _valley_places(smooth)
    if not places.size:
        return float(threshold_otsu(hist=(counts, centres)))
    edges = [0, *places, counts.size]
    peaks = np.array([smooth[a:b].max() for a, b in itertools.pairwise(edges)])
    depths = np.minimum(peaks[:-1], peaks[1:]) - smooth[places]
    return float(centres[places[int(np.argmax(depths))]])


def _smooth(counts: Counts) -> Counts:
    from scipy import ndimage

    sigma = SMOOTH_SHARE * counts.size
    return np.asarray(ndimage.gaussian_filter1d(counts, sigma, mode="constant")) if sigma >= 0.5 else counts


def _valley_places(smooth: Counts) -> npt.NDArray[np.intp]:
    """Index of the middle of the lowest values between neighbouring peaks."""
    from scipy import signal

    # a zero at each end: a peak at the border is a peak
    peaks = signal.find_peaks(np.pad(smooth, 1), prominence=PROMINENCE * smooth.max())[0] - 1
    places = []
    for first, last in itertools.pairwise(peaks):
        between = smooth[first : last + 1]
        lowest = np.flatnonzero(between <= between.min())
        places.append(first + int(lowest[lowest.size // 2]))
    return np.array(places, dtype=np.intp)


def _merged(counts: Counts, centres: Centres) -> tuple[Counts, Centres]:
    """The histogram in at most 512 bins: sums of counts, means of centres."""
    step = -(-counts.size // TSALLIS_BINS)
    starts = np.arange(0, counts.size, step)
    middle = np.add.reduceat(centres, starts) / np.diff([*starts, counts.size])
    return np.add.reduceat(counts, starts), middle
