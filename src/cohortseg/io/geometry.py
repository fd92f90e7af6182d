"""From the headers of a series to the order of its slices and the grid they lie on, or the reason why they lie on none.

Pure numbers: slices are sorted along the normal of their plane by position, never by instance number or file name, and
the distance of slices is measured from the positions, never taken from SliceThickness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.volume import Grid, Triple

Record: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = npt.NDArray[np.float64]

COSINE_TOLERANCE = 1e-3
"""Direction cosines further apart than this are two orientations; 0.06 degrees, 0.3 mm over a field of 300 mm."""
SPACING_TOLERANCE = 1e-4
"""Relative: pixel spacings further apart than this are two matrices; 0.05 pixels over a row of 512."""
PIXEL_SHARE = 0.25
"""A stack may lean by this share of a pixel from its first slice to its last, whatever the tolerance."""
MULTIPLE_TOLERANCE = 0.1
"""Relative: a distance this close to twice, three times, ... the median is a gap of whole slices."""


@dataclass(frozen=True)
class Stack:
    """A regular stack of slices.

    Parameters
    ----------
    order : tuple of int
        Positions in the list of records, first slice first.
    grid : Grid
        z grows with the slice along the normal (row direction x column direction), y down the columns
        (second half of ImageOrientationPatient), x along the rows.
    jitter_mm : float
        Largest distance of a slice from its place on the regular grid.
    lean_mm : float
        Largest distance of a slice from the normal through the first slice.
    """

    order: tuple[int, ...]
    grid: Grid
    jitter_mm: float
    lean_mm: float


def stack_geometry(records: Sequence[Record], *, tolerance_mm: float = 0.05, min_slices: int = 1) -> Stack:
    """Order and grid of the slices of one series.

    Parameters
    ----------
    records : sequence of dict
        Records of `read_header`, one for each slice, in any order: the result does not depend on it.
    tolerance_mm : float
        Largest deviation of a slice distance from the median of all, and of a slice from the regular grid;
        or a hundredth of the median, whichever is larger.
    min_slices : int
        A stack of fewer is refused. A single slice takes its spacing from SliceThickness.

    Returns
    -------
    Stack

    Raises
    ------
    Rejected
        UNSUPPORTED_PIXELS (multi-frame), TOO_FEW_SLICES, NO_POSITION, MIXED_ORIENTATION, MIXED_MATRIX,
        DUPLICATE_POSITION, GANTRY_TILT, MISSING_SLICE or UNEVEN_SPACING: the first that holds in this order.
    """
    _check_count(records, min_slices)
    positions, orientations, spacings = _numbers(records)
    axes = _axes(orientations)
    _check_matrix(records, spacings)
    along = positions @ axes[0]
    order = np.argsort(along, kind="stable")
    if len(records) == 1:
        return Stack((0,), _grid(records[0], axes, _thickness(records[0]), spacings[0], positions[0]), 0.0, 0.0)
    along, positions = along[order], positions[order]
    distances = np.diff(along)
    _check_duplicates(distances, tolerance_mm)
    lean_mm = _lean(positions, axes[0])
    if lean_mm > max(tolerance_mm, PIXEL_SHARE * float(np.min(spacings))):
        degrees = np.degrees(np.arctan2(lean_mm, along[-1] - along[0]))
        raise Rejected("GANTRY_TILT", f"the stack leans by {degrees:.1f} degrees, {lean_mm:.2f} mm in all")
    jitter_mm = _check_distances(along, distances, tolerance_mm)
    spacing_z = float(along[-1] - along[0]) / len(distances)
    grid = _grid(records[order[0]], axes, spacing_z, np.median(spacings, axis=0), positions[0], len(records))
    return Stack(tuple(int(index) for index in order), grid, round(jitter_mm, 6), round(lean_mm, 6))


def _check_count(records: Sequence[Record], min_slices: int) -> None:
    frames = max((record.get("n_frames") or 1 for record in records), default=1)
    if frames > 1:
        raise Rejected("UNSUPPORTED_PIXELS", f"a multi-frame object of {frames} frames")
    if len(records) < max(min_slices, 1):
        raise Rejected("TOO_FEW_SLICES", f"{len(records)} slices, at least {max(min_slices, 1)} are needed")


def _numbers(records: Sequence[Record]) -> tuple[Floats, Floats, Floats]:
    """Positions (n, 3), orientations (n, 6) and pixel spacings (n, 2; y, x)."""
    columns = []
    for key, length in (("position", 3), ("orientation", 6), ("pixel_spacing_mm", 2)):
        values = [record.get(key) for record in records]
        lacking = sum(value is None or len(value) != length for value in values)
        if lacking:
            raise Rejected("NO_POSITION", f"{lacking} of {len(records)} slices carry no {key.removesuffix('_mm')}")
        columns.append(np.array(values, dtype=np.float64))
    if columns[2].min() <= 0:
        raise Rejected("NO_POSITION", f"a pixel spacing of {columns[2].min():g} mm")
    return columns[0], columns[1], columns[2]


def _axes(orientations: Floats) -> Floats:
    """Orthonormal directions of z, y and x, shape (3, 3)."""
    # The median does not depend on the order of the files, and one odd slice does not move it.
    orientation = np.median(orientations, axis=0)
    apart = np.abs(orientations - orientation).max(axis=1)
    odd = int((apart > COSINE_TOLERANCE).sum())
    if odd:
        found = f"{odd} of {len(apart)} slices are off the median orientation, by up to {apart.max():.3g} in a cosine"
        raise Rejected("MIXED_ORIENTATION", found)
    row, column = orientation[:3], orientation[3:]
    skew = max(abs(float(number)) for number in (row @ row - 1, column @ column - 1, row @ column))
    if skew > COSINE_TOLERANCE:
        raise Rejected("NO_POSITION", f"the orientation is no pair of orthogonal unit vectors, off by {skew:.3g}")
    x = row / np.linalg.norm(row)
    normal = np.cross(x, column)
    z = normal / np.linalg.norm(normal)
    return np.array([z, np.cross(z, x), x])


def _check_matrix(records: Sequence[Record], spacings: Floats) -> None:
    sizes = sorted({(record["rows"] or 0, record["columns"] or 0) for record in records})
    if len(sizes) > 1:
        raise Rejected("MIXED_MATRIX", f"{len(sizes)} matrix sizes, from {sizes[0]} to {sizes[-1]}")
    if not sizes[0][0] or not sizes[0][1]:
        raise Rejected("MIXED_MATRIX", f"a matrix of {sizes[0]} rows and columns")
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if ((high - low) > SPACING_TOLERANCE * high).any():
        raise Rejected("MIXED_MATRIX", f"pixel spacings (y, x) from {low.tolist()} to {high.tolist()} mm")


def _check_duplicates(distances: Floats, tolerance_mm: float) -> None:
    doubled = int((distances <= min(tolerance_mm, 0.1 * distances.max())).sum())
    if doubled:
        raise Rejected("DUPLICATE_POSITION", f"{doubled} of {len(distances) + 1} slices lie where another one lies")


def _lean(positions: Floats, normal: Floats) -> float:
    steps = positions - positions[0]
    return float(np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1).max())


def _check_distances(along: Floats, distances: Floats, tolerance_mm: float) -> float:
    """Largest distance in mm of a slice from the regular grid; refuses gaps and uneven distances."""
    median = float(np.median(distances))
    limit = max(tolerance_mm, 0.01 * median)
    uneven = np.abs(distances - median) > limit
    low, high = distances.min(), distances.max()
    found = f"{int(uneven.sum())} of {len(distances)} distances; median {median:.4g}, from {low:.4g} to {high:.4g} mm"
    multiples = np.round(distances / median)
    whole = np.abs(distances - multiples * median) <= np.maximum(limit, MULTIPLE_TOLERANCE * median)
    if uneven.any() and (whole & (multiples >= 1)).all() and (multiples[uneven] >= 2).all():
        raise Rejected("MISSING_SLICE", f"{int((multiples - 1).sum())} slices are missing: {found}")
    if uneven.any():
        raise Rejected("UNEVEN_SPACING", found)
    # Small deviations of one sign add up: each slice must also lie where the grid says.
    jitter_mm = float(np.abs(along - np.linspace(along[0], along[-1], len(along))).max())
    if jitter_mm > limit:
        raise Rejected("UNEVEN_SPACING", f"a slice lies {jitter_mm:.3g} mm from its place; {found}")
    return jitter_mm


def _thickness(record: Record) -> float:
    thickness = record.get("slice_thickness_mm")
    if not thickness or thickness <= 0:
        raise Rejected("NO_POSITION", "a single slice without slice thickness")
    return float(thickness)


def _grid(
    record: Record, axes: Floats, spacing_z: float, spacing_yx: Floats, origin: Floats, n_slices: int = 1
) -> Grid:
    directions = [_triple(axis) for axis in axes]
    return Grid(
        shape=(n_slices, int(record["rows"]), int(record["columns"])),
        spacing_mm=(spacing_z, float(spacing_yx[0]), float(spacing_yx[1])),
        origin_mm=_triple(origin),
        axes=(directions[0], directions[1], directions[2]),
    )


def _triple(vector: Floats) -> Triple:
    # Adding zero turns -0.0 into 0.0, which JSON would show.
    x, y, z = (float(value) + 0.0 for value in vector)
    return (x, y, z)
