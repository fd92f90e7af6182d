"""What the headers of a scan say of how it was made: the columns of `series.tsv`. Words and numbers, no identity."""

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from math import isfinite
from statistics import median
from typing import Any

from cohortseg.scans import Scan
from cohortseg.selection import plane_of
from cohortseg.slices import places_mm

NUMBERS = ("kvp", "exposure_mas", "te_ms", "tr_ms", "flip_angle_deg", "field_strength_t")
WORDS = ("manufacturer", "model", "kernel", "body_part")
FACTS = (
    *("modality", "manufacturer", "model", "kernel", "slice_thickness_mm", "body_part", "orientation", "spacing_mm"),
    *("rows", "columns", "n_slices", "kvp", "exposure_mas", "te_ms", "tr_ms", "flip_angle_deg", "field_strength_t"),
    *("contrast", "lossy", "burned_in", "days", "transfer_syntax"),
)
"""The columns, all of them texts; empty where the headers do not say."""
SYNTAXES = {
    "1.2.840.10008.1.2": "implicit little endian",
    "1.2.840.10008.1.2.1": "explicit little endian",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "big endian",
    "1.2.840.10008.1.2.4.50": "JPEG baseline (lossy)",
    "1.2.840.10008.1.2.4.51": "JPEG extended (lossy)",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless (lossy)",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000 (lossy)",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K RPCL lossless",
    "1.2.840.10008.1.2.4.203": "HTJ2K (lossy)",
    "1.2.840.10008.1.2.5": "RLE",
}
LOSSY = "(lossy)"
"""Ends the names of syntaxes that lose something, whatever the objects admit."""


def facts_of(scan: Scan, first_day: date | None) -> dict[str, str]:
    """The `FACTS` of a scan.

    Parameters
    ----------
    scan : Scan
    first_day : date or None
        Day of the first scan of the subject: days are counted from it, because a date is identity.
    """
    if not scan.first:
        return dict.fromkeys(FACTS, "") | {"modality": scan.modality}
    header: dict[str, Any] = {**scan.first, **next(iter(scan.first.get("frames") or ()), {})}
    day = day_of(scan)
    syntax = str(header.get("transfer_syntax") or "")
    name = SYNTAXES.get(syntax, syntax)
    facts = {
        "modality": scan.modality,
        **{key: str(header.get(key) or "") for key in WORDS},
        **{key: _text(header.get(key)) for key in (*NUMBERS, "slice_thickness_mm")},
        "orientation": plane_of(header.get("orientation")) or "",
        "spacing_mm": _spacing(scan, header),
        "rows": _text(header.get("rows")),
        "columns": _text(header.get("columns")),
        "n_slices": str(scan.n_slices),
        "contrast": _yes(header.get("contrast")),
        "lossy": _yes(any(_is_lossy(file["header"]) for file in scan.files)),
        "burned_in": _yes(any(file["header"].get("burned_in") for file in scan.files)),
        "days": "" if day is None or first_day is None else str((day - first_day).days),
        "transfer_syntax": name,
    }
    return {key: facts[key] for key in FACTS}


def first_days(scans: Iterable[Scan]) -> dict[str, date]:
    """Day of the first scan of each patient."""
    found: dict[str, date] = {}
    for scan in scans:
        day = day_of(scan)
        if day is not None:
            found[scan.patient] = min(day, found.get(scan.patient, day))
    return found


def day_of(scan: Scan) -> date | None:
    """When a scan was made, as its first file says."""
    header = scan.first
    for key in ("acquisition_date", "series_date", "study_date"):
        try:
            return date.fromisoformat(str(header.get(key) or "").replace(".", "")[:8])
        except ValueError:
            continue
    return None


def _is_lossy(header: dict[str, Any]) -> bool:
    name = SYNTAXES.get(str(header.get("transfer_syntax") or ""), "")
    return header.get("lossy") == "01" or name.endswith(LOSSY)


def _spacing(scan: Scan, header: dict[str, Any]) -> str:
    """Distance of slices (by position), rows and columns; empty where one is unknown."""
    pixel = header.get("pixel_spacing_mm")
    if not pixel or len(pixel) != 2:
        return ""
    along = _slice_distance_mm(scan)
    return "" if along is None else "x".join(f"{value:g}" for value in (round(along, 4), *pixel))


def _slice_distance_mm(scan: Scan) -> float | None:
    frames: list[dict[str, Any]] = scan.first.get("frames") or [{}]
    orientation = scan.first.get("orientation") or frames[0].get("orientation")
    slices: list[dict[str, Any]] = []
    for file in scan.files:
        slices += file["header"].get("frames") or [file["header"]]
    places = places_mm(slices, orientation)
    steps = [following - place for place, following in pairwise(places) if following - place > 1e-3]
    return median(steps) if steps and all(map(isfinite, steps)) else None


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value or "")


def _yes(value: Any) -> str:
    return "yes" if value else "no"
