"""The contours of an RTSTRUCT as a label on the grid of the image.

A voxel belongs to a structure when its centre lies inside. Contours of one ROI on one slice are combined by the
even-odd rule, so that a contour inside another one is a hole, and a keyhole contour keeps its hole (DICOM PS3.3
C.8.8.6.3); several ROIs of one class are united.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.classes import members, paint
from cohortseg.io.elements import check_complete
from cohortseg.io.label_headers import CONTOURED, STRUCTURES, contour_data, contour_kind, named_contours
from cohortseg.volume import Array, Grid

Points: TypeAlias = npt.NDArray[np.float64]

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", None)
OUTSIDE_VOXELS = 1.0
"""A contour may reach this far over the edge of the image; it is clipped there."""
SAME_PLANE_SHARE = 0.1
"""Share of a slice distance by which the planes of one slice's contours may differ, whatever the tolerance."""
DECIMALS = 3
"""Contours are rounded to a thousandth of a pixel: the last digits of decimal strings shall not decide about contours
that were drawn through pixel centres."""


@dataclass(frozen=True)
class Roi:
    """One region of interest as it stands in the file.

    Parameters
    ----------
    name : str
        Its name; may be empty.
    contours : tuple of data sets
        Not yet read as numbers.
    """

    name: str
    contours: tuple[Any, ...]


@dataclass
class Tally:
    """What was met while painting; becomes the facts of a sidecar."""

    n_contours: int = 0
    n_ignored: int = 0
    n_clipped: int = 0
    n_overlap_voxels: int = 0
    n_skipped_slices: int = 0
    plane_offset_mm: float = 0.0


def rtstruct_mask(
    path: str | Path, grid: Grid, structures: Mapping[str, str], *, tolerance_mm: float = 0.05
) -> tuple[Array, dict[str, Any]]:
    """Paint the wanted structures of an RTSTRUCT onto a grid.

    Parameters
    ----------
    path : str or Path
        The RTSTRUCT. That it belongs to the image (patient, frame of reference) is for the caller to check.
    grid : Grid
        Grid of the image.
    structures : mapping of str to str
        Class name to a regular expression that matches the whole name of its ROIs; classes count 1, 2, … in this order.
    tolerance_mm : float
        The contours that fall onto one slice may lie this far apart, or a tenth of the slice distance.

    Returns
    -------
    label : uint8 array, shape of the grid
        An ROI without contours leaves its class empty.
    facts : dict
        `n_rois` for each class; `n_contours` painted; `n_ignored` points, open, too short and repeated contours;
        `n_clipped` contours that reach over the edge of the image by up to a voxel; `n_overlap_voxels` claimed by a
        later class too; `n_skipped_slices` without contour between contoured ones of an ROI; `plane_offset_mm`, the
        largest distance of a contour point from the slice it was given to.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, LABEL_STRUCTURE_MISSING; LABEL_OUTSIDE for a contour beyond the image; LABEL_OFF_GRID for one
        that crosses slices, or for contours denser than the slices.
    """
    rois = read_rois(path)
    label = np.zeros(grid.shape, np.uint8)
    tally = Tally()
    to_index = np.linalg.inv(grid.affine).astype(np.float64)
    classes = members([roi.name for roi in rois], structures)
    for number, own in enumerate(classes, start=1):
        for roi in (rois[position] for position in own):
            _paint_roi(label, number, list(_closed(roi, to_index, tally)), grid, tolerance_mm, tally)
    facts: dict[str, Any] = {"n_rois": {name: len(own) for name, own in zip(structures, classes, strict=True)}}
    return label, facts | vars(tally) | {"plane_offset_mm": round(tally.plane_offset_mm, 4)}


def read_rois(path: str | Path) -> list[Roi]:
    """The regions of interest of an RTSTRUCT, in the order of the file.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, or SOURCE_CHANGED when the file is gone.
    """
    from pydicom import dcmread

    try:
        header = dcmread(path, specific_tags=[STRUCTURES, CONTOURED])
        check_complete(header)
        return [Roi(name, tuple(contours)) for name, contours in named_contours(header)]
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "the label object vanished after it was indexed") from None
    except (OSError, ImportError, NameError):
        raise
    except Exception as error:
        raise Rejected("LABEL_UNREADABLE", f"the structure set is broken ({type(error).__name__})") from error


