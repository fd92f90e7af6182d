"""Folders of small DICOM files with one defect each, and what must become of them: a literal table.

Everything is lopsided: other sizes, spacings and origins on each axis, no two slices alike. Where a folder is accepted,
it holds exactly the voxels of its truth, at the very places.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from cohortseg.phantom.dicom import uid, write_series
from cohortseg.phantom.labels import write_rtstruct, write_seg

SHAPE, SPACING_MM, ORIGIN_MM = (16, 20, 24), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.48, -0.36, 0.0, 0.6, 0.8)
Edit = Callable[[int, Dataset], Any]
REFUSED = "refused"
"""Any reason will do."""


@dataclass(frozen=True)
class Truth:
    """One volume: its voxels (z along the normal) and where its slices lie.

    `also` holds what the voxels may be too: stored PET values have two meanings.
    """

    array: np.ndarray
    positions_mm: np.ndarray
    orientation: tuple[float, ...] = AXIAL
    spacing_yx_mm: tuple[float, float] = SPACING_MM[1:]
    also: tuple[np.ndarray, ...] = ()
    label: np.ndarray | None = None


@dataclass(frozen=True)
class Defect:
    """What is wrong, how it is made, and the outcome of each case of the folder ('ok' or a reason), sorted."""

    what: str
    make: Callable[[Path], list[Truth]]
    ours: tuple[str, ...]
    fates: Mapping[str, int] = field(default_factory=dict)
    """Number of files of a fate, for those that belong to no case."""
    labelled: bool = False


def values(shape: Sequence[int] = SHAPE, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)


def mask() -> np.ndarray:
    marked = np.zeros(SHAPE, bool)
    marked[4:9, 3:12, 5:17] = True
    marked[6, 6:8, 9:12] = False
    return marked


def places(
    n: int = SHAPE[0], orientation: Sequence[float] = AXIAL, step_mm: Sequence[float] | None = None
) -> np.ndarray:
    step = np.cross(orientation[:3], orientation[3:]) * SPACING_MM[0] if step_mm is None else np.asarray(step_mm)
    return np.asarray(ORIGIN_MM) + np.arange(n)[:, None] * step


def series(folder: Path, hu: np.ndarray | None = None, **options: Any) -> list[Path]:
    options = {"spacing_mm": SPACING_MM, "origin_mm": ORIGIN_MM, "patient_id": "P7"} | options
    return write_series(folder, values() if hu is None else hu, **options)


def changed(files: Sequence[Path], edit: Edit, syntax: str | None = None) -> None:
    """Edit the data set of each file (`edit(slice, dataset)`) and write it again."""
    for k, path in enumerate(files):
        one = pydicom.dcmread(path)
        edit(k, one)
        if syntax is not None:
            one.file_meta.TransferSyntaxUID = syntax
        one.save_as(path, enforce_file_format=True)


def plain(
    edit: Edit = lambda k, one: None, rewrite: str | None = None, **options: Any
) -> Callable[[Path], list[Truth]]:
    """A series of which each slice is edited; the truth is what it was before."""

    def make(folder: Path) -> list[Truth]:
        orientation = options.get("orientation", AXIAL)
        hu = options.get("hu", values())
        changed(series(folder, **options), edit, rewrite)
        return [Truth(hu, places(len(hu), orientation, options.get("step_mm")), orientation)]

    return make


def eight_bits(_: int, one: Dataset) -> None:
    one.BitsAllocated, one.BitsStored, one.HighBit = 8, 8, 7


def other_syntax(folder: Path) -> list[Truth]:
    for path in series(folder):
        # Explicit VR, said to be implicit.
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"))
    return [Truth(values(), places())]


def only(slices: Sequence[int], keyword: str, value: Any) -> Edit:
    """Set one element in some slices; None removes it."""

    def edit(k: int, one: Dataset) -> None:
        if k in slices and value is None:
            delattr(one, keyword)
        elif k in slices:
            setattr(one, keyword, value)

    return edit


EVERY = range(SHAPE[0])


def moved(offsets_mm: Callable[[int], float]) -> Callable[[Path], list[Truth]]:
    """Slices moved along z."""

    def make(folder: Path) -> list[Truth]:
        there = places()
        there[:, 2] += [offsets_mm(k) for k in EVERY]

        def edit(k: int, one: Dataset) -> None:
            one.ImagePositionPatient = [f"{number:.4f}" for number in there[k]]

        changed(series(folder), edit)
        return [Truth(values(), there)]

    return make


def wrong_numbers(k: int, one: Dataset) -> None:
    one.InstanceNumber = (7 * k + 3) % SHAPE[0]


def reversed_order(k: int, one: Dataset) -> None:
    one.InstanceNumber, one.SpacingBetweenSlices = SHAPE[0] - k, -SPACING_MM[0]


def dropped(folder: Path) -> list[Truth]:
    series(folder, drop=[6])
    return [Truth(values(), places())]


def twice(folder: Path) -> list[Truth]:
    files = series(folder)
    (folder / "again.dcm").write_bytes(files[5].read_bytes())
    return [Truth(values(), places())]


def second_instance(folder: Path) -> list[Truth]:
    files = series(folder)
    one = pydicom.dcmread(files[5])
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid("second")
    one.PixelData = (values(SHAPE, seed=4)[5] + 1024).astype("<u2").tobytes()
    one.save_as(folder / "second.dcm", enforce_file_format=True)
    return [Truth(values(), places())]


def two_phases(folder: Path) -> list[Truth]:
    early, late = values(), values(seed=8)
    for number, hu in ((1, early), (2, late)):
        files = series(folder / str(number), hu, series=str(number))

        def edit(k: int, one: Dataset, number: int = number) -> None:
            one.SeriesInstanceUID, one.TemporalPositionIdentifier = uid("phases"), number
            one.AcquisitionNumber, one.InstanceNumber = number, (number - 1) * SHAPE[0] + k + 1
            one.AcquisitionTime = f"1015{number}0"

        changed(files, edit)
    return [Truth(early, places()), Truth(late, places())]


def localiser_inside(folder: Path) -> list[Truth]:
    files = series(folder)
    one = pydicom.dcmread(files[0])
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid("localiser")
    one.ImageOrientationPatient, one.ImageType = [1, 0, 0, 0, 0, -1], ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    one.ImagePositionPatient, one.InstanceNumber = ["-31", "20", "90"], 99
    one.save_as(folder / "scout.dcm", enforce_file_format=True)
    scout = Truth(values()[:1], np.array([[-31.0, 20.0, 90.0]]), (1, 0, 0, 0, 0, -1))
    return [Truth(values(), places()), scout]


TILT_MM = (0.0, SPACING_MM[0] * np.tan(np.radians(15)), SPACING_MM[0])


def tilted(folder: Path) -> list[Truth]:
    series(folder, step_mm=TILT_MM, extra={"GantryDetectorTilt": "15"})
    return [Truth(values(), places(step_mm=TILT_MM))]


def truncated(folder: Path) -> list[Truth]:
    files = series(folder)
    files[4].write_bytes(files[4].read_bytes()[:-300])
    return [Truth(values(), places())]


def one_smaller(k: int, one: Dataset) -> None:
    if k == 9:
        one.Rows -= 4
        one.PixelData = one.PixelData[: one.Rows * one.Columns * 2]


def huge(_: int, one: Dataset) -> None:
    one.Rows = one.Columns = 65535


def nan_slope(folder: Path) -> list[Truth]:
    for path in series(folder, slope=0.625):
        path.write_bytes(path.read_bytes().replace(b"0.625 ", b"NaN   "))
    return []


def zero_spacing(folder: Path) -> list[Truth]:
    plain(only(EVERY, "PixelSpacing", ["0", "0"]))(folder)
    return []


def halves(edit: Edit) -> Callable[[Path], list[Truth]]:
    """The slices from the ninth on are somebody else's: two volumes, never one."""

    def make(folder: Path) -> list[Truth]:
        changed(series(folder), lambda k, one: edit(k, one) if k >= 8 else None)
        return [Truth(values()[own], places()[own]) for own in (slice(0, 8), slice(8, None))]

    return make


