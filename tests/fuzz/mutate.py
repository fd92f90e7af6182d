"""Seeded damage to files and to series; each names its class, so that one knows what a reader could notice.

The same generator gives the same damage.
"""

import io
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.uid import generate_uid

Draw = np.random.Generator

LONG = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
VRS = (b"US", b"SS", b"UL", b"FL", b"FD", b"DS", b"IS", b"LO", b"UI", b"SQ", b"OB", b"UN", b"AT", b"zz")
UNDETECTABLE = {
    "PixelData": "stored values, and compressed pictures, carry no checksum",
    "RescaleSlope": "each slice may have its own slope",
    "RescaleIntercept": "each slice may have its own intercept",
    "ContourData": "contours carry no checksum",
}
"""Elements whose other, valid value in one file no reader can tell from the right one."""
SYNTAXES = (
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.3", ""),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"),
    *("1.2.840.10008.1.2.4.100", "\xff\xfe", "1.2.840.10008.1.2.4.201"),
)


def _short(*numbers: int) -> list[bytes]:
    return [number.to_bytes(2, "little") for number in numbers]


def _words(*texts: str) -> list[bytes]:
    return [text.encode() + b" " * (len(text) % 2) for text in texts]


NOT_NUMBERS = _words("nan", "inf", "-inf", "1e300", "1e-300", "abc", "1\\2\\3", "", "1,5")
ABSURD: dict[str, list[bytes]] = {
    "Rows": [*_short(0, 1, 19, 65535), b"", b"\1"],
    "Columns": [*_short(0, 1, 17, 65535), b"", b"\1"],
    "BitsAllocated": _short(0, 1, 8, 12, 32, 64, 65535),
    "BitsStored": _short(0, 1, 17, 65535),
    "HighBit": _short(0, 16, 65535),
    "PixelRepresentation": _short(1, 2, 65535),
    "SamplesPerPixel": _short(0, 3, 65535),
    "NumberOfFrames": _words("0", "-1", "2", "999999999", "", "x"),
    "PhotometricInterpretation": _words("RGB", "PALETTE COLOR", "YBR_FULL", "", "MONOCHROME9"),
    "PixelSpacing": _words("0\\0", "-1\\1", "nan\\nan", "1e30\\1e30", "inf\\1", "1", "", "a\\b", "1\\2\\3"),
    "ImagePositionPatient": _words("nan\\0\\0", "1e308\\0\\0", "inf\\0\\0", "0\\0", "", "a\\b\\c", "0\\0\\0"),
    "ImageOrientationPatient": _words(
        *(
            "0\\0\\0\\0\\0\\0",
            "1\\0\\0\\1\\0\\0",
            "nan\\0\\0\\0\\1\\0",
            "2\\0\\0\\0\\2\\0",
            "",
            "1\\0\\0",
            "0\\1\\0\\1\\0\\0",
        )
    ),
    "RescaleSlope": [*NOT_NUMBERS, *_words("0")],
    "RescaleIntercept": NOT_NUMBERS,
    "SliceThickness": NOT_NUMBERS,
    "InstanceNumber": _words("-1", "99999999999999", "", "x"),
    "Modality": _words("MR", "XX", ""),
    "FrameOfReferenceUID": _words("1.2.3", ""),
    "SeriesInstanceUID": _words("1.2.3", "", "../../etc"),
    "SOPInstanceUID": _words("1.2.3", ""),
    "PatientID": _words("OTHER", "", "../../x", "a\\b"),
    "SpecificCharacterSet": _words("ISO_IR 192", "nonsense", "\\\\\\"),
    "PixelPaddingValue": _short(0, 1024),
    "SOPClassUID": _words("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3", "1.2", ""),
}


@dataclass(frozen=True)
class Damage:
    """The bytes of a damaged file, the kind of damage, and where it is."""

    kind: str
    where: str
    data: bytes


