"""Where in a CT to look: the body without the couch, and the lungs with what lies in and against them."""

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.volume import Array, Triple, Volume

Mask = npt.NDArray[np.bool_]

BODY_ABOVE_HU = -500.0
AIR_BELOW_HU = -400.0
COUCH_MM = 5.0
"""Radius of the opening that cuts the couch off: it and its foam are thinner than 10 mm, a body is not."""
LUNG_CLOSING_MM = 15.0
"""Radius of the closing that takes in vessels and masses against the wall of the lung."""
COMPARABLE = 0.2
"""The second largest air space is the other lung if it has at least this share of the largest; else bowel gas."""


def everywhere(volume: Volume) -> Mask:
    """The whole image."""
    return np.ones(volume.array.shape, bool)


def body(volume: Volume) -> Mask:
    """The largest object above -500 HU after an opening, with holes filled in each (y, x) plane.

    Parameters
    ----------
    volume : Volume
        CT in HU.

    Returns
    -------
    bool array, shape (z, y, x)
        Empty when nothing is above the limit.
    """
    dense = np.asarray(volume.array) > BODY_ABOVE_HU
    compact = opened(dense, COUCH_MM, volume.grid.spacing_mm)
    return _filled(_largest(compact, 1), per_slice=True)


def lungs(volume: Volume) -> Mask:
    """The one or two largest air spaces of the body, closed, with cavities filled.

    A mass in a lung lies in the region as a cavity, a mass against its wall as far as the closing reaches. So do parts
    of the mediastinum; `isolated` tells them from masses.

    Parameters
    ----------
    volume : Volume
        CT in HU.

    Returns
    -------
    bool array, shape (z, y, x)
        Empty when the body holds no air.
    """
    inside = body(volume)
    air = inside & (np.asarray(volume.array) < AIR_BELOW_HU)
    spaces = _largest(air, 2)
    if not spaces.any():
        return spaces
    spacing_mm = volume.grid.spacing_mm
    closed = ~_dilated(~_dilated(spaces, LUNG_CLOSING_MM, spacing_mm), LUNG_CLOSING_MM, spacing_mm)
    elsewhere = air & ~spaces  # windpipe and bowel gas, where the closing reaches them
    return _filled(closed & inside & ~elsewhere, per_slice=False)


REGIONS = {"all": everywhere, "body": body, "lungs": lungs}


def region(name: str, volume: Volume) -> Mask:
    """The mask of a region by name.

    Raises
    ------
    SettingsError
        For an unknown name.
    """
    return choose("inside", name, REGIONS)(volume)


def largest_filled(mask: Mask) -> Mask:
    """The largest component (26 neighbours) with the holes of each (y, x) plane filled; empty where the mask is."""
    return _filled(_largest(mask, 1), per_slice=True) if mask.any() else mask


def isolated(mask: Mask, dark: Mask) -> Mask:
    """The components (26 neighbours) that border on dark voxels with at least half of their surface.

    A mass in a lung is surrounded by air; a bulge of the mediastinum that the closing took in has air on one side only.

    Parameters
    ----------
    mask, dark : bool array, shape (z, y, x)
        Objects, and voxels that count as air. The surface is counted in voxel faces; the border of the image has none.
    """
    numbers, sizes = _numbered(mask)
    faces, to_dark = np.zeros(sizes.size), np.zeros(sizes.size)
    for axis in range(3):
        here, there = [slice(None)] * 3, [slice(None)] * 3
        here[axis], there[axis] = slice(1, None), slice(None, -1)
        for own, other in ((tuple(here), tuple(there)), (tuple(there), tuple(here))):
            surface = mask[own] & ~mask[other]
            faces += np.bincount(numbers[own][surface], minlength=sizes.size)
            to_dark += np.bincount(numbers[own][surface & dark[other]], minlength=sizes.size)
    wanted = (faces > 0) & (to_dark >= faces / 2)
    kept: Mask = wanted[numbers]
    return kept


def opened(mask: Array, radius_mm: float, spacing_mm: Triple) -> Mask:
    """The mask without what no ball of the radius fits into; unchanged for radius 0."""
    if radius_mm <= 0:
        return mask.astype(bool)
    return _dilated(~_dilated(~mask, radius_mm, spacing_mm), radius_mm, spacing_mm)


def _dilated(mask: Mask, radius_mm: float, spacing_mm: Triple) -> Mask:
    """All voxels within a radius of the mask: a threshold on the distance transform."""
    import edt

    if not mask.any() or mask.all():
        return mask
    near: Mask = edt.edt(~mask, anisotropy=spacing_mm, black_border=False) <= radius_mm * (1 + 1e-5)
    return near


def _largest(mask: Mask, n: int) -> Mask:
    """The n largest components that are comparable with the largest (26 neighbours)."""
    numbers, sizes = _numbered(mask)
    order = np.argsort(-sizes, kind="stable")[:n]
    wanted = np.zeros(sizes.size, bool)
    wanted[order[sizes[order] >= max(1.0, COMPARABLE * sizes.max())]] = True
    kept: Mask = wanted[numbers]
    return kept


def _numbered(mask: Mask) -> tuple[Array, npt.NDArray[np.int64]]:
    """Component numbers (26 neighbours) and sizes; the background has number and size 0."""
    import cc3d

    numbers = cc3d.connected_components(np.ascontiguousarray(mask, dtype=np.uint8), connectivity=26)
    sizes = np.asarray(cc3d.statistics(numbers)["voxel_counts"], dtype=np.int64)
    sizes[0] = 0
    return numbers, sizes


def _filled(mask: Mask, *, per_slice: bool) -> Mask:
    """The mask with its cavities filled, or the holes of each (y, x) plane."""
    import fill_voids

    if not per_slice:
        rimmed = np.pad(mask, 1)  # fill_voids 2.1.2 takes background along the edge z = y = 0 for a hole
        return np.asarray(fill_voids.fill(rimmed, in_place=True)[1:-1, 1:-1, 1:-1], dtype=bool)
    out = mask.copy()
    for plane in out:
        if plane.any():
            plane[:] = fill_voids.fill(plane)
    return out
