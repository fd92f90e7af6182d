"""From the records of files to those of slices: a multi-frame file holds many. Pure numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from cohortseg.errors import Rejected

Record: TypeAlias = dict[str, Any]

SAME_PLACE_MM = 0.05
"""Slices closer than this lie at one place."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PLANE_MODALITIES = frozenset(
    ("CR", "DX", "MG", "IO", "PX", "US", "IVUS", "XA", "RF", "ES", "OT", "XC", "GM", "OP", "DMS", "RG", "HC")
)
"""Modalities whose images without position are pictures in their own right."""


def slices_of(record: Record) -> list[Record]:
    """One flat record for each slice of a file.

    Parameters
    ----------
    record : dict
        Record of `read_header` of an image.

    Returns
    -------
    list of dict
        For a file of one slice the record itself; else the record without `frames`, with what differs in the frame,
        and its number from 0 in `frame`.

    Raises
    ------
    Rejected
        NO_FRAMES, when a multi-frame file does not say where its frames lie.
    """
    if "frames" in record:
        shared = {key: value for key, value in record.items() if key != "frames"}
        return [{**shared, **frame, "frame": number} for number, frame in enumerate(record["frames"])]
    if (record.get("n_frames") or 1) > 1 and "frame" not in record:
        raise Rejected("NO_FRAMES", f"{record['n_frames']} frames without a position each")
    return [record]


def slice_of(record: Record, number: int) -> Record:
    """The flat record of one frame, as in `slices_of`, without making those of all others.

    Raises
    ------
    IndexError
        When there is no such frame.
    """
    shared = {key: value for key, value in record.items() if key != "frames"}
    return {**shared, **record["frames"][number], "frame": number}


def is_plane_image(record: Mapping[str, Any]) -> bool:
    """Whether an image is a single picture rather than a slice of a stack.

    Parameters
    ----------
    record : dict
        Of a file or of a slice.

    Returns
    -------
    bool
        True for projections, ultrasound, light and secondary captures that carry no position or no orientation
        (DICOM PS3.3 C.7.6.2): such an image, or each frame of a cine, is a case of its own.
    """
    frame: Mapping[str, Any] = next(iter(record.get("frames") or ()), {})
    if all(frame.get(key) or record.get(key) for key in ("position", "orientation")):
        return False
    sop_class = str(record.get("sop_class") or "")
    captured = sop_class == SECONDARY_CAPTURE or sop_class.startswith(f"{SECONDARY_CAPTURE}.")
    return captured or record.get("modality") in PLANE_MODALITIES


def normal_of(orientation: Sequence[float] | None) -> tuple[float, float, float] | None:
    """Row direction x column direction of ImageOrientationPatient; None where there is none."""
    if orientation is None or len(orientation) != 6:
        return None
    a, b, c, d, e, f = orientation
    return (b * f - c * e, c * d - a * f, a * e - b * d)


def places_mm(slices: Iterable[Mapping[str, Any]], orientation: Sequence[float] | None) -> list[float]:
    """Where slices lie along their normal, ascending; those without position are left out, all without orientation.

    Without numpy: the index does this for every series, and waits for no package.
    """
    normal = normal_of(orientation)
    if normal is None:
        return []
    positions = [position for one in slices if (position := one.get("position")) and len(position) == 3]
    return sorted(sum(n * x for n, x in zip(normal, position, strict=True)) for position in positions)
