"""Contours written as a table of points, as a label on the grid of the image.

The one format: a UTF-8 text, one point a line below one of two headings, separated by commas, tabs or blanks, whichever
the heading uses:

    structure,contour,x,y,z              world position in mm, LPS as DICOM has it
    structure,contour,slice,row,column   index in the image: whole slice, row and column, pixel centres being whole
                                         numbers that count from 0

Lines with the same structure and contour stand together and are the corners of one closed contour, in order; the last
one joins the first. A contour has any name that its structure has once. Numbers have a decimal point. Names that
contain the separator stand in double quotes (commas and tabs only). Empty lines mean nothing.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.classes import Missing, Patterns
from cohortseg.io.planar import Planes, Points, contour_label
from cohortseg.volume import Array, Grid

Contours: TypeAlias = dict[str, dict[str, list[tuple[float, float, float]]]]

WORLD = ("structure", "contour", "x", "y", "z")
PIXELS = ("structure", "contour", "slice", "row", "column")
SEPARATORS = (",", "\t")


def text_mask(
    path: str | Path,
    grid: Grid,
    structures: Mapping[str, Patterns],
    *,
    tolerance_mm: float = 0.05,
    missing: Missing = "reject",
    planes: Planes = "nearest",
) -> tuple[Array, dict[str, Any]]:
    """Paint the wanted structures of a text of contours onto a grid.

    Parameters
    ----------
    path : str or Path
        A text of the format above.
    grid : Grid
        Grid of the image. Slices count along its first axis, as in `image.zarr`.
    structures : mapping of str to str or sequence of str
        Class name to the regular expressions that match the whole name of its structures; classes count 1, 2, … in
        this order.
    tolerance_mm : float
        The contours that fall onto one slice may lie this far apart, or a tenth of the slice distance.
    missing : "reject" or "empty"
        What becomes of a class that has no structure; a text without any wanted structure is always refused.
    planes : "reject", "nearest" or "interpolate"
        What becomes of contours beside the slices (`planar.contour_label`).

    Returns
    -------
    label : uint8 array, shape of the grid
    facts : dict
        Those of `planar.contour_label`; `n_ignored` counts contours of less than three points and repeated ones.

    Raises
    ------
    Rejected
        LABEL_UNREADABLE, which tells the line but not what stands there; SOURCE_CHANGED when the file is gone;
        LABEL_STRUCTURE_MISSING, LABEL_OUTSIDE, LABEL_OFF_GRID.
    """
    heading, contours = _read(path)
    to_index = np.linalg.inv(grid.affine).astype(np.float64)
    names = list(contours)
    n_short = 0

    def contours_of(position: int) -> list[Points]:
        nonlocal n_short
        own = [np.array(points) for points in contours[names[position]].values()]
        n_short += sum(len(points) < 3 for points in own)
        closed = [points for points in own if len(points) >= 3]
        return closed if heading == PIXELS else [points @ to_index[:3, :3].T + to_index[:3, 3] for points in closed]

    label, facts = contour_label(
        names, contours_of, grid, structures, tolerance_mm=tolerance_mm, missing=missing, planes=planes
    )
    return label, facts | {"n_ignored": facts["n_ignored"] + n_short}


def _read(path: str | Path) -> tuple[tuple[str, ...], Contours]:
    """The heading, and the points of each contour of each structure."""
    contours: Contours = {}
    try:
        with Path(path).open("rb") as file:
            lines = _lines(file)
            number, first = next(lines, (1, ""))
            separator = next((one for one in SEPARATORS if one in first), None)
            heading = tuple(_fields(number, first, separator))
            if heading not in (WORLD, PIXELS):
                raise _unreadable(number, f"the heading is neither {','.join(WORLD)} nor {','.join(PIXELS)}")
            before: tuple[str, str] | None = None
            for number, line in lines:
                structure, contour, *coordinates = _record(number, line, separator)
                points = contours.setdefault(structure, {})
                if (structure, contour) != before and contour in points:
                    raise _unreadable(number, "a contour that ended before goes on")
                points.setdefault(contour, []).append(_point(number, coordinates, heading))
                before = (structure, contour)
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "the label object vanished after it was indexed") from None
    return heading, contours


def _lines(file: Any) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line that is not empty."""
    for number, raw in enumerate(file, start=1):
        try:
            # Spreadsheets put a byte order mark in front.
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise _unreadable(number, "not UTF-8") from None
        if line.strip():
            yield number, line


def _fields(number: int, line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    try:
        row = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        raise _unreadable(number, "quotes that do not close") from None
    return [field.strip() for field in row]


def _record(number: int, line: str, separator: str | None) -> list[str]:
    fields = _fields(number, line, separator)
    if len(fields) != len(WORLD):
        raise _unreadable(number, f"{len(fields)} values, not {len(WORLD)}")
    if not fields[0] or not fields[1]:
        raise _unreadable(number, "no name of a structure or contour")
    return fields


def _point(number: int, coordinates: list[str], heading: tuple[str, ...]) -> tuple[float, float, float]:
    values = []
    for field, column in zip(coordinates, heading[2:], strict=True):
        try:
            # Python would read 1_000 as a number.
            value = float(field.replace("_", "?"))
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (column == "slice" and not value.is_integer()):
            raise _unreadable(number, f"{column} is no {'whole' if column == 'slice' else 'decimal'} number")
        values.append(value)
    return values[0], values[1], values[2]


def _unreadable(number: int, found: str) -> Rejected:
    return Rejected("LABEL_UNREADABLE", f"line {number}: {found}")
