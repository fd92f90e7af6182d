"""Corrections of p values for the number of tests that were made."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def holm(p_values: Floats) -> Floats:
    """Holm's step-down correction of p values (1979).

    Parameters
    ----------
    p_values : float array, shape (tests,)
        NaN marks a test that was not made; it stays NaN and does not count.

    Returns
    -------
    float array, shape (tests,)
        The k-th smallest of m becomes (m - k + 1) p, never less than a smaller one's, at most 1.
    """
    corrected = np.full(p_values.shape, math.nan)
    order = np.argsort(p_values, kind="stable")[: int((~np.isnan(p_values)).sum())]  # NaN sorts last
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Benjamini and Hochberg's step-up correction (1995), which bounds the expected share of false discoveries.

    Parameters
    ----------
    p_values : float array, shape (tests,)
        NaN marks a test that was not made; it stays NaN and does not count.

    Returns
    -------
    float array, shape (tests,)
        The k-th smallest of m becomes m p / k, never more than a larger one's, at most 1.
    """
    corrected = np.full(p_values.shape, math.nan)
    order = np.argsort(p_values, kind="stable")[: int((~np.isnan(p_values)).sum())]  # NaN sorts last
    scaled = p_values[order] * order.size / np.arange(1, order.size + 1)
    corrected[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return corrected
