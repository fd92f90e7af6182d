"""What one DICOM element says: pydicom's raw elements as plain values.

Decoding the ordinary way builds and validates an object for each element: twice the time of the whole header.
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

UNDEFINED = 0xFFFFFFFF
"""Length of an element that ends at a mark."""


def text(raw: Any) -> str | None:
    """All values joined by a backslash, or None when empty (code strings, dates, numbers, UIDs: plain ASCII)."""
    return raw.value.decode("latin-1").strip(" \0") or None if raw.value else None


def words(raw: Any, charset: list[str]) -> str | None:
    """Free text in the character set of the file, or None when empty."""
    if not raw.value:
        return None
    value: bytes = raw.value
    if value.isascii() and b"\x1b" not in value:
        return text(raw)
    from pydicom.charset import decode_bytes

    return decode_bytes(value, charset, set("\\^=")).strip(" \0") or None


def reals(raw: Any) -> list[float] | None:
    """Decimal strings as finite numbers, or None when empty; ValueError when one of them is no number."""
    written = text(raw)
    if written is None:
        return None
    numbers = [float(part) for part in written.split("\\")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"not finite: {len(numbers)} numbers")
    return numbers


def real(raw: Any) -> float | None:
    """The first decimal string as a number."""
    numbers = reals(raw)
    return numbers[0] if numbers else None


def lone(raw: Any) -> float | None:
    """The one decimal string as a number; ValueError when there are several, of which none can be chosen."""
    numbers = reals(raw)
    if numbers and len(numbers) > 1:
        raise ValueError(f"{len(numbers)} numbers instead of one")
    return numbers[0] if numbers else None


def whole(raw: Any) -> int | None:
    """An integer string as a number."""
    number = real(raw)
    return None if number is None else int(number)


def short(raw: Any) -> int | None:
    """An unsigned 16-bit integer."""
    return int.from_bytes(raw.value[:2], "little" if raw.is_little_endian else "big") if raw.value else None


def long(raw: Any) -> int | None:
    """The first unsigned 32-bit integer."""
    numbers = longs(raw)
    return numbers[0] if numbers else None


def longs(raw: Any) -> list[int] | None:
    """Unsigned 32-bit integers, or None when empty; ValueError when bytes are left over."""
    return [int(number) for number in _unpacked(raw, "I", 4)] or None


def single(raw: Any) -> float | None:
    """The first 32-bit floating point number; ValueError when it is not finite."""
    numbers = _finite(_unpacked(raw, "f", 4))
    return numbers[0] if numbers else None


def double(raw: Any) -> float | None:
    """The first 64-bit floating point number; ValueError when it is not finite."""
    numbers = doubles(raw)
    return numbers[0] if numbers else None


def doubles(raw: Any) -> list[float] | None:
    """64-bit floating point numbers, or None when empty; ValueError when one is not finite or bytes are left over."""
    return _finite(_unpacked(raw, "d", 8)) or None


def _unpacked(raw: Any, code: str, size: int) -> tuple[Any, ...]:
    value: bytes = raw.value or b""
    if len(value) % size:
        raise ValueError(f"{len(value)} bytes are no whole number of values of {size}")
    return struct.unpack(f"{'<' if raw.is_little_endian else '>'}{len(value) // size}{code}", value)


def _finite(numbers: Iterable[float]) -> list[float]:
    found = [float(number) for number in numbers]
    if not all(map(math.isfinite, found)):
        raise ValueError(f"not finite: {len(found)} numbers")
    return found


def yes(raw: Any) -> bool:
    """Whether the element says YES."""
    return text(raw) == "YES"


def filled(raw: Any) -> bool:
    """Whether the element holds anything but a denial."""
    return (text(raw) or "NONE").upper() not in ("NONE", "NO", "N")


def encodings(header: Any) -> list[str]:
    """Character sets of a data set, for `words`."""
    from pydicom.charset import convert_encodings

    return list(convert_encodings(header.original_character_set))


def check_complete(header: Any) -> None:
    """ValueError when a value is shorter than its element says: pydicom bears a cut-off file in silence."""
    for raw in header.values():
        if raw.is_raw and len(raw.value or b"") < raw.length < UNDEFINED:
            raise ValueError("the file ends inside an element")


def digest_before(file: BinaryIO, offset: int) -> str:
    """Digest of what stands in a file before a place: whether its header is still the one that was read."""
    file.seek(0)
    return hashlib.blake2b(file.read(offset), digest_size=16).hexdigest()


def read(elements: Mapping[int, Any], tag: int, reader: Any) -> Any:
    """What a reader of this file makes of an element; None when it is missing."""
    raw = elements.get(tag)
    return None if raw is None else reader(raw)


def lenient(elements: Mapping[int, Any], tag: int, reader: Any) -> Any:
    """As `read`, but None also when the element holds something else than it should."""
    try:
        return read(elements, tag, reader)
    except ValueError:
        return None


def elements_of(dataset: Any) -> dict[int, Any]:
    """The elements of a data set by their tag as a plain number: pydicom compares its own tags slowly."""
    return {int(tag): raw for tag, raw in dataset.items()}


def items(dataset: Any, tag: int) -> list[Any]:
    """The items of a sequence; none when it is missing or empty."""
    return list(dataset[tag].value or []) if tag in dataset else []


def texts(datasets: Iterable[Any], tag: int) -> list[str]:
    """The distinct texts of one element over many data sets, sorted."""
    return sorted({value for one in datasets if tag in one and (value := text(one.get_item(tag)))})
