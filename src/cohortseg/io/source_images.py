"""What a label written as DICOM tells of its source: patient, study, frame of reference, and the slices it lies on.

Slices are found by where they lie, never by number or file name: one file per slice and multi-frame objects alike.
"""

import hashlib
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg import __version__
from cohortseg.errors import Rejected
from cohortseg.io.uids import remapped
from cohortseg.volume import Grid, Volume

PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
)
STUDY = (
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription"),
    *("PatientAge", "PatientSize", "PatientWeight", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)
NEUTRAL = ("PositionReferenceIndicator", "LossyImageCompression", "LossyImageCompressionRatio")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
ALWAYS_THERE = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "PositionReferenceIndicator"),
)
"""Type 2 of the modules Patient, General Study and Frame of Reference: empty where the source does not say."""
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames")
WHEN = tuple((f"{what}Date", f"{what}Time") for what in ("Series", "Study", "Acquisition", "Content"))
DATE, TIME = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"), re.compile(r"([01]\d|2[0-3])([0-5]\d){2}")
NO_DATE, NO_TIME = "19000101", "000000"
"""Where an element must hold a date and the source has none, or may not give it away."""
LONGEST_STUDY_ID = 16
"""Of a short string (PS3.5 6.2)."""
SAME_MM, SAME_SHARE, SAME_COSINE = 0.05, 0.01, 1e-3
"""A slice of the source is the one of the grid within this distance, or share of the slice distance."""


@dataclass(frozen=True)
class SourceSlice:
    """One slice of the source, as other objects refer to it.

    Parameters
    ----------
    sop_class, sop_uid : str
        Of the object that holds it.
    frame : int or None
        Its number in a multi-frame object, from 1.
    position_mm, directions, spacing_mm : float arrays or None
        World position of the first pixel; directions of a row and of a column, shape (2, 3); distance of rows and of
        columns. None where the source does not say.
    shape : (int, int)
        Rows, columns.
    """

    sop_class: str
    sop_uid: str
    frame: int | None
    position_mm: npt.NDArray[np.float64] | None
    directions: npt.NDArray[np.float64] | None
    spacing_mm: npt.NDArray[np.float64] | None
    shape: tuple[int, int]


@dataclass(frozen=True)
class SourceImages:
    """The source of a label.

    Parameters
    ----------
    header : pydicom data set
        Patient, study, series UID and frame of reference, text as Unicode.
    date, time : str
        When the source was made, as DICOM writes it; `NO_DATE`, `NO_TIME` where unknown or not to be told.
    slices : tuple of SourceSlice
        Sorted by UID and frame.
    """

    header: Any
    date: str
    time: str
    slices: tuple[SourceSlice, ...]

    @property
    def has_frame(self) -> bool:
        """Whether the source names its frame of reference and a place in it; without, no label can be tied to it."""
        has_place = any(one.position_mm is not None and one.directions is not None for one in self.slices)
        return has_place and bool(self.header.get("FrameOfReferenceUID"))

    @property
    def objects(self) -> list[tuple[str, str]]:
        """SOP class and instance UID of each object of the source, once."""
        return list(dict.fromkeys((one.sop_class, one.sop_uid) for one in self.slices))


def read_sources(
    paths: Sequence[Path],
    *,
    frames: Mapping[Path, Collection[int]] | None = None,
    key: bytes | None = None,
    pseudonym: str | None = None,
) -> SourceImages:
    """Read what a label must say of its source; pixels are not read.

    Parameters
    ----------
    paths : sequence of Path
        The files of one series, in any order: the result does not depend on it.
    frames : mapping of Path to frame numbers (from 0), optional
        The frames that were used of a multi-frame object; all where a file is not named.
    key : bytes, optional
        With it, UIDs are remapped, and whatever else is known of patient and study is left out, dates too.
    pseudonym : str, optional
        Stands in place of name and id of the patient. With it, patient, study and dates are left out also where UIDs
        are kept, unless every file says that its identity is removed.

    Returns
    -------
    SourceImages

    Raises
    ------
    Rejected
        SOURCE_CHANGED, when a file is gone or is no longer a DICOM image of the series.
    """
    found: dict[str, tuple[Any, list[SourceSlice]]] = {}
    for path in paths:
        header = _read(path)
        wanted = frames.get(path) if frames else None
        found[str(header.SOPInstanceUID)] = (header, list(_slices(header, wanted)))
    if len({str(header.SeriesInstanceUID) for header, _ in found.values()}) != 1:
        raise Rejected("SOURCE_CHANGED", "the files are no longer those of one series")
    slices = [one for uid in sorted(found) for one in found[uid][1]]
    first = found[min(found)][0]
    is_identified = not all(_says_removed(header) for header, _ in found.values())
    if key is None and (pseudonym is None or not is_identified):
        return SourceImages(_kept(first), *_when(first), tuple(slices))
    header = _hidden(first, key, pseudonym or "")
    if key is not None:
        slices = [replace(one, sop_uid=remapped(one.sop_uid, key)) for one in slices]
        slices.sort(key=lambda one: (one.sop_uid, one.frame or 0))
    return SourceImages(header, NO_DATE, NO_TIME, tuple(slices))


