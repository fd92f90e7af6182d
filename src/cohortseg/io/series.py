"""The voxels of a DICOM series, slab by slab: HU, SUV or rescaled values, whatever the length of the series.

What the headers promise is settled first; then each file is opened once, and memory holds one slab (and two slices,
where slices are blended or shifted).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.geometry import Stack
from cohortseg.io.mend import Blend, Bools, Floats, mix, shift_plane
from cohortseg.io.pixels import BITS, check_readable, read_stored
from cohortseg.io.suv import Kind, suv_factor
from cohortseg.volume import Array, Shape

Record: TypeAlias = Mapping[str, Any]
Source: TypeAlias = tuple[str, Record]
Colour: TypeAlias = Literal["grey", "red", "green", "blue"]

SLOPES, LARGEST_INTERCEPT = (1e-20, 1e20), 1e20
"""No factor beyond these is meant: all values would be one, or infinite."""
INT16 = np.iinfo(np.int16)
AIR_HU = -1024.0
"""New voxels of a CT that names no padding: the lowest value of most scanners."""
COLOUR_SHARES: dict[str, tuple[float, float, float]] = {
    "grey": (0.299, 0.587, 0.114),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}
"""Of red, green and blue; grey is the luminance of ITU-R BT.601."""


class Digest(Protocol):
    """Anything of `hashlib`."""

    def update(self, data: Any, /) -> None:
        """Take in more bytes."""


class Int16OverflowError(ArithmeticError):
    """A value does not fit 16 bits: open the series again with `wide=True`."""


@dataclass(frozen=True)
class Series:
    """A series whose headers promise readable voxels.

    Parameters
    ----------
    paths, records : tuple
        Files and their slice records in slice order; a multi-frame file occurs once for each of its frames.
    shape : (int, int, int)
        Slices, rows, columns: of what comes out, which a mend may have made larger than what goes in.
    dtype : numpy dtype
        int16 when stored values and every rescale slope and intercept are whole numbers and SUV plays no part; else
        float32.
    unit : str
        'HU', 'SUV' or '' (arbitrary).
    factor : float
        Multiplies the rescaled values (SUV); else 1.
    facts : dict
        What a sidecar may say: `rescale_slopes` (smallest, largest), `rescale_missing` (slices without slope and
        intercept; they count as 1 and 0), `pixel_padding` (stored values that mark no data: kept as they are),
        `monochrome1` (shown inverted; HU and SUV are not touched by that), `transfer_syntaxes`, `suv_factor`,
        `warnings` (a CT of which no slice says how to come to HU).
    blend, shift_yx
        As in `Stack`, in the order of `paths`.
    copies : dict
        Slices that were left out as copies of the one at a place: their files must hold the same pixels.
    colour : {'grey', 'red', 'green', 'blue'}
        What is taken of colour pictures.
    doubtful : tuple of str
        What slices say differently of their bits: see `read_stored`.
    """

    paths: tuple[str, ...]
    records: tuple[Record, ...]
    shape: Shape
    dtype: np.dtype[Any]
    unit: str
    factor: float
    facts: dict[str, Any]
    blend: tuple[Blend, ...] | None = None
    shift_yx: tuple[tuple[float, float], ...] | None = None
    copies: Mapping[int, tuple[Source, ...]] = field(default_factory=dict)
    colour: Colour = "grey"
    doubtful: tuple[str, ...] = ()


def open_series(
    paths: Sequence[str | Path],
    records: Sequence[Record],
    *,
    stack: Stack | None = None,
    wide: bool = False,
    suv: Kind = "bw",
    colour: Colour = "grey",
) -> Series:
    """Decide from the headers alone how the voxels of a series will be read.

    Parameters
    ----------
    paths, records : sequence
        Files and their slice records: as they were given to `stack_geometry` where there is a `stack`, else in slice
        order.
    stack : Stack, optional
        Puts the slices in order, and says what is left out, blended and shifted.
    wide : bool
        float32 whatever the slopes: the answer to `Int16OverflowError`.
    suv : {'bw', 'lbm', 'bsa'}
        What PET uptake is divided by: `suv_factor`.
    colour : {'grey', 'red', 'green', 'blue'}
        What is taken of colour pictures: their luminance or one of their channels.

    Raises
    ------
    Rejected
        NO_FRAMES, TRUNCATED, UNSUPPORTED_PIXELS, UNSUPPORTED_SYNTAX; BAD_RESCALE, when some slices lack a slope or
        an intercept that says something in others, or one is zero or absurd; NO_UNITS for PET.
    """
    copies: dict[int, tuple[Source, ...]] = {}
    if stack is not None:
        copies = _copies(paths, records, stack)
        paths, records = [paths[place] for place in stack.order], [records[place] for place in stack.order]
    for record in (*records, *(record for group in copies.values() for _, record in group)):
        check_readable(record)
    _check_rescale(records)
    factor = _factor(records, suv)
    slopes = [_slope(record) for record in records]
    whole = all(slope.is_integer() and _intercept(r).is_integer() for slope, r in zip(slopes, records, strict=True))
    silent = records[0].get("modality") == "CT" and all(record.get("intercept") is None for record in records)
    narrow = whole and factor == 1.0 and not wide and not any(record.get("float_pixels") for record in records)
    modality = records[0].get("modality")
    plain = (len(records), int(records[0]["rows"]), int(records[0]["columns"]))
    return Series(
        paths=tuple(str(path) for path in paths),
        records=tuple(records),
        shape=plain if stack is None else stack.grid.shape,
        dtype=np.dtype(np.int16 if narrow else np.float32),
        unit={"CT": "HU", "PT": "SUV"}.get(str(modality), ""),
        factor=factor,
        facts={
            "rescale_slopes": [min(slopes), max(slopes)],
            "rescale_missing": sum(record.get("slope") is None for record in records),
            "pixel_padding": sorted({r["pixel_padding"] for r in records if r.get("pixel_padding") is not None}),
            "monochrome1": any(record["photometric"] == "MONOCHROME1" for record in records),
            "transfer_syntaxes": sorted({record["transfer_syntax"] for record in records}),
            "suv_factor": factor if modality == "PT" else None,
            "warnings": ["no slice carries a rescale intercept: stored values are taken as HU"] if silent else [],
        },
        blend=None if stack is None else stack.blend,
        shift_yx=None if stack is None else stack.shift_yx,
        copies=copies,
        colour=colour,
        doubtful=tuple(key for key in BITS if len({record.get(key) for record in records}) > 1),
    )


def read_slabs(series: Series, *, slab: int = 64, digest: Digest | None = None) -> Iterator[tuple[int, Array]]:
    """The voxels in blocks of `slab` slices; memory holds one block, however long the series.

    Slices are shifted first and blended then, both linearly on rescaled values. Whole numbers stay whole: they are
    rounded once at the end, halves to the even neighbour. Padding is not mixed with values: the nearer of two is
    taken. New voxels of shifted slices hold the padding value; without one, -1024 HU for CT, else the smallest value
    of their slice.

    Parameters
    ----------
    series : Series
        From `open_series`.
    slab : int
        Slices in a block; the last block may be thinner.
    digest : hashlib object, optional
        Fed with the voxels in order (C order, little endian): equal images have equal digests.

    Yields
    ------
    (int, array)
        Index of the first slice, and an array of `series.dtype`, shape (<= slab, rows, columns); a new one each time.

    Raises
    ------
    Rejected
        SOURCE_CHANGED, TRUNCATED, UNSUPPORTED_SYNTAX (the decoders fail on these data), NOT_A_NUMBER,
        DUPLICATE_POSITION (a slice that was left out as a copy holds other pixels).
    Int16OverflowError
        When a value does not fit `series.dtype`.
    """
    n_slices, rows, columns = series.shape
    mended = _mended_planes(series) if series.blend is not None or series.shift_yx is not None else None
    for first in range(0, n_slices, slab):
        # A header may claim any size: nothing is allocated before a slice has proved to be so large.
        stored = _stored(series, first) if mended is None else next(mended)
        block = np.empty((min(slab, n_slices - first), rows, columns), series.dtype)
        for offset in range(len(block)):
            if offset:
                stored = _stored(series, first + offset) if mended is None else next(mended)
            if mended is None:
                _rescale(stored, series.records[first + offset], series.factor, out=block[offset])
            else:
                block[offset] = np.rint(stored) if series.dtype == np.int16 else stored
        if digest is not None:
            digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False))
        yield first, block


def read_series(
    paths: Sequence[str | Path], records: Sequence[Record], *, stack: Stack | None = None
) -> tuple[Array, Series]:
    """The whole series in memory, int16 where it fits; for series known to be small."""
    for wide in (False, True):
        series = open_series(paths, records, stack=stack, wide=wide)
        try:
            return np.concatenate([block for _, block in read_slabs(series)]), series
        except Int16OverflowError:
            continue
    raise AssertionError("float32 does not overflow")  # pragma: no cover


def _copies(paths: Sequence[str | Path], records: Sequence[Record], stack: Stack) -> dict[int, tuple[Source, ...]]:
    """The slices left out as copies, by the place in the order of the one that is used."""
    found: dict[int, tuple[Source, ...]] = {}
    places = {used: place for place, used in enumerate(stack.order)}
    for kept, copy in stack.repeats:
        place = places[kept]
        found[place] = (*found.get(place, ()), (str(paths[copy]), records[copy]))
    return found


def _stored(series: Series, place: int) -> Array:
    """The stored numbers of one slice, which its copies must share."""
    record = series.records[place]
    stored = read_stored(series.paths[place], record, doubtful=series.doubtful)
    for path, copy in series.copies.get(place, ()):
        same = (_slope(copy), _intercept(copy)) == (_slope(record), _intercept(record))
        if not (same and np.array_equal(read_stored(path, copy, doubtful=series.doubtful), stored)):
            raise Rejected("DUPLICATE_POSITION", "two slices at one position hold different values")
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise Rejected("NOT_A_NUMBER", "a slice of floating-point pixels holds NaN or infinite values")
    if stored.ndim == 2:
        return stored
    mixed: Array = np.rint(stored @ np.array(COLOUR_SHARES[series.colour])).astype(stored.dtype)
    return mixed


def _mended_planes(series: Series) -> Iterator[Floats]:
    """Slices of the grid, shifted and blended; two source slices are held."""
    held: dict[int, tuple[Floats, Bools]] = {}
    for lower, upper, weight in series.blend or [(place, place, 0.0) for place in range(series.shape[0])]:
        held = {place: held[place] if place in held else _shifted(series, place) for place in (lower, upper)}
        yield held[lower][0] if lower == upper else mix(*held[lower], *held[upper], weight)[0]


def _shifted(series: Series, place: int) -> tuple[Floats, Bools]:
    """One rescaled source slice in the matrix of the grid, and where it holds padding."""
    record, stored = series.records[place], _stored(series, place)
    values = np.empty(stored.shape, series.dtype)
    _rescale(stored, record, series.factor, out=values)
    empty = (
        stored == record["pixel_padding"] if record.get("pixel_padding") is not None else np.zeros(stored.shape, bool)
    )
    plane = values.astype(np.float64)
    if series.shift_yx is None:
        return plane, empty
    return shift_plane(plane, empty, series.shift_yx[place], series.shape[1:], _fill(series, record, plane))


def _fill(series: Series, record: Record, plane: Floats) -> float:
    """The value of voxels that no slice covers."""
    if record.get("pixel_padding") is not None:
        value = (record["pixel_padding"] * _slope(record) + _intercept(record)) * series.factor
        return float(np.clip(value, INT16.min, INT16.max)) if series.dtype == np.int16 else float(value)
    return AIR_HU if series.unit == "HU" else float(plane.min())


def _check_rescale(records: Sequence[Record]) -> None:
    """A slice without a factor that the others carry would lie on another scale than they."""
    for record in records:
        slope, intercept = _slope(record), _intercept(record)
        if not SLOPES[0] <= abs(slope) <= SLOPES[1] or abs(intercept) > LARGEST_INTERCEPT:
            raise Rejected("BAD_RESCALE", f"a rescale slope of {slope:g} and intercept of {intercept:g}")
    for key, neutral in (("slope", 1.0), ("intercept", 0.0)):
        values = [record.get(key) for record in records]
        lacking = values.count(None)
        if lacking and any(value not in (None, neutral) for value in values):
            raise Rejected("BAD_RESCALE", f"{lacking} of {len(values)} slices lack the rescale {key} of the others")


def _slope(record: Record) -> float:
    return 1.0 if record.get("slope") is None else float(record["slope"])


def _intercept(record: Record) -> float:
    return float(record.get("intercept") or 0.0)


def _factor(records: Sequence[Record], kind: Kind) -> float:
    """The SUV factor of a PET series, which all its slices share; 1 for other modalities."""
    if records[0].get("modality") != "PT":
        return 1.0
    units = sorted({str(record.get("units")) for record in records})
    if len(units) > 1:
        raise Rejected("NO_UNITS", f"slices of {len(units)} different units")
    # Of the slices of several beds, the first acquired marks the start of the scan.
    first = min(records, key=lambda r: (r.get("acquisition_date") or "", r.get("acquisition_time") or ""))
    return suv_factor(first, kind=kind)


def _rescale(stored: Array, record: Record, factor: float, *, out: Array) -> None:
    """Write stored * slope + intercept, times the factor, into `out`."""
    slope, intercept = _slope(record), _intercept(record)
    if out.dtype != np.int16:
        values = stored.astype(np.float64)
        values *= slope
        values += intercept
        values *= factor
        out[...] = values
        return
    # Of a line the ends are the extremes.
    low, high = sorted(int(end) * int(slope) + int(intercept) for end in (stored.min(), stored.max()))
    if low >= INT16.min and high <= INT16.max:
        # Arithmetic in 16 bits wraps around, so that what fits in the end is exact whatever happens on the way.
        np.copyto(out, stored, casting="unsafe")
        if slope != 1:
            out *= _wrapped(slope)
        out += _wrapped(intercept)
    elif max(-low, high) >= 2**62:
        raise Int16OverflowError(f"values from {low} to {high}")
    else:
        wide: npt.NDArray[Any] = stored.astype(np.int64)
        wide *= int(slope)
        wide += int(intercept)
        padding = stored == record.get("pixel_padding")
        if (~padding & ((wide < INT16.min) | (wide > INT16.max))).any():
            raise Int16OverflowError(f"values from {low} to {high}")
        # Padding marks no data: it may stop at the end of the range.
        out[...] = np.clip(wide, INT16.min, INT16.max)


def _wrapped(number: float) -> np.int16:
    """A whole number modulo 2^16."""
    return np.int16((int(number) + 2**15) % 2**16 - 2**15)
