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
    encodings,
    filled,
    items,
    real,
    reals,
    short,
    text,
    whole,
    words,
    yes,
)
from cohortseg.io.label_headers import LABEL_SEQUENCES, segmentation, structure_set

Record: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Any], Any]

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
CT_MR_PET = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128")
DEFLATED = "1.2.840.10008.1.2.1.99"
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
}
WORDS: dict[str, int] = {
    "patient_id": 0x00100020,
    "patient_name": 0x00100010,
    "manufacturer": 0x00080070,
    "model": 0x00081090,
    "series_description": 0x0008103E,
    "body_part": 0x00180015,
    "kernel": 0x00181210,
}
PIXELS: dict[str, tuple[int, Reader]] = {
    "rows": (0x00280010, short),
    "columns": (0x00280011, short),
    "n_frames": (0x00280008, whole),
    "pixel_spacing_mm": (0x00280030, reals),
    "position": (0x00200032, reals),
    "orientation": (0x00200037, reals),
    "slope": (0x00281053, real),
    "intercept": (0x00281052, real),
    "bits_allocated": (0x00280100, short),
    "bits_stored": (0x00280101, short),
    "signed": (0x00280103, short),
    "samples": (0x00280002, short),
    "photometric": (0x00280004, text),
    "pixel_padding": (0x00280120, short),
    "overlay_bit": (0x60000102, short),
}
"""What the voxels depend on: a value that is no number breaks the header."""
FACTS: dict[str, tuple[int, Reader]] = {
    "slice_thickness_mm": (0x00180050, real),
    "instance_number": (0x00200013, whole),
    "series_number": (0x00200011, whole),
    "acquisition_number": (0x00200012, whole),
    "temporal_position": (0x00200100, whole),
    "image_type": (0x00080008, text),
    "rescale_type": (0x00281054, text),
    "kvp": (0x00180060, real),
    "te_ms": (0x00180081, real),
    "tr_ms": (0x00180080, real),
    "field_strength_t": (0x00180087, real),
    "contrast": (0x00180010, filled),
    "burned_in": (0x00280301, yes),
    "study_date": (0x00080020, text),
    "series_date": (0x00080021, text),
    "series_time": (0x00080031, text),
}
"""What tables show: a value that is no number is None."""
PET: dict[str, tuple[int, Reader]] = {
    "units": (0x00541001, text),
    "suv_type": (0x00541006, text),
    "decay_correction": (0x00541102, text),
    "weight_kg": (0x00101030, real),
    "height_m": (0x00101020, real),
    "sex": (0x00100040, text),
    "acquisition_date": (0x00080022, text),
    "acquisition_time": (0x00080032, text),
    "philips_creator": (0x70530010, text),
    "philips_suv_factor": (0x70531000, real),
}
TRACER: dict[str, tuple[int, Reader]] = {
    "dose_bq": (0x00181074, real),
    "half_life_s": (0x00181075, real),
    "injection_time": (0x00181072, text),
    "injection_datetime": (0x00181078, text),
}
TRACER_SEQUENCE = 0x00540016


WANTED: list[int] = [
    *(tag for table in (PLAIN, PIXELS, FACTS, PET) for tag, _ in table.values()),
    *WORDS.values(),
    TRACER_SEQUENCE,
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
        `kind` ('image', 'rtstruct', 'seg', 'other'); the keys of `PLAIN` and `WORDS` for each; for an image those of
        `PIXELS` and `FACTS` with `transfer_syntax`, `pixel_offset` and `pixel_bytes` (where uncompressed pixels lie;
        None when they are compressed); for PET those of `PET` and `TRACER`; for an RTSTRUCT `rois` (name, n_contours,
        n_points), `referenced_series_uids`, `referenced_frame_uids`; for a segmentation `segments` (number, label),
        `referenced_series_uids`, `n_frames`. Values are None where the file does not say. Ids, names, UIDs, dates and
        descriptions are identity: they belong into the private part of a study.

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


def _record(file: BinaryIO) -> Record:
    from pydicom.filereader import read_partial

    header = read_partial(file, lambda tag, _vr, _length: 0x7FE00008 <= tag <= 0x7FE00010, None, True, WANTED)
    elements: dict[int, Any] = dict(header.items())
    check_complete(header)
    record: Record = {"kind": "other"} | {key: _read(elements, *field) for key, field in PLAIN.items()}
    charset = encodings(header)
    record |= {key: words(elements[tag], charset) if tag in elements else None for key, tag in WORDS.items()}
    record["identity_removed"] = bool(record["identity_removed"])
    record["sop_class"] = record["sop_class"] or str(header.file_meta.get("MediaStorageSOPClassUID") or "") or None
    record |= _by_kind(file, header, elements, record)
    if record["kind"] != "other" and not (record["sop_uid"] and record["series_uid"]):
        raise Rejected("UNREADABLE", "the object carries no instance or series UID")
    return record


def _read(elements: Mapping[int, Any], tag: int, reader: Reader) -> Any:
    return reader(elements[tag]) if tag in elements else None


def _lenient(elements: Mapping[int, Any], tag: int, reader: Reader) -> Any:
    try:
        return _read(elements, tag, reader)
    except ValueError:
        return None


def _by_kind(file: BinaryIO, header: Any, elements: Mapping[int, Any], record: Record) -> Record:
    if record["sop_class"] == RTSTRUCT:
        return {"kind": "rtstruct"} | structure_set(header)
    if record["sop_class"] in SEGMENTATIONS:
        return {"kind": "seg", "n_frames": _read(elements, *PIXELS["n_frames"])} | segmentation(header)
    if PIXELS["rows"][0] in elements and record["sop_class"] != DOSE:
        return {"kind": "image"} | _image(file, header, elements, record["modality"])
    if record["sop_class"] in CT_MR_PET:
        raise Rejected("UNREADABLE", "the file ends before it comes to its image")
    return {}


def _image(file: BinaryIO, header: Any, elements: Mapping[int, Any], modality: str | None) -> Record:
    found: Record = {key: _read(elements, *field) for key, field in PIXELS.items()}
    found |= {key: _lenient(elements, *field) for key, field in FACTS.items()}
    found["n_frames"] = found["n_frames"] or 1
    found["contrast"], found["burned_in"] = bool(found["contrast"]), bool(found["burned_in"])
    if found["signed"] and (found["pixel_padding"] or 0) > 32767:
        found["pixel_padding"] -= 65536
    syntax = header.file_meta.get("TransferSyntaxUID") or GUESSED_SYNTAX[header.original_encoding]
    found["transfer_syntax"] = str(syntax)
    found |= {"pixel_offset": None, "pixel_bytes": None, "float_pixels": False}
    if syntax != DEFLATED:
        found |= pixel_place(file, header)
    if modality == "PT":
        found |= _pet(header, elements)
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
    implicit, little = header.original_encoding
    start = file.tell()
    # Tag, then VR and two empty bytes when it is explicit, then the length.
    skipped = 8 if implicit else 12
    element = file.read(skipped)
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
    found = {key: _lenient(elements, *field) for key, field in PET.items()}
    tracers = items(header, TRACER_SEQUENCE)
    tracer = dict(tracers[0].items()) if tracers else {}
    return found | {key: _lenient(tracer, *field) for key, field in TRACER.items()}
