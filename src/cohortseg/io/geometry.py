"""From the headers of a series to the order of its slices and the grid they lie on, or the reason why they lie on none.

Pure numbers: slices are sorted along the normal of their plane by position, never by instance number or file name, and
the distance of slices is measured from the positions, never taken from SliceThickness.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.mend import (
    LARGEST_RATIO,
    Blend,
    Mend,
    blends,
    groups,
    may_fill,
    shifts,
    strays,
)
from cohortseg.io.slice_numbers import axes_of, check_count, check_frames, check_matrix, numbers_of
from cohortseg.volume import Grid, Triple

Record: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = list[int]

PIXEL_SHARE = 0.25
"""A stack may lean by this share of a pixel from its first slice to its last, whatever the tolerance."""
MULTIPLE_TOLERANCE = 0.1
"""Relative: a distance this close to twice, three times, ... the median is a gap of whole slices."""
WARNING_MM = 0.01
"""Smaller deviations are the rounding of the headers."""
LARGEST_TILT_DEGREES = 45.0
"""No gantry tilts by more than 30 degrees; a stack that leans more has wrong positions."""


@dataclass(frozen=True)
class Stack:
    """A regular stack of slices.

    Parameters
    ----------
    order : tuple of int
        Positions in the list of records, first slice first; of those slices that are used.
    grid : Grid
        z grows with the slice along the normal (row direction x column direction), y down the columns
        (second half of ImageOrientationPatient), x along the rows.
    jitter_mm : float
        Largest distance of a slice from its place on the regular grid; 0 after `uneven_spacing`.
    lean_mm : float
        Largest distance of a slice from the normal through the first slice, as the headers say.
    blend : tuple of (int, int, float), optional
        For each slice of the grid the lower and the upper slice (places in `order`) and the weight of the upper one.
        None when the slices of the grid are those of `order`.
    shift_yx : tuple of (float, float), optional
        For each slice of `order` how far it moves in the larger matrix of the grid, in pixels along y and x; not
        negative. None when no slice moves.
    repeats : tuple of (int, int)
        Positions in the list of records of a slice that is used and of one left out as its copy: the reader must prove
        that both hold the same pixels.
    mended : dict
        How many slices each mend touched: left out (`stray_slices`, `repeated_slices`), made (`missing_slices`,
        `uneven_spacing`) or moved (`gantry_tilt`).
    warnings : tuple of str
        Deviations that are borne, in words.
    thickness_mm : float or None
        Median of SliceThickness.
    """

    order: tuple[int, ...]
    grid: Grid
    jitter_mm: float
    lean_mm: float
    blend: tuple[Blend, ...] | None = None
    shift_yx: tuple[tuple[float, float], ...] | None = None
    repeats: tuple[tuple[int, int], ...] = ()
    mended: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    thickness_mm: float | None = None

    @property
    def overlap(self) -> float | None:
        """Share of a slice's thickness that the next one covers too; negative where slices leave a gap by design."""
        return None if self.thickness_mm is None else round(1.0 - self.grid.spacing_mm[0] / self.thickness_mm, 4)

    @property
    def facts(self) -> dict[str, Any]:
        """What a sidecar may say about the stack: plain numbers and words, ready for JSON."""
        return {
            "jitter_mm": self.jitter_mm,
            "lean_mm": self.lean_mm,
            "thickness_mm": self.thickness_mm,
            "overlap": self.overlap,
            "mended": self.mended,
            "warnings": list(self.warnings),
        }


