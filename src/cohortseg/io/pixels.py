"""The stored integers of one slice: uncompressed ones straight from the file, others through pydicom's decoders.

No byte may be missing: decoders pad or ignore what is cut off, so lengths are checked here.
"""

import os
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.headers import DEFLATED, parse_header
from cohortseg.volume import Array

Record: TypeAlias = Mapping[str, Any]

BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN)
JPEG_FAMILY = "1.2.840.10008.1.2.4."
GREY = ("MONOCHROME1", "MONOCHROME2")
DECODERS = ("pylibjpeg", "pyjpegls", "pillow", "gdcm")
"""The first that is there is used and no other is tried: gdcm ends the whole process when a JPEG-LS picture is smaller
than its header says, and pydicom's own RLE decoder reads such a picture in silence."""
UNCHANGED = (
    *("sop_uid", "rows", "columns", "position", "orientation", "pixel_spacing_mm", "slope", "intercept"),
    *("bits_allocated", "bits_stored", "signed", "transfer_syntax", "pixel_offset", "pixel_bytes", "pixel_padding"),
)
"""What a file must still say when its pixels are read."""


def check_readable(record: Record) -> None:
    """Refuse pixels that the header says cannot be read.

    Raises
    ------
    Rejected
        UNSUPPORTED_PIXELS (colour, palette, multi-frame, odd bit depths) or UNSUPPORTED_SYNTAX (no decoder).
    """
    bits, photometric = record["bits_allocated"], record["photometric"]
    if record["samples"] not in (None, 1) or photometric not in GREY:
        raise Rejected("UNSUPPORTED_PIXELS", f"{record['samples']} samples a pixel, {photometric}")
    if record["float_pixels"]:
        raise Rejected("UNSUPPORTED_PIXELS", "floating-point pixel data")
    if bits not in (8, 16, 32) or (record["n_frames"] or 1) > 1:
        raise Rejected("UNSUPPORTED_PIXELS", f"{bits} bits allocated, {record['n_frames']} frames")
    if record["transfer_syntax"] not in (*NATIVE, DEFLATED) and decoder_of(record["transfer_syntax"]) is None:
        raise Rejected("UNSUPPORTED_SYNTAX", f"no decoder for transfer syntax {record['transfer_syntax']}")


@cache
def decoder_of(syntax: str) -> str | None:
    """Name of the decoder to use, or None when there is none for the syntax."""
    from pydicom.pixels import get_decoder

    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return None
    return next((name for name in DECODERS if name in available), None)


def read_stored(path: str | Path, record: Record) -> Array:
    """The stored integers of one slice, after the file has proved to be the one of the record.

    Parameters
    ----------
    path : str or Path
        A file that is opened once.
    record : dict
        Its record of `read_header`, from when it was indexed.

    Returns
    -------
    integer array, shape (rows, columns)
        Before rescaling. MONOCHROME1 is not inverted: it says how to show values, not what they are.

    Raises
    ------
    Rejected
        SOURCE_CHANGED, TRUNCATED, or UNSUPPORTED_SYNTAX when every decoder fails on these data.
    """
    try:
        with Path(path).open("rb") as file:
            _check_unchanged(file, record)
            return _read(file, record)
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "a file vanished after it was indexed") from None


def _read(file: BinaryIO, record: Record) -> Array:
    if record["transfer_syntax"] == DEFLATED:
        return _inflated_pixels(file, record)
    if record["transfer_syntax"] not in NATIVE:
        check_fragments(file, record["pixel_offset"], record["transfer_syntax"])
        return _decoded_pixels(file, record)
    if record["transfer_syntax"] == BIG_ENDIAN and record["bits_allocated"] == 8:
        # Single bytes may have been swapped in pairs: pydicom knows when.
        return _decoded_pixels(file, record)
    return _native_pixels(file, record)