def other_patient(_: int, one: Dataset) -> None:
    one.PatientID, one.PatientName = "P8", "OTHER"


def other_frame(_: int, one: Dataset) -> None:
    one.FrameOfReferenceUID = uid("elsewhere")


def unscaled(folder: Path) -> list[Truth]:
    changed(series(folder), only(EVERY, "RescaleIntercept", None))
    return [Truth((values().astype(np.int32) + 1024).astype(np.int16), places())]


def slopes(folder: Path) -> list[Truth]:
    slope = 0.25 + 0.125 * np.arange(SHAPE[0])

    def edit(k: int, one: Dataset) -> None:
        one.RescaleSlope, one.RescaleIntercept = str(slope[k]), "-100"

    changed(series(folder), edit)
    stored = values().astype(np.float32) + 1024
    return [Truth((stored * slope[:, None, None] - 100).astype(np.float32), places())]


def big_endian(folder: Path) -> list[Truth]:
    for path in series(folder):
        one = pydicom.dcmread(path)
        one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one["PixelData"].VR = "OW"
        turned = Dataset()
        turned.update({element.tag: element for element in one})
        turned.file_meta = one.file_meta
        turned.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        turned.save_as(path, enforce_file_format=True)
    return [Truth(values(), places())]


def no_meta(folder: Path) -> list[Truth]:
    for path in series(folder, syntax="implicit"):
        one = pydicom.dcmread(path)
        one.file_meta, one.preamble = FileMetaDataset(), None
        pydicom.dcmwrite(path, one, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return [Truth(values(), places())]


def enhanced(folder: Path) -> list[Truth]:
    """All slices as frames of one object, in an order of their own, each with its own intercept."""
    folder.mkdir(parents=True, exist_ok=True)
    source = pydicom.dcmread(series(folder / "classic")[0])
    for path in (folder / "classic").iterdir():
        path.unlink()
    (folder / "classic").rmdir()
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(source, keyword)
    source.SOPClassUID = source.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    source.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    order = [(k * 5 + 3) % SHAPE[0] for k in EVERY]
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [str(number) for number in OBLIQUE]
    measures.PixelSpacing, measures.SliceThickness = [str(number) for number in SPACING_MM[1:]], str(SPACING_MM[0])
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    source.SharedFunctionalGroupsSequence, source.PerFrameFunctionalGroupsSequence = Items([shared]), Items()
    for k in order:
        group, place, rescale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [f"{number:.6f}" for number in places(orientation=OBLIQUE)[k]]
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "1", str(-1024 - k), "HU"
        group.PlanePositionSequence, group.PixelValueTransformationSequence = Items([place]), Items([rescale])
        source.PerFrameFunctionalGroupsSequence.append(group)
    source.NumberOfFrames, source.BitsStored, source.HighBit = SHAPE[0], 16, 15
    stored = np.stack([values()[k].astype(np.int32) + 1024 + k for k in order]).astype("<u2")
    source.PixelData = stored.tobytes()
    source.save_as(folder / "all.dcm", enforce_file_format=True)
    return [Truth(values(), places(orientation=OBLIQUE), OBLIQUE)]


def padded(folder: Path) -> list[Truth]:
    hu = values()
    hu[:, :3, :4] = -2000
    changed(series(folder, hu, scanner="tropic", intercept=0.0), lambda k, one: one.add_new(0x00280120, "SS", -2000))
    return [Truth(hu, places())]


def secondary_capture(folder: Path) -> list[Truth]:
    one = pydicom.dcmread(series(folder)[0])
    capture = Dataset()
    capture.file_meta = FileMetaDataset()
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    capture.SOPInstanceUID = capture.file_meta.MediaStorageSOPInstanceUID = uid("capture")
    capture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    capture.SeriesInstanceUID, capture.StudyInstanceUID, capture.Modality = uid("shots"), one.StudyInstanceUID, "OT"
    capture.PatientID, capture.PatientIdentityRemoved, capture.InstanceNumber = one.PatientID, "YES", 1
    capture.Rows, capture.Columns, capture.SamplesPerPixel, capture.PlanarConfiguration = 12, 18, 3, 0
    capture.PhotometricInterpretation, capture.PixelRepresentation = "RGB", 0
    capture.BitsAllocated, capture.BitsStored, capture.HighBit = 8, 8, 7
    capture.PixelData = np.random.default_rng(1).integers(0, 256, (12, 18, 3), np.uint8).tobytes()
    capture.save_as(folder / "shot.dcm", enforce_file_format=True)
    return [Truth(values(), places())]


def mask_series(folder: Path) -> list[Truth]:
    marked = mask().astype(np.int16) * 255
    series(folder / "image")
    series(folder / "mask", marked, series="2", intercept=0.0, extra={"ImageType": ["DERIVED", "SECONDARY"]})
    return [Truth(values(), places()), Truth(marked, places())]


PET = {"Units": "BQML", "DecayCorrection": "START", "PatientWeight": "70", "RescaleType": None, "SeriesTime": "101500"}
HALF_LIFE_S, DOSE_BQ = 6586.2, 3.7e8


def pet(**changes: Any) -> Callable[[Path], list[Truth]]:
    def make(folder: Path) -> list[Truth]:
        tracer = Dataset()
        tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = str(DOSE_BQ), str(HALF_LIFE_S)
        tracer.RadiopharmaceuticalStartTime = "091500"
        extra = PET | {"RadiopharmaceuticalInformationSequence": Items([tracer])} | changes
        activity = values().astype(np.int32) + 1000
        series(folder, activity, modality="PT", slope=2.0, intercept=0.0, extra=extra)
        bqml = np.rint(activity / 2.0) * 2.0
        suv = bqml * 70e3 / (DOSE_BQ * 2.0 ** (-3600.0 / HALF_LIFE_S))
        return [Truth(suv.astype(np.float32), places(), also=(bqml.astype(np.float32),))]

    return make


def dicomdir(folder: Path) -> list[Truth]:
    made, disc = folder / "made", FileSet()
    for path in series(made):
        disc.add(path)
    disc.write(folder / "disc")
    # Else its folder is cleared away with a warning, whenever that is.
    disc._stage["t"].cleanup()
    for path in made.iterdir():
        path.unlink()
    made.rmdir()
    return [Truth(values(), places())]


def strangers(folder: Path) -> list[Truth]:
    series(folder)
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.dcm").touch()
    (folder / "short.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "zeros.dcm").write_bytes(b"\0" * 4096)
    return [Truth(values(), places())]


def contoured(**changes: Any) -> Callable[[Path], list[Truth]]:
    """A series with an RTSTRUCT, whose elements and contours are changed: `shift_mm` moves contours along z."""

    def make(folder: Path) -> list[Truth]:
        files, path = series(folder / "ct"), folder / "rs.dcm"
        write_rtstruct(path, {"GTV-1": mask()}, files, patient_id=changes.get("patient"))
        one = pydicom.dcmread(path)
        if "frame" in changes:
            one.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = uid(changes["frame"])
            one.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = uid(changes["frame"])
            one.FrameOfReferenceUID = uid(changes["frame"])
        for contour in one.ROIContourSequence[0].ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            points[:, 2] += changes.get("shift_mm", 0.0)
            contour.ContourData = [f"{number:.4f}" for number in points.ravel()]
        one.save_as(path)
        return [Truth(values(), places(), label=mask().astype(np.uint8))]

    return make


def segmented(shift_mm: float) -> Callable[[Path], list[Truth]]:
    def make(folder: Path) -> list[Truth]:
        write_seg(folder / "seg.dcm", mask(), series(folder))
        one = pydicom.dcmread(folder / "seg.dcm")
        for group in one.PerFrameFunctionalGroupsSequence:
            place = group.PlanePositionSequence[0]
            place.ImagePositionPatient = [place.ImagePositionPatient[0] + shift_mm, *place.ImagePositionPatient[1:]]
        one.save_as(folder / "seg.dcm")
        return [Truth(values(), places(), label=mask().astype(np.uint8))]

    return make


def j2k(folder: Path) -> list[Truth]:
    hu = values((9, 34, 38))
    series(folder, hu, syntax="jpeg2000")
    return [Truth(hu, places(9))]


DEFECTS: dict[str, Defect] = {
    # accepted: unusual, and right
    "axial": Defect("nothing", plain(), ("ok",)),
    "oblique": Defect("nothing; oblique planes", plain(orientation=OBLIQUE), ("ok",)),
    "numbers": Defect("instance numbers in no order", plain(wrong_numbers), ("ok",)),
    "reversed": Defect("numbered from the head, spacing between slices negative", plain(reversed_order), ("ok",)),
    "jitter": Defect("positions off by up to 0.02 mm", moved(lambda k: 0.02 * np.sin(5 * k)), ("ok",)),
    "same-file": Defect("one file twice", twice, ("ok",), {"DUPLICATE_OBJECT": 1}),
    "implicit": Defect("implicit VR", plain(syntax="implicit"), ("ok",)),
    "big-endian": Defect("big-endian", big_endian, ("ok",)),
    "no-meta": Defect("neither preamble nor meta header", no_meta, ("ok",)),
    "deflated": Defect("deflated", plain(rewrite=DeflatedExplicitVRLittleEndian), ("ok",)),
    "rle": Defect("RLE", plain(syntax="rle"), ("ok",)),
    "jpeg-ls": Defect("JPEG-LS lossless", plain(syntax="jpegls"), ("ok",)),
    "jpeg-2000": Defect("JPEG 2000 lossless", j2k, ("ok",)),
    "monochrome1": Defect("shown inverted", plain(only(EVERY, "PhotometricInterpretation", "MONOCHROME1")), ("ok",)),
    "padding": Defect("signed, with padding values", padded, ("ok",)),
    "slopes": Defect("another rescale slope in each slice", slopes, ("ok",)),
    "enhanced": Defect("enhanced multi-frame, frames in no order", enhanced, ("ok",)),
    "pet": Defect("PET in Bq/ml", pet(), ("ok",)),
    "dicomdir": Defect("a disc with DICOMDIR", dicomdir, ("ok",), {"NOT_AN_IMAGE": 1}),
    "strangers": Defect(
        "files that are no DICOM, or cut to nothing", strangers, ("ok",), {"NOT_DICOM": 3, "NOT_AN_IMAGE": 1}
    ),
    "capture": Defect("an RGB secondary capture beside the series", secondary_capture, ("NOT_SELECTED", "ok")),
    "mask-series": Defect("a mask (0, 255) as a second series", mask_series, ("ok", "ok")),
    # refused: nobody can know what is right, or it would be a guess
    "missing": Defect("a slice is missing", dropped, ("MISSING_SLICE",)),
    "doubled": Defect("slice distance doubles half way", moved(lambda k: 2.5 * max(k - 8, 0)), ("MISSING_SLICE",)),
    "second": Defect("a second instance at the same position", second_instance, ("DUPLICATE_POSITION",)),
    "phases": Defect("two phases in one series", two_phases, ("SEVERAL_PHASES",)),
    "localiser": Defect("a localiser inside the series", localiser_inside, ("MIXED_ORIENTATION",)),
    "tilt": Defect("gantry tilt of 15 degrees", tilted, ("GANTRY_TILT",)),
    "truncated": Defect("one slice lacks its last 300 bytes", truncated, ("TRUNCATED",)),
    "no-position": Defect(
        "one slice without position", plain(only([5], "ImagePositionPatient", None)), ("NO_POSITION",)
    ),
    "matrix": Defect("one slice with fewer rows", plain(one_smaller), ("MIXED_MATRIX",)),
    "zero-spacing": Defect("pixel spacing zero", zero_spacing, ("NO_POSITION",)),
    "nan-slope": Defect("rescale slope is NaN", nan_slope, (REFUSED,)),
    "huge": Defect("65,535 rows and columns are claimed", plain(huge), ("TRUNCATED",)),
    "no-weight": Defect("PET without body weight", pet(PatientWeight=None), ("NO_UNITS",)),
    "patients": Defect("slices of two patients under one series", halves(other_patient), (REFUSED,)),
    "frames": Defect("half of the slices in another frame of reference", halves(other_frame), ("OTHER_FRAME",)),
    "no-rescale": Defect(
        "one slice without rescale intercept", plain(only([5], "RescaleIntercept", None)), ("BAD_RESCALE",)
    ),
    "no-rescale-at-all": Defect("no slice has a rescale intercept", unscaled, ("ok",)),
    "bits": Defect("8 bits are claimed where 16 are stored", plain(eight_bits), ("UNSUPPORTED_PIXELS",)),
    "other-syntax": Defect("the meta header names another transfer syntax", other_syntax, ("ok",)),
    # labels
    "rtstruct": Defect("nothing; with RTSTRUCT", contoured(), ("ok",), labelled=True),
    "rtstruct-patient": Defect(
        "RTSTRUCT of another patient", contoured(patient="P8"), ("LABEL_OTHER_PATIENT",), labelled=True
    ),
    "rtstruct-frame": Defect(
        "RTSTRUCT in another frame of reference", contoured(frame="elsewhere"), ("OTHER_FRAME",), labelled=True
    ),
    "rtstruct-half": Defect("RTSTRUCT half a slice off", contoured(shift_mm=1.25), ("LABEL_OFF_GRID",), labelled=True),
    "seg-off": Defect("DICOM-SEG 0.3 mm beside the voxels", segmented(0.3), ("LABEL_OFF_GRID",), labelled=True),
}