def matches(sources: SourceImages, grid: Grid) -> list[list[tuple[SourceSlice, bool]]]:
    """The slices of the source that lie where each slice of a grid lies.

    Parameters
    ----------
    sources : SourceImages
    grid : Grid
        Of the label.

    Returns
    -------
    list of lists, one for each slice of the grid
        Source slices no further away than half a slice distance, each with whether their pixels are those of the grid,
        one by one. A slice that was put in for a missing one has none; after straightening a tilted gantry pixels are
        not the same.
    """
    found: list[list[tuple[SourceSlice, bool]]] = [[] for _ in range(grid.shape[0])]
    normal, step_mm = np.asarray(grid.axes[0]), grid.spacing_mm[0]
    tolerance_mm = max(SAME_MM, SAME_SHARE * step_mm)
    for one in sources.slices:
        if one.position_mm is None or one.directions is None:
            continue
        if np.abs(one.directions @ normal).max() > SAME_COSINE:
            continue
        along = float((one.position_mm - grid.origin_mm) @ normal) / step_mm
        place = round(along)
        if not 0 <= place < grid.shape[0] or abs(along - place) * step_mm > max(0.5 * step_mm - SAME_MM, SAME_MM):
            continue
        apart_mm = float(np.linalg.norm(one.position_mm - grid.world((place, 0.0, 0.0))))
        found[place].append((one, apart_mm <= tolerance_mm and _same_pixels(one, grid)))
    return found


def identity(label: Volume, sources: SourceImages, words: Sequence[str]) -> tuple[str, ...]:
    """What the UIDs of an object made of a label depend on: all that is written, and the version that writes it."""
    voxels = hashlib.sha256(np.ascontiguousarray(label.array).data).hexdigest()
    grid = [*label.grid.shape, *label.grid.spacing_mm, *label.grid.origin_mm, *np.ravel(label.grid.axes)]
    numbers = [repr(float(number)) for number in grid]
    objects = [f"{one.sop_uid} {one.frame}" for one in sources.slices]
    return (__version__, voxels, *numbers, *words, *objects, str(sources.header), sources.date, sources.time)


def reference(sop_class: str, sop_uid: str) -> Any:
    """A data set that refers to one object."""
    from pydicom.dataset import Dataset

    one = Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, sop_uid
    return one


def _same_pixels(one: SourceSlice, grid: Grid) -> bool:
    if one.directions is None or one.spacing_mm is None or one.shape != grid.shape[1:]:
        return False
    turned = float(np.abs(one.directions - np.asarray([grid.axes[2], grid.axes[1]])).max())
    # Over the whole width the pixels may drift apart by a tenth of one.
    drift = np.abs(one.spacing_mm / np.asarray(grid.spacing_mm[1:]) - 1) * np.asarray(grid.shape[1:])
    return turned <= SAME_COSINE and bool((drift <= 0.1).all())