@dataclass(frozen=True)
class Element:
    """Where a top-level element of an explicit little-endian file stands."""

    keyword: str
    start: int
    value: int
    end: int
    vr: bytes

    @property
    def length_at(self) -> tuple[int, int]:
        """Place and size of its length field."""
        size = 4 if self.vr in LONG else 2
        return self.value - size, size


def elements(data: bytes) -> list[Element]:
    """The top-level elements, meta header included, as far as they can be followed."""
    found, place = [], 132
    while place + 8 <= len(data):
        tag = int.from_bytes(data[place : place + 2], "little") << 16 | int.from_bytes(
            data[place + 2 : place + 4], "little"
        )
        vr = data[place + 4 : place + 6]
        value = place + (12 if vr in LONG else 8)
        length = int.from_bytes(data[value - (4 if vr in LONG else 2) : value], "little")
        end = len(data) if length == 0xFFFFFFFF else min(value + length, len(data))
        found.append(Element(keyword_for_tag(tag) or f"{tag:08x}", place, value, end, vr))
        place = end
    return found


# ---- damage to one file ---------------------------------------------------------------------------------------------


def flip(data: bytes, draw: Draw, first: int, last: int) -> bytes:
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        changed[int(draw.integers(first, max(last, first + 1)))] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def _pixels_at(data: bytes) -> int:
    place = max(data.find(b"\xe0\x7f\x10\x00"), data.find(b"\x7f\xe0\x00\x10"))
    return place if place > 0 else len(data)


def flip_anywhere(data: bytes, draw: Draw) -> Damage:
    return Damage("bits anywhere", "", flip(data, draw, 0, len(data)))


def flip_header(data: bytes, draw: Draw) -> Damage:
    return Damage("bits in the header", "", flip(data, draw, 128, _pixels_at(data)))


def flip_pixels(data: bytes, draw: Draw) -> Damage:
    return Damage("bits in the pixels", "", flip(data, draw, min(_pixels_at(data), len(data) - 1), len(data)))


def truncate(data: bytes, draw: Draw) -> Damage:
    keep = int(draw.integers(0, len(data)))
    return Damage("cut off", f"at {keep} of {len(data)}", data[:keep])


def delete_range(data: bytes, draw: Draw) -> Damage:
    first, length = int(draw.integers(0, len(data))), int(draw.integers(1, 200))
    return Damage("bytes deleted", f"{first}+{length}", data[:first] + data[first + length :])


def duplicate_range(data: bytes, draw: Draw) -> Damage:
    first, length = int(draw.integers(0, len(data))), int(draw.integers(1, 200))
    return Damage("bytes doubled", f"{first}+{length}", data[: first + length] + data[first:])


def _one(data: bytes, draw: Draw, *, meta: bool = False) -> Element:
    """A top-level element; of the data set only, where the meta header is not meant."""
    known = [one for one in elements(data) if meta or (one.start >= 132 and not one.keyword.startswith("FileMeta"))]
    return known[int(draw.integers(len(known)))]


def swap_tags(data: bytes, draw: Draw) -> Damage:
    one, other = _one(data, draw), _one(data, draw)
    changed = bytearray(data)
    changed[one.start : one.start + 4], changed[other.start : other.start + 4] = (
        data[other.start : other.start + 4],
        data[one.start : one.start + 4],
    )
    return Damage("tags swapped", f"{one.keyword}, {other.keyword}", bytes(changed))


def wrong_vr(data: bytes, draw: Draw) -> Damage:
    one, vr = _one(data, draw), VRS[int(draw.integers(len(VRS)))]
    return Damage("wrong VR", f"{one.keyword} {vr!r}", data[: one.start + 4] + vr + data[one.start + 6 :])


def wrong_length(data: bytes, draw: Draw) -> Damage:
    one = _one(data, draw, meta=True)
    place, size = one.length_at
    choices = [
        0,
        1,
        2,
        2 ** (8 * size) - 1,
        2 ** (8 * size - 1),
        one.end - one.value + 2,
        max(one.end - one.value - 2, 0),
    ]
    length = choices[int(draw.integers(len(choices)))]
    changed = data[:place] + length.to_bytes(size, "little") + data[place + size :]
    return Damage("wrong length", f"{one.keyword} {length}", changed)


