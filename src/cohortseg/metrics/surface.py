"""Distances between the surfaces of two masks, in mm, and the metrics read from them.

Definitions. The surface of a mask is made of its voxels that have a background voxel among their six face
neighbours; what lies outside the image counts as background, so a mask cut off by the image border has a surface
there. An axis of a single voxel has no neighbours: in a two-dimensional image the surface is the outline, and in an
image of one voxel it is that voxel. Distances run between voxel centres, from each surface voxel to the nearest
surface voxel of the other mask; they are taken once in each direction and all metrics read the same two lists. Either
mask empty: both lists are empty and every metric is NaN.

These are the voxel surfaces of MONAI and MedPy. Libraries that weigh surface elements by area give other numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Bits, Mask, crop_to_union, moved_down, moved_up, unpack
from cohortseg.metrics.nearest import nearest_mm
from cohortseg.volume import Triple

Distances = npt.NDArray[np.float32] | npt.NDArray[np.float64]

SPARSE = 32
"""From this many voxels of the box for each surface voxel, searching voxels is cheaper than a distance map."""

TOLERANCE_SLACK = 1e-5
"""Relative slack that keeps a distance equal to the tolerance within it after rounding to single precision."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance in mm of each surface voxel to the other surface.

    Parameters
    ----------
    from_reference_mm, from_prediction_mm : float array, shape (surface voxels,)
        Both have no element when either mask is empty.
    """

    from_reference_mm: Distances
    from_prediction_mm: Distances


def surface(bits: Bits, axes: Sequence[int] = (0, 1, 2)) -> Bits:
    """The surface voxels of a mask, as defined at the top of this file.

    Parameters
    ----------
    bits : Bits
    axes : sequence of int
        Axes along which neighbours are looked at; (1, 2) gives the outline in each slice.

    Returns
    -------
    Bits
        Empty for an empty mask.
    """
    words, interior = bits.words, bits.words.copy()
    long_axes = [axis for axis in axes if bits.shape[axis] > 1]
    if not long_axes:
        return bits
    for axis in long_axes:
        if axis == 2:
            interior &= moved_up(words)
            interior &= moved_down(words)
            continue
        inside, neighbour = np.moveaxis(interior, axis, 0), np.moveaxis(words, axis, 0)
        inside[1:] &= neighbour[:-1]
        inside[:-1] &= neighbour[1:]
        inside[0] = inside[-1] = 0
    return Bits(words & ~interior, bits.shape, bits.corner)


def surface_distances(reference: Bits, prediction: Bits, *, spacing_mm: Triple) -> SurfaceDistances:
    """Distances between the surfaces of two masks, in both directions.

    Two exact ways give the same numbers: a Euclidean distance map of the box of both masks (single precision;
    Felzenszwalb and Huttenlocher 2012), whose cost follows the box, and a search for the nearest voxel
    (`nearest.nearest_mm`), whose cost follows the surfaces. The map serves noisy masks, the search everything else;
    only counts decide, so equal masks always go the same way. Beside the masks the map takes about 6 bytes for each
    voxel of the box, and 8 for each surface voxel of noise; the search one, and about 100 for each surface voxel.

    Parameters
    ----------
    reference, prediction : Bits
        Masks on the same grid.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    """
    if not reference.words.any() or not prediction.words.any():
        return SurfaceDistances(np.empty(0), np.empty(0))
    ours, theirs = (surface(bits) for bits in crop_to_union(reference, prediction))
    if max(ours.count, theirs.count) * SPARSE <= ours.size:
        return SurfaceDistances(*nearest_mm(ours, theirs, spacing_mm=spacing_mm))
    return _by_maps(unpack(ours), unpack(theirs), spacing_mm)


def _by_maps(reference: Mask, prediction: Mask, spacing_mm: Triple) -> SurfaceDistances:
    return SurfaceDistances(
        _read_map(reference, prediction, spacing_mm),
        _read_map(prediction, reference, spacing_mm),
    )


def _read_map(start: Mask, end: Mask, spacing_mm: Triple) -> Distances:
    squared: npt.NDArray[np.float32] = edt.edtsq(~end, anisotropy=spacing_mm)[start]
    return np.sqrt(squared, out=squared)


def hd_mm(distances: SurfaceDistances) -> float:
    """Hausdorff distance: the largest distance of either direction, in mm (Huttenlocher 1993). NaN: empty mask."""
    if not distances.from_reference_mm.size:
        return math.nan
    return float(max(distances.from_reference_mm.max(), distances.from_prediction_mm.max()))


def hd95_mm(distances: SurfaceDistances) -> float:
    """The larger of the two directed 95th percentiles (linear interpolation), in mm. NaN: empty mask.

    Taking one percentile of both lists together, as some libraries do, gives a smaller number.
    """
    if not distances.from_reference_mm.size:
        return math.nan
    directed = (np.percentile(side, 95) for side in (distances.from_reference_mm, distances.from_prediction_mm))
    return float(max(directed))


def assd_mm(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance in mm: the mean over the surface voxels of both masks, pooled.

    This is the definition of Heimann 2009. The mean of the two directed means, also found under this name, weighs
    the smaller surface more. NaN: empty mask.
    """
    if not distances.from_reference_mm.size:
        return math.nan
    sides = (distances.from_reference_mm, distances.from_prediction_mm)
    return sum(float(side.sum(dtype=np.float64)) for side in sides) / sum(side.size for side in sides)


def nsd(distances: SurfaceDistances, *, tolerance_mm: float) -> float:
    """Normalised surface distance: share of the surface voxels of both masks within the tolerance, in [0, 1].

    After Nikolov 2021 (surface Dice), with surface voxels counted where that paper weighs surface area. A distance
    equal to the tolerance is within it. NaN: empty mask.
    """
    if not distances.from_reference_mm.size:
        return math.nan
    sides = (distances.from_reference_mm, distances.from_prediction_mm)
    limit = tolerance_mm * (1.0 + TOLERANCE_SLACK)
    return sum(int(np.count_nonzero(side <= limit)) for side in sides) / sum(side.size for side in sides)