def _closed(roi: Roi, to_index: Points, tally: Tally) -> Iterator[Points]:
    """Index coordinates (z, y, x) of each closed contour, shape (n, 3); others are counted."""
    seen = set()
    for contour in roi.contours:
        data = contour_data(contour)
        # The same contour twice would cancel itself by the even-odd rule.
        if contour_kind(contour) not in CLOSED or data.count(b"\\") < 8 or data in seen:
            tally.n_ignored += 1
            continue
        seen.add(data)
        world = _numbers(data)
        yield world @ to_index[:3, :3].T + to_index[:3, 3]


def _numbers(data: bytes) -> Points:
    try:
        numbers = np.array(data.strip(b"\0 ").split(b"\\")).astype(np.float64)
    except ValueError:
        raise Rejected("LABEL_UNREADABLE", "a contour coordinate is no number") from None
    if len(numbers) % 3 or not np.isfinite(numbers).all():
        raise Rejected("LABEL_UNREADABLE", f"a contour of {len(numbers)} numbers, or of infinite ones")
    return numbers.reshape(-1, 3)


def _paint_roi(
    label: Array, number: int, contours: Sequence[Points], grid: Grid, tolerance_mm: float, tally: Tally
) -> None:
    slices: dict[int, list[Points]] = {}
    for points in contours:
        # Halves go up, never to the even neighbour: a stack shifted by half a slice stays a stack.
        slices.setdefault(int(np.floor(points[:, 0].mean() + 0.5)), []).append(points)
    _check_planes(slices, grid, tolerance_mm, tally)
    for place, own in sorted(slices.items()):
        tally.n_clipped += _check_inside(own, grid)
        box, mask = even_odd([points[:, 1:].round(DECIMALS) for points in own], grid.shape[1:])
        tally.n_overlap_voxels += paint(label[place][box], mask, number)
    tally.n_contours += len(contours)
    if slices:
        tally.n_skipped_slices += max(slices) - min(slices) + 1 - len(slices)


def _check_planes(slices: Mapping[int, Sequence[Points]], grid: Grid, tolerance_mm: float, tally: Tally) -> None:
    """Each contour must lie on its slice, on one plane with the others there, and the slice in the image."""
    beyond = sum(len(own) for place, own in slices.items() if not 0 <= place < grid.shape[0])
    if beyond:
        n_contours = sum(map(len, slices.values()))
        raise Rejected("LABEL_OUTSIDE", f"{beyond} of {n_contours} contours of an ROI lie above or below the image")
    same = max(tolerance_mm / grid.spacing_mm[0], SAME_PLANE_SHARE)
    for place, own in slices.items():
        offset = max(float(np.abs(points[:, 0] - place).max()) for points in own)
        tally.plane_offset_mm = max(tally.plane_offset_mm, offset * grid.spacing_mm[0])
        if offset > 0.5 + same:
            raise Rejected("LABEL_OFF_GRID", f"a contour reaches {offset:.2f} slice distances away from its slice")
        planes = [float(points[:, 0].mean()) for points in own]
        if max(planes) - min(planes) > same:
            raise Rejected(
                "LABEL_OFF_GRID", f"contours {max(planes) - min(planes):.2f} slice distances apart fall together"
            )


def _check_inside(contours: Sequence[Points], grid: Grid) -> int:
    """Number of contours that reach over the edge of the image by up to a voxel."""
    reach = [
        float(max((-0.5 - points[:, 1:]).max(), (points[:, 1:] - grid.shape[1:] + 0.5).max())) for points in contours
    ]
    if max(reach) > OUTSIDE_VOXELS:
        raise Rejected("LABEL_OUTSIDE", f"a contour reaches {max(reach):.1f} voxels over the edge of the image")
    return sum(over > 1e-6 for over in reach)


def even_odd(polygons: Sequence[Points], shape: Sequence[int]) -> tuple[tuple[slice, slice], Array]:
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
