"""Closed planar contours as a label on the grid of the image.

A voxel belongs to a structure when its centre lies inside. Contours of one structure on one plane are combined by the
even-odd rule, so that a contour inside another one is a hole and a keyhole contour keeps its hole; several structures
of one class are united.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.classes import Missing, Patterns, member_facts, members, no_overlaps, overlap_facts, paint
from cohortseg.volume import Array, Grid

Points: TypeAlias = npt.NDArray[np.float64]
Box: TypeAlias = tuple[slice, slice]
Slice: TypeAlias = tuple[int, Box, Array]
Planes: TypeAlias = Literal["reject", "nearest", "interpolate"]

PLANES = ("reject", "nearest", "interpolate")
OUTSIDE_VOXELS = 1.0
"""A contour may reach this far over the edge of the image; it is clipped there."""
SAME_PLANE_SHARE = 0.1
"""Share of a slice distance by which the planes of one slice's contours may differ, whatever the tolerance."""
BESIDE_SHARE = 0.4
"""A structure whose contours all lie at least this share of a slice distance to one side of their slices is half a
slice off: which slices are meant, nobody can tell."""
TURNED_DEGREES = 5.0
"""A contour that leaves its plane and is turned further than this against the slices was drawn on another view."""
WIDEST_GAP, WIDEST_GAP_MM = 2.5, 20.0
"""Planes of one structure further apart than this (in its median distance of planes; in mm) are the end of one part
and the beginning of the next: nothing is interpolated between them."""
DECIMALS = 3
"""Contours are rounded to a thousandth of a pixel: the last digits of decimal strings shall not decide about contours
that were drawn through pixel centres, or on planes half way between two slices."""
FINE = 5
"""Distances are measured on pixels divided by this odd number a side: their centres hold those of the pixels."""


@dataclass
class Tally:
    """What was met while painting; becomes the facts of a sidecar."""

    n_contours: int = 0
    n_ignored: int = 0
    n_clipped: int = 0
    n_skipped_slices: int = 0
    n_interpolated_slices: int = 0
    plane_offset_mm: float = 0.0
    plane_shift_mm: float = 0.0
    warnings: list[str] = field(default_factory=list)


def contour_label(
    names: Sequence[str],
    contours_of: Callable[[int], Sequence[Points]],
    grid: Grid,
    structures: Mapping[str, Patterns],
    *,
    tolerance_mm: float,
    missing: Missing,
    planes: Planes,
) -> tuple[Array, dict[str, Any]]:
    """Paint the wanted structures onto a grid.

    Parameters
    ----------
    names : sequence of str
        Names of the structures there are.
    contours_of : callable
        Contours of the structure at a position of `names`: float arrays, shape (n, 3), in index coordinates (z, y, x).
    grid : Grid
        Grid of the image.
    structures : mapping of str to str or sequence of str
        Class name to the regular expressions of its structures.
    tolerance_mm : float
        Contours this far apart, or a tenth of the slice distance, lie on one plane.
    missing : "reject" or "empty"
        What becomes of a class that has no structure.
    planes : "reject", "nearest" or "interpolate"
        What becomes of contours beside the slices. "nearest" moves a contour to the nearer slice, where it must be
        alone with others of its plane; a structure that lies half a slice off as a whole is refused. "interpolate"
        takes the shape half way between two contours from the mean of their signed distances (Raya and Udupa, IEEE
        Trans Med Imaging 1990, 9:32); it fills slices between contoured planes up to 2.5 times as far apart as most of
        the structure, and 20 mm, and reaches over the outermost plane by half the distance of planes, and half a slice.

    Returns
    -------
    label : uint8 array, shape of the grid
    facts : dict
        `n_rois` for each class, `missing` classes; `n_contours` painted; `n_ignored` repeated contours; `n_clipped`
        contours that reach over the edge of the image; `n_overlap_voxels`, `overlap_voxels`; `n_skipped_slices` without
        contour between contoured ones of a structure; `n_interpolated_slices`; `plane_offset_mm`, the largest distance
        of a contour point from the nearest slice; `plane_shift_mm`, its mean over the contours, positive towards
        growing slice index; `warnings`: structures all of whose contours lie to one side of their slices.

    Raises
    ------
    Rejected
        LABEL_STRUCTURE_MISSING; LABEL_OUTSIDE for a contour beyond the image; LABEL_OFF_GRID.
    SettingsError
        For an unknown word for `planes`.
    """
    if planes not in PLANES:
        raise SettingsError(f"planes is one of {', '.join(PLANES)} (got {planes!r})")
    classes = members(names, structures, missing)
    label = np.zeros(grid.shape, np.uint8)
    tally, overlaps = Tally(), no_overlaps(len(classes))
    same = max(tolerance_mm / grid.spacing_mm[0], SAME_PLANE_SHARE)
    for number, own in enumerate(classes, start=1):
        for contours in map(contours_of, own):
            _check_turn(contours, grid, same)
            painted = _interpolated if planes == "interpolate" else _nearest
            offset_mm = _offset(contours, grid, tally)
            _check_sides(contours, grid, max(same, BESIDE_SHARE if planes == "nearest" else 1.0), tally)
            if planes == "reject" and offset_mm > same * grid.spacing_mm[0]:
                found = f"a contour lies {offset_mm:.3g} mm beside a slice, at slices of {grid.spacing_mm[0]:.3g} mm"
                raise Rejected("LABEL_OFF_GRID", found)
            for place, box, mask in painted(contours, grid, same, tally):
                paint(label[place][box], mask, number, overlaps)
    facts = asdict(tally) | {
        "plane_offset_mm": round(tally.plane_offset_mm, 4),
        "plane_shift_mm": round(tally.plane_shift_mm / max(tally.n_contours + tally.n_ignored, 1), 4) + 0.0,
    }
    return label, member_facts("n_rois", structures, classes) | facts | overlap_facts(overlaps, structures)


