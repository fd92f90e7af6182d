"""What the header of an RTSTRUCT or a DICOM segmentation says of its structures and of the images they belong to."""

from typing import Any, TypeAlias

from cohortseg.errors import Rejected
from cohortseg.io.elements import encodings, items, lenient, short, text, texts, whole, words

Record: TypeAlias = dict[str, Any]

REFERENCED_FRAMES, REFERENCED_STUDIES, REFERENCED_SERIES_OF_STUDY = 0x30060010, 0x30060012, 0x30060014
FRAME_UID, SERIES_UID = 0x00200052, 0x0020000E
STRUCTURES, ROI_NUMBER, ROI_NAME, ROI_FRAME_UID = 0x30060020, 0x30060022, 0x30060026, 0x30060024
CONTOURED, CONTOURED_NUMBER, CONTOURS = 0x30060039, 0x30060084, 0x30060040
GEOMETRIC_TYPE, COORDINATES, N_POINTS = 0x30060042, 0x30060050, 0x30060046
SEGMENTS, SEGMENT_NUMBER, SEGMENT_LABEL, REFERENCED_SERIES = 0x00620002, 0x00620004, 0x00620005, 0x00081115
OTHER_STUDIES = 0x00081200
SERIES_TIMES, CONTENT_TIMES, STRUCTURE_SET_TIMES = (
    (0x00080021, 0x00080031),
    (0x00080023, 0x00080033),
    (0x30060008, 0x30060009),
)
"""Date and time of day."""
LABEL_SEQUENCES = (
    *(REFERENCED_FRAMES, STRUCTURES, CONTOURED, SEGMENTS, REFERENCED_SERIES, OTHER_STUDIES),
    *(*SERIES_TIMES, *CONTENT_TIMES, *STRUCTURE_SET_TIMES),
)
"""Every element that this file reads."""


def structure_set(header: Any) -> Record:
    """Structures (`rois`: name, n_contours, n_points), references and `date`, `time` of an RTSTRUCT.

    The moment is that of the structure set, else that of the content or the series: the newest of several can be
    chosen. Like the references it is identity.

    Raises
    ------
    Rejected
        UNREADABLE, when it holds no structures at all: such a file was cut off.
    """
    _check_whole(header, STRUCTURES, CONTOURED)
    frames = items(header, REFERENCED_FRAMES)
    studies = [study for frame in frames for study in items(frame, REFERENCED_STUDIES)]
    series = [one for study in studies for one in items(study, REFERENCED_SERIES_OF_STUDY)]
    structures = items(header, STRUCTURES)
    return {
        "rois": [{"name": name} | _extent(contours) for name, contours in named_contours(header)],
        "referenced_series_uids": texts(series, SERIES_UID),
        "referenced_frame_uids": sorted({*texts(frames, FRAME_UID), *texts(structures, ROI_FRAME_UID)}),
    } | _moment(header, STRUCTURE_SET_TIMES, CONTENT_TIMES, SERIES_TIMES)


def named_contours(header: Any) -> list[tuple[str, list[Any]]]:
    """Name and contour data sets of each structure, in the order of the file; a structure may have no contours."""
    contoured = {whole(one.get_item(CONTOURED_NUMBER)): items(one, CONTOURS) for one in items(header, CONTOURED)}
    charset = encodings(header)
    return [
        (_words(one, ROI_NAME, charset) or "", contoured.get(whole(one.get_item(ROI_NUMBER)), []))
        for one in items(header, STRUCTURES)
    ]


def segmentation(header: Any) -> Record:
    """Segments (`segments`: number, label), references and `date`, `time` of a DICOM segmentation.

    The moment is that of the content, else that of the series. The frame of reference is the object's own, in which its
    frames lie.

    Raises
    ------
    Rejected
        UNREADABLE, when it holds no segments at all.
    """
    _check_whole(header, SEGMENTS)
    charset = encodings(header)
    segments = items(header, SEGMENTS)
    # Series of other studies stand one floor deeper.
    holders = [header, *items(header, OTHER_STUDIES)]
    return {
        "segments": [
            {"number": short(one.get_item(SEGMENT_NUMBER)), "label": _words(one, SEGMENT_LABEL, charset)}
            for one in segments
        ],
        "referenced_series_uids": texts((s for one in holders for s in items(one, REFERENCED_SERIES)), SERIES_UID),
        "referenced_frame_uids": texts([header], FRAME_UID),
    } | _moment(header, CONTENT_TIMES, SERIES_TIMES)


def contour_kind(contour: Any) -> str | None:
    """Geometric type of a contour, as it stands in the file."""
    return text(contour.get_item(GEOMETRIC_TYPE)) if GEOMETRIC_TYPE in contour else None


def contour_data(contour: Any) -> bytes:
    """Coordinates of a contour as they stand in the file, separated by backslashes; empty when there are none."""
    return (contour.get_item(COORDINATES).value or b"") if COORDINATES in contour else b""


def contour_size(contour: Any) -> int:
    """Number of points that a contour claims to have; 0 where it does not say."""
    return lenient({N_POINTS: contour.get_item(N_POINTS)} if N_POINTS in contour else {}, N_POINTS, whole) or 0


def _moment(header: Any, *sources: tuple[int, int]) -> Record:
    """The first date that the header carries, and the time that goes with it; None where it does not say."""
    for date_tag, time_tag in sources:
        date = text(header.get_item(date_tag)) if date_tag in header else None
        if date:
            return {"date": date, "time": text(header.get_item(time_tag)) if time_tag in header else None}
    return {"date": None, "time": None}


def _extent(contours: list[Any]) -> Record:
    # Coordinates are counted by their separators: reading them as numbers is the work of the conversion.
    data = [contour_data(contour) for contour in contours]
    return {"n_contours": len(contours), "n_points": sum((one.count(b"\\") + 1) // 3 for one in data if one)}


def _words(dataset: Any, tag: int, charset: list[str]) -> str | None:
    return words(dataset.get_item(tag), charset) if tag in dataset else None


def _check_whole(header: Any, *tags: int) -> None:
    if not all(tag in header for tag in tags):
        raise Rejected("UNREADABLE", "the label object is cut off, or holds no structures")
