"""Morphology of masks with radii in mm: a ball that is an ellipsoid of voxels where voxels are not cubes.

A voxel belongs to the dilation when its distance to the nearest mask voxel is at most the radius. So one exact
Euclidean distance transform does what a structuring element of thousands of voxels would.

At the border of the image nothing is made up: outside there is no background that erodes a cut-off mask, and no mask
to which a closing could bridge. Opening and closing are idempotent.
"""

import math

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Shape, Triple

Mask = npt.NDArray[np.bool_]

ROUNDING = 1e-5
"""Relative slack of distances: they are float32, and a voxel at exactly the radius belongs to the ball."""


def dilation(mask: Array, *, radius_mm: float, spacing_mm: Triple) -> Mask:
    """All voxels within a radius of the mask.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
        An empty mask stays empty.
    radius_mm : float
        Radius of the ball; below one voxel of every axis nothing changes.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.

    Raises
    ------
    ValueError
        For a negative radius.
    """
    reach = reach_voxels(radius_mm, spacing_mm)
    if not mask.any() or not any(reach):
        return mask.astype(bool)
    where = _box(mask, reach)
    out = np.zeros(mask.shape, bool)
    out[where] = _distance_mm(~mask[where].astype(bool), spacing_mm) <= radius_mm * (1 + ROUNDING)
    return out


def erosion(mask: Array, *, radius_mm: float, spacing_mm: Triple) -> Mask:
    """All voxels with no background voxel of the image within a radius; parameters as in `dilation`."""
    reach = reach_voxels(radius_mm, spacing_mm)
    if not mask.any() or not any(reach):
        return mask.astype(bool)
    where = _box(mask, (1, 1, 1))
    inside = mask[where].astype(bool)
    out = np.zeros(mask.shape, bool)
    out[where] = inside & ~(_distance_mm(inside, spacing_mm) <= radius_mm * (1 + ROUNDING))
    return out


def opening(mask: Array, *, radius_mm: float, spacing_mm: Triple) -> Mask:
    """Erosion, then dilation: removes what no ball of the radius fits into; parameters as in `dilation`."""
    small = erosion(mask, radius_mm=radius_mm, spacing_mm=spacing_mm)
    return dilation(small, radius_mm=radius_mm, spacing_mm=spacing_mm)


def closing(mask: Array, *, radius_mm: float, spacing_mm: Triple) -> Mask:
    """Dilation, then erosion: fills what no ball of the radius fits into; parameters as in `dilation`.

    Done as if the background went on beyond the image; so the result lies in the bounding box of the mask.
    """
    reach = reach_voxels(radius_mm, spacing_mm)
    if not mask.any() or not any(reach):
        return mask.astype(bool)
    where = _box(mask, (0, 0, 0))
    large = np.pad(mask[where].astype(bool), [(n + 1, n + 1) for n in reach])
    large = dilation(large, radius_mm=radius_mm, spacing_mm=spacing_mm)
    out = np.zeros(mask.shape, bool)
    inner = tuple(slice(n + 1, -n - 1) for n in reach)
    out[where] = erosion(large, radius_mm=radius_mm, spacing_mm=spacing_mm)[inner]
    return out


def fill_holes(mask: Array, *, per_slice: bool = False) -> Mask:
    """Fill the background that cannot reach the border of the image over faces.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
        An empty mask stays empty.
    per_slice : bool
        Fill each (y, x) plane for itself, as is always done in an image of one plane.
    """
    import fill_voids

    filled = mask.astype(bool)
    if not per_slice and len(mask) > 1 and filled.any():
        where = _box(mask, (0, 0, 0))
        # fill_voids 2.1.2 takes background along the first edge of an array (z = y = 0) for a hole: a rim prevents it
        rimmed = np.pad(filled[where], 1)
        filled[where] = fill_voids.fill(rimmed, in_place=True)[1:-1, 1:-1, 1:-1]
        return filled
    for plane in filled:
        if plane.any():
            plane[:] = fill_voids.fill(plane)
    return filled


def reach_voxels(radius_mm: float, spacing_mm: Triple) -> Shape:
    """How many voxels a ball reaches along z, y, x: the halo of a dilation or erosion, half that of opening, closing.

    Raises
    ------
    ValueError
        For a negative radius.
    """
    if radius_mm < 0:
        raise ValueError(f"radius_mm must not be negative, got {radius_mm}")
    z, y, x = (math.floor(radius_mm * (1 + ROUNDING) / size) for size in spacing_mm)
    return z, y, x


def _distance_mm(mask: Mask, spacing_mm: Triple) -> npt.NDArray[np.float32]:
    """Distance of each voxel of the mask to the nearest one outside it; infinite where there is none, 0 outside."""
    import edt

    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(edt.edt(np.ascontiguousarray(mask), anisotropy=spacing_mm, black_border=False), np.float32)


def _box(mask: Array, margin: Shape) -> tuple[slice, ...]:
    """The bounding box of a mask that is not empty, with a margin, cut off at the border."""
    box = []
    for axis, (reach, n) in enumerate(zip(margin, mask.shape, strict=True)):
        hit = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(max(0, int(hit[0]) - reach), min(n, int(hit[-1]) + reach + 1)))
    return tuple(box)