def even_odd(polygons: Sequence[Points], shape: Sequence[int]) -> tuple[Box, Array]:
    """The pixels whose centres lie inside an odd number of polygons.

    Parameters
    ----------
    polygons : sequence of float arrays, shape (n, 2)
        Corners (y, x) in index coordinates, pixel centres being whole numbers; the last corner joins the first.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    box : (slice, slice)
        The part of the image that the polygons touch.
    mask : bool array
        Of the box. A centre on the edge belongs to the polygon whose inside lies below it (growing y) or to the right.
    """
    corners = np.concatenate(polygons)
    following = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    # Edges run downwards, whatever the sense of their polygon: two polygons that share one see the same crossings.
    upwards = (corners[:, 0] > following[:, 0])[:, None]
    starts, ends = np.where(upwards, following, corners), np.where(upwards, corners, following)
    # An edge crosses the rows from its upper end (with) to its lower end (without): a corner counts once.
    first = np.ceil(starts[:, 0]).clip(0, shape[0]).astype(np.int64)
    last = np.ceil(ends[:, 0]).clip(0, shape[0]).astype(np.int64)
    counts = last - first
    edge = np.repeat(np.arange(len(starts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (row - starts[edge, 0]) / (ends[edge, 0] - starts[edge, 0])
    crossing = starts[edge, 1] + share * (ends[edge, 1] - starts[edge, 1])
    column = np.ceil(crossing).clip(0, shape[1]).astype(np.int64)
    top, bottom = int(first.min()), int(last.max())
    left, right = (int(column.min()), int(column.max())) if len(column) else (0, 0)
    width = right - left + 1
    # Every crossing turns inside and outside over for all pixels to its right.
    turns = np.bincount((row - top) * width + column - left, minlength=(bottom - top) * width)
    inside = np.cumsum(turns.reshape(bottom - top, width), axis=1) % 2 == 1
    return (slice(top, bottom), slice(left, right)), inside[:, : right - left]


def signed_mm(polygons: Sequence[Points], shape: Sequence[int], spacing_mm: Sequence[float]) -> Points:
    """Distance of each pixel centre from the edge of the shape that polygons make, positive inside.

    Parameters
    ----------
    polygons : sequence of float arrays, shape (n, 2)
        As in `even_odd`; at least a pixel away from the edges of the image.
    shape : (int, int)
        Rows and columns of the image.
    spacing_mm : (float, float)
        Distance of rows and of columns.

    Returns
    -------
    float array
        In mm, to about a tenth of a pixel; minus infinity everywhere when the polygons hold nothing.
    """
    import edt

    inside = np.zeros([FINE * size for size in shape], bool)
    # The middle of the small pixels in a pixel is its centre.
    box, mask = even_odd([FINE * polygon + FINE // 2 for polygon in polygons], inside.shape)
    inside[box] = mask
    if not mask.any():
        return np.full(tuple(shape), -np.inf)
    step_mm = [size / FINE for size in spacing_mm]
    centres = (slice(FINE // 2, None, FINE),) * 2
    deep, far = (edt.edt(part, anisotropy=tuple(step_mm))[centres].astype(np.float64) for part in (inside, ~inside))
    # Distances run to the next centre of the other side; the edge lies half a step before it.
    half_mm = sum(step_mm) / 4
    signed: Points = np.where(inside[centres], deep - half_mm, half_mm - far)
    return signed


def _check_turn(contours: Sequence[Points], grid: Grid, same: float) -> None:
    """Each contour must run in one plane, along the slices."""
    for points in contours:
        spread = float(np.ptp(points[:, 0]))
        if spread <= same:
            continue
        places_mm = (points - points.mean(axis=0)) * grid.spacing_mm
        normal = np.linalg.svd(places_mm, full_matrices=False)[2][-1]
        degrees = float(np.degrees(np.arccos(min(abs(normal[0]), 1.0))))
        if degrees > TURNED_DEGREES:
            found = f"the plane of a contour is turned by {degrees:.1f} degrees against the slices"
            raise Rejected("LABEL_OFF_GRID", f"{found}, over {spread:.2f} slice distances")
        if spread > 1 + 2 * same:
            raise Rejected("LABEL_OFF_GRID", f"a contour reaches over {spread:.2f} slice distances")


def _offset(contours: Sequence[Points], grid: Grid, tally: Tally) -> float:
    """Largest distance in mm of a contour point from the slice of its contour; the contours must lie in the image."""
    places = [_place(points) for points in contours]
    beyond = sum(not 0 <= place < grid.shape[0] for place in places)
    if beyond:
        raise Rejected("LABEL_OUTSIDE", f"{beyond} of {len(places)} contours of an ROI lie above or below the image")
    apart = [points[:, 0] - place for points, place in zip(contours, places, strict=True)]
    offset_mm = max((float(np.abs(one).max()) for one in apart), default=0.0) * grid.spacing_mm[0]
    tally.plane_offset_mm = max(tally.plane_offset_mm, offset_mm)
    tally.plane_shift_mm += sum(float(one.mean()) for one in apart) * grid.spacing_mm[0]
    return offset_mm


def _check_sides(contours: Sequence[Points], grid: Grid, limit: float, tally: Tally) -> None:
    """Whether all contours lie to one side of their slices: by `limit` slice distances they may not."""
    apart = [round(float(points[:, 0].mean()) - _place(points), DECIMALS) for points in contours]
    least = max(min(apart), -max(apart)) if apart else 0.0
    found = f"all {len(apart)} contours of a structure lie to one side of their slices, by {least:.2f} slice distances"
    if least >= limit:
        raise Rejected("LABEL_OFF_GRID", f"{found} ({least * grid.spacing_mm[0]:.3g} mm) or more")
    if least > SAME_PLANE_SHARE:
        tally.warnings.append(f"{found} or more")


def _place(points: Points) -> int:
    # Halves go up, never to the even neighbour: a stack between the slices stays a stack.
    return int(np.floor(round(float(points[:, 0].mean()), DECIMALS) + 0.5))


def _nearest(contours: Sequence[Points], grid: Grid, same: float, tally: Tally) -> Iterator[Slice]:
    """Each contour on the slice it lies nearest to."""
    slices: dict[int, list[Points]] = {}
    for points in contours:
        slices.setdefault(_place(points), []).append(points)
    for place, own in sorted(slices.items()):
        heights = [float(points[:, 0].mean()) for points in own]
        offset = max(float(np.abs(points[:, 0] - place).max()) for points in own)
        if offset > 0.5 + same:
            raise Rejected("LABEL_OFF_GRID", f"a contour reaches {offset:.2f} slice distances away from its slice")
        if max(heights) - min(heights) > same:
            found = f"contours {max(heights) - min(heights):.2f} slice distances apart fall together"
            raise Rejected("LABEL_OFF_GRID", found)
        yield place, *even_odd(_flat(own, grid, tally), grid.shape[1:])
    if slices:
        tally.n_skipped_slices += max(slices) - min(slices) + 1 - len(slices)


def _interpolated(contours: Sequence[Points], grid: Grid, same: float, tally: Tally) -> Iterator[Slice]:
    """Each slice from the planes below and above it; a slice on a plane has the shape of that plane."""
    planes = _planes(contours, same)
    heights = np.array([height for height, _ in planes])
    shapes = [_flat(own, grid, tally) for _, own in planes]
    if not planes:
        return
    pair, corner, fields = (-1, -1), np.zeros(2, np.int64), (np.zeros((0, 0)), np.zeros((0, 0)))
    for place in range(max(int(np.floor(heights[0])), 0), min(int(np.ceil(heights[-1])), grid.shape[0] - 1) + 1):
        sources = _sources(place, heights, same, grid.spacing_mm[0])
        if sources is None:
            tally.n_skipped_slices += int(heights[0] < place < heights[-1])
        elif sources[0] == sources[1]:
            yield place, *even_odd(shapes[sources[0]], grid.shape[1:])
        else:
            lower, upper = sources
            if sources != pair:
                pair, (corner, fields) = sources, _fields(shapes[lower], shapes[upper], grid.spacing_mm[1:])
            share = (place - heights[lower]) / (heights[upper] - heights[lower])
            tally.n_interpolated_slices += 1
            yield place, *_clipped(corner, (1 - share) * fields[0] + share * fields[1] > 0, grid.shape[1:])


def _planes(contours: Sequence[Points], same: float) -> list[tuple[float, list[Points]]]:
    """Contours by plane: height in slice distances and contours of each plane, upwards."""
    planes: list[list[Points]] = []
    last = -np.inf
    for height, _, points in sorted((float(one[:, 0].mean()), place, one) for place, one in enumerate(contours)):
        if height - last > same:
            planes.append([])
        planes[-1].append(points)
        last = height
    return [(round(float(np.mean([one[:, 0].mean() for one in own])), DECIMALS), own) for own in planes]


def _sources(place: int, heights: Points, same: float, spacing_mm: float) -> tuple[int, int] | None:
    """The planes that a slice is made of: one of them twice, the two around it, or none."""
    gaps = np.diff(heights)
    usual = float(np.median(gaps)) if len(gaps) else 1.0
    near = int(np.abs(heights - place).argmin())
    apart = float(heights[near]) - place
    if abs(apart) <= same:
        return near, near
    upper = int(np.searchsorted(heights, place))
    if 0 < upper < len(heights) and gaps[upper - 1] <= min(WIDEST_GAP * usual, WIDEST_GAP_MM / spacing_mm):
        return upper - 1, upper
    reach = 0.5 * min(usual, 1.0)
    return (near, near) if -reach <= apart < reach else None


def _fields(
    lower: Sequence[Points], upper: Sequence[Points], spacing_mm: Sequence[float]
) -> tuple[npt.NDArray[np.int64], tuple[Points, Points]]:
    """First pixel (y, x) of a box around two shapes with a pixel to spare, and their signed distances in it."""
    corners = np.concatenate([*lower, *upper])
    first = np.floor(corners.min(axis=0)).astype(np.int64) - 1
    size = (np.ceil(corners.max(axis=0)).astype(np.int64) + 2 - first).tolist()
    below, above = (signed_mm([one - first for one in shape], size, spacing_mm) for shape in (lower, upper))
    return first, (below, above)


def _clipped(first: npt.NDArray[np.int64], mask: Array, shape: Sequence[int]) -> tuple[Box, Array]:
    """The part of a mask, whose first pixel has the index `first`, that lies in the image."""
    begin, end = first.clip(0, shape), (first + mask.shape).clip(0, shape)
    box = (slice(int(begin[0]), int(end[0])), slice(int(begin[1]), int(end[1])))
    own = tuple(slice(int(a), int(b)) for a, b in zip(begin - first, end - first, strict=True))
    return box, mask[own]


def _flat(contours: Sequence[Points], grid: Grid, tally: Tally) -> list[Points]:
    """The distinct polygons (y, x) of one plane; none may reach far over the edge of the image."""
    polygons = _distinct([points[:, 1:].round(DECIMALS) for points in contours])
    reach = [float(max((-0.5 - polygon).max(), (polygon - grid.shape[1:] + 0.5).max())) for polygon in polygons]
    if max(reach) > OUTSIDE_VOXELS:
        raise Rejected("LABEL_OUTSIDE", f"a contour reaches {max(reach):.1f} voxels over the edge of the image")
    tally.n_clipped += sum(over > 1e-6 for over in reach)
    tally.n_contours += len(polygons)
    tally.n_ignored += len(contours) - len(polygons)
    return polygons


def _distinct(polygons: list[Points]) -> list[Points]:
    """Each polygon once, whatever corner it begins with: drawn twice, it would cancel itself by the even-odd rule."""
    if len(polygons) < 2:
        return polygons
    found: dict[bytes, Points] = {}
    for polygon in polygons:
        # Whether the last corner repeats the first one makes no other shape; adding zero makes one of both zeros.
        open_ended = (polygon[:-1] if (polygon[0] == polygon[-1]).all() else polygon) + 0.0
        found.setdefault(open_ended[np.lexsort(open_ended.T)].tobytes(), polygon)
    return list(found.values())
