"""The contours of an RTSTRUCT as a label on the grid of the image.

Closed contours are combined by the even-odd rule, so that a keyhole contour keeps its hole (DICOM PS3.3 C.8.8.6.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.classes import Missing, Patterns
from cohortseg.io.elements import check_complete
from cohortseg.io.label_headers import CONTOURED, STRUCTURES, contour_data, contour_kind, contour_size, named_contours
from cohortseg.io.planar import Planes, Points, contour_label
from cohortseg.volume import Array, Grid

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", None)
OTHER = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
"""Contours that enclose nothing."""


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


def rtstruct_mask(
    path: str | Path,
    grid: Grid,
    structures: Mapping[str, Patterns],
    *,
    tolerance_mm: float = 0.05,
    missing: Missing = "reject",
    planes: Planes = "nearest",
) -> tuple[Array, dict[str, Any]]:
    """Paint the wanted structures of an RTSTRUCT onto a grid.

    Parameters
    ----------
    path : str or Path
        The RTSTRUCT. That it belongs to the image (patient, frame of reference) is for the caller to check.
    grid : Grid
        Grid of the image.
    structures : mapping of str to str or sequence of str
        Class name to the regular expressions that match the whole name of its ROIs; classes count 1, 2, … in this
        order.
    tolerance_mm : float
        The contours that fall onto one slice may lie this far apart, or a tenth of the slice distance.
    missing : "reject" or "empty"
        What becomes of a class that has no ROI; an object without any wanted ROI is always refused.
    planes : "reject", "nearest" or "interpolate"
        What becomes of contours beside the slices (`planar.contour_label`).

    Returns
    -------
    label : uint8 array, shape of the grid
        An ROI without contours leaves its class empty.
    facts : dict
        Those of `planar.contour_label`; `n_ignored` counts points, open, too short and repeated contours.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, LABEL_STRUCTURE_MISSING; LABEL_OUTSIDE for a contour beyond the image; LABEL_OFF_GRID for one
        that crosses slices or is turned against them, and for contours beside or denser than the slices unless `planes`
        says what becomes of them.
    """
    rois = read_rois(path)
    to_index = np.linalg.inv(grid.affine).astype(np.float64)
    n_ignored = 0

    def contours_of(position: int) -> list[Points]:
        nonlocal n_ignored
        own = _closed(rois[position], to_index)
        n_ignored += len(rois[position].contours) - len(own)
        return own

    names = [roi.name for roi in rois]
    label, facts = contour_label(
        names, contours_of, grid, structures, tolerance_mm=tolerance_mm, missing=missing, planes=planes
    )
    return label, facts | {"n_ignored": facts["n_ignored"] + n_ignored}


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


def _closed(roi: Roi, to_index: Points) -> list[Points]:
    """Index coordinates (z, y, x) of each closed contour of three points or more, shape (n, 3)."""
    kinds = {contour_kind(contour) for contour in roi.contours} - {*CLOSED, *OTHER}
    if kinds:
        raise Rejected("LABEL_UNREADABLE", f"contours of {len(kinds)} unknown geometric types")
    closed = [contour for contour in roi.contours if contour_kind(contour) in CLOSED]
    own = [contour_data(contour) for contour in closed]
    for data, size in zip(own, map(contour_size, closed), strict=True):
        found = (data.count(b"\\") + 1) // 3 if data else 0
        if found < size:
            # To ignore it would leave a slice out, or half a shape.
            raise Rejected("LABEL_UNREADABLE", f"a contour holds {found} of its {size} points")
    return [_numbers(data) @ to_index[:3, :3].T + to_index[:3, 3] for data in own if data.count(b"\\") >= 8]


def _numbers(data: bytes) -> Points:
    try:
        numbers = np.array(data.strip(b"\0 ").split(b"\\"), np.float64)
    except ValueError:
        raise Rejected("LABEL_UNREADABLE", "a contour coordinate is no number") from None
    if len(numbers) % 3 or not np.isfinite(numbers).all():
        raise Rejected("LABEL_UNREADABLE", f"a contour of {len(numbers)} numbers, or of infinite ones")
    return numbers.reshape(-1, 3)
