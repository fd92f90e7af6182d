"""A segmented region in numbers: size, intensities and texture, from which the type of a tumour is told.

Texture is that of grey-level co-occurrence (Haralick 1973) of neighbours within slices, in four directions, added up
over all slices (so that thick slices do not count as near): levels of equal width between the least and the largest
intensity of the region, both neighbours inside it.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Mask
from cohortseg.volume import Array, Triple

Floats = npt.NDArray[np.float64]

FEATURES: Mapping[str, tuple[str, str]] = {
    "log_volume": ("1", "natural logarithm of the volume in ml"),
    "largest_area_mm2": ("mm2", "largest area in a slice"),
    "extent_mm": ("mm", "longest side of the box about the region"),
    "box_share": ("fraction", "share of that box that is in the region"),
    "mean": ("as the image", "mean intensity"),
    "sd": ("as the image", "standard deviation of the intensities"),
    "p10": ("as the image", "10th percentile of the intensities"),
    "median": ("as the image", "median intensity"),
    "p90": ("as the image", "90th percentile of the intensities"),
    "skewness": ("1", "third standardised moment; 0 where all are equal"),
    "kurtosis": ("1", "fourth standardised moment less 3; 0 where all are equal"),
    "entropy": ("bit", "entropy of the grey levels"),
    "contrast": ("1", "texture: mean squared difference of neighbouring levels"),
    "correlation": ("1", "texture: correlation of neighbouring levels; 1 where all are equal"),
    "energy": ("fraction", "texture: sum of the squared shares of pairs of levels"),
    "homogeneity": ("fraction", "texture: mean of 1 / (1 + squared difference of neighbouring levels)"),
}
"""Name: unit and what it is."""

STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""From a pixel to its neighbours along y and x; of two opposite ones one is enough."""


def region_features(image: Array, mask: Mask, *, spacing_mm: Triple, levels: int = 32) -> dict[str, float] | None:
    """The features of a region.

    Parameters
    ----------
    image : array, shape (z, y, x)
    mask : bool array, same shape
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    levels : int
        Grey levels of entropy and texture.

    Returns
    -------
    dict or None
        The keys `FEATURES`; None for an empty region. A region without two neighbours has no texture: contrast 0,
        the others 1, as of a region of one level.
    """
    if not mask.any():
        return None
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask))
    inside, part = mask[box], np.asarray(image[box], np.float64)
    values = part[inside]
    _, height, width = spacing_mm
    mean, deviation = float(values.mean()), float(values.std())
    scaled = (values - mean) / deviation if deviation > 0 else np.zeros_like(values)
    low, median, high = (float(value) for value in np.percentile(values, (10, 50, 90)))
    grey = grey_levels(part, values, levels)
    shares = np.bincount(grey[inside], minlength=levels) / values.size
    return {
        "log_volume": math.log(values.size * math.prod(spacing_mm) / 1000.0),
        "largest_area_mm2": float(inside.sum(axis=(1, 2)).max()) * height * width,
        "extent_mm": max(n * size for n, size in zip(inside.shape, spacing_mm, strict=True)),
        "box_share": values.size / inside.size,
        "mean": mean,
        "sd": deviation,
        "p10": low,
        "median": median,
        "p90": high,
        "skewness": float((scaled**3).mean()),
        "kurtosis": float((scaled**4).mean()) - 3.0 if deviation > 0 else 0.0,
        "entropy": float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()) + 0.0,
        **texture(co_occurrence(grey, inside, levels)),
    }


def grey_levels(image: Floats, values: Floats, levels: int) -> npt.NDArray[np.int64]:
    """Levels 0 to n - 1 of equal width between the least and the largest of some values; 0 where these are equal."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(image.shape, np.int64)
    return np.clip(np.floor((image - low) / (high - low) * levels), 0, levels - 1).astype(np.int64)


def co_occurrence(grey: npt.NDArray[np.int64], mask: Mask, levels: int) -> Floats:
    """How often each two levels are neighbours inside a mask, both ways round: float array, shape (levels, levels)."""
    found = np.zeros((levels, levels))
    for down, right in STEPS:
        n_y, n_x = mask.shape[1:]
        here = (slice(None), slice(0, n_y - down), slice(max(0, -right), n_x - max(0, right)))
        there = (slice(None), slice(down, n_y), slice(max(0, right), n_x - max(0, -right)))
        both = mask[here] & mask[there]
        pairs = grey[here][both] * levels + grey[there][both]
        found += np.bincount(pairs, minlength=levels * levels).reshape(levels, levels)
    return found + found.T


def texture(counts: Floats) -> dict[str, float]:
    """Contrast, correlation, energy and homogeneity of a matrix of co-occurrence (symmetric)."""
    if not counts.any():
        return {"contrast": 0.0, "correlation": 1.0, "energy": 1.0, "homogeneity": 1.0}
    shares, level = counts / counts.sum(), np.arange(len(counts))
    squared = (level[:, None] - level[None]) ** 2
    centred = level - level @ shares.sum(axis=1)
    variance = float(centred**2 @ shares.sum(axis=1))
    return {
        "contrast": float((shares * squared).sum()),
        "correlation": float(centred @ shares @ centred) / variance if variance > 0 else 1.0,
        "energy": float((shares**2).sum()),
        "homogeneity": float((shares / (1.0 + squared)).sum()),
    }
