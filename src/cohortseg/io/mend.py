"""Mends of a stack that is not quite regular: which slices are left out, how planes are shifted and blended.

Numbers and planes only; what may be mended is decided in `stack_geometry`, and the planes are read in `series`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Record: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Blend: TypeAlias = tuple[int, int, float]
"""Lower slice, upper slice, weight of the upper one; a slice that is taken as it is has weight 0 and itself twice."""
Mend: TypeAlias = Literal["stray_slices", "repeated_slices", "missing_slices", "uneven_spacing"]

COSINE_TOLERANCE = 1e-3
"""Direction cosines further apart than this are two orientations; 0.06 degrees, 0.3 mm over a field of 300 mm."""
SPACING_TOLERANCE = 1e-4
"""Relative: pixel spacings further apart than this are two matrices; 0.05 pixels over a row of 512."""
MAJORITY = 0.8
"""Fewer slices of one kind than this share are no series with strays, but a mixture."""
MISSING_IN_A_ROW = 2
"""Wider gaps hold anatomy that interpolation would invent."""
MISSING_SHARE = 0.05
"""Of the slices of the whole stack."""
LARGEST_RATIO = 3.0
"""Of the largest slice distance to the smallest, beyond which a stack is not resampled."""
WHOLE = 1e-3
"""Pixels or slice distances this close to a whole number are one: no plane is blurred for the sake of a rounding."""


def strays(records: Sequence[Record], min_slices: int) -> set[int]:
    """Places of the slices that are of another kind than the great majority, or do not say where they lie.

    Parameters
    ----------
    records : sequence of dict
        Slice records with `position`, `orientation`, `pixel_spacing_mm`, `rows` and `columns`.
    min_slices : int
        So many must be left.

    Returns
    -------
    set of int
        Empty when all are alike, and also when less than `MAJORITY` would be left: then nothing tells who is astray.
    """
    placed = [place for place, record in enumerate(records) if _is_placed(record)]
    if not placed:
        return set()
    sizes = [(records[place]["rows"], records[place]["columns"]) for place in placed]
    common = Counter(sizes).most_common(1)[0][0]
    alike = [place for place, size in zip(placed, sizes, strict=True) if size == common]
    # The median of a majority is one of its own values, whatever the others are.
    orientations = np.array([records[place]["orientation"] for place in alike], dtype=np.float64)
    spacings = np.array([records[place]["pixel_spacing_mm"] for place in alike], dtype=np.float64)
    turned = np.abs(orientations - np.median(orientations, axis=0)).max(axis=1) > COSINE_TOLERANCE
    spacing = np.median(spacings, axis=0)
    scaled = (np.abs(spacings - spacing) > SPACING_TOLERANCE * np.abs(spacing)).any(axis=1)
    kept = {place for place, odd in zip(alike, turned | scaled, strict=True) if not odd}
    if len(kept) < max(min_slices, MAJORITY * len(records)):
        return set()
    return set(range(len(records))) - kept


def _is_placed(record: Record) -> bool:
    lengths = (("position", 3), ("orientation", 6), ("pixel_spacing_mm", 2))
    return all(len(record.get(key) or ()) == length for key, length in lengths)


def groups(along: Floats, limit_mm: float) -> list[list[int]]:
    """Neighbours in an ascending list that lie no further than `limit_mm` from the first of their group."""
    found: list[list[int]] = []
    for place, value in enumerate(along):
        if found and value - along[found[-1][0]] <= limit_mm:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def may_fill(multiples: Floats) -> bool:
    """Whether gaps are few and narrow enough to be interpolated.

    Parameters
    ----------
    multiples : float array, shape (slices - 1,)
        Slice distances in units of the regular one, whole numbers from 1 on.
    """
    missing = multiples - 1
    return bool(missing.max() <= MISSING_IN_A_ROW and missing.sum() <= MISSING_SHARE * (multiples.sum() + 1))


def blends(places: Floats) -> tuple[Blend, ...]:
    """Slices of a regular grid out of slices that lie anywhere, linearly along z.

    Parameters
    ----------
    places : float array, shape (slices,)
        Ascending, in units of the grid, beginning at 0.

    Returns
    -------
    tuple of (lower, upper, weight of the upper)
        One for each whole number from 0 to the last place: none lies beyond the last slice.
    """
    found: list[Blend] = []
    for target in range(int(np.floor(places[-1] + WHOLE)) + 1):
        nearest = int(np.abs(places - target).argmin())
        if abs(places[nearest] - target) <= WHOLE:
            found.append((nearest, nearest, 0.0))
            continue
        upper = int(np.searchsorted(places, target))
        weight = (target - places[upper - 1]) / (places[upper] - places[upper - 1])
        found.append((upper - 1, upper, float(weight)))
    return tuple(found)


def shifts(sideways_px: Floats) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Shift of each slice in the smallest upright matrix that holds all of them.

    Parameters
    ----------
    sideways_px : float array, shape (slices, 2)
        How far each slice lies from the first one, along y and x, in pixels.

    Returns
    -------
    shift_yx : float array, shape (slices, 2)
        Not negative; how far each slice moves in the new matrix, in pixels.
    first : int array, shape (2,)
        Where the new matrix begins, in pixels of the first slice.
    grown : int array, shape (2,)
        Rows and columns that the new matrix has more.
    """
    # Halves must be halves, or the last bit decides how they are rounded.
    sideways_px = np.round(sideways_px, 6)
    whole = np.round(sideways_px)
    sideways_px = np.where(np.abs(sideways_px - whole) <= WHOLE, whole, sideways_px)
    first = np.floor(sideways_px.min(axis=0)).astype(np.int64)
    last = np.ceil(sideways_px.max(axis=0)).astype(np.int64)
    return sideways_px - first, first, last - first