def absurd_value(data: bytes, draw: Draw) -> Damage:
    present = [one for one in elements(data) if one.keyword in ABSURD]
    if not present:
        return flip_header(data, draw)
    one = present[int(draw.integers(len(present)))]
    choices = ABSURD[one.keyword]
    return with_value(data, one.keyword, choices[int(draw.integers(len(choices)))])


def absurd_syntax(data: bytes, draw: Draw) -> Damage:
    syntax = SYNTAXES[int(draw.integers(len(SYNTAXES)))].encode("latin1")
    return with_value(data, "TransferSyntaxUID", syntax + b"\0" * (len(syntax) % 2), "absurd syntax")


def with_value(data: bytes, keyword: str, value: bytes, kind: str = "absurd value") -> Damage:
    """The file with another value of one element, or with the element added."""
    found = [one for one in elements(data) if one.keyword == keyword]
    if not found:
        tag = tag_for_keyword(keyword) or 0
        after = next((one.start for one in elements(data) if (tag_for_keyword(one.keyword) or 0) > tag), len(data))
        head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
        new = head + pydicom.datadict.dictionary_VR(tag).split()[0].encode() + len(value).to_bytes(2, "little") + value
        return Damage(kind, f"{keyword} {value!r}", data[:after] + new + data[after:])
    place, size = found[0].length_at
    changed = data[:place] + len(value).to_bytes(size, "little") + value + data[found[0].end :]
    return Damage(kind, f"{keyword} {value!r}", changed)


def nested(data: bytes, draw: Draw) -> Damage:
    """A sequence of sequences that is cut, endless or of wrong lengths, put between two elements."""
    one = _one(data, draw)
    depth, item = int(draw.integers(1, 60)), b"\xfe\xff\x00\xe0"
    lengths = [b"\xff\xff\xff\xff", b"\x10\x00\x00\x00", b"\xf0\xff\xff\x7f", b"\0\0\0\0"]
    sequence = b""
    for _ in range(depth):
        sequence += b"\x40\x00\x60\xa7SQ\0\0" + lengths[int(draw.integers(4))] + item + lengths[int(draw.integers(4))]
    sequence += b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * int(draw.integers(0, depth + 1))
    return Damage(
        "nested sequences", f"{depth} deep before {one.keyword}", data[: one.start] + sequence + data[one.start :]
    )


def private_garbage(data: bytes, draw: Draw) -> Damage:
    one = _one(data, draw)
    garbage = draw.bytes(int(draw.integers(1, 200)) * 2)
    new = b"\x09\x00\x10\x10UN\0\0" + len(garbage).to_bytes(4, "little") + garbage
    return Damage("private garbage", f"before {one.keyword}", data[: one.start] + new + data[one.start :])


ANY_FILE: tuple[Callable[[bytes, Draw], Damage], ...] = (
    *(flip_anywhere, flip_header, flip_header, flip_pixels, truncate, delete_range, duplicate_range),
)
EXPLICIT: tuple[Callable[[bytes, Draw], Damage], ...] = (
    *(swap_tags, wrong_vr, wrong_length, absurd_value, absurd_value, absurd_value, absurd_syntax, nested),
    private_garbage,
)


def damage(data: bytes, draw: Draw, *, explicit: bool) -> Damage:
    """Some damage to one file; `explicit`: it is explicit little-endian, so that its elements can be followed."""
    kinds = (*ANY_FILE, *EXPLICIT) if explicit else ANY_FILE
    return kinds[int(draw.integers(len(kinds)))](data, draw)


