"""Compressed pixel data: where the fragments of a frame lie, and which size of picture they say they hold.

DICOM PS3.5 A.4 (fragments, offset table) and G (run lengths); ISO/IEC 10918-1 B.2.2 (JPEG, also JPEG-LS frames) and
15444-1 A.5.1 (JPEG 2000).
"""

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from cohortseg.errors import Rejected

JPEG_FAMILY = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
END_OF_IMAGE = b"\xff\xd9"
ITEM, END_OF_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""Second byte of the markers that begin a frame header of JPEG and JPEG-LS."""
BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
"""Those without a length."""


@dataclass(frozen=True)
class Fragments:
    """The items of compressed pixel data.

    Parameters
    ----------
    offsets : tuple of int
        Basic offset table: where each frame begins, counted from the first item after the table; often empty.
    places : tuple of (int, int)
        Where the value of each further item begins in the file, and its length.
    """

    offsets: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


def fragments_of(file: BinaryIO, offset: int, syntax: str) -> Fragments:
    """Walk the items of compressed pixel data: each must lie in the file, and the last one must end the picture.

    Parameters
    ----------
    file : binary file
    offset : int
        Where the value of the pixel data begins.
    syntax : str
        Transfer syntax UID.

    Raises
    ------
    Rejected
        TRUNCATED.
    """
    size = os.fstat(file.fileno()).st_size
    place = offset
    places: list[tuple[int, int]] = []
    while True:
        file.seek(place)
        item = file.read(8)
        if len(item) < 8 or item[:4] != ITEM:
            break
        length = int.from_bytes(item[4:], "little")
        places.append((place + 8, length))
        place += 8 + length
        if place > size:
            raise Rejected("TRUNCATED", f"compressed pixel data end {place - size} bytes too early")
    if item[:4] != END_OF_ITEMS:
        raise Rejected("TRUNCATED", "compressed pixel data without their end mark")
    if len(places) < 2:
        raise Rejected("TRUNCATED", "compressed pixel data without a fragment")
    _check_end(_tail(file, places[-1]), syntax)
    file.seek(places[0][0])
    table = file.read(places[0][1] // 4 * 4)
    return Fragments(struct.unpack(f"<{len(table) // 4}I", table), tuple(places[1:]))


def _tail(file: BinaryIO, place: tuple[int, int]) -> bytes:
    start, length = place
    file.seek(start + max(length - 16, 0))
    return file.read(min(length, 16))


def _ends(tail: bytes) -> bool:
    return tail.rstrip(b"\0\xff").endswith(END_OF_IMAGE)


def _check_end(tail: bytes, syntax: str) -> None:
    if syntax.startswith(JPEG_FAMILY) and not _ends(tail):
        raise Rejected("TRUNCATED", "a compressed picture without its end mark")


def frame_bytes(file: BinaryIO, fragments: Fragments, number: int, n_frames: int, syntax: str) -> bytes:
    """The codestream of one frame.

    Fragments are given to frames one by one where there are as many, else by the offset table, else by the marks that
    end a JPEG picture.

    Raises
    ------
    Rejected
        TRUNCATED, when there are too few fragments or the picture does not end; UNSUPPORTED_PIXELS, when nothing says
        which fragments belong to which frame.
    """
    data = b"".join(_value(file, place) for place in _places_of(file, fragments, number, n_frames, syntax))
    _check_end(data[-16:], syntax)
    return data


def _value(file: BinaryIO, place: tuple[int, int]) -> bytes:
    file.seek(place[0])
    return file.read(place[1])


def _places_of(
    file: BinaryIO, fragments: Fragments, number: int, n_frames: int, syntax: str
) -> Sequence[tuple[int, int]]:
    places = fragments.places
    if n_frames == 1:
        return places
    if len(places) < n_frames:
        raise Rejected("TRUNCATED", f"{len(places)} fragments for {n_frames} frames")
    if len(places) == n_frames:
        return places[number : number + 1]
    if len(fragments.offsets) == n_frames:
        first = places[0][0]
        starts = [*(first + offset for offset in fragments.offsets), places[-1][0] + 1]
        return [place for place in places if starts[number] <= place[0] < starts[number + 1]]
    if not syntax.startswith(JPEG_FAMILY):
        raise Rejected("UNSUPPORTED_PIXELS", f"{len(places)} fragments for {n_frames} frames, and no offset table")
    ends = [index + 1 for index, place in enumerate(places) if _ends(_tail(file, place))]
    if len(ends) < n_frames:
        raise Rejected("TRUNCATED", f"{len(ends)} pictures for {n_frames} frames")
    return places[ends[number - 1] if number else 0 : ends[number]]


def check_picture(data: bytes, record: Mapping[str, Any], syntax: str) -> None:
    """Refuse a compressed picture of another size than the header says.

    Parameters
    ----------
    data : bytes
        Codestream of one frame.
    record : dict
        With `rows`, `columns`, `samples`, `bits_allocated`.
    syntax : str
        Transfer syntax UID.

    Raises
    ------
    Rejected
        UNSUPPORTED_PIXELS; TRUNCATED, when run lengths end early.
    """
    samples = record.get("samples") or 1
    expected = (record["rows"], record["columns"], samples)
    if syntax == RLE:
        _check_runs(
            data, record["rows"] * record["columns"], record["columns"], samples * record["bits_allocated"] // 8
        )
        return
    found = _jpeg_2000_size(data) or _jpeg_size(data)
    if found is not None and found != expected:
        raise Rejected("UNSUPPORTED_PIXELS", f"a compressed picture of shape {found}, the header says {expected}")


def _jpeg_2000_size(data: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a JPEG 2000 codestream, bare or in a JP2 file."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 42:
        return None
    width, height, left, top = struct.unpack(">4I", data[start + 8 : start + 24])
    (components,) = struct.unpack(">H", data[start + 40 : start + 42])
    return height - top, width - left, components


def _jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a JPEG or JPEG-LS picture; None where the frame header does not tell."""
    if data[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in FRAME_MARKERS:
            rows, columns, components = struct.unpack(">HHB", data[place + 5 : place + 10])
            # The number of rows may follow the picture.
            return (rows, columns, components) if rows else None
        filled = marker == 0xFF
        bare = marker in BARE_MARKERS
        place += 1 if filled else 2 if bare else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _check_runs(data: bytes, n_pixels: int, columns: int, n_segments: int) -> None:
    """Count the bytes that the first segment of a run-length picture unpacks to: one for each pixel.

    All segments are as long; that the others hold enough, the decoder checks.
    """
    if len(data) < 64:
        raise Rejected("TRUNCATED", f"{len(data)} bytes of a run-length picture")
    count, first, second = struct.unpack("<3I", data[:12])
    if count != n_segments:
        raise Rejected("UNSUPPORTED_PIXELS", f"{count} run-length segments, the header says {n_segments}")
    segment = data[first : second if count > 1 else len(data)]
    place, unpacked, end = 0, 0, len(segment)
    while place < end - 1:
        control = segment[place]
        if control < 128:
            unpacked += min(control + 1, end - place - 1)
            place += control + 2
        else:
            # 128 means nothing.
            unpacked += 257 - control if control > 128 else 0
            place += 2 if control > 128 else 1
    if unpacked < n_pixels:
        raise Rejected("TRUNCATED", f"run lengths of {unpacked} pixels, the header says {n_pixels}")
    # A segment of odd length is filled up with one byte.
    if unpacked >= n_pixels + max(columns, 2):
        raise Rejected("UNSUPPORTED_PIXELS", f"run lengths of {unpacked} pixels, the header says {n_pixels}")
