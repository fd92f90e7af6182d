"""A CT series as a scanner writes it: one DICOM file per slice, several transfer syntaxes, the same bytes each time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    generate_uid,
)

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.volume import Array, Triple

IMPLEMENTATION = generate_uid(entropy_srcs=["cohortseg phantom"])
DATE, TIME = "20240115", "101500"
"""Of everything: the same input must give the same bytes."""

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "rle": RLELossless,
    "jpegls": JPEGLSLossless,
    "jpeg2000": JPEG2000Lossless,
}
STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}


@dataclass(frozen=True)
class Scanner:
    """A make of scanner; both of them are invented."""

    manufacturer: str
    model: str
    kernels: Mapping[str, str]
    signed: bool
    head_first: bool
    """Whether instance 1 is the slice nearest the head."""
    kvp: int
    mas: int


SCANNERS = {
    "aurora": Scanner("Northlight Imaging", "Aurora 64", {"soft": "N30s", "sharp": "N70h"}, False, False, 120, 110),
    "tropic": Scanner("Meridian Medical", "Tropic CT 16", {"soft": "STND", "sharp": "EDGE"}, True, True, 140, 80),
}


def write_series(  # noqa: PLR0913  one keyword per thing that can be wrong with a series
    folder: Path,
    hu: Array,
    *,
    spacing_mm: Triple,
    origin_mm: Triple = (0.0, 0.0, 0.0),
    patient_id: str = "PHANTOM-001",
    patient_name: str = "PHANTOM^NOBODY",
    birth_date: str = "19000101",
    identified: bool = False,
    scanner: str = "aurora",
    kernel: str = "soft",
    syntax: str = "explicit",
    modality: str = "CT",
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    step_mm: Triple | None = None,
    drop: Collection[int] = (),
    slope: float = 1.0,
    intercept: float = -1024.0,
    series: str = "1",
    uid_seed: str = "",
    extra: Mapping[str, Any] | None = None,
) -> list[Path]:
    """One series from an array, one file per slice, under shuffled names.

    Parameters
    ----------
    folder : Path
        Made when missing.
    hu : array, shape (z, y, x)
        Real-world values; stored as round((hu - intercept) / slope) in 16 bits.
    spacing_mm : (float, float, float)
        Along z, y, x.
    origin_mm : (float, float, float)
        World position (x, y, z; LPS) of voxel (0, 0, 0).
    identified : bool
        Say PatientIdentityRemoved = NO: for a test that plants an identity.
    scanner, kernel, syntax, modality : str
        Keys of `SCANNERS`, of its kernels, of `SYNTAXES` and of `STORAGE`.
    orientation : six floats
        Direction of growing column index, then of growing row index.
    step_mm : (float, float, float), optional
        World step from slice to slice; along the normal when empty (anything else is a tilted gantry).
    drop : collection of int
        Slices that are not written.
    series, uid_seed : str
        UIDs are made from `uid_seed`, `patient_id` and `series`; study and frame of reference from the first two.
    extra : mapping, optional
        DICOM keyword to value, set in every file; None removes the element.

    Returns
    -------
    list of Path
        In the order of the array's slices.

    Raises
    ------
    SettingsError
        For an unknown name or keyword, values that do not fit into 16 bits, JPEG 2000 with fewer than 32 rows or
        columns.
    """
    make = choose("scanner", scanner, SCANNERS)
    if syntax == "jpeg2000" and min(hu.shape[1:]) < 32:
        raise SettingsError(f"JPEG 2000 needs 32 rows and columns, got {hu.shape[1:]}")
    stored = _stored(hu, slope, intercept, make.signed)
    identity = (uid_seed, patient_id)
    common = _patient(identity, patient_name, birth_date, identified)
    common.update(_scan(make, modality, choose("kernel", kernel, make.kernels), spacing_mm, hu.shape[2]))
    common.PixelSpacing = [_number(spacing_mm[1]), _number(spacing_mm[2])]
    common.update(_pixels(stored, make.signed, slope, intercept))
    common.SeriesInstanceUID = uid(*identity, "series", series)
    common.SeriesNumber = int(series) if series.isdigit() else 1
    common.ImageOrientationPatient = [_number(value) for value in orientation]
    normal = np.cross(orientation[:3], orientation[3:])
    step = np.asarray(step_mm) if step_mm is not None else normal * spacing_mm[0]
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(list(common.SeriesInstanceUID.encode())).permutation(len(stored))
    files = []
    for k in [k for k in range(len(stored)) if k not in drop]:
        position = np.asarray(origin_mm) + k * step
        one = Dataset()
        one.update(common)
        one.SOPInstanceUID = uid(*identity, "instance", series, str(k))
        one.InstanceNumber = len(stored) - k if make.head_first else k + 1
        one.ImagePositionPatient = [_number(value) for value in position]
        one.SliceLocation = _number(float(position @ normal))
        one.PixelData = stored[k].tobytes()
        _set_extra(one, extra or {})
        files.append(folder / f"IM{names[k] + 1:05d}.dcm")
        save(one, files[-1], syntax)
    return files


def _set_extra(one: Dataset, extra: Mapping[str, Any]) -> None:
    for keyword, value in extra.items():
        if tag_for_keyword(keyword) is None:
            raise SettingsError(f"{keyword!r} is no DICOM keyword")
        if value is not None:
            setattr(one, keyword, value)
        elif keyword in one:
            delattr(one, keyword)


def uid(*sources: str) -> str:
    """A DICOM UID that depends on the sources alone."""
    return str(generate_uid(entropy_srcs=["|".join(("cohortseg phantom", *sources))]))


def save(dataset: Dataset, path: Path, syntax: str = "explicit") -> None:
    """Write a data set with its file meta information, compressed when the syntax says so."""
    target = choose("syntax", syntax, SYNTAXES)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION, "COHORTSEG"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if target.is_compressed else target
    dataset.file_meta = meta
    if target.is_compressed:
        dataset.compress(target, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _stored(hu: Array, slope: float, intercept: float, signed: bool) -> npt.NDArray[np.integer[Any]]:
    limits = np.iinfo(np.int16 if signed else np.uint16)
    values = np.rint((hu - intercept) / slope)
    if values.min() < limits.min or values.max() > limits.max:
        raise SettingsError(f"stored values {values.min():.0f} to {values.max():.0f} do not fit into {limits.dtype}")
    return values.astype("<i2" if signed else "<u2")


def _number(value: float) -> str:
    """At most 16 characters, as a decimal string may have, and no minus before a zero."""
    return f"{round(float(value), 6) + 0.0:.10g}"


def _patient(identity: tuple[str, str], name: str, birth_date: str, identified: bool) -> Dataset:
    """Patient, study and frame of reference."""
    one = Dataset()
    one.SpecificCharacterSet = "ISO_IR 100"
    one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = name, identity[1], birth_date, "O"
    one.PatientIdentityRemoved = "NO" if identified else "YES"
    if not identified:
        one.DeidentificationMethod = "Synthetic phantom: there never was a person"
    one.StudyInstanceUID, one.FrameOfReferenceUID = uid(*identity, "study"), uid(*identity, "frame")
    one.StudyDate, one.StudyTime, one.StudyID, one.StudyDescription = DATE, TIME, "1", "Synthetic thorax"
    one.AccessionNumber, one.ReferringPhysicianName, one.PositionReferenceIndicator = "", "", ""
    return one


def _scan(make: Scanner, modality: str, kernel: str, spacing_mm: Triple, columns: int) -> Dataset:
    """Equipment, series and acquisition."""
    one = Dataset()
    one.SOPClassUID, one.Modality = choose("modality", modality, STORAGE), modality
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.Manufacturer, one.ManufacturerModelName = make.manufacturer, make.model
    one.InstitutionName, one.StationName, one.DeviceSerialNumber = "Synthetic Hospital", "PHANTOM", "000000"
    one.SoftwareVersions = "1.0"
    for what in ("InstanceCreation", "Series", "Acquisition", "Content"):
        setattr(one, f"{what}Date", DATE)
        setattr(one, f"{what}Time", TIME)
    one.SeriesDescription, one.ProtocolName = f"Thorax {spacing_mm[0]:g} {kernel}", "Thorax"
    one.BodyPartExamined, one.PatientPosition, one.AcquisitionNumber = "CHEST", "HFS", 1
    one.SliceThickness = one.SpacingBetweenSlices = _number(spacing_mm[0])
    if modality == "CT":
        one.KVP, one.XRayTubeCurrent, one.ExposureTime, one.Exposure = make.kvp, 2 * make.mas, 500, make.mas
        one.ConvolutionKernel, one.FilterType, one.RotationDirection = kernel, "BODY", "CW"
        one.GantryDetectorTilt, one.TableHeight, one.DataCollectionDiameter = "0", "150", "500"
        one.ReconstructionDiameter = _number(spacing_mm[2] * columns)
        one.DistanceSourceToDetector, one.DistanceSourceToPatient = "1040", "570"
    return one


def _pixels(stored: Array, signed: bool, slope: float, intercept: float) -> Dataset:
    """How the pixels are stored and shown."""
    one = Dataset()
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = stored.shape[1:]
    one.BitsAllocated, one.PixelRepresentation = 16, int(signed)
    one.BitsStored = 12 if not signed and stored.max() < 4096 else 16
    one.HighBit = one.BitsStored - 1
    one.RescaleSlope, one.RescaleIntercept, one.RescaleType = _number(slope), _number(intercept), "HU"
    one.WindowCenter, one.WindowWidth = "40", "400"
    one.BurnedInAnnotation, one.LossyImageCompression = "NO", "00"
    return one
