"""The stored values of one slice: uncompressed ones straight from the file, others through pydicom's decoders.

Of a multi-frame file only the wanted frame is read. No byte may be missing, and no picture may have another size than
its header says: decoders pad or ignore what does not fit, so both are checked here (codestreams.py).
"""

import os
import warnings
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io.codestreams import Fragments, check_picture, fragments_of, frame_bytes
from cohortseg.io.elements import digest_before
from cohortseg.io.headers import DEFLATED, parse_header
from cohortseg.slices import slice_of
from cohortseg.volume import Array

Record: TypeAlias = Mapping[str, Any]
Identity: TypeAlias = tuple[int, int, int, int]

LITTLE_ENDIAN, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
NATIVE = ("1.2.840.10008.1.2", LITTLE_ENDIAN, BIG_ENDIAN)
RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
"""Beginnings of its syntaxes (of JPEG XL there is none)."""
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
PALETTE = "PALETTE COLOR"
PALETTE_TAGS = [0x00281101, 0x00281102, 0x00281103, *range(0x00281201, 0x00281204), *range(0x00281221, 0x00281224)]
DECODERS = ("pylibjpeg", "pyjpegls", "pillow", "gdcm")
"""The first that is there is used and no other is tried: gdcm ends the whole process when a JPEG-LS picture is smaller
than its header says, and pydicom's own RLE decoder reads such a picture in silence."""
BITS = ("bits_allocated", "bits_stored", "high_bit", "signed")
"""What says how the bits of a pixel make a number."""
PADDING_BYTES = 512
"""So many empty bytes behind the pixels are padding, even where they are as long as a row."""
UNCHANGED = (
    *("sop_uid", "rows", "columns", "position", "orientation", "pixel_spacing_mm", "slope", "intercept", "n_frames"),
    *("bits_allocated", "bits_stored", "high_bit", "signed", "samples", "planar", "photometric", "float_pixels"),
    *("transfer_syntax", "pixel_offset", "pixel_bytes", "pixel_padding"),
)
"""What a file without digest (a deflated one) must still say when its pixels are read."""


def check_readable(record: Record) -> None:
    """Refuse pixels that the header says cannot be read.

    Parameters
    ----------
    record : dict
        Flat record of a slice (`slices.slices_of`).

    Raises
    ------
    Rejected
        NO_FRAMES (a multi-frame file instead of one of its slices), UNSUPPORTED_PIXELS (bit depths and colour models
        that are not read, or more pixel data than the header speaks of), TRUNCATED (less), UNSUPPORTED_SYNTAX (no
        decoder).
    """
    if (record.get("n_frames") or 1) > 1 and record.get("frame") is None:
        raise Rejected("NO_FRAMES", f"a multi-frame object of {record['n_frames']} frames")
    samples, photometric = record.get("samples") or 1, record["photometric"]
    if (samples, photometric) not in {*((1, one) for one in (*GREY, PALETTE)), *((3, one) for one in COLOUR)}:
        raise Rejected("UNSUPPORTED_PIXELS", f"{samples} samples a pixel, {photometric}")
    _check_bits(record)
    if samples == 3 or photometric == PALETTE:
        _check_colour(record)
    if record["transfer_syntax"] not in (*NATIVE, DEFLATED) and decoder_of(record["transfer_syntax"]) is None:
        raise Rejected("UNSUPPORTED_SYNTAX", f"no decoder for transfer syntax {record['transfer_syntax']}")
    if record["transfer_syntax"] in NATIVE and record.get("pixel_bytes") is not None:
        _check_length(record, record["pixel_bytes"])


def _check_length(record: Record, n_bytes: int, behind: bytes | None = None) -> None:
    """Refuse uncompressed pixel data of another length than the matrix, its bits and frames need.

    A matrix or a bit depth that is said too small would show a part of the picture, or mix pixels. `behind` are the
    bytes that are left over, where they are at hand.
    """
    needed = _frame_length(record) * (record.get("n_frames") or 1)
    if n_bytes < needed:
        raise Rejected("TRUNCATED", f"{n_bytes} bytes of pixel data, the header speaks of {needed}")
    row = _frame_length(record) // (record["rows"] or 1)
    if n_bytes - needed >= max(row, 1) and (n_bytes - needed > PADDING_BYTES or any(behind or b"")):
        raise Rejected("UNSUPPORTED_PIXELS", f"{n_bytes} bytes of pixel data, the header speaks of {needed}")


