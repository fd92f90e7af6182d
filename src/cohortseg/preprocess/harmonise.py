"""Scans of many centres alike: an intensity window in levels, and a set size in the plane, both with a way back.

The spacing is the plan's (`resample.py`). Numbers were chosen from the open literature: the lung window -1000 to 400 HU
(Hofmanninger et al. 2020 clip to -1024..600), and bins of a fixed width as the Image Biomarker Standardisation
Initiative recommends for calibrated units (Zwanenburg et al. 2020, Radiology 295(2), 3.4).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array

LUNG_WINDOW_HU = (-1000.0, 400.0)


def windowed(hu: Array, window_hu: tuple[float, float] = LUNG_WINDOW_HU, *, levels: int | None = None) -> Array:
    """Intensities from 0 (the low end and all below) to 1 (the high end and all above), or in levels of equal width.

    Parameters
    ----------
    hu : array
        Any shape.
    window_hu : (float, float)
        Low and high end.
    levels : int, optional
        Number of levels: level k holds low + k w <= HU < low + (k + 1) w, the last also what is above. Air at the low
        end is level 0.

    Returns
    -------
    float32 array of 0..1, or int16 array of 0 .. levels - 1

    Raises
    ------
    ValueError
        For an empty window or fewer than two levels.
    """
    low, high = window_hu
    if low >= high:
        raise ValueError(f"a window must be (low, high), got {window_hu}")
    share = np.clip((np.asarray(hu, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    if levels is None:
        return share.astype(np.float32)
    if levels < 2:
        raise ValueError(f"at least two levels are needed, got {levels}")
    return np.minimum(np.floor(share * levels + 1e-9), levels - 1).astype(np.int16)


@dataclass(frozen=True)
class Fit:
    """How planes were brought to a set size: what was cut off (below 0) or added before and after, along y and x."""

    before: tuple[int, int]
    after: tuple[int, int]


def fit_planes(image: Array, size: tuple[int, int], fill: float) -> tuple[Array, Fit]:
    """Cut or pad each plane about its centre to a size.

    Parameters
    ----------
    image : array, shape (z, y, x)
    size : (int, int)
        Wanted pixels along y, x.
    fill : float
        What is added: the value that air has.

    Returns
    -------
    array, shape (z, *size)
    Fit
        For `unfit_planes`.
    """
    wanted = [new - old for new, old in zip(size, image.shape[1:], strict=True)]
    before = (wanted[0] // 2, wanted[1] // 2)
    fit = Fit(before, (wanted[0] - before[0], wanted[1] - before[1]))
    return _moved(image, fit, fill), fit


def unfit_planes(image: Array, fit: Fit, fill: float) -> Array:
    """The inverse of `fit_planes`: what was cut off is `fill`, all else as it was."""
    back = Fit((-fit.before[0], -fit.before[1]), (-fit.after[0], -fit.after[1]))
    return _moved(image, back, fill)


def _moved(image: Array, fit: Fit, fill: float) -> npt.NDArray[np.generic]:
    cut = tuple(
        slice(max(0, -first), n - max(0, -last))
        for n, first, last in zip(image.shape[1:], fit.before, fit.after, strict=True)
    )
    rim = [(max(0, first), max(0, last)) for first, last in zip(fit.before, fit.after, strict=True)]
    return np.pad(image[:, cut[0], cut[1]], [(0, 0), *rim], constant_values=fill)
