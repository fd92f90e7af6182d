"""Grey levels in bins of equal width, so that the noise and the rounding of different scanners look alike.

The window is the plan's. Fixed bins in calibrated units are what the Image Biomarker Standardisation Initiative
recommends (Zwanenburg et al. 2020, Radiology 295(2)); for the lungs, -1000 to 400 HU in 56 bins are 25 HU each.
"""

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array


def binned(intensities: Array, low: float, high: float, n_bins: int) -> npt.NDArray[np.float32]:
    """Intensities brought to one of `n_bins` values from `low` to `high`.

    Bin k holds low + k w <= value < low + (k + 1) w; the first also what is below, the last also what is above. Its
    value is low + k (high - low) / (n_bins - 1): air at the low end of a window stays the low end.

    Parameters
    ----------
    intensities : array
        Any shape.
    low, high : float
        Ends of the window.
    n_bins : int

    Raises
    ------
    ValueError
        For an empty window or fewer than two bins.
    """
    if low >= high or n_bins < 2:
        raise ValueError(f"a window (low, high) and at least two bins are needed, got {low}, {high}, {n_bins}")
    share = (np.asarray(intensities, dtype=np.float64) - low) / (high - low)
    bins = np.clip(np.floor(share * n_bins + 1e-9), 0, n_bins - 1)
    return (low + bins * ((high - low) / (n_bins - 1))).astype(np.float32)
