"""Small DICOM series and structure sets, tilted and lopsided, written the way a scanner would."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage
from pydicom.valuerep import format_number_as_ds

from cohortseg.io.headers import read_header
from cohortseg.volume import Grid

STUDY, SERIES, FRAME = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"


def rotation(degrees: Sequence[float]) -> np.ndarray:
    """Turn about x, then y, then z."""
    a, b, c = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def grid_of(shape=(7, 14, 11), degrees=(20.0, -35.0, 10.0), spacing_mm=(2.5, 0.8, 0.7)) -> Grid:
    """Three sizes, spacings and origins, and no axis along another."""
    x, y, z = rotation(degrees).T
    return Grid(shape, spacing_mm, (-31.0, 12.5, 47.25), (tuple(z), tuple(y), tuple(x)))


def hu_of(shape, seed=3) -> np.ndarray:
    """Integers from -1000 to 2000, no two slices alike."""
    return np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)


def ds(numbers) -> list[str]:
    return [format_number_as_ds(float(number)) for number in numbers]


def meta(sop_class: str, sop_uid: str, syntax: str = ExplicitVRLittleEndian) -> FileMetaDataset:
    own = FileMetaDataset()
    own.MediaStorageSOPClassUID = UID(sop_class)
    own.MediaStorageSOPInstanceUID = UID(sop_uid)
    own.TransferSyntaxUID = UID(syntax)
    return own


def common(sop_class: str, sop_uid: str, modality: str) -> Dataset:
    own = Dataset()
    own.file_meta = meta(sop_class, sop_uid)
    own.SOPClassUID, own.SOPInstanceUID, own.Modality = sop_class, sop_uid, modality
    own.StudyInstanceUID, own.SeriesInstanceUID, own.FrameOfReferenceUID = STUDY, SERIES, FRAME
    own.PatientID, own.PatientName, own.PatientIdentityRemoved = "P-7", "Doe^Jane", "NO"
    own.PatientBirthDate, own.PatientSex, own.StudyID, own.AccessionNumber = "", "", "", ""
    own.StudyDate, own.StudyTime, own.SeriesNumber, own.ReferringPhysicianName = "20200229", "101500", 4, ""
    own.Manufacturer, own.ManufacturerModelName, own.SeriesDescription = "ACME", "One", "thorax"
    return own


def slice_of(grid: Grid, index: int, stored: np.ndarray, *, modality="CT", slope=1.0, intercept=-1024.0) -> Dataset:
    """One slice with its place in space; rows, columns and bits come from the array."""
    own = common(CTImageStorage, f"{SERIES}.{index + 1}", modality)
    own.Rows, own.Columns = stored.shape
    own.PixelSpacing = ds(grid.spacing_mm[1:])
    own.ImagePositionPatient = ds(grid.world((index, 0, 0)))
    own.ImageOrientationPatient = ds([*grid.axes[2], *grid.axes[1]])
    own.SliceThickness, own.KVP, own.InstanceNumber = "5.0", "120", 1000 - index
    own.RescaleSlope, own.RescaleIntercept, own.RescaleType = *ds([slope, intercept]), "HU"
    own.SamplesPerPixel, own.PhotometricInterpretation = 1, "MONOCHROME2"
    own.BitsAllocated = own.BitsStored = 8 * stored.itemsize
    own.HighBit, own.PixelRepresentation = own.BitsStored - 1, int(stored.dtype.kind == "i")
    own.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    own["PixelData"].VR = "OW"
    return own


def write_series(
    folder: Path,
    grid: Grid,
    stored: np.ndarray,
    *,
    syntax: str = ExplicitVRLittleEndian,
    edit: Callable[[int, Dataset], Any] = lambda index, dataset: None,
    **options: Any,
) -> tuple[list[Path], list[dict]]:
    """Files whose names say nothing, and their records, in the order of the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, plane in enumerate(stored):
        dataset = slice_of(grid, index, plane, **options)
        edit(index, dataset)
        save(dataset, folder / f"{(index * 5 + 3) % 17:02d}-{index:02d}.dcm", syntax)
    paths = sorted(folder.iterdir())
    return paths, [read_header(path) for path in paths]


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    if UID(syntax).is_encapsulated:
        dataset.compress(UID(syntax), generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == pydicom.uid.ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def contour(points: np.ndarray, kind="CLOSED_PLANAR") -> Dataset:
    own = Dataset()
    own.ContourGeometricType, own.NumberOfContourPoints = kind, len(points)
    own.ContourData = ds(np.asarray(points, float).ravel())
    return own


def world_polygon(grid: Grid, index: float, corners_yx: np.ndarray) -> np.ndarray:
    """Corners in index coordinates of one slice as world points."""
    full = np.column_stack([np.full(len(corners_yx), float(index)), corners_yx, np.ones(len(corners_yx))])
    return (full @ grid.affine.T)[:, :3]


def write_rtstruct(path: Path, rois: Mapping[str, Sequence[Dataset]], *, syntax: str = ExplicitVRLittleEndian) -> Path:
    """A structure set of named lists of contours; an empty list is an ROI that was never drawn."""
    own = common(RTStructureSetStorage, f"{SERIES}.900", "RTSTRUCT")
    own.SeriesInstanceUID, own.StructureSetLabel = f"{SERIES}.9", "drawn"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = SERIES, Items([])
    study.RTReferencedSeriesSequence = Items([series])
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = FRAME, Items([study])
    own.ReferencedFrameOfReferenceSequence = Items([frame])
    own.StructureSetROISequence, own.ROIContourSequence = Items([]), Items([])
    for number, (name, contours) in enumerate(rois.items(), start=11):
        structure, drawn = Dataset(), Dataset()
        structure.ROINumber, structure.ROIName, structure.ReferencedFrameOfReferenceUID = number, name, FRAME
        own.StructureSetROISequence.append(structure)
        drawn.ReferencedROINumber = number
        if contours:
            drawn.ContourSequence = Items(contours)
        # The order of the two sequences need not be the same.
        own.ROIContourSequence.insert(0, drawn)
    return save(own, path, syntax)


def nest(path: Mapping[str, Any]) -> Dataset:
    """A data set of the keywords given; a mapping becomes a sequence of one item."""
    own = Dataset()
    for keyword, value in path.items():
        setattr(own, keyword, Items([nest(value)]) if isinstance(value, Mapping) else value)
    return own


def frame_place(grid: Grid, index: int) -> dict[str, Any]:
    """Functional group of the place of one frame."""
    return {"PlanePositionSequence": {"ImagePositionPatient": ds(grid.world((index, 0, 0)))}}


def enhanced_of(
    grid: Grid,
    stored: np.ndarray,
    frames: Sequence[Mapping[str, Any]],
    *,
    shared: Mapping[str, Any] | None = None,
    sop_class: str = "1.2.840.10008.5.1.4.1.1.4.1",
    modality: str = "MR",
) -> Dataset:
    """A multi-frame object: `frames` and `shared` are functional groups by keyword; orientation and size are shared."""
    own = slice_of(grid, 0, stored[0], modality=modality)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(own, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "KVP"):
        delattr(own, keyword)
    own.SOPClassUID = own.file_meta.MediaStorageSOPClassUID = sop_class
    own.NumberOfFrames = len(stored)
    own.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    own["PixelData"].VR = "OW"
    common_groups = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": ds([*grid.axes[2], *grid.axes[1]])},
        "PixelMeasuresSequence": {"PixelSpacing": ds(grid.spacing_mm[1:]), "SliceThickness": "4.5"},
    }
    own.SharedFunctionalGroupsSequence = Items([nest({**common_groups, **(shared or {})})])
    own.PerFrameFunctionalGroupsSequence = Items([nest(groups) for groups in frames])
    return own
