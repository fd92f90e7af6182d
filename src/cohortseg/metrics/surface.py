"""Distances between the surfaces of two masks, in mm, and the metrics read from them.

Definitions. The surface of a mask is made of its voxels that have a background voxel among their six face
neighbours; what lies outside the image counts as background, so a mask cut off by the image border has a surface
there. An axis of a single voxel has no neighbours: in a two-dimensional image the surface is the outline. Distances
run between voxel centres, from each surface voxel to the nearest surface voxel of the other mask; they are taken
once in each direction and all metrics read the same two lists. Either mask empty: both lists are empty and every
metric is NaN.

These are the voxel surfaces of MONAI and MedPy. Libraries that weigh surface elements by area give other numbers.
"""

import math
from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from cohortseg.metrics.overlap import Mask, check_masks
from cohortseg.volume import Triple

Box = tuple[slice, slice, slice]
Distances = npt.NDArray[np.float32] | npt.NDArray[np.float64]

SPARSE = 32
"""From this many voxels of the box for each surface voxel, searching points is cheaper than a distance map."""

LEAF_SIZE = 32
"""Points in a leaf of the search tree; 32 was the fastest of 8, 16, 32 on near and on far surfaces."""

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


def union_box(reference: Mask, prediction: Mask) -> Box:
    """The smallest box that holds both masks and one voxel around, cut at the image.

    The margin tells a mask that is one voxel thick from an image that is. Both masks empty: an empty box.

    Raises
    ------
    ValueError
        See `check_masks`.
    """
    check_masks(reference, prediction)
    plane = np.asarray(reference.any(axis=0) | prediction.any(axis=0))
    y, x = _span(plane, axis=1), _span(plane, axis=0)
    z = _span(reference[:, y, x] | prediction[:, y, x], axis=(1, 2))
    return (z, y, x)


def _span(mask: Mask, *, axis: int | tuple[int, int]) -> slice:
    """Where the mask begins and ends once the given axes are projected away, one voxel wider."""
    hits = np.asarray(mask.any(axis=axis))
    found = np.flatnonzero(hits)
    if found.size == 0:
        return slice(0, 0)
    return slice(max(int(found[0]) - 1, 0), min(int(found[-1]) + 2, hits.size))


def surface(mask: Mask) -> Mask:
    """The surface voxels of a mask, as defined at the top of this file.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)

    Returns
    -------
    bool array, shape (z, y, x)
        Empty for an empty mask.
    """
    interior = mask.copy()
    for axis, size in enumerate(mask.shape):
        if size == 1:
            continue
        inside, neighbour = np.moveaxis(interior, axis, 0), np.moveaxis(mask, axis, 0)
        inside[1:] &= neighbour[:-1]
        inside[:-1] &= neighbour[1:]
        inside[0] = inside[-1] = False
    return np.greater(mask, interior, out=interior)


def surface_distances(reference: Mask, prediction: Mask, *, spacing_mm: Triple) -> SurfaceDistances:
    """Distances between both surfaces, in both directions.

    Two exact ways give the same numbers: a Euclidean distance map of the box of both masks (single precision;
    Felzenszwalb and Huttenlocher 2012), whose cost follows the box, and a k-d tree (Bentley 1975), whose cost
    follows the surfaces. The map serves noisy masks, the tree everything else; only counts decide, so equal masks
    always go the same way. Beside the masks the map takes about 6 bytes for each voxel of the box, and 8 for each
    surface voxel of noise; the tree less.

    Parameters
    ----------
    reference, prediction : bool array, shape (z, y, x)
        Masks on the same grid.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.

    Raises
    ------
    ValueError
        See `check_masks`.
    """
    check_masks(reference, prediction)
    if not reference.any() or not prediction.any():
        return SurfaceDistances(np.empty(0), np.empty(0))
    box = union_box(reference, prediction)
    ours, theirs = surface(reference[box]), surface(prediction[box])
    n_voxels = max(np.count_nonzero(ours), np.count_nonzero(theirs))
    measure = _by_points if n_voxels * SPARSE <= ours.size else _by_maps
    return measure(ours, theirs, spacing_mm)


def _by_maps(reference: Mask, prediction: Mask, spacing_mm: Triple) -> SurfaceDistances:
    return SurfaceDistances(
        _read_map(reference, prediction, spacing_mm),
        _read_map(prediction, reference, spacing_mm),
    )


def _read_map(start: Mask, end: Mask, spacing_mm: Triple) -> Distances:
    squared: npt.NDArray[np.float32] = edt.edtsq(~end, anisotropy=spacing_mm)[start]
    return np.sqrt(squared, out=squared)


def _by_points(reference: Mask, prediction: Mask, spacing_mm: Triple) -> SurfaceDistances:
    ours, theirs = (_positions(mask, spacing_mm) for mask in (reference, prediction))
    return SurfaceDistances(_nearest(ours, theirs), _nearest(theirs, ours))


def _positions(mask: Mask, spacing_mm: Triple) -> npt.NDArray[np.float64]:
    """Positions (z, y, x) in mm of the voxels of a mask, in index order."""
    index = np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)
    return np.multiply(index, spacing_mm, dtype=np.float64)


def _nearest(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> Distances:
    tree = KDTree(end, leafsize=LEAF_SIZE, compact_nodes=False, balanced_tree=False)
    return np.asarray(tree.query(start)[0])


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