def _check_bits(record: Record) -> None:
    allocated, floats = record["bits_allocated"], record["float_pixels"]
    if allocated not in ((32, 64) if floats else (8, 16, 32)):
        raise Rejected("UNSUPPORTED_PIXELS", f"{allocated} bits allocated{' for floating-point values' * floats}")
    stored, high = _bits(record)
    if not floats and record["signed"] not in (0, 1):
        raise Rejected("UNSUPPORTED_PIXELS", f"pixel representation {record['signed']}")
    if not floats and not stored - 1 <= high < allocated:
        raise Rejected("UNSUPPORTED_PIXELS", f"{stored} bits stored up to bit {high} of {allocated}")


def _check_colour(record: Record) -> None:
    allocated, photometric, syntax = record["bits_allocated"], record["photometric"], record["transfer_syntax"]
    stored, high = _bits(record)
    if allocated > 16 or record["signed"] or record["float_pixels"] or high != stored - 1:
        raise Rejected("UNSUPPORTED_PIXELS", f"{photometric} of {allocated} bits allocated, {stored} stored")
    wavelet = photometric in ("YBR_RCT", "YBR_ICT")
    halved = photometric == "YBR_FULL_422" and (record["columns"] or 0) % 2 and syntax in (*NATIVE, DEFLATED)
    swapped = photometric == PALETTE and syntax == BIG_ENDIAN
    if (wavelet and not syntax.startswith(JPEG_2000)) or halved or swapped:
        raise Rejected("UNSUPPORTED_PIXELS", f"{photometric} of {record['columns']} columns in syntax {syntax}")


def _bits(record: Record) -> tuple[int, int]:
    """Number of stored bits, and the place of the highest of them."""
    stored = record.get("bits_stored") or record["bits_allocated"]
    high = record.get("high_bit")
    return stored, stored - 1 if high is None else high


@cache
def decoder_of(syntax: str) -> str | None:
    """Name of the decoder to use, or None when there is none for the syntax."""
    from pydicom.pixels import get_decoder

    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return None
    return next((name for name in DECODERS if name in available), None)


def check_fragments(file: BinaryIO, offset: int, syntax: str) -> None:
    """Refuse compressed pixel data that end too early: see `codestreams.fragments_of`.

    Raises
    ------
    Rejected
        TRUNCATED.
    """
    fragments_of(file, offset, syntax)


def read_stored(path: str | Path, record: Record, *, doubtful: Collection[str] = ()) -> Array:
    """The stored values of one slice, after the file has proved to be the one of the record.

    Parameters
    ----------
    path : str or Path
        A file that is opened once (of a multi-frame file, twice for the first frame).
    record : dict
        Flat record of the slice (`slices.slices_of`) from when it was indexed, which `check_readable` has passed.
    doubtful : collection of str
        Those of `BITS` that the slices of a series do not agree on, so that one of them may be wrong: values that
        depend on them are refused (the highest stored bit is set, or one beyond the stored bits).

    Returns
    -------
    array, shape (rows, columns) or (rows, columns, 3)
        Before rescaling: integers; float32 or float64 for (double) float pixel data, which may hold NaN; uint8 or
        uint16 red, green and blue for colour. Only the stored bits count, with their sign (DICOM PS3.5 8.1.1).
        MONOCHROME1 is not inverted: it says how to show values, not what they are. Byte order may be the file's.

    Raises
    ------
    Rejected
        SOURCE_CHANGED, TRUNCATED, UNSUPPORTED_SYNTAX when the decoder fails on these data, UNSUPPORTED_PIXELS when a
        compressed picture has another size than the header says, a palette cannot be read, or values are doubtful.
    """
    try:
        with Path(path).open("rb") as file:
            identity = _identity(file)
            _check_unchanged(file, Path(path), identity, record)
            pixels = _read(file, Path(path), identity, record)
            stored = pixels if record["float_pixels"] or pixels.ndim == 3 else _justified(pixels, record)
            if doubtful:
                _check_certain(pixels, stored, record, doubtful)
            return _painted(file, stored) if record["photometric"] == PALETTE else stored
    except FileNotFoundError:
        raise Rejected("SOURCE_CHANGED", "a file vanished after it was indexed") from None


def _check_certain(pixels: Array, stored: Array, record: Record, doubtful: Collection[str]) -> None:
    """Refuse values that would be others if this slice were told as its neighbours are."""
    if stored.dtype.kind not in "iu":
        return
    n_bits, high = _bits(record)
    # With the highest bit set, a value is negative or large; a bit beyond it belongs to the value or does not.
    by_sign = "signed" in doubtful and bool(stored.min() < 0 or int(stored.max()) >> (n_bits - 1))
    beyond = (pixels >> high >> 1) if high + 1 < record["bits_allocated"] else np.zeros(1, np.int8)
    if by_sign or bool(((pixels != stored) & (beyond != 0)).any()):
        raise Rejected("UNSUPPORTED_PIXELS", f"slices differ in {', '.join(doubtful)}, and values depend on that")