def stack_geometry(
    slices: Sequence[Record],
    *,
    tolerance_mm: float = 0.05,
    min_slices: int = 1,
    warning_mm: float | None = None,
    mend: Collection[Mend] = (),
    gantry_tilt: Literal["reject", "deskew"] = "reject",
) -> Stack:
    """Order and grid of the slices of one volume.

    Mends are applied in a fixed order, whatever the order of their names: `stray_slices`, `repeated_slices`, the
    gantry tilt, `missing_slices`, `uneven_spacing`. Slices that overlap and slices that leave gaps by design
    (SliceThickness above or below the distance) are facts, no faults.

    Parameters
    ----------
    slices : sequence of dict
        Slice records, in any order: the result does not depend on it. One for each file, or for each frame of a
        multi-frame file, with the key `frame`.
    tolerance_mm : float
        Largest deviation of a slice distance from the median of all, and of a slice from the regular grid;
        or a hundredth of the median, whichever is larger.
    min_slices : int
        A stack of fewer is refused, also when a mend left them out. A single slice takes its spacing from
        SliceThickness.
    warning_mm : float, optional
        Deviations between this and the tolerance are told in `warnings`; `WARNING_MM` by default.
    mend : collection of str
        What is mended instead of refused.

        * ``stray_slices``: slices of another matrix, pixel spacing or orientation than at least 80 % of all, and
          slices that do not say where they lie, are left out.
        * ``repeated_slices``: of several slices at one position the one of the lowest instance number is used.
        * ``missing_slices``: gaps of at most 2 whole slices, at most 5 % of the slices in all, are interpolated
          linearly.
        * ``uneven_spacing``: any distances, the largest at most 3 times the smallest, are resampled linearly onto
          slices at their median distance, from the first slice on; the last slice of the grid lies less than one
          distance below the last of the series. This covers gaps as well.
    gantry_tilt : {'reject', 'deskew'}
        With 'deskew' a stack that leans by up to 45 degrees along a straight line (within the tolerance) becomes
        upright: each slice is shifted in its plane, in a matrix grown by the whole pixels this needs.

    Returns
    -------
    Stack

    Raises
    ------
    Rejected
        NO_FRAMES (multi-frame file without `frame`), TOO_FEW_SLICES, OTHER_FRAME (slices of several frames of
        reference), NO_POSITION, MIXED_ORIENTATION, MIXED_MATRIX, DUPLICATE_POSITION, GANTRY_TILT, MISSING_SLICE or
        UNEVEN_SPACING: the first that holds in this order.
    """
    check_count(slices, min_slices)
    gone = strays(slices, min_slices) if "stray_slices" in mend else set()
    mended = {"stray_slices": len(gone)}
    places = [place for place in range(len(slices)) if place not in gone]
    records = [slices[place] for place in places]
    check_frames(records)
    positions, orientations, spacings = numbers_of(records)
    axes = axes_of(orientations)
    check_matrix(records, spacings)
    along = positions @ axes[0]
    order: Places = np.argsort(along, kind="stable").tolist()
    copies: list[tuple[int, int]] = []
    if "repeated_slices" in mend:
        order, copies = _without_copies(records, positions, along, order, tolerance_mm)
        check_count([records[place] for place in order], min_slices)
    mended["repeated_slices"] = len(copies)
    records, spacings = [records[place] for place in order], spacings[order]
    upright = _upright(positions[order], along[order], spacings, axes, (tolerance_mm, gantry_tilt))
    mended["gantry_tilt"] = len(order) * (upright.shift_yx is not None)
    column = _column(along[order], tolerance_mm, mend, records[0])
    mended |= column.mended
    spacing_yx = np.median(spacings, axis=0)
    origin = (
        positions[order[0]] + axes[1] * spacing_yx[0] * upright.first[0] + axes[2] * spacing_yx[1] * upright.first[1]
    )
    thicknesses = [float(r["slice_thickness_mm"]) for r in records if (r.get("slice_thickness_mm") or 0) > 0]
    return Stack(
        order=tuple(places[place] for place in order),
        grid=Grid(
            shape=(
                len(order) if column.blend is None else len(column.blend),
                int(records[0]["rows"]) + int(upright.grown[0]),
                int(records[0]["columns"]) + int(upright.grown[1]),
            ),
            spacing_mm=(column.spacing_mm, float(spacing_yx[0]), float(spacing_yx[1])),
            origin_mm=_triple(origin),
            axes=(_triple(axes[0]), _triple(axes[1]), _triple(axes[2])),
        ),
        jitter_mm=round(column.jitter_mm, 6),
        lean_mm=round(upright.lean_mm, 6),
        blend=column.blend,
        shift_yx=upright.shift_yx,
        repeats=tuple((places[kept], places[copy]) for kept, copy in copies),
        mended={name: count for name, count in mended.items() if count},
        warnings=tuple(_warnings(column, upright, WARNING_MM if warning_mm is None else warning_mm)),
        thickness_mm=float(np.median(thicknesses)) if thicknesses else None,
    )


