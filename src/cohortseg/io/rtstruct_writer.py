"""A label as an RTSTRUCT (PS3.3 A.19): the outlines of each class, slice by slice.

Outlines run along the edges of the pixels, so they enclose exactly the voxels. A hole is a contour of its own inside
another one (even-odd rule), not a keyhole: readers that paint by the rule of PS3.3 C.8.8.6.3 (exclusive or) get the
same label back, to the last voxel. Equal labels of equal sources give equal bytes.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg import __version__
from cohortseg.io.contours import outlines
from cohortseg.io.source_images import SourceImages, identity, matches, reference
from cohortseg.io.uids import derived_uid
from cohortseg.volume import Array, Grid, Volume

SERIES_NUMBER = 9002
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
"""An explicit one ends at 64 kB for the coordinates of a contour."""
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
IMPLEMENTATION = derived_uid("cohortseg", "implementation")
COLOURS = ((230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230))
CONTOUR_DATA = 0x30060050
DECIMALS = 5
"""Coordinates to 10 nm."""
MOST_CHARACTERS = 16
"""Of a decimal string (PS3.5 6.2)."""


def write_rtstruct(
    path: Path, label: Volume, sources: SourceImages, classes: Sequence[str], *, description: str = ""
) -> None:
    """Write a label as RTSTRUCT.

    Parameters
    ----------
    path : Path
        Written anew; not in one step.
    label : Volume
        uint8; number 1 is the first class. A class without voxels is an ROI without contours. Contours on a slice of
        the source name it; between such slices they name none.
    sources : SourceImages
        With a frame of reference.
    classes : sequence of str
        Become the names of the ROIs.
    description : str
        Of the series; up to 64 characters, no identity.

    Raises
    ------
    ValueError
        When the label holds more classes than are named, or the source has no frame of reference.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    if not sources.has_frame:
        raise ValueError("the source has no frame of reference")
    if int(label.array.max()) > len(classes):
        raise ValueError(f"the label holds class {int(label.array.max())}, {len(classes)} are named")
    made_of = identity(label, sources, [*classes, description])
    one = _header(sources, made_of, description)
    one.ReferencedFrameOfReferenceSequence = [_referenced_frame(sources)]
    images = [_images_at(found) for found in matches(sources, label.grid)]
    structures, contours, observations = [], [], []
    for number, name in enumerate(classes, start=1):
        structures.append(_structure(number, name, str(sources.header.FrameOfReferenceUID)))
        contours.append(_roi(number, label, images))
        observations.append(_observation(number))
    one.StructureSetROISequence, one.ROIContourSequence = structures, contours
    one.RTROIObservationsSequence = observations
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = UID(IMPLICIT_LITTLE_ENDIAN)
    one.file_meta.ImplementationClassUID = UID(IMPLEMENTATION)
    one.file_meta.ImplementationVersionName = f"COHORTSEG{__version__}"[:16]
    one.save_as(path, enforce_file_format=True)


def _header(sources: SourceImages, made_of: Sequence[str], description: str) -> Any:
    from pydicom.uid import UID

    # pydicom sets values in place: elements that two data sets share would change in both.
    one = deepcopy(sources.header)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        one.pop(keyword, None)
    one.SpecificCharacterSet = "ISO_IR 192"
    one.SOPClassUID, one.SOPInstanceUID = UID(STRUCTURE_SET), derived_uid("rtstruct instance", *made_of)
    one.SeriesInstanceUID = derived_uid("rtstruct series", *made_of)
    one.Modality, one.SeriesNumber, one.InstanceNumber, one.OperatorsName = "RTSTRUCT", SERIES_NUMBER, 1, ""
    one.SeriesDate, one.SeriesTime = sources.date, sources.time
    one.SeriesDescription = (description or "Automatic segmentation")[:64]
    one.Manufacturer = one.ManufacturerModelName = "cohortseg"
    one.SoftwareVersions = __version__
    one.StructureSetLabel, one.StructureSetName = "COHORTSEG", "Automatic segmentation"
    one.StructureSetDate, one.StructureSetTime = sources.date, sources.time
    one.ApprovalStatus = "UNAPPROVED"
    return one


def _referenced_frame(sources: SourceImages) -> Any:
    from pydicom.dataset import Dataset

    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = sources.header.SeriesInstanceUID
    series.ContourImageSequence = [reference(*found) for found in sources.objects]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_CLASS, sources.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = sources.header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _structure(number: int, name: str, frame_uid: str) -> Any:
    from pydicom.dataset import Dataset

    one = Dataset()
    one.ROINumber, one.ROIName, one.ReferencedFrameOfReferenceUID = number, name, frame_uid
    one.ROIGenerationAlgorithm = "AUTOMATIC"
    return one


def _observation(number: int) -> Any:
    from pydicom.dataset import Dataset

    one = Dataset()
    one.ObservationNumber = one.ReferencedROINumber = number
    one.RTROIInterpretedType = one.ROIInterpreter = ""
    return one


def _images_at(found: Sequence[tuple[Any, bool]]) -> list[Any]:
    """References to the slices of the source whose pixels are those of the slice."""
    images = []
    for source, same in found:
        if same:
            image = reference(source.sop_class, source.sop_uid)
            if source.frame is not None:
                image.ReferencedFrameNumber = source.frame
            images.append(image)
    return images


def _roi(number: int, label: Volume, images: Sequence[list[Any]]) -> Any:
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import Tag

    roi = Dataset()
    roi.ReferencedROINumber, roi.ROIDisplayColor = number, list(COLOURS[(number - 1) % len(COLOURS)])
    found = []
    for place, points in _world_outlines(label.array, number, label.grid):
        one = Dataset()
        if images[place]:
            one.ContourImageSequence = images[place]
        one.ContourGeometricType, one.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
        # As bytes: an object for each of the numbers would take a hundred times the memory.
        data = decimal_strings(points)
        one[CONTOUR_DATA] = RawDataElement(Tag(CONTOUR_DATA), "DS", len(data), data, 0, True, True)
        found.append(one)
    if found:
        roi.ContourSequence = found
    return roi


def _world_outlines(label: Array, number: int, grid: Grid) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """Slice and corners (x, y, z; LPS mm), shape (n, 3), of each outline of a class."""
    affine = grid.affine
    for place, plane in enumerate(label):
        mask = plane == number
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        for outline in outlines(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]):
            index = np.column_stack([np.full(len(outline), place), outline + np.array([rows[0], columns[0]])])
            yield place, index @ affine[:3, :3].T + affine[:3, 3]


def decimal_strings(points: npt.NDArray[np.float64]) -> bytes:
    r"""Numbers as DICOM writes them: separated by backslashes, padded to an even length.

    Parameters
    ----------
    points : float array, any shape

    Raises
    ------
    ValueError
        For a number that does not fit into 16 characters.

    Examples
    --------
    >>> decimal_strings(np.array([[1.5, -0.0, 12.345678]]))
    b'1.50000\\0.00000\\12.34568'
    """
    # Adding zero turns -0.0 into 0.0.
    numbers = (points.ravel().round(DECIMALS) + 0.0).tolist()
    if max(map(abs, numbers), default=0.0) >= 10 ** (MOST_CHARACTERS - DECIMALS - 2):
        raise ValueError(f"a coordinate of {max(map(abs, numbers)):.3g} mm")
    data = ("\\".join([f"%.{DECIMALS}f"] * len(numbers)) % tuple(numbers)).encode("ascii")
    return data + b" " * (len(data) % 2)