def undetectable(before: bytes, after: bytes) -> str | None:
    """Why no reader can notice that the values of one file differ: an element has another value that is valid too."""
    pixels = _pixels_at(before) + 12
    if len(before) == len(after) and pixels < len(before) and before[pixels:] != after[pixels:]:
        return UNDETECTABLE["PixelData"]
    old, new = _contents(before), _contents(after)
    for path in sorted(set(old) & set(new)):
        keyword = path[-1]
        if keyword == "PixelData" and _length(new[path]) < _length(old[path]):
            # What lacks is noticed.
            continue
        if keyword in UNDETECTABLE and old[path] != new[path] and _plausible(new[path]):
            return UNDETECTABLE[keyword]
    return None


def _length(value: Any) -> int:
    return len(value) if isinstance(value, bytes) else 0


def _plausible(value: Any) -> bool:
    """Whether a value is one that could be meant; numbers alone are judged."""
    return bool(value) and (not isinstance(value, float) or 0 < abs(value) < 1e6)


def _contents(data: bytes) -> dict[tuple[Any, ...], Any]:
    """Values by their path, as another parser sees them; what it cannot read is not there."""

    def walk(dataset: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        for tag in sorted(dataset.keys()):
            try:
                one = dataset[tag]
            except Exception:
                continue
            here = (*path, one.keyword or f"{int(tag):08x}")
            if one.VR == "SQ":
                for number, item in enumerate(one.value or []):
                    yield from walk(item, (*here, number))
                    here = (*path, one.keyword or f"{int(tag):08x}")
            else:
                yield here, one.value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(walk(pydicom.dcmread(io.BytesIO(data), force=True), ()))
        except Exception:
            return {}


# ---- damage to a series ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeriesDamage:
    """What was done to a folder of series; slices (series, k) whose values nobody can check any more."""

    kind: str
    where: str
    hidden: frozenset[tuple[int, int]] = frozenset()
    exact: bool = False
    """Nothing that matters changed: the series must be accepted as it was."""
    foreign: bool = False
    """One slice belongs to something else now: its series may not be accepted with it."""


def _edit(path: Path, **values: Any) -> None:
    one = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(one, keyword, value)
    if "SOPInstanceUID" in values:
        one.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    one.save_as(path, enforce_file_format=True)


def _some(files: Sequence[Sequence[Path]], draw: Draw) -> tuple[int, int, Path]:
    series = int(draw.integers(len(files)))
    k = int(draw.integers(len(files[series])))
    return series, k, files[series][k]


def _values(path: Path) -> dict[str, Any]:
    one = pydicom.dcmread(path)
    return {
        "position": [float(number) for number in one.ImagePositionPatient],
        "orientation": [float(number) for number in one.ImageOrientationPatient],
        "rows": int(one.Rows),
        "series": str(one.SeriesInstanceUID),
        "sop": str(one.SOPInstanceUID),
    }


def drop(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    path.unlink()
    return SeriesDamage("slice dropped", f"{k} of {series}")


def duplicate(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    shutil.copy(path, path.with_name("copy.dcm"))
    return SeriesDamage("file twice", f"{k} of {series}", exact=True)


def duplicate_as_new(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    shutil.copy(path, path.with_name("copy.dcm"))
    _edit(path.with_name("copy.dcm"), SOPInstanceUID=generate_uid(entropy_srcs=[str(draw.integers(2**31))]))
    return SeriesDamage("slice twice", f"{k} of {series}")


def shuffle(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    names = [
        path.with_name(f"x{number:03d}") for path, number in zip(files[0], draw.permutation(len(files[0])), strict=True)
    ]
    for path, name in zip(files[0], names, strict=True):
        path.rename(name)
        _edit(name, InstanceNumber=int(draw.integers(1, 1000)))
    files[0][:] = names
    return SeriesDamage("names and numbers shuffled", "", exact=True)


def swap_uids(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    one, other = files[0][int(draw.integers(4))], files[0][4 + int(draw.integers(4))]
    first, second = _values(one)["sop"], _values(other)["sop"]
    _edit(one, SOPInstanceUID=second)
    _edit(other, SOPInstanceUID=first)
    return SeriesDamage("instance UIDs swapped", "", exact=True)


def shift(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    axis, by = int(draw.integers(3)), float(draw.choice([-6.0, -2.5, -1.0, -0.3, 0.3, 1.0, 2.5, 40.0]))
    position = _values(path)["position"]
    position[axis] += by
    _edit(path, ImagePositionPatient=[f"{number:.4f}" for number in position])
    return SeriesDamage("position shifted", f"{k} of {series} by {by} along {axis}")


def turn(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    a, b, c, d, e, f = _values(path)["orientation"]
    ways = [[d, e, f, a, b, c], [-a, -b, -c, d, e, f], [a, b, c, -d, -e, -f], [0.9962, 0.0872, 0, -0.0872, 0.9962, 0]]
    _edit(path, ImageOrientationPatient=ways[int(draw.integers(4))])
    return SeriesDamage("orientation changed", f"{k} of {series}")


def mix_in(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    k = int(draw.integers(len(files[1])))
    _edit(files[1][k], SeriesInstanceUID=_values(files[0][0])["series"])
    return SeriesDamage("slice mixed into another series", str(k))


def swap_slices(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    k = int(draw.integers(len(files[0])))
    first, second = _values(files[0][k])["series"], _values(files[1][k])["series"]
    _edit(files[0][k], SeriesInstanceUID=second)
    _edit(files[1][k], SeriesInstanceUID=first)
    # Same patient, frame and place: nothing tells them apart.
    return SeriesDamage("slices swapped between series", str(k), hidden=frozenset({(0, k), (1, k)}))


def swap_patients(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    k = int(draw.integers(len(files[0])))
    _edit(files[0][k], PatientID="OTHER", PatientName="OTHER")
    return SeriesDamage("slice of another patient", str(k), foreign=True)


def change_slope(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    _edit(path, RescaleSlope="2")
    return SeriesDamage("slope of one slice", f"{k} of {series}", hidden=frozenset({(series, k)}))


def change_rows(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    _edit(path, Rows=_values(path)["rows"] - int(draw.integers(1, 5)))
    return SeriesDamage("rows of one slice", f"{k} of {series}")


def change_frame(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    series, k, path = _some(files, draw)
    _edit(path, FrameOfReferenceUID="1.2.3.4")
    return SeriesDamage("frame of reference of one slice", f"{k} of {series}", foreign=True)


CONSISTENT = (("PixelRepresentation", b"\1\0"), ("ImageOrientationPatient", b"0\\1\\0\\1\\0\\0 "))
"""What is a valid header of another image when all slices say so: signed values, and rows exchanged with columns."""


def absurd_in_all(files: list[list[Path]], draw: Draw) -> SeriesDamage:
    keywords = sorted(
        set(ABSURD) - {"SeriesInstanceUID", "SOPInstanceUID", "PatientID", "Modality", "FrameOfReferenceUID"}
    )
    keyword = keywords[int(draw.integers(len(keywords)))]
    choices = [value for value in ABSURD[keyword] if (keyword, value) not in CONSISTENT]
    value = choices[int(draw.integers(len(choices)))]
    for path in files[0]:
        path.write_bytes(with_value(path.read_bytes(), keyword, value).data)
    every = frozenset((0, k) for k in range(len(files[0])))
    hidden = keyword in ("RescaleSlope", "RescaleIntercept") and _possible(value)
    return SeriesDamage("absurd value in all slices", f"{keyword} {value!r}", every if hidden else frozenset())


def _possible(value: bytes) -> bool:
    """Whether a rescale value may be meant: a number, or none in any slice."""
    try:
        return not value.strip() or 0 < abs(float(value)) < 1e6
    except ValueError:
        return False


SERIES: tuple[Callable[[list[list[Path]], Draw], SeriesDamage], ...] = (
    *(drop, duplicate, duplicate_as_new, shuffle, swap_uids, shift, shift, turn, mix_in, swap_slices, swap_patients),
    *(change_slope, change_rows, change_frame, absurd_in_all, absurd_in_all, absurd_in_all, absurd_in_all),
)