@dataclass(frozen=True)
class _Upright:
    """How the slices lie beside each other; `first` and `grown` in pixels (y, x)."""

    lean_mm: float
    degrees: float
    shift_yx: tuple[tuple[float, float], ...] | None = None
    first: tuple[int, int] = (0, 0)
    grown: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Column:
    """How the slices lie above each other; `deviation_mm` of the distances from whole multiples of the median."""

    spacing_mm: float
    jitter_mm: float = 0.0
    deviation_mm: float = 0.0
    blend: tuple[Blend, ...] | None = None
    mended: dict[str, int] = field(default_factory=dict)


def _without_copies(
    records: Sequence[Record], positions: Floats, along: Floats, order: Places, tolerance_mm: float
) -> tuple[Places, list[tuple[int, int]]]:
    """The order with one slice for each position, and pairs of (used, left out)."""
    kept: Places = []
    copies: list[tuple[int, int]] = []
    steps = np.diff(along[order])
    limit = _same_place_mm(steps, tolerance_mm) if len(steps) else 0.0
    for group in groups(along[order], limit):
        # What the order of the files decides would differ from one copy of the data to the next.
        first, *others = sorted((order[place] for place in group), key=lambda place: _rank(records[place]))
        kept.append(first)
        copies += [(first, other) for other in others]
        apart = max((float(np.linalg.norm(positions[other] - positions[first])) for other in others), default=0.0)
        if apart > max(tolerance_mm, limit):
            raise Rejected("DUPLICATE_POSITION", f"slices of one height lie {apart:.3g} mm beside each other")
    return kept, copies


def _rank(record: Record) -> tuple[Any, ...]:
    number = record.get("instance_number")
    place = (record.get("frame") or 0, list(record["position"]))
    return (number is None, number or 0, *place, record.get("sop_uid") or "")


def _same_place_mm(distances: Floats, tolerance_mm: float) -> float:
    return min(tolerance_mm, 0.1 * float(distances.max()))


def _upright(positions: Floats, along: Floats, spacings: Floats, axes: Floats, how: tuple[float, str]) -> _Upright:
    """Lean of the stack, and the shifts that set it upright; refuses copies first, then a tilt."""
    tolerance_mm, gantry_tilt = how
    if len(along) == 1:
        return _Upright(0.0, 0.0)
    distances = np.diff(along)
    doubled = int((distances <= _same_place_mm(distances, tolerance_mm)).sum())
    if doubled:
        raise Rejected("DUPLICATE_POSITION", f"{doubled} of {len(along)} slices lie where another one lies")
    steps = positions - positions[0]
    sideways = steps - np.outer(steps @ axes[0], axes[0])
    lean_mm = float(np.linalg.norm(sideways, axis=1).max())
    degrees = float(np.degrees(np.arctan2(lean_mm, along[-1] - along[0])))
    if lean_mm <= max(tolerance_mm, PIXEL_SHARE * float(np.min(spacings))):
        return _Upright(lean_mm, degrees)
    found = f"the stack leans by {degrees:.1f} degrees, {lean_mm:.2f} mm in all"
    if gantry_tilt != "deskew" or degrees > LARGEST_TILT_DEGREES:
        raise Rejected("GANTRY_TILT", found)
    height, moved = along - along.mean(), sideways - sideways.mean(axis=0)
    slope = height @ moved / (height @ height)
    bent_mm = float(np.linalg.norm(moved - np.outer(height, slope), axis=1).max())
    if bent_mm > tolerance_mm:
        raise Rejected("GANTRY_TILT", f"{found}, and not along a straight line, by up to {bent_mm:.2f} mm")
    shift, first, grown = shifts(sideways @ axes[1:].T / np.median(spacings, axis=0))
    return _Upright(
        lean_mm,
        degrees,
        tuple((float(y), float(x)) for y, x in shift),
        (int(first[0]), int(first[1])),
        (int(grown[0]), int(grown[1])),
    )


