"""A label as a DICOM segmentation (PS3.3 A.51): one binary segment for each class, tied to the slices it was drawn on.

Equal labels of equal sources give equal bytes: UIDs are made of the content, dates and times are the source's. A class
without voxels is a segment that is described and has no frames; where no class has any, each segment has one empty
frame, on the first slice, because an object must have frames (PS3.3 C.7.6.6). Readers take slices without frame as
empty either way.
"""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cohortseg import __version__
from cohortseg.io.source_images import SourceImages, SourceSlice, identity, matches, reference
from cohortseg.io.uids import derived_uid
from cohortseg.volume import Array, Grid, Volume

Term: TypeAlias = tuple[str, str, str]

SERIES_NUMBER = 9001
FAMILY = {True: ("123110", "DCM", "Artificial Intelligence"), False: ("123105", "DCM", "Histogram Analysis")}
"""Kind of algorithm (CID 7162), by whether the method was trained."""
SEGMENTATION: Term = ("113076", "DCM", "Segmentation")
PROCESSED: Term = ("121322", "DCM", "Source image for image processing operation")


@dataclass(frozen=True)
class Segment:
    """One class of a label.

    Parameters
    ----------
    name : str
        Becomes the label of the segment.
    kind, category : (str, str, str)
        Coded type and category of what it shows: value, coding scheme, meaning.
    """

    name: str
    kind: Term
    category: Term


def write_seg(
    path: Path,
    label: Volume,
    sources: SourceImages,
    segments: Sequence[Segment],
    *,
    description: str = "",
    trained: bool = True,
) -> None:
    """Write a label as DICOM-SEG.

    Parameters
    ----------
    path : Path
        Written anew; not in one step.
    label : Volume
        uint8; class 1 is the first segment. Its grid need not be the source's slices: frames say where they lie, and
        name those slices of the source that lie there.
    sources : SourceImages
        With a frame of reference.
    segments : sequence of Segment
        One for each class.
    description : str
        Of the series; up to 64 characters, no identity.
    trained : bool
        Whether the method learned from examples.

    Raises
    ------
    ValueError
        When the label holds more classes than there are segments, a slice has fewer than 8 pixels, or the source has no
        frame of reference.
    """
    if not sources.has_frame:
        raise ValueError("the source has no frame of reference")
    if label.array[0].size < 8:
        # highdicom 0.28 fills each such frame up to whole bytes, and the next ones lie beside their place.
        raise ValueError(f"slices of {label.array[0].size} pixels, a segmentation needs 8")
    planes = np.flatnonzero(label.array.any(axis=(1, 2)))
    if not len(planes):
        planes = np.zeros(1, np.intp)
    with warnings.catch_warnings():
        # Of names and ids of the source that are not written as they should be.
        warnings.simplefilter("ignore")
        one = _segmentation(label, sources, segments, planes, description, trained)
        _refer(one, label.grid, sources)
        one.save_as(path, enforce_file_format=True)


