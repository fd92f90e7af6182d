"""Which series of a cohort are wanted: rules on headers, and the choice among several that fulfil them.

Nothing here opens a file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from cohortseg.errors import Rejected
from cohortseg.settings import SeriesSettings
from cohortseg.slices import SECONDARY_CAPTURE, is_plane_image, normal_of

Files: TypeAlias = Sequence[dict[str, Any]]

MODALITIES = {"CT", "MR", "PT"}
"""Taken where the settings name none."""
PATTERNS = {
    "description": "series_description",
    "body_part": "body_part",
    "kernel": "kernel",
    "image_type": "image_type",
}
"""Setting to the header key that it must be found in."""
WORDS = {
    "series_description": "SeriesDescription",
    "body_part": "BodyPartExamined",
    "kernel": "ConvolutionKernel",
    "image_type": "ImageType",
}
PLANES = ("sagittal", "coronal", "axial")
"""Name of the plane whose normal points mostly along x, y, z."""


def check_series(files: Files, modality: str, wanted: SeriesSettings) -> None:
    """Refuse a series that the rules do not want.

    Parameters
    ----------
    files : sequence of dict
        The files of one series with their `header`; descriptions are those of the first.
    modality : str
        DICOM modality of the series.
    wanted : SeriesSettings
        The rules; an empty one is fulfilled by all. A rule about what a header does not say is not fulfilled.

    Raises
    ------
    Rejected
        NOT_SELECTED, BURNED_IN or TOO_FEW_SLICES, the first that holds; the text never holds a description. Single
        pictures are never too few.
    """
    first = files[0]["header"]
    _check_modality(first, modality, wanted)
    for setting, key in PATTERNS.items():
        pattern = getattr(wanted, setting)
        if pattern and not re.search(pattern, first.get(key) or ""):
            raise Rejected("NOT_SELECTED", f"{WORDS[key]} does not match")
    if wanted.not_description and re.search(wanted.not_description, first.get("series_description") or ""):
        raise Rejected("NOT_SELECTED", "SeriesDescription matches `not_description`")
    _check_thickness(first.get("slice_thickness_mm"), wanted)
    plane = plane_of(first.get("orientation"))
    if wanted.orientation not in (None, plane):
        raise Rejected("NOT_SELECTED", f"{plane or 'unknown'} slices")
    if wanted.contrast is not None and wanted.contrast != bool(first.get("contrast")):
        raise Rejected("NOT_SELECTED", f"with{'' if first.get('contrast') else 'out'} contrast agent")
    if wanted.burned_in == "reject" and any(file["header"].get("burned_in") for file in files):
        raise Rejected("BURNED_IN", "BurnedInAnnotation is YES")
    if not is_plane_image(first):
        check_count(count_slices(files), wanted)


def check_count(n_slices: int, wanted: SeriesSettings) -> None:
    """Refuse a volume of too few slices.

    Raises
    ------
    Rejected
        TOO_FEW_SLICES.
    """
    if n_slices < wanted.min_slices:
        raise Rejected("TOO_FEW_SLICES", f"{n_slices} slices, at least {wanted.min_slices} needed")


def _check_modality(first: Mapping[str, Any], modality: str, wanted: SeriesSettings) -> None:
    if modality != wanted.modality and (wanted.modality is not None or modality not in MODALITIES):
        raise Rejected("NOT_SELECTED", f"modality {modality}")
    captured = str(first.get("sop_class") or "").startswith(SECONDARY_CAPTURE)
    if captured and modality in MODALITIES and is_plane_image(first):
        raise Rejected("NOT_SELECTED", f"a picture of a screen, though its modality is {modality}")


def _check_thickness(thickness_mm: float | None, wanted: SeriesSettings) -> None:
    if wanted.thickness_mm is None:
        return
    low, high = wanted.thickness_mm
    if thickness_mm is None or not low <= thickness_mm <= high:
        found = "no slice thickness" if thickness_mm is None else f"{thickness_mm:g} mm thick"
        raise Rejected("NOT_SELECTED", f"{found}, wanted {low:g} to {high:g}")


def plane_of(orientation: Sequence[float] | None) -> str | None:
    """The anatomical plane that slices come nearest to, of ImageOrientationPatient; None where there is none."""
    normal = normal_of(orientation)
    if normal is None:
        return None
    sizes = [abs(part) for part in normal]
    return PLANES[sizes.index(max(sizes))]


def count_slices(files: Files) -> int:
    """Slices of a series: one a file, or one a frame."""
    return sum(file["header"].get("n_frames") or 1 for file in files)


def chosen(group: Mapping[str, Files], rule: str) -> str:
    """The key of the one series to take of a group.

    Parameters
    ----------
    group : mapping of str to files
        Series by key, at least one.
    rule : {'newest', 'thinnest', 'most_slices'}
        What decides: latest series date and time, smallest slice thickness, most slices. What a header does not say
        comes last. Equal ones are told apart by the number of slices, then by key, so that the choice stays.
    """

    def rank(key: str) -> tuple[Any, ...]:
        header, n_slices = group[key][0]["header"], count_slices(group[key])
        if rule == "newest":
            when = (header.get("series_date") or header.get("study_date") or "", header.get("series_time") or "")
            return (when, n_slices, key)
        thickness = header.get("slice_thickness_mm") or float("inf")
        return (-thickness, n_slices, key) if rule == "thinnest" else (n_slices, -thickness, key)

    return max(group, key=rank)