def _check_unchanged(file: BinaryIO, record: Record) -> None:
    try:
        found = parse_header(file)
    except Rejected as broken:
        raise Rejected("SOURCE_CHANGED", f"a file is no longer readable: {broken.found}") from broken
    differs = [key for key in UNCHANGED if found is None or found.get(key) != record.get(key)]
    if differs:
        raise Rejected("SOURCE_CHANGED", f"a file says something else than when it was indexed: {', '.join(differs)}")


def _dtype(record: Record) -> np.dtype[Any]:
    order = ">" if record["transfer_syntax"] == BIG_ENDIAN else "<"
    return np.dtype(f"{order}{'i' if record['signed'] else 'u'}{record['bits_allocated'] // 8}")


def _native_pixels(file: BinaryIO, record: Record) -> Array:
    needed = record["rows"] * record["columns"] * _dtype(record).itemsize
    if record["pixel_bytes"] is None:
        raise Rejected("UNSUPPORTED_SYNTAX", "pixel data in fragments under an uncompressed transfer syntax")
    file.seek(record["pixel_offset"])
    data = file.read(min(needed, record["pixel_bytes"]))
    if len(data) < needed:
        raise Rejected("TRUNCATED", f"{len(data)} of {needed} bytes of a slice are there")
    return _shaped(data, record)


def _shaped(data: bytes, record: Record) -> Array:
    pixels: Array = np.frombuffer(data, _dtype(record)).reshape(record["rows"], record["columns"])
    if not record.get("overlay_bit"):
        return pixels
    # Old scanners drew overlays into the bits above the stored ones: push them out, keeping the sign.
    unused = record["bits_allocated"] - (record["bits_stored"] or record["bits_allocated"])
    shifted: Array = (pixels << unused) >> unused
    return shifted


def check_fragments(file: BinaryIO, offset: int, syntax: str) -> None:
    """Walk the items of compressed pixel data: each must lie in the file, and the last one must end the picture.

    Raises
    ------
    Rejected
        TRUNCATED.
    """
    size = os.fstat(file.fileno()).st_size
    place, last = offset, (0, 0)
    while True:
        file.seek(place)
        item = file.read(8)
        if len(item) < 8 or item[:4] != b"\xfe\xff\x00\xe0":
            break
        length = int.from_bytes(item[4:], "little")
        place, last = place + 8 + length, (place + 8, length)
        if place > size:
            raise Rejected("TRUNCATED", f"compressed pixel data end {place - size} bytes too early")
    if item[:4] != b"\xfe\xff\xdd\xe0":
        raise Rejected("TRUNCATED", "compressed pixel data without their end mark")
    file.seek(last[0] + max(last[1] - 16, 0))
    tail = file.read(min(last[1], 16)).rstrip(b"\0\xff")
    if syntax.startswith(JPEG_FAMILY) and not tail.endswith(b"\xff\xd9"):
        raise Rejected("TRUNCATED", "a compressed picture without its end mark")


def _decoded_pixels(file: BinaryIO, record: Record) -> Array:
    from pydicom.pixels import pixel_array

    file.seek(0)
    try:
        # Decoders warn of padding that is quite usual.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.asarray(
                pixel_array(file, raw=True, decoding_plugin=decoder_of(record["transfer_syntax"]) or "")
            )
    except Exception as error:
        # They raise whatever they like, in words that may hold a path: only the kind is told.
        found = f"no decoder could read syntax {record['transfer_syntax']} ({type(error).__name__})"
        raise Rejected("UNSUPPORTED_SYNTAX", found) from error
    if pixels.shape != (record["rows"], record["columns"]):
        raise Rejected("UNSUPPORTED_PIXELS", f"a compressed picture of shape {pixels.shape}, not what the header says")
    return pixels


def _inflated_pixels(file: BinaryIO, record: Record) -> Array:
    from pydicom import dcmread

    file.seek(0)
    data = dcmread(file).PixelData
    needed = record["rows"] * record["columns"] * _dtype(record).itemsize
    if len(data) < needed:
        raise Rejected("TRUNCATED", f"{len(data)} of {needed} bytes of a slice are there")
    return _shaped(data[:needed], record)
