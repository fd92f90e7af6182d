"""The body of an image of any modality: what is brighter than air, in one piece."""

import numpy as np

from cohortseg.methods.regions import Mask, largest_filled
from cohortseg.volume import Array

BINS = 512


def body_mask(image: Array, above: float | None = None) -> Mask:
    """The largest object (26 neighbours) above a value, with the holes of each (y, x) plane filled.

    Parameters
    ----------
    image : array, shape (z, y, x)
        Intensities, integers or floats.
    above : float, optional
        Limit; Otsu's threshold of the histogram (512 bins between the extremes) when None.

    Returns
    -------
    bool array, shape (z, y, x)
        All voxels of an image of one single value where no limit is given; none when no voxel is above the limit.

    References
    ----------
    Otsu 1979.
    """
    if above is None:
        low, high = float(image.min()), float(image.max())
        if low == high:
            return np.ones(image.shape, bool)
        above = _otsu(image, low, high)
    return largest_filled(image > above)


def _otsu(image: Array, low: float, high: float) -> float:
    from skimage.filters import threshold_otsu

    counts, edges = np.histogram(image, bins=BINS, range=(low, high))
    return float(threshold_otsu(hist=(counts.astype(float), (edges[:-1] + edges[1:]) / 2)))
