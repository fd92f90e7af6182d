"""A mask that stands as an ordinary image series, as a label on the grid of the image it was drawn on.

The mask may cover a part of the image only, and its slices, rows and columns may run the other way; its voxels must be
those of the image.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.classes import check_count
from cohortseg.io.values import number_classes
from cohortseg.volume import Array, Grid

MASK = "mask"
"""Name of the one class of a mask of two values, in the facts."""


@dataclass(frozen=True)
class Place:
    """How the voxels of a mask lie in a label.

    Parameters
    ----------
    view : uint8 array
        The label with its axes in the order and direction of the mask's.
    first : (int, int, int)
        Index in the view of the mask's first voxel; negative where the mask begins before the image.
    turned : bool
        Whether axes had to be reordered or flipped.
    """

    view: Array
    first: tuple[int, int, int]
    turned: bool


def series_mask(
    slabs: Iterator[tuple[int, Array]],
    own_grid: Grid,
    grid: Grid,
    values: Mapping[str, int] | None,
    *,
    tolerance_mm: float = 0.05,
) -> tuple[Array, dict[str, Any]]:
    """Paint the voxels of a mask, slab by slab, onto the grid of an image.

    Parameters
    ----------
    slabs : iterator of (int, array)
        Index of the first slice, and the voxels of some slices, shape (n, rows, columns); together the whole mask.
    own_grid : Grid
        Grid of the mask.
    grid : Grid
        Grid of the image.
    values : mapping of str to int, or None
        Class name to its value; classes count 1, 2, … in this order, 0 is background. None: whatever lies above half
        of the largest value is the one class, and the mask may hold two values only.
    tolerance_mm : float
        Largest distance of voxel centres of mask and image.

    Returns
    -------
    label : uint8 array, shape of the grid
        Empty where the mask has no voxels.
    facts : dict
        `n_voxels` for each class (`mask` without `values`); `turned`, whether axes had to be reordered or flipped;
        `n_uncovered`, voxels of the image that the mask does not cover.

    Raises
    ------
    Rejected
        LABEL_OFF_GRID; LABEL_OUTSIDE for marked voxels outside the image; LABEL_VALUES for values that no class names,
        or for more than two, or for two without background; NOT_A_NUMBER; LABEL_UNREADABLE when slices are missing.
    """
    check_count(len(values or {}))
    label = np.zeros(grid.shape, np.uint8)
    place = _place(label, own_grid, grid, tolerance_mm)
    n_slices = n_outside = 0
    for z0, marked, first in _two_values(slabs) if values is None else _named_values(slabs, values):
        if z0 != n_slices or marked.shape[1:] != own_grid.shape[1:]:
            raise Rejected("LABEL_UNREADABLE", f"a slab of shape {marked.shape} where slice {n_slices} should follow")
        if first:
            label[:], n_outside = 0, 0
        n_slices += len(marked)
        n_outside += _put(place, z0, marked)
    if n_slices != own_grid.shape[0]:
        raise Rejected("LABEL_UNREADABLE", f"{n_slices} of {own_grid.shape[0]} slices of the mask are there")
    if n_outside:
        raise Rejected("LABEL_OUTSIDE", f"{n_outside} marked voxels lie outside the image")
    names = [MASK] if values is None else list(values)
    counts = sum((np.bincount(plane.ravel(), minlength=len(names) + 1) for plane in label), np.zeros(1, np.int64))
    n_covered = math.prod(part.stop - part.start for part in _common(place, 0, own_grid.shape))
    return label, {
        "n_voxels": {name: int(count) for name, count in zip(names, counts[1:], strict=True)},
        "turned": place.turned,
        "n_uncovered": label.size - n_covered,
    }


def _place(label: Array, own: Grid, grid: Grid, tolerance_mm: float) -> Place:
    cosines = np.array(grid.axes) @ np.array(own.axes).T
    order = [int(axis) for axis in np.abs(cosines).argmax(axis=0)]
    if sorted(order) != [0, 1, 2]:
        raise Rejected("LABEL_OFF_GRID", "the axes of the mask lie between those of the image")
    signs = [-1 if cosines[axis, source] < 0 else 1 for source, axis in enumerate(order)]
    view = label.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    # Steps of index in the view from one voxel of the mask to the next, and where its first voxel lies.
    steps = np.array([sign * np.array(grid.axes[axis]) for axis, sign in zip(order, signs, strict=True)])
    spacing_mm = np.array(grid.spacing_mm)[order]
    corner = [0.0, 0.0, 0.0]
    for axis, sign in zip(order, signs, strict=True):
        corner[axis] = grid.shape[axis] - 1.0 if sign < 0 else 0.0
    begin = grid.world((corner[0], corner[1], corner[2]))
    first = np.rint(steps @ np.subtract(own.origin_mm, begin) / spacing_mm)
    ends = np.array(list(itertools.product(*((0, size - 1) for size in own.shape))), np.float64)
    apart_mm = ((ends * own.spacing_mm) @ np.array(own.axes) + own.origin_mm - begin) @ steps.T
    off_mm = float(np.abs(apart_mm - (ends + first) * spacing_mm).max())
    if off_mm > tolerance_mm:
        found = f"voxel centres up to {off_mm:.3g} mm apart; spacing {own.spacing_mm}, the image's is {grid.spacing_mm}"
        raise Rejected("LABEL_OFF_GRID", found)
    turned = order != [0, 1, 2] or min(signs) < 0
    return Place(view, (int(first[0]), int(first[1]), int(first[2])), turned)


def _common(place: Place, z0: int, shape: Sequence[int]) -> list[slice]:
    """The part of a slab that lies in the image, in its own indices."""
    begins = (place.first[0] + z0, *place.first[1:])
    inside = [
        (min(max(-begin, 0), size), max(min(limit - begin, size), 0))
        for begin, size, limit in zip(begins, shape, place.view.shape, strict=True)
    ]
    return [slice(start, max(start, stop)) for start, stop in inside]


def _put(place: Place, z0: int, marked: Array) -> int:
    """Paint a slab; returns how many marked voxels lie outside the image."""
    own = _common(place, z0, marked.shape)
    begins = (place.first[0] + z0, *place.first[1:])
    target = tuple(slice(part.start + b, part.stop + b) for part, b in zip(own, begins, strict=True))
    inside = marked[tuple(own)]
    if inside.size:
        place.view[target] = inside
    return int(np.count_nonzero(marked) - np.count_nonzero(inside))


def _two_values(slabs: Iterator[tuple[int, Array]]) -> Iterator[tuple[int, Array, bool]]:
    """First slice, mask of the larger value so far, and whether that value is new: what came before is background."""
    met: set[float] = set()
    for z0, slab in slabs:
        low, high = _range(slab)
        largest = max(met, default=high)
        met |= {low, high}
        if len(met) > 2 or not ((slab == low) | (slab == high)).all():
            raise Rejected("LABEL_VALUES", "more than two values in a mask, and the settings name none")
        yield z0, (slab == max(met)) & (max(met) > 0), max(met) > largest
    # What is no mask at all would give a label that is full, or empty.
    top, bottom = max(met, default=0.0), min(met, default=0.0)
    if bottom > top / 2 or (bottom < 0 and top <= 0):
        raise Rejected(
            "LABEL_VALUES", f"a mask of the values {bottom:g} and {top:g} has no background, or nothing else"
        )


def _named_values(slabs: Iterator[tuple[int, Array]], values: Mapping[str, int]) -> Iterator[tuple[int, Array, bool]]:
    for z0, slab in slabs:
        _range(slab)
        marked = np.zeros(slab.shape, np.uint8)
        number_classes(slab, values, out=marked)
        yield z0, marked, False


def _range(slab: Array) -> tuple[float, float]:
    low, high = float(slab.min()), float(slab.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise Rejected("NOT_A_NUMBER", "the mask holds NaN or infinite values")
    return low, high