def shift_plane(
    plane: Floats, empty: Bools, shift_yx: tuple[float, float], size: tuple[int, int], fill: float
) -> tuple[Floats, Bools]:
    """A plane moved by a part of a pixel into a larger matrix; linear, and exact for whole pixels.

    Parameters
    ----------
    plane : float array, shape (rows, columns)
    empty : bool array, shape (rows, columns)
        Pixels that hold padding: they are not mixed with others, the nearer of two is taken.
    shift_yx : (float, float)
        Not negative, in pixels.
    size : (int, int)
        Rows and columns of the larger matrix; `shift_yx` rounded up fits in.
    fill : float
        Value of the new pixels; these are those more than half a pixel away from every old one.

    Returns
    -------
    (float array, bool array), shape `size`
        The moved plane, and where it is empty: old padding and new pixels.
    """
    for axis in (0, 1):
        plane, empty = _slide(plane, empty, shift_yx[axis], size[axis], axis, fill)
    return plane, empty


def _slide(plane: Floats, empty: Bools, shift: float, size: int, axis: int, fill: float) -> tuple[Floats, Bools]:
    """`shift_plane` along one axis."""
    plane, empty = np.moveaxis(plane, axis, 0), np.moveaxis(empty, axis, 0)
    length = len(plane)
    first, part = int(np.floor(shift)), shift - np.floor(shift)
    if part > 0:
        # Row r lies between old rows r - 1 and r. Of the two ends, the one within half a pixel is kept.
        before = np.clip(np.arange(-1, length), 0, None)
        after = np.clip(np.arange(length + 1), None, length - 1)
        plane, empty = mix(plane[after], empty[after], plane[before], empty[before], part)
        # A rounding must not decide which end, slice by slice.
        late = part > 0.5 + WHOLE
        keep = slice(1, None) if late else slice(None, -1)
        first += late
        plane, empty = plane[keep], empty[keep]
    new = np.full((size, plane.shape[1]), fill, plane.dtype)
    none = np.ones(new.shape, dtype=bool)
    new[first : first + length], none[first : first + length] = plane, empty
    return np.moveaxis(new, 0, axis), np.moveaxis(none, 0, axis)


def mix(lower: Floats, lower_empty: Bools, upper: Floats, upper_empty: Bools, weight: float) -> tuple[Floats, Bools]:
    """Two planes blended linearly; where one of them holds padding, the nearer is taken (the lower one in the middle).

    Parameters
    ----------
    lower, upper : float array, shape (rows, columns)
    lower_empty, upper_empty : bool array, shape (rows, columns)
        Pixels that hold padding.
    weight : float in [0, 1]
        Of the upper plane.

    Returns
    -------
    (float array, bool array), shape (rows, columns)
        The blend, and where it holds padding.
    """
    blended = lower * (1.0 - weight)
    blended += upper * weight
    nearer, nearer_empty = (upper, upper_empty) if weight > 0.5 + WHOLE else (lower, lower_empty)
    apart = lower_empty | upper_empty
    blended[apart] = nearer[apart]
    return blended, nearer_empty & apart
