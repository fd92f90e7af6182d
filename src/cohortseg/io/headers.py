"""The header of one DICOM file as a flat record of plain values, ready for JSON.

Every file of a cohort passes here, so nothing but the wanted elements is decoded, and pixels are never read.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from cohortseg.errors import Rejected
from cohortseg.io.elements import (
    UNDEFINED,
    check_complete,
    digest_before,
    double,
    doubles,
    elements_of,
    encodings,
    filled,
    items,
    lenient,
    lone,
    read,
    real,
    reals,
    short,
    single,
    text,
    whole,
    words,
    yes,
)
from cohortseg.io.frame_headers import PER_FRAME, REAL_WORLD, SHARED, with_frames
from cohortseg.io.label_headers import LABEL_SEQUENCES, segmentation, structure_set
from cohortseg.io.planes import REGION_SEQUENCE, region_spacing_mm

Record: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Any], Any]

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
CT_MR_PET = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128")
DEFLATED = "1.2.840.10008.1.2.1.99"
PIXEL_DATA = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
"""Floating-point, double and integer pixel data."""
PIXEL_VRS = (b"OB", b"OW", b"OF", b"OD", b"OV", b"UN")
GUESSED_SYNTAX = {
    (True, True): "1.2.840.10008.1.2",
    (False, True): "1.2.840.10008.1.2.1",
    (False, False): "1.2.840.10008.1.2.2",
}
"""Transfer syntax of a file without meta header, by (implicit VR, little endian)."""


PLAIN: dict[str, tuple[int, Reader]] = {
    "sop_class": (0x00080016, text),
    "sop_uid": (0x00080018, text),
    "series_uid": (0x0020000E, text),
    "study_uid": (0x0020000D, text),
    "frame_uid": (0x00200052, text),
    "identity_removed": (0x00120062, yes),
    "modality": (0x00080060, text),
    "study_date": (0x00080020, text),
    "series_date": (0x00080021, text),
    "series_time": (0x00080031, text),
}
WORDS: dict[str, int] = {
    "patient_id": 0x00100020,
    "patient_name": 0x00100010,
    "manufacturer": 0x00080070,
    "model": 0x00081090,
    "series_description": 0x0008103E,
    "body_part": 0x00180015,
    "kernel": 0x00181210,
    "software": 0x00181020,
    "contrast_agent": 0x00180010,
}
PIXELS: dict[str, tuple[int, Reader]] = {
    "rows": (0x00280010, short),
    "columns": (0x00280011, short),
    "n_frames": (0x00280008, whole),
    "pixel_spacing_mm": (0x00280030, reals),
    "position": (0x00200032, reals),
    "orientation": (0x00200037, reals),
    "slope": (0x00281053, lone),
    "intercept": (0x00281052, lone),
    "bits_allocated": (0x00280100, short),
    "bits_stored": (0x00280101, short),
    "high_bit": (0x00280102, short),
    "signed": (0x00280103, short),
    "samples": (0x00280002, short),
    "planar": (0x00280006, short),
    "photometric": (0x00280004, text),
    "pixel_padding": (0x00280120, short),
}
"""What the voxels depend on: a value that is no number breaks the header."""
FACTS: dict[str, tuple[int, Reader]] = {
    "slice_thickness_mm": (0x00180050, real),
    "slice_spacing_mm": (0x00180088, real),
    "instance_number": (0x00200013, whole),
    "series_number": (0x00200011, whole),
    "acquisition_number": (0x00200012, whole),
    "temporal_position": (0x00200100, whole),
    "image_type": (0x00080008, text),
    "rescale_type": (0x00281054, text),
    "kvp": (0x00180060, real),
    "exposure_mas": (0x00181152, real),
    "tube_current_ma": (0x00181151, real),
    "te_ms": (0x00180081, real),
    "echo_number": (0x00180086, whole),
    "tr_ms": (0x00180080, real),
    "flip_angle_deg": (0x00181314, real),
    "field_strength_t": (0x00180087, real),
    "b_value": (0x00189087, double),
    "gradient": (0x00189089, doubles),
    "trigger_ms": (0x00181060, real),
    "cardiac_phase": (0x00209241, single),
    "contrast": (0x00180010, filled),
    "acquisition_date": (0x00080022, text),
    "acquisition_time": (0x00080032, text),
    "acquisition_datetime": (0x0008002A, text),
    "content_time": (0x00080033, text),
    "burned_in": (0x00280301, yes),
    "lossy": (0x00282110, text),
    "laterality": (0x00200062, text),
    "view_position": (0x00185101, text),
    "imager_pixel_spacing_mm": (0x00181164, reals),
    "presentation_lut_shape": (0x20500020, text),
    "series_date": (0x00080021, text),
    "series_time": (0x00080031, text),
}
"""What tables show, what tells volumes apart, and the rest: a value that is no number is None."""
PET: dict[str, tuple[int, Reader]] = {
    "units": (0x00541001, text),
    "suv_type": (0x00541006, text),
    "corrected_image": (0x00280051, text),
    "decay_correction": (0x00541102, text),
    "decay_corrected": (0x00189758, text),
    "decay_datetime": (0x00189701, text),
    "frame_reference_ms": (0x00541300, real),
    "frame_duration_ms": (0x00181242, real),
    "weight_kg": (0x00101030, real),
    "height_m": (0x00101020, real),
    "sex": (0x00100040, text),
    "philips_creator": (0x70530010, text),
    "philips_suv_factor": (0x70531000, real),
    "philips_activity_factor": (0x70531009, real),
    "ge_creator": (0x00090010, text),
    "ge_scan_datetime": (0x0009100D, text),
}
TRACER: dict[str, tuple[int, Reader]] = {
    "dose_bq": (0x00181074, real),
    "half_life_s": (0x00181075, real),
    "injection_time": (0x00181072, text),
    "injection_datetime": (0x00181078, text),
}
TRACER_SEQUENCE, AGENT_SEQUENCE = 0x00540016, 0x00180012
UNIT_SEQUENCE, UNIT_CODE = 0x004008EA, 0x00080100
SERIES_LATERALITY = 0x00200060
VENDORS: tuple[tuple[int, str, dict[str, tuple[int, Reader]]], ...] = (
    (0x00190010, "SIEMENS MR HEADER", {"b_value": (0x0019100C, real), "gradient": (0x0019100E, doubles)}),
    (0x00430010, "GEMS_PARM_01", {"b_value": (0x00431039, real)}),
    (0x20010010, "Philips Imaging DD 001", {"b_value": (0x20011003, single)}),
)
"""Private creator, its name, and what it says of the diffusion weighting of a classic MR slice."""
GE_FLAG = 1_000_000_000
"""GE scanners add this to some b-values."""

WHAT: dict[str, str] = {
    "1.2.840.10008.1.3.10": "directory",
    "1.2.840.10008.5.1.4.1.1.4.2": "spectroscopy",
    "1.2.840.10008.5.1.4.1.1.9": "waveform",
    "1.2.840.10008.5.1.4.1.1.11": "presentation",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.66.1": "registration",
    "1.2.840.10008.5.1.4.1.1.66.2": "fiducials",
    "1.2.840.10008.5.1.4.1.1.66.3": "registration",
    "1.2.840.10008.5.1.4.1.1.66.5": "surfaces",
    "1.2.840.10008.5.1.4.1.1.66.6": "tracts",
    "1.2.840.10008.5.1.4.1.1.67": "value mapping",
    "1.2.840.10008.5.1.4.1.1.88": "report",
    "1.2.840.10008.5.1.4.1.1.88.59": "key objects",
    "1.2.840.10008.5.1.4.1.1.104": "document",
    "1.2.840.10008.5.1.4.1.1.481.2": "dose",
    "1.2.840.10008.5.1.4.1.1.481.4": "treatment record",
    "1.2.840.10008.5.1.4.1.1.481.5": "plan",
    "1.2.840.10008.5.1.4.1.1.481.6": "treatment record",
    "1.2.840.10008.5.1.4.1.1.481.7": "treatment record",
    "1.2.840.10008.5.1.4.1.1.481.8": "plan",
    "1.2.840.10008.5.1.4.1.1.481.9": "treatment record",
    "1.2.840.10008.5.1.4.38": "protocol",
    "1.2.840.10008.5.1.4.39": "palette",
}
"""What a DICOM object without an image is, by the beginning of its SOP class (PS3.4 B.5); the longest one counts."""


WANTED: list[int] = [
    *(tag for table in (PLAIN, PIXELS, FACTS, PET) for tag, _ in table.values()),
    *WORDS.values(),
    *(creator for creator, _, _ in VENDORS),
    *(tag for _, _, fields in VENDORS for tag, _ in fields.values()),
    *(TRACER_SEQUENCE, AGENT_SEQUENCE, REGION_SEQUENCE, SERIES_LATERALITY, SHARED, PER_FRAME, REAL_WORLD),
    *LABEL_SEQUENCES,
]
"""Every other element is skipped unread."""


def read_header(path: str | Path) -> Record | None:
    """The record of one file, or None when it is no DICOM.

    Parameters
    ----------
    path : str or Path
        Any file. Files without preamble or meta header, of both byte orders and deflated ones are understood.

    Returns
    -------
    dict or None
        `kind` ('image', 'rtstruct', 'seg', 'other'); the keys of `PLAIN` and `WORDS` for each; for 'other' `what` (a
        word of `WHAT`); for an image those of `PIXELS` and `FACTS` with `transfer_syntax`, `pixel_offset` and
        `pixel_bytes` (where uncompressed pixels lie; None when they are compressed), `header_digest` (of all that
        stands before them), `float_pixels`, `us_region_mm` (planes.py), `quantity_units` and, for a file of several
        frames that says where they lie, `frames` (frame_headers.py; see `slices.slices_of`); for PET those of `PET` and
        `TRACER`; for an RTSTRUCT `rois` (name, n_contours, n_points), `referenced_series_uids`,
        `referenced_frame_uids`; for a segmentation `segments` (number, label), `referenced_series_uids`, `n_frames`.
        Values are None where the file does not say. Ids, names, UIDs, dates, times and descriptions are identity: they
        belong into the private part of a study.

    Raises
    ------
    Rejected
        UNREADABLE, when the file cannot be opened or its header is broken.
    """
    try:
        with Path(path).open("rb") as file:
            return parse_header(file)
    except OSError as error:
        raise Rejected("UNREADABLE", f"the file cannot be opened ({type(error).__name__})") from error


def parse_header(file: BinaryIO) -> Record | None:
    """`read_header` of an open file; leaves it open, at no particular place."""
    head = file.read(132)
    marked = head[128:] == b"DICM"
    if not marked and not _looks_bare(head):
        return None
    file.seek(0)
    try:
        # A broken header can raise nearly anything from deep inside a parser; and what pydicom warns about
        # (lengths, character sets) is no reason to stop or to speak.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record = _record(file)
    except (Rejected, OSError, ImportError, NameError):
        raise
    except Exception as error:
        if not marked:
            return None
        raise Rejected("UNREADABLE", f"the header is broken ({type(error).__name__})") from error
    return record if marked or record["sop_class"] else None


def _looks_bare(head: bytes) -> bool:
    """Whether the file begins with an element of group 2 or 8, as DICOM without preamble does."""
    if len(head) < 16 or head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08"):
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or int.from_bytes(head[4:8], "little") < 1024


def _at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in PIXEL_DATA


def _record(file: BinaryIO) -> Record:
    from pydicom.filereader import read_partial

    header = read_partial(file, _at_pixels, None, True, WANTED)
    elements = elements_of(header)
    check_complete(header)
    record: Record = {"kind": "other"} | {key: read(elements, *field) for key, field in PLAIN.items()}
    charset = encodings(header)
    record |= {key: words(elements[tag], charset) if tag in elements else None for key, tag in WORDS.items()}
    record["identity_removed"] = bool(record["identity_removed"])
    record["sop_class"] = record["sop_class"] or str(header.file_meta.get("MediaStorageSOPClassUID") or "") or None
    record |= _by_kind(file, header, elements, record)
    if record["kind"] == "other":
        record["what"] = _what(record["sop_class"])
    elif not (record["sop_uid"] and record["series_uid"]):
        raise Rejected("UNREADABLE", "the object carries no instance or series UID")
    return record


def _what(sop_class: str | None) -> str:
    """The word of `WHAT` for a SOP class; 'other' for one that has none."""
    parts = (sop_class or "").split(".")
    beginnings = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((WHAT[beginning] for beginning in beginnings if beginning in WHAT), "other")


def _by_kind(file: BinaryIO, header: Any, elements: Mapping[int, Any], record: Record) -> Record:
    if record["sop_class"] == RTSTRUCT:
        return {"kind": "rtstruct"} | structure_set(header)
    if record["sop_class"] in SEGMENTATIONS:
        return {"kind": "seg", "n_frames": read(elements, *PIXELS["n_frames"])} | segmentation(header)
    if PIXELS["rows"][0] in elements and record["sop_class"] != DOSE:
        return _image(file, header, elements, record) | {"kind": "image"}
    if record["sop_class"] in CT_MR_PET:
        raise Rejected("UNREADABLE", "the file ends before it comes to its image")
    return {}


def _image(file: BinaryIO, header: Any, elements: Mapping[int, Any], record: Record) -> Record:
    found: Record = {key: read(elements, *field) for key, field in PIXELS.items()} | dict.fromkeys(FACTS)
    # Most facts are missing from most files, and a cohort has many files.
    found |= {key: lenient(elements, *field) for key, field in FACTS.items() if field[0] in elements}
    found["n_frames"] = found["n_frames"] or 1
    found["contrast"] = bool(found["contrast"]) or bool(items(header, AGENT_SEQUENCE))
    found["burned_in"] = bool(found["burned_in"])
    found["laterality"] = found["laterality"] or lenient(elements, SERIES_LATERALITY, text)
    found["us_region_mm"] = region_spacing_mm(header) if REGION_SEQUENCE in elements else None
    found["quantity_units"] = _units(header) if REAL_WORLD in elements else None
    if found["b_value"] is None and record["modality"] == "MR":
        found |= _vendor_diffusion(elements)
    if found["signed"] and (found["pixel_padding"] or 0) > 32767:
        found["pixel_padding"] -= 65536
    syntax = header.file_meta.get("TransferSyntaxUID") or GUESSED_SYNTAX[header.original_encoding]
    found["transfer_syntax"] = str(syntax)
    found |= {"pixel_offset": None, "pixel_bytes": None, "header_digest": None, "float_pixels": False}
    if syntax != DEFLATED:
        found |= pixel_place(file, header)
        found["header_digest"] = digest_before(file, found["pixel_offset"])
    if record["modality"] == "PT":
        found |= _pet(header, elements)
    if found["n_frames"] > 1 or SHARED in elements or PER_FRAME in elements:
        found = with_frames(header, record | found, FACTS | PET)
    return found


def pixel_place(file: BinaryIO, header: Any) -> Record:
    """Where the pixel data begin and how long they are (`pixel_offset`, `pixel_bytes`), and whether they are floats.

    Parameters
    ----------
    file : binary file
        Standing at the pixel data element, as reading a header leaves it.
    header : pydicom data set
        Tells the encoding.

    Raises
    ------
    Rejected
        UNREADABLE, when the file ends there.
    """
    _, little = header.original_encoding
    start = file.tell()
    element = file.read(12)
    # Tag, then VR and two empty bytes when it is explicit, then the length. What the meta header says of that may be
    # wrong; a length that looks like a VR would be odd, which no length is.
    skipped = 12 if element[4:6] in PIXEL_VRS else 8
    element = element[:skipped]
    if len(element) < skipped:
        raise Rejected("UNREADABLE", "the file ends before its pixel data")
    order: Literal["little", "big"] = "little" if little else "big"
    length = int.from_bytes(element[-4:], order)
    return {
        "pixel_offset": start + skipped,
        "pixel_bytes": None if length == UNDEFINED else length,
        "float_pixels": int.from_bytes(element[2:4], order) != 0x0010,
    }


def _pet(header: Any, elements: Mapping[int, Any]) -> Record:
    found = {key: lenient(elements, *field) for key, field in PET.items()}
    tracers = items(header, TRACER_SEQUENCE)
    tracer = elements_of(tracers[0]) if tracers else {}
    return found | {key: lenient(tracer, *field) for key, field in TRACER.items()}


def _vendor_diffusion(elements: Mapping[int, Any]) -> Record:
    for creator, name, fields in VENDORS:
        if creator in elements and lenient(elements, creator, text) == name:
            found = {key: lenient(elements, *field) for key, field in fields.items()}
            if found["b_value"] is not None:
                return found | {"b_value": float(found["b_value"] % GE_FLAG)}
    return {}


def _units(header: Any) -> str | None:
    """Code (UCUM) of the units of the first real-world value mapping of a whole object."""
    for mapping in items(header, REAL_WORLD)[:1]:
        for unit in items(mapping, UNIT_SEQUENCE)[:1]:
            return lenient(elements_of(unit), UNIT_CODE, text)  # type: ignore[no-any-return]
    return None