def _segmentation(
    label: Volume,
    sources: SourceImages,
    segments: Sequence[Segment],
    planes: Array,
    description: str,
    trained: bool,
) -> Any:
    """The object by highdicom; what it takes from the clock or by chance is replaced."""
    from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.seg import Segmentation

    grid = label.grid
    words = [part for segment in segments for part in (segment.name, *segment.kind, *segment.category)]
    made_of = identity(label, sources, [*words, description, str(trained)])
    measures = PixelMeasuresSequence(grid.spacing_mm[1:], grid.spacing_mm[0], grid.spacing_mm[0])
    orientation = PlaneOrientationSequence("PATIENT", [*grid.axes[2], *grid.axes[1]])
    one = Segmentation(
        source_images=[_stand_in(grid, sources)],
        pixel_array=label.array if len(planes) == grid.shape[0] else label.array[planes],
        segmentation_type="BINARY",
        segment_descriptions=[_described(number, segment, trained) for number, segment in enumerate(segments, start=1)],
        series_instance_uid=derived_uid("seg series", *made_of),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid("seg instance", *made_of),
        instance_number=1,
        manufacturer="cohortseg",
        manufacturer_model_name="cohortseg",
        software_versions=__version__,
        device_serial_number="0",
        pixel_measures=measures,
        plane_orientation=orientation,
        plane_positions=[PlanePositionSequence("PATIENT", grid.world((float(k), 0.0, 0.0))) for k in planes],
        content_label="SEGMENTATION",
        content_description="Automatic segmentation",
        series_description=(description or "Automatic segmentation")[:64],
        content_date=sources.date,
        content_time=sources.time,
        series_date=sources.date,
        series_time=sources.time,
        specific_character_set="ISO_IR 192",
    )
    del one.InstanceCreationDate, one.InstanceCreationTime
    dimensions = derived_uid("seg dimensions", *made_of)
    for item in (*one.DimensionOrganizationSequence, *one.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    for item in one.ContributingEquipmentSequence:
        item.ContributionDateTime = sources.date + sources.time
    return one


def _stand_in(grid: Grid, sources: SourceImages) -> Any:
    """A source for highdicom with the grid of the label; the references to the true one are put in afterwards.

    By itself highdicom ties frames to slices only where every single one lies exactly on a slice, and takes no series
    of several multi-frame objects.
    """
    from pydicom.uid import CTImageStorage
    from pydicom.valuerep import format_number_as_ds

    # pydicom sets values in place: elements that two data sets share would change in both.
    one = deepcopy(sources.header)
    # The class only tells which elements describe patient and study, the same for all images.
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, "2.25.0", "CT"
    one.Rows, one.Columns = grid.shape[1:]
    one.ImagePositionPatient = [format_number_as_ds(number) for number in grid.origin_mm]
    one.ImageOrientationPatient = [format_number_as_ds(number) for number in [*grid.axes[2], *grid.axes[1]]]
    one.PixelSpacing = [format_number_as_ds(number) for number in grid.spacing_mm[1:]]
    one.SliceThickness = one.SpacingBetweenSlices = format_number_as_ds(grid.spacing_mm[0])
    return one


def _described(number: int, segment: Segment, trained: bool) -> Any:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    algorithm = AlgorithmIdentificationSequence("cohortseg", CodedConcept(*FAMILY[trained]), __version__)
    return SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=CodedConcept(*segment.category),
        segmented_property_type=CodedConcept(*segment.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )


def _refer(one: Any, grid: Grid, sources: SourceImages) -> None:
    """Tie the object to all objects of the source, and each frame to the slices that lie where it lies."""
    from pydicom.dataset import Dataset

    objects = [reference(*found) for found in sources.objects]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = sources.header.SeriesInstanceUID, objects
    one.SourceImageSequence, one.ReferencedSeriesSequence = objects, [series]
    lying_at = matches(sources, grid)
    normal, origin_mm = np.asarray(grid.axes[0]), np.asarray(grid.origin_mm)
    groups = one.PerFrameFunctionalGroupsSequence
    for group in groups:
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
        place = round(float((position - origin_mm) @ normal) / grid.spacing_mm[0])
        group.DerivationImageSequence = _derivation(lying_at[place])


def _derivation(found: Sequence[tuple[SourceSlice, bool]]) -> list[Any]:
    from pydicom.dataset import Dataset

    if not found:
        return []
    one = Dataset()
    one.DerivationCodeSequence = [_code(SEGMENTATION)]
    images = []
    for source, same in found:
        image = reference(source.sop_class, source.sop_uid)
        if source.frame is not None:
            image.ReferencedFrameNumber = source.frame
        image.PurposeOfReferenceCodeSequence = [_code(PROCESSED)]
        image.SpatialLocationsPreserved = "YES" if same else "NO"
        images.append(image)
    one.SourceImageSequence = images
    return [one]


def _code(term: Term) -> Any:
    from pydicom.dataset import Dataset

    one = Dataset()
    one.CodeValue, one.CodingSchemeDesignator, one.CodeMeaning = term
    return one