def _column(along: Floats, tolerance_mm: float, mend: Collection[Mend], record: Record) -> _Column:
    """Spacing of the grid, and slices that are made; refuses gaps and uneven distances that no mend covers."""
    if len(along) == 1:
        return _Column(_thickness(record))
    distances = np.diff(along)
    median = float(np.median(distances))
    limit = max(tolerance_mm, 0.01 * median)
    multiples = np.round(distances / median)
    deviation = np.abs(distances - median)
    uneven = deviation > limit
    off = np.abs(distances - multiples * median)
    whole = off <= np.maximum(limit, MULTIPLE_TOLERANCE * median)
    gaps = bool(uneven.any() and (whole & (multiples >= 1)).all() and (multiples[uneven] >= 2).all())
    filled = "missing_slices" in mend and gaps and may_fill(multiples)
    places = np.concatenate([[0.0], np.cumsum(multiples)]) if filled else np.arange(len(along), dtype=np.float64)
    spacing = float(along[-1] - along[0]) / int(places[-1])
    # Small deviations of one sign add up: each slice must also lie where the grid says.
    jitter_mm = float(np.abs(along - np.linspace(along[0], along[-1], int(places[-1]) + 1)[places.astype(int)]).max())
    if jitter_mm <= limit and (filled or not uneven.any()):
        if not filled:
            return _Column(spacing, jitter_mm, float(deviation.max()))
        made = blends(places)
        return _Column(spacing, jitter_mm, float(off.max()), made, {"missing_slices": len(made) - len(along)})
    low, high = float(distances.min()), float(distances.max())
    if "uneven_spacing" in mend and high <= LARGEST_RATIO * low:
        made = blends((along - along[0]) / median)
        return _Column(median, blend=made, mended={"uneven_spacing": sum(weight > 0 for _, _, weight in made)})
    found = f"{int(uneven.sum())} of {len(distances)} distances; median {median:.4g}, from {low:.4g} to {high:.4g} mm"
    if gaps and not filled:
        raise Rejected("MISSING_SLICE", f"{int((multiples - 1).sum())} slices are missing: {found}")
    if uneven.any() and not filled:
        raise Rejected("UNEVEN_SPACING", found)
    raise Rejected("UNEVEN_SPACING", f"a slice lies {jitter_mm:.3g} mm from its place; {found}")


def _warnings(column: _Column, upright: _Upright, warning_mm: float) -> list[str]:
    found = []
    if column.deviation_mm > warning_mm:
        found.append(f"a slice distance deviates from the median by {column.deviation_mm:.3g} mm")
    if column.jitter_mm > warning_mm:
        found.append(f"a slice lies {column.jitter_mm:.3g} mm from its place on the regular grid")
    if upright.lean_mm > warning_mm and upright.shift_yx is None:
        found.append(f"the stack leans by {upright.lean_mm:.3g} mm in all ({upright.degrees:.2g} degrees)")
    return found


def _thickness(record: Record) -> float:
    thickness = record.get("slice_thickness_mm")
    if not thickness or thickness <= 0:
        raise Rejected("NO_POSITION", "a single slice without slice thickness")
    return float(thickness)


def _triple(vector: Floats) -> Triple:
    # Adding zero turns -0.0 into 0.0, which JSON would show.
    x, y, z = (float(value) + 0.0 for value in vector)
    return (x, y, z)
