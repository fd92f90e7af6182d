"""Tests and effect size of paired differences, one for each subject."""

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from cohortseg.metrics.bootstrap import DRAWS_AT_ONCE

Floats = npt.NDArray[np.float64]


def signed_rank_p(differences: Floats) -> float:
    """Two-sided p of the Wilcoxon signed-rank test (1945), exact when small.

    Zeros are left out; without anything else p is 1. Infinite differences share the highest rank.
    """
    nonzero = differences[differences != 0]
    return float(stats.wilcoxon(nonzero).pvalue) if nonzero.size else 1.0


def rank_biserial(differences: Floats) -> float:
    """Matched-pairs rank-biserial correlation: (rank sum of positive - of negative) / all, in [-1, 1].

    Zeros are left out; 0 when all are zero, NaN without a difference.
    """
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 0.0 if differences.size else math.nan
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def sign_flip_p(differences: Floats, *, seed: int, n_permutations: int) -> float:
    """Two-sided p of the permutation test of a mean difference of zero: signs are flipped (Fisher 1935).

    Parameters
    ----------
    differences : float array, shape (subjects,)
        Finite.
    seed : int
        Seed of the draws, where there are more patterns of signs than permutations.
    n_permutations : int
        Draws; all 2^n patterns are taken instead when they are not more.

    Returns
    -------
    float
        Share of the patterns whose mean is at least as far from zero as the one that was found, which counts as one
        of the draws (Phipson 2010). 1 when all differences are zero; NaN without a difference or with an infinite one.
    """
    if not differences.size or not np.isfinite(differences).all():
        return math.nan
    nonzero = differences[differences != 0]
    found = abs(nonzero.sum()) * (1.0 - 1e-12)
    if 2**nonzero.size <= n_permutations:
        patterns = np.arange(2**nonzero.size)[:, None] >> np.arange(nonzero.size) & 1
        return float((np.abs((1.0 - 2.0 * patterns) @ nonzero) >= found).mean())
    rng, n_extreme = np.random.default_rng(seed), 0
    at_once = max(1, DRAWS_AT_ONCE // nonzero.size)
    for start in range(0, n_permutations, at_once):
        size = min(at_once, n_permutations - start)
        n_bytes = -(-nonzero.size // 8)
        bits = np.unpackbits(np.frombuffer(rng.bytes(size * n_bytes), np.uint8).reshape(size, -1), axis=1)
        sums = (1.0 - 2.0 * bits[:, : nonzero.size]) @ nonzero
        n_extreme += int((np.abs(sums) >= found).sum())
    return (n_extreme + 1) / (n_permutations + 1)