def _read(path: Path) -> Any:
    from pydicom import dcmread

    plain = [keyword for pair in WHEN for keyword in pair]
    tags = [*PATIENT, *STUDY, *NEUTRAL, *UIDS, *GROUPS, *GEOMETRY, *plain]
    tags += ["SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet", "LossyImageCompressionMethod", "Modality"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
            complete = all(header.get(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"))
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "a file vanished after it was indexed") from None
    except (OSError, ImportError, NameError):
        raise
    except Exception as error:
        raise Rejected("SOURCE_CHANGED", f"a file is no longer readable ({type(error).__name__})") from error
    if not complete or not header.get("StudyInstanceUID"):
        raise Rejected("SOURCE_CHANGED", "a file is no DICOM image any more")
    return header


def _slices(header: Any, wanted: Collection[int] | None) -> Iterator[SourceSlice]:
    shared, each = (list(header.get(keyword) or []) for keyword in GROUPS)
    n_frames = max(int(header.get("NumberOfFrames") or 1), len(each))
    for frame in range(n_frames):
        if wanted is not None and frame not in wanted:
            continue
        holders = [*([each[frame]] if frame < len(each) else []), *shared[:1]]
        yield SourceSlice(
            sop_class=str(header.SOPClassUID),
            sop_uid=str(header.SOPInstanceUID),
            frame=frame + 1 if each or n_frames > 1 else None,
            position_mm=_numbers(header, holders, "PlanePositionSequence", "ImagePositionPatient", (3,)),
            directions=_numbers(header, holders, "PlaneOrientationSequence", "ImageOrientationPatient", (2, 3)),
            spacing_mm=_numbers(header, holders, "PixelMeasuresSequence", "PixelSpacing", (2,)),
            shape=(int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
        )


def _numbers(
    header: Any, holders: Sequence[Any], sequence: str, keyword: str, shape: tuple[int, ...]
) -> npt.NDArray[np.float64] | None:
    values = next((one.get(sequence)[0].get(keyword) for one in holders if one.get(sequence)), header.get(keyword))
    if values is None or len(values) != np.prod(shape):
        return None
    return np.array(values, dtype=np.float64).reshape(shape)


def _kept(source: Any) -> Any:
    """Patient and study as the source tells them."""
    from pydicom.dataset import Dataset

    one = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in (*PATIENT, *STUDY, *NEUTRAL, "LossyImageCompressionMethod"):
            if keyword in source:
                _copy(one, source, keyword)
        for keyword in UIDS:
            if source.get(keyword):
                setattr(one, keyword, str(source.get(keyword)))
    return _completed(one)


def _copy(one: Any, source: Any, keyword: str) -> None:
    value = source[keyword].value
    if keyword.endswith("Sequence"):
        setattr(one, keyword, value)
        return
    if value is not None:
        several = not isinstance(value, str) and hasattr(value, "__iter__") and source[keyword].VR != "PN"
        # Plain text loses the encoding of the source: these objects are written as UTF-8.
        setattr(one, keyword, [str(part) for part in value] if several else str(value))


def _says_removed(source: Any) -> bool:
    return str(source.get("PatientIdentityRemoved") or "").strip() == "YES"


def _hidden(source: Any, key: bytes | None, pseudonym: str) -> Any:
    """Nothing of patient and study but a pseudonym and UIDs, remapped where there is a key."""
    from pydicom.dataset import Dataset

    one = Dataset()
    one.PatientName = one.PatientID = pseudonym
    uids = "kept" if key is None else "remapped"
    one.PatientIdentityRemoved, one.DeidentificationMethod = "YES", f"cohortseg: UIDs {uids}, attributes left out"
    for keyword in UIDS:
        if source.get(keyword):
            uid = str(source.get(keyword))
            setattr(one, keyword, uid if key is None else remapped(uid, key))
    return _completed(one)


def _completed(one: Any) -> Any:
    """Elements that must be there are, and hold nothing that no reader takes."""
    for keyword in ALWAYS_THERE:
        if keyword not in one or one.get(keyword) is None:
            setattr(one, keyword, "")
    if one.PatientSex not in ("M", "F", "O"):
        one.PatientSex = ""
    for keyword in ("PatientBirthDate", "StudyDate"):
        setattr(one, keyword, _valid(one.get(keyword), DATE) or "")
    one.StudyTime = _valid(one.StudyTime, TIME) or ""
    # Nobody files by it, and a longer one makes the object invalid.
    one.StudyID = one.StudyID[:LONGEST_STUDY_ID]
    return one


def _when(source: Any) -> tuple[str, str]:
    """Date and time of the series, or of what is nearest to it."""
    for date, time in WHEN:
        found = _valid(source.get(date), DATE)
        if found:
            return found, _valid(source.get(time), TIME) or NO_TIME
    return NO_DATE, NO_TIME


def _valid(value: Any, pattern: re.Pattern[str]) -> str | None:
    """The whole seconds of a time, or a date, where it is one."""
    whole = str(value or "").strip().partition(".")[0]
    return whole if pattern.fullmatch(whole) else None
