"""A single picture (radiograph, ultrasound, photograph) as an image of one slice: its grid and its values.

A picture has no place in space. It lies at the origin, one mm thick, so that the same stores, networks and metrics
serve it; areas and distances are as true as its pixel spacing, of which the facts say where it comes from.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.elements import double, elements_of, items, lenient, long, short
from cohortseg.volume import Array, Grid

Record: TypeAlias = Mapping[str, Any]

SPACINGS = ("pixel_spacing_mm", "imager_pixel_spacing_mm", "us_region_mm")
"""Where the size of a pixel is taken from: the first that is there."""
THICKNESS_MM = 1.0
PROJECTIONS = frozenset(("CR", "DX", "MG", "IO", "PX", "RF", "XA", "RG"))
"""Modalities in which MONOCHROME1 and MONOCHROME2 are two ways to store the same picture."""

REGION_SEQUENCE = 0x00186011
REGION = {
    "format": (0x00186012, short),
    "left": (0x00186018, long),
    "upper": (0x0018601A, long),
    "right": (0x0018601C, long),
    "lower": (0x0018601E, long),
    "units_x": (0x00186024, short),
    "units_y": (0x00186026, short),
    "step_x": (0x0018602C, double),
    "step_y": (0x0018602E, double),
}
"""One calibrated region of an ultrasound image (DICOM PS3.3 C.8.5.5)."""
REGION_2D, CENTIMETRES = 1, 3


def plane_grid(record: Record) -> tuple[Grid, dict[str, Any]]:
    """The grid of a single picture.

    Parameters
    ----------
    record : dict
        Flat record of a slice (`slices.slices_of`).

    Returns
    -------
    (Grid, dict)
        Shape (1, rows, columns), thickness 1 mm, origin 0, axes along the world's; and facts: `spacing_from`
        ('pixel_spacing_mm', 'imager_pixel_spacing_mm', which is true at the detector and too large for the patient,
        'us_region_mm', 'none') and `warnings` (list: 'no_pixel_spacing' where 1 mm stands for an unknown size).

    Raises
    ------
    Rejected
        MIXED_MATRIX, for a picture without rows or columns.
    """
    rows, columns = int(record.get("rows") or 0), int(record.get("columns") or 0)
    if not rows or not columns:
        raise Rejected("MIXED_MATRIX", f"a picture of {rows} rows and {columns} columns")
    known = {key: spacing for key in SPACINGS if (spacing := _spacing(record.get(key))) is not None}
    source, (y, x) = next(iter(known.items()), ("none", (1.0, 1.0)))
    grid = Grid((1, rows, columns), (THICKNESS_MM, y, x), (0.0, 0.0, 0.0))
    return grid, {"spacing_from": source, "warnings": [] if known else ["no_pixel_spacing"]}


def _spacing(written: Any) -> tuple[float, float] | None:
    """Size of a pixel (y, x); None when it is no pair of positive numbers."""
    if not written or len(written) != 2 or not all(number > 0 for number in written):
        return None
    return float(written[0]), float(written[1])


def projection_values(stored: Array, record: Record) -> Array:
    """The values of a single picture, on a scale that means the same throughout a cohort.

    A projection whose low values are shown bright (MONOCHROME1, or PresentationLUTShape INVERSE, which in digital
    radiography says the same: DICOM PS3.3 C.8.11.3.1.2) is turned round within the range of its stored bits; then slope
    and intercept are applied. No window is: it says how to show values.

    Parameters
    ----------
    stored : array, shape (rows, columns) or (rows, columns, 3)
        From `read_stored`. Colours are returned as they are.
    record : dict
        Flat record of the slice.

    Returns
    -------
    float32 array, shape (rows, columns); or the array of colours
    """
    if stored.ndim == 3:
        return stored
    values = stored.astype(np.float64)
    inverted = record.get("photometric") == "MONOCHROME1" or record.get("presentation_lut_shape") == "INVERSE"
    if inverted and record.get("modality") in PROJECTIONS and not record.get("float_pixels"):
        # Lowest and highest stored value add up to this.
        bits = record.get("bits_stored") or record["bits_allocated"]
        values = (-1.0 if record.get("signed") else 2.0**bits - 1.0) - values
    slope, intercept = record.get("slope"), record.get("intercept")
    values *= 1.0 if slope is None else slope
    values += intercept or 0.0
    return values.astype(np.float32)


def region_spacing_mm(header: Any) -> list[float] | None:
    """Size of a pixel (y, x) in mm, from the largest calibrated two-dimensional region of an ultrasound image.

    Parameters
    ----------
    header : pydicom data set

    Returns
    -------
    list of two float, or None
        None when no region is a plane measured in cm both ways.
    """
    largest, spacing = 0, None
    for item in items(header, REGION_SEQUENCE):
        elements = elements_of(item)
        region = {key: lenient(elements, *field) for key, field in REGION.items()}
        steps = [abs(region[key] or 0.0) for key in ("step_y", "step_x")]
        if region["format"] != REGION_2D or {region["units_x"], region["units_y"]} != {CENTIMETRES} or not all(steps):
            continue
        left, right, upper, lower = (region[key] or 0 for key in ("left", "right", "upper", "lower"))
        area = (right - left + 1) * (lower - upper + 1)
        if area > largest:
            largest, spacing = area, [10.0 * step for step in steps]
    return spacing
