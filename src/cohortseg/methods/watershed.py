"""Marker-controlled watershed: of the gradient, or of the distance to the background, which parts touching objects."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.regions import opened
from cohortseg.methods.threshold import RULES, find_threshold
from cohortseg.volume import Array, Triple, Volume

Mask = npt.NDArray[np.bool_]


def build(
    *,
    surface: Literal["distance", "gradient"] = "distance",
    rule: str = "otsu",
    apart_mm: float = 5.0,
    scale_mm: float = 1.0,
    sure_mm: float = 2.0,
) -> Segment:
    """A segmenter of bright objects by flooding from markers.

    Parameters
    ----------
    surface : {'distance', 'gradient'}
        'distance': what is brighter than the threshold, cut where the basins of touching objects meet: each is a
        component of its own. 'gradient': from what is surely object and surely background, up to the steepest place.
    rule : str
        Threshold rule (`methods/threshold.py`).
    apart_mm : float
        For 'distance': two objects have centres at least so far apart.
    scale_mm : float
        For 'gradient': standard deviation of the Gaussian before the gradient.
    sure_mm : float
        For 'gradient': as far from the threshold's border is sure.

    Raises
    ------
    SettingsError
        For an unknown rule or a distance that is not positive.

    Notes
    -----
    Source: Meyer 1994, Signal Process. 38(1); Vincent & Soille 1991, IEEE TPAMI 13(6).
    """
    choose("rule", rule, RULES)
    if apart_mm <= 0:
        raise SettingsError(f"apart_mm must be positive, got {apart_mm}")

    def segment(volume: Volume) -> npt.NDArray[np.uint8]:
        image, spacing = np.asarray(volume.array), volume.grid.spacing_mm
        bright = image > find_threshold(image, None, rule=rule)
        if not bright.any() or bright.all():
            return bright.astype(np.uint8)
        if surface == "distance":
            return (split_touching(bright, spacing, apart_mm, line=True) > 0).astype(np.uint8)
        return steepest(image, bright, spacing, scale_mm, sure_mm).astype(np.uint8)

    return segment


def split_touching(mask: Mask, spacing_mm: Triple, apart_mm: float, *, line: bool = False) -> npt.NDArray[np.int32]:
    """Objects of a mask, numbered from 1: basins of the negative distance to the background.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
        An empty mask has no objects.
    spacing_mm : (float, float, float)
    apart_mm : float
        Markers are the highest places of the distance within a box of this reach.
    line : bool
        Leave one voxel of background between touching objects.

    Returns
    -------
    int32 array, shape (z, y, x)
    """
    import edt
    from scipy import ndimage
    from skimage.segmentation import watershed

    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    flat = [n == 1 for n in mask.shape]
    squeezed = np.ascontiguousarray(mask.squeeze(axis=0) if flat[0] else mask)
    spacing = spacing_mm[1:] if flat[0] else spacing_mm
    depth = edt.edt(squeezed, anisotropy=spacing, black_border=False)
    # a plateau of a few voxels is one marker; float32 noise on it would be several
    depth = np.minimum(depth, np.finfo(np.float32).max)
    depth = ndimage.gaussian_filter(depth, 1.0, mode="nearest")
    reach = [2 * max(1, round(apart_mm / size)) + 1 for size in spacing]
    highest = (ndimage.maximum_filter(depth, reach, mode="nearest") == depth) & squeezed
    markers, _ = ndimage.label(highest, np.ones([3] * highest.ndim))
    found = np.asarray(watershed(-depth, markers, mask=squeezed), dtype=np.int32).reshape(mask.shape)
    if not line:
        return found
    # scikit-image 0.26 draws lines itself, but with 26 neighbours it did not come to an end on a real volume
    numbered = np.where(found > 0, found, np.iinfo(np.int32).max)
    found[ndimage.minimum_filter(numbered, 3, mode="nearest") < found] = 0
    return _main_parts(found)


def _main_parts(objects: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Of each object its largest part: lines can cut off a corner, which would count as one more object."""
    import cc3d

    parts = cc3d.connected_components(objects, connectivity=26)
    sizes = np.bincount(parts.ravel())
    owner = np.zeros(sizes.size, np.int32)
    owner[parts.ravel()] = objects.ravel()
    order = np.lexsort((-sizes, owner))
    first = np.concatenate([[True], np.diff(owner[order]) > 0])
    kept = np.zeros(sizes.size, np.int32)
    kept[order[first]] = owner[order[first]]
    return np.asarray(kept[parts])


def steepest(image: Array, bright: Mask, spacing_mm: Triple, scale_mm: float, sure_mm: float) -> Mask:
    """What floods from inside the bright voxels before what comes from outside, on the gradient magnitude.

    Parameters
    ----------
    image : array, shape (z, y, x)
    bright : bool array of the same shape
        First guess; what an erosion of it, and of its complement, leaves are the markers.
    """
    import edt
    from scipy import ndimage
    from skimage.segmentation import watershed

    values, slope = image.astype(np.float32), np.zeros(image.shape, np.float32)
    sigma = [scale_mm / size if n > 1 else 0.0 for size, n in zip(spacing_mm, image.shape, strict=True)]
    smooth = ndimage.gaussian_filter(values, sigma, mode="reflect")
    for axis in (axis for axis in range(3) if image.shape[axis] > 1):
        slope += (np.gradient(smooth, axis=axis) / np.float32(spacing_mm[axis])) ** 2
    inside = edt.edt(np.ascontiguousarray(bright), anisotropy=spacing_mm, black_border=False) > sure_mm
    outside = edt.edt(np.ascontiguousarray(~bright), anisotropy=spacing_mm, black_border=False) > sure_mm
    if not inside.any() or not outside.any():
        return opened(bright, 0.0, spacing_mm)
    return np.asarray(watershed(slope, inside + 2 * outside.astype(np.int32)) == 1)