def _identity(file: BinaryIO) -> Identity:
    facts = os.fstat(file.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _check_unchanged(file: BinaryIO, path: Path, identity: Identity, record: Record) -> None:
    number, expected = record.get("frame"), record.get("header_digest")
    if expected is not None:
        # The same bytes say the same: nothing is parsed again.
        offset = record["pixel_offset"]
        same = digest_before(file, offset) if number is None else _digest_of(path, identity, offset)
        if same != expected:
            raise Rejected("SOURCE_CHANGED", "the header of a file is another than when it was indexed")
        return
    try:
        found = parse_header(file) if number is None else _header_of(path, identity)
    except Rejected as broken:
        raise Rejected("SOURCE_CHANGED", f"a file is no longer readable: {broken.found}") from broken
    if found is not None and number is not None:
        found = slice_of(found, number) if number < len(found.get("frames", ())) else None
    differs = [key for key in UNCHANGED if found is None or found.get(key) != record.get(key)]
    if differs:
        raise Rejected("SOURCE_CHANGED", f"a file says something else than when it was indexed: {', '.join(differs)}")


@lru_cache(maxsize=2)
def _digest_of(path: Path, identity: Identity, offset: int) -> str | None:
    """The digest of the header of a multi-frame file, made once for all its frames."""
    with path.open("rb") as file:
        return digest_before(file, offset) if _identity(file) == identity else None


@lru_cache(maxsize=2)
def _header_of(path: Path, identity: Identity) -> dict[str, Any] | None:
    """The header of a multi-frame file, parsed once for all its frames."""
    with path.open("rb") as file:
        return parse_header(file) if _identity(file) == identity else None


@lru_cache(maxsize=2)
def _fragments_of(path: Path, identity: Identity, offset: int, syntax: str) -> Fragments:
    """The compressed fragments of a multi-frame file, found once for all its frames."""
    with path.open("rb") as file:
        if _identity(file) != identity:
            raise Rejected("SOURCE_CHANGED", "a file changed while it was read")
        return fragments_of(file, offset, syntax)


def _read(file: BinaryIO, path: Path, identity: Identity, record: Record) -> Array:
    syntax, number = record["transfer_syntax"], record.get("frame") or 0
    if syntax not in (*NATIVE, DEFLATED):
        single = record.get("frame") is None
        place = record["pixel_offset"]
        fragments = fragments_of(file, place, syntax) if single else _fragments_of(path, identity, place, syntax)
        return _decompressed(frame_bytes(file, fragments, number, record["n_frames"] or 1, syntax), record)
    data = _inflated(file, record, number) if syntax == DEFLATED else _plain(file, record, number)
    if (record.get("samples") or 1) == 3:
        return _decoded(data, record, LITTLE_ENDIAN if syntax == DEFLATED else syntax)
    pixels: Array = np.frombuffer(data, _dtype(record)).reshape(record["rows"], record["columns"])
    return pixels


def _dtype(record: Record) -> np.dtype[Any]:
    order = ">" if record["transfer_syntax"] == BIG_ENDIAN else "<"
    kind = "f" if record["float_pixels"] else "i" if record["signed"] else "u"
    return np.dtype(f"{order}{kind}{record['bits_allocated'] // 8}")


def _justified(pixels: Array, record: Record) -> Array:
    """The stored bits alone: what stands above and below them (overlays, noise) is pushed out, the sign is kept."""
    allocated, (stored, high) = record["bits_allocated"], _bits(record)
    if stored == allocated:
        return pixels
    below = high + 1 - stored
    if below and (pixels & ((1 << below) - 1)).any():
        raise Rejected("UNSUPPORTED_PIXELS", f"values in the {below} bits below the {stored} that are stored")
    shifted: Array = (pixels << (allocated - 1 - high)) >> (allocated - stored)
    return shifted


# ---- uncompressed ---------------------------------------------------------------------------------------------------


def _frame_length(record: Record) -> int:
    """Bytes of one uncompressed frame."""
    samples = 2 if record["photometric"] == "YBR_FULL_422" else record.get("samples") or 1
    return int((record["rows"] or 0) * (record["columns"] or 0) * samples * record["bits_allocated"] // 8)


def _plain(file: BinaryIO, record: Record, number: int) -> bytes:
    needed = _frame_length(record)
    if record["pixel_bytes"] is None:
        raise Rejected("UNSUPPORTED_SYNTAX", "pixel data in fragments under an uncompressed transfer syntax")
    first, end = number * needed, min((number + 1) * needed, record["pixel_bytes"])
    swapped = record["bits_allocated"] == 8 and record["transfer_syntax"] == BIG_ENDIAN and _in_words(file, record)
    # Bytes that were swapped in pairs are read in pairs.
    lead, tail = (first % 2, end % 2) if swapped else (0, 0)
    file.seek(record["pixel_offset"] + first - lead)
    data = file.read(max(end + tail - first + lead, 0))
    if swapped:
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()[lead:]
    if number + 1 == (record.get("n_frames") or 1):
        _check_length(record, record["pixel_bytes"], file.read(min(record["pixel_bytes"] - end, PADDING_BYTES)))
    return _whole(data[:needed], needed)


def _in_words(file: BinaryIO, record: Record) -> bool:
    """Whether the pixel data are words (VR OW): tag, VR, two empty bytes and length stand before them."""
    file.seek(record["pixel_offset"] - 8)
    return file.read(2) == b"OW"


def _inflated(file: BinaryIO, record: Record, number: int) -> bytes:
    from pydicom import dcmread

    file.seek(0)
    elements = dcmread(file)
    names = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    data = next((elements[name].value for name in names if name in elements), b"") or b""
    needed = _frame_length(record)
    _check_length(record, len(data), data[needed * (record.get("n_frames") or 1) :])
    return _whole(data[number * needed : (number + 1) * needed], needed)


def _whole(data: bytes, needed: int) -> bytes:
    if len(data) < needed:
        raise Rejected("TRUNCATED", f"{len(data)} of {needed} bytes of a slice are there")
    return data


# ---- through a decoder ----------------------------------------------------------------------------------------------


def _decompressed(data: bytes, record: Record) -> Array:
    from pydicom.encaps import encapsulate

    syntax = record["transfer_syntax"]
    check_picture(data, record, syntax)
    return _decoded(encapsulate([data]), record, syntax)


def _decoded(data: bytes, record: Record, syntax: str) -> Array:
    """One frame through pydicom: the picture unpacked, its samples put side by side, YCbCr turned into RGB."""
    from pydicom.pixels import get_decoder

    samples = record.get("samples") or 1
    # Decoders warn of padding that is quite usual.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels, _ = get_decoder(syntax).as_array(
                data,
                index=0,
                raw=samples == 1,
                decoding_plugin=(decoder_of(syntax) or "") if syntax not in NATIVE else "",
                rows=record["rows"],
                columns=record["columns"],
                samples_per_pixel=samples,
                photometric_interpretation=record["photometric"],
                planar_configuration=record.get("planar") or 0,
                bits_allocated=record["bits_allocated"],
                bits_stored=_bits(record)[0],
                pixel_representation=record["signed"] or 0,
                number_of_frames=1,
                pixel_keyword="PixelData",
                pixel_vr="OB",
                correct_unused_bits=samples == 3,
            )
        except Exception as error:
            # They raise whatever they like, in words that may hold a path: only the kind is told.
            found = f"no decoder could read syntax {syntax} ({type(error).__name__})"
            raise Rejected("UNSUPPORTED_SYNTAX", found) from error
    expected = (record["rows"], record["columns"], *([3] if samples == 3 else []))
    if pixels.shape != expected:
        raise Rejected("UNSUPPORTED_PIXELS", f"a compressed picture of shape {pixels.shape}, not what the header says")
    return np.asarray(pixels)


def _painted(file: BinaryIO, indices: Array) -> Array:
    """Colours of the palette of a file (DICOM PS3.3 C.7.9)."""
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut

    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            palette = dcmread(file, stop_before_pixels=True, force=True, specific_tags=PALETTE_TAGS)
            entries, _, bits = palette.RedPaletteColorLookupTableDescriptor
            if (entries or 65536) > 256 and bits == 8:
                raise Rejected("UNSUPPORTED_PIXELS", f"a palette of {entries or 65536} entries of 8 bits")
            return np.asarray(apply_color_lut(indices, palette))[..., :3]
    except (AttributeError, ValueError, IndexError, TypeError) as error:
        if isinstance(error, Rejected):
            raise
        raise Rejected("UNSUPPORTED_PIXELS", f"a palette that cannot be read ({type(error).__name__})") from error
