"""Reference labels of a series in the forms hospitals and archives use: RTSTRUCT, DICOM-SEG, NIfTI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import RTStructureSetStorage

from cohortseg.errors import SettingsError
from cohortseg.phantom.dicom import DATE, TIME, save, uid
from cohortseg.volume import Array, Grid

COLOURS = ((255, 0, 0), (0, 128, 255), (0, 192, 0), (255, 192, 0))
SHARED = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription"),
    *("AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator"),
)
"""What a label has in common with its series."""
FROZEN = {
    **{f"{what}Date": DATE for what in ("InstanceCreation", "Content")},
    **{f"{what}Time": TIME for what in ("InstanceCreation", "Content")},
    "ContributionDateTime": DATE + TIME,
}
"""Elements that highdicom fills from the clock."""


@dataclass(frozen=True)
class Slices:
    """The headers of a series along its normal, and where its pixels lie."""

    headers: list[Dataset]
    origins_mm: npt.NDArray[np.float64]
    across_mm: npt.NDArray[np.float64]
    down_mm: npt.NDArray[np.float64]


def write_rtstruct(
    path: Path,
    masks: Mapping[str, Array],
    series_files: Sequence[Path],
    *,
    patient_id: str | None = None,
    patient_name: str | None = None,
) -> None:
    """Contours of each mask, slice by slice, through the half-level points between inside and outside.

    A pixel centre lies inside the polygons (even-odd) exactly where the mask is set.

    Parameters
    ----------
    path : Path
    masks : mapping of ROI name to bool array, shape (z, y, x)
        z grows along the normal of the series; an empty mask gives an ROI without contours.
    series_files : sequence of Path
        All files of the series, in any order.
    patient_id, patient_name : str, optional
        Other than the series': a label that belongs to somebody else.

    Raises
    ------
    SettingsError
        When a mask has another number of slices, rows or columns than the series.
    """
    slices = _slices(series_files, masks)
    one = _header(slices.headers[0], "rtstruct")
    one.SOPClassUID, one.Modality = RTStructureSetStorage, "RTSTRUCT"
    one.StructureSetLabel, one.StructureSetDate, one.StructureSetTime = "REFERENCE", DATE, TIME
    one.PatientID = patient_id or one.PatientID
    one.PatientName = patient_name or one.PatientName
    one.ReferencedFrameOfReferenceSequence = Items([_referenced_frame(slices.headers)])
    one.StructureSetROISequence, one.ROIContourSequence, one.RTROIObservationsSequence = Items(), Items(), Items()
    for number, (name, mask) in enumerate(masks.items(), start=1):
        _add_roi(one, number, name, mask, slices)
    save(one, path)


def write_seg(path: Path, mask: Array, series_files: Sequence[Path], *, label: str = "GTV-1") -> None:
    """A binary DICOM segmentation with one segment, a neoplasm of the lung; empty slices are left out.

    Parameters
    ----------
    path : Path
    mask : bool array, shape (z, y, x)
        z grows along the normal of the series; at least one voxel must be set.
    series_files : sequence of Path
        All files of the series, in any order.
    label : str
        Label of the segment.

    Raises
    ------
    SettingsError
        When the mask is empty or does not lie on the series.
    """
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
    from pydicom.sr.coding import Code

    if not mask.any():
        raise SettingsError("a DICOM segmentation needs at least one voxel")
    headers = _slices(series_files, {label: mask}).headers
    series = headers[0].SeriesInstanceUID
    description = SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=Code("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=Code("126713003", "SCT", "Neoplasm of lung"),
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
    )
    seg = Segmentation(
        source_images=headers,
        pixel_array=mask.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=uid(series, "seg", "series"),
        series_number=100,
        sop_instance_uid=uid(series, "seg", "instance"),
        instance_number=1,
        manufacturer="cohortseg",
        manufacturer_model_name="phantom",
        software_versions="1",
        device_serial_number="0",
        content_label="REFERENCE",
    )
    _freeze(seg, {**FROZEN, "DimensionOrganizationUID": uid(series, "seg", "dimensions")})
    seg.save_as(path)


def _freeze(dataset: Dataset, values: Mapping[str, str]) -> None:
    """Overwrite elements wherever they stand, in nested items too."""
    for element in dataset.iterall():
        if element.keyword in values:
            element.value = values[element.keyword]


def write_nifti(path: Path, mask: Array, grid: Grid, *, value: int = 1) -> None:
    """A mask as NIfTI on the grid of its image (uint8; world LPS mm, which the format turns to RAS).

    Parameters
    ----------
    path : Path
        Ends with .nii or .nii.gz.
    mask : bool array, shape (z, y, x)
    grid : Grid
    value : int
        What the voxels of the mask hold; the others hold 0.

    Raises
    ------
    SettingsError
        When mask and grid differ in shape.
    """
    import SimpleITK

    if mask.shape != grid.shape:
        raise SettingsError(f"the mask has shape {mask.shape}, its grid {grid.shape}")
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8) * np.uint8(value))
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(np.asarray(grid.axes)[::-1].T.ravel().tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _slices(series_files: Sequence[Path], masks: Mapping[str, Array]) -> Slices:
    headers = [dcmread(path, stop_before_pixels=True) for path in series_files]
    across, down = np.asarray(headers[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(across, down)
    headers.sort(key=lambda one: float(np.asarray(one.ImagePositionPatient, dtype=float) @ normal))
    shape = (len(headers), int(headers[0].Rows), int(headers[0].Columns))
    for mask in masks.values():
        if mask.shape != shape:
            raise SettingsError(f"a mask has shape {mask.shape}, its series {shape}")
    row_mm, column_mm = (float(step) for step in headers[0].PixelSpacing)
    origins = np.asarray([one.ImagePositionPatient for one in headers], dtype=float)
    return Slices(headers, origins, across * column_mm, down * row_mm)


def _header(source: Dataset, kind: str) -> Dataset:
    """Patient and study of the series, with a series of its own."""
    one = Dataset()
    for keyword in SHARED:
        if keyword in source:
            setattr(one, keyword, source[keyword].value)
    one.SeriesInstanceUID = uid(source.SeriesInstanceUID, kind, "series")
    one.SOPInstanceUID = uid(source.SeriesInstanceUID, kind, "instance")
    one.InstanceCreationDate, one.InstanceCreationTime = one.SeriesDate, one.SeriesTime = DATE, TIME
    one.Manufacturer, one.ManufacturerModelName, one.OperatorsName = "cohortseg", "phantom", ""
    one.SeriesNumber, one.InstanceNumber, one.SeriesDescription = 100, 1, "Reference"
    return one


def _reference(header: Dataset) -> Dataset:
    one = Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return one


def _referenced_frame(headers: Sequence[Dataset]) -> Dataset:
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = headers[0].SeriesInstanceUID
    series.ContourImageSequence = Items([_reference(header) for header in headers])
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = headers[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = Items([series])
    frame.FrameOfReferenceUID = headers[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = Items([study])
    return frame


def _add_roi(one: Dataset, number: int, name: str, mask: Array, slices: Slices) -> None:
    roi, contours, observation = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
    roi.ReferencedFrameOfReferenceUID = slices.headers[0].FrameOfReferenceUID
    contours.ReferencedROINumber, contours.ROIDisplayColor = number, list(COLOURS[(number - 1) % len(COLOURS)])
    found = [
        _contour(line, int(k), slices) for k in np.flatnonzero(mask.any(axis=(1, 2))) for line in _outlines(mask[k])
    ]
    if found:
        contours.ContourSequence = Items(found)
    observation.ObservationNumber = observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = "GTV" if name.startswith("GTV") else "ORGAN"
    observation.ROIInterpreter = ""
    one.StructureSetROISequence.append(roi)
    one.ROIContourSequence.append(contours)
    one.RTROIObservationsSequence.append(observation)


def _outlines(mask: Array) -> list[npt.NDArray[np.float64]]:
    """Closed lines (row, column) round a mask of one slice, holes too, without points on straight stretches."""
    from skimage.measure import find_contours

    lines = []
    for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        points = np.asarray(line[:-1]) - 1
        before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
        corner = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
        lines.append(points[corner])
    return lines


def _contour(line: npt.NDArray[np.float64], k: int, slices: Slices) -> Dataset:
    points = slices.origins_mm[k] + line[:, 1:] * slices.across_mm + line[:, :1] * slices.down_mm
    one = Dataset()
    one.ContourImageSequence = Items([_reference(slices.headers[k])])
    one.ContourGeometricType, one.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    one.ContourData = [f"{value:.4f}" for value in (points + 0.0).ravel()]
    return one
