"""Smoothing of a contour by morphological operators: what moves it by its curvature, on masks instead of level sets.

scikit-image has the same operators, but keeps in a global variable whose turn it is: there the result of one image
depends on how many were done before.
"""

import numpy as np

from cohortseg.methods.starts import Mask

LINES = tuple(
    np.array(line, dtype=bool)
    for line in (np.eye(3), [[0, 1, 0]] * 3, np.eye(3)[::-1], [[0, 0, 0], [1, 1, 1], [0, 0, 0]])
)
"""The four lines of three pixels through a pixel."""


def smoothed(mask: Mask, times: int, turn: int = 0) -> Mask:
    """The mask after so many smoothings; which operator comes first changes with each turn.

    Parameters
    ----------
    mask : bool array, shape (y, x)
    times, turn : int
        Number of smoothings, and of those done before.

    Notes
    -----
    Source: Marquez-Neila et al. 2014, IEEE TPAMI 36(1): SI after IS, then IS after SI.
    """
    for number in range(turn, turn + times):
        mask = _inf_sup(_sup_inf(mask)) if number % 2 else _sup_inf(_inf_sup(mask))
    return mask


def _sup_inf(mask: Mask) -> Mask:
    """A pixel stays when some line of three through it is inside; beyond the border there is no inside."""
    from scipy import ndimage

    return np.asarray(np.logical_or.reduce([ndimage.binary_erosion(mask, line) for line in LINES]))


def _inf_sup(mask: Mask) -> Mask:
    """A pixel is taken when every line of three through it meets the inside."""
    from scipy import ndimage

    return np.asarray(np.logical_and.reduce([ndimage.binary_dilation(mask, line) for line in LINES]))
