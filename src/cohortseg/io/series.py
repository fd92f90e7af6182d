"""The voxels of a DICOM series, slab by slab: HU, SUV or rescaled values, whatever the length of the series.

What the headers promise is settled first; then each file is opened once, and memory holds one slab.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.io.pixels import check_readable, read_stored
from cohortseg.io.suv import suv_factor
from cohortseg.volume import Array, Shape

Record: TypeAlias = Mapping[str, Any]

INT16 = np.iinfo(np.int16)


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
        Files and their header records in slice order.
    shape : (int, int, int)
        Slices, rows, columns.
    dtype : numpy dtype
        int16 when every rescale slope and intercept is a whole number and SUV plays no part; else float32.
    unit : str
        'HU', 'SUV' or '' (arbitrary).
    factor : float
        Multiplies the rescaled values (SUV); else 1.
    facts : dict
        What a sidecar may say: `rescale_slopes` (smallest, largest), `rescale_missing` (slices without slope and
        intercept; they count as 1 and 0), `pixel_padding` (stored values that mark no data: kept as they are),
        `monochrome1` (shown inverted; HU and SUV are not touched by that), `transfer_syntaxes`, `suv_factor`.
    """

    paths: tuple[str, ...]
    records: tuple[Record, ...]
    shape: Shape
    dtype: np.dtype[Any]
    unit: str
    factor: float
    facts: dict[str, Any]


def open_series(paths: Sequence[str | Path], records: Sequence[Record], *, wide: bool = False) -> Series:
    """Decide from the headers alone how the voxels of a series will be read.

    Parameters
    ----------
    paths, records : sequence
        Files and their records of `read_header`, both in slice order (`stack_geometry`).
    wide : bool
        float32 whatever the slopes: the answer to `Int16OverflowError`.

    Raises
    ------
    Rejected
        UNSUPPORTED_PIXELS, UNSUPPORTED_SYNTAX; NO_UNITS for PET.
    """
    for record in records:
        check_readable(record)
    factor = _factor(records)
    slopes = [_slope(record) for record in records]
    whole = all(slope.is_integer() and _intercept(r).is_integer() for slope, r in zip(slopes, records, strict=True))
    narrow = whole and factor == 1.0 and not wide
    modality = records[0].get("modality")
    return Series(
        paths=tuple(str(path) for path in paths),
        records=tuple(records),
        shape=(len(records), int(records[0]["rows"]), int(records[0]["columns"])),
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
        },
    )


def read_slabs(series: Series, *, slab: int = 64, digest: Digest | None = None) -> Iterator[tuple[int, Array]]:
    """The voxels in blocks of `slab` slices; memory holds one block, however long the series.

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
        SOURCE_CHANGED, TRUNCATED, UNSUPPORTED_SYNTAX (the decoders fail on these data).
    Int16OverflowError
        When a value does not fit `series.dtype`.
    """
    n_slices, rows, columns = series.shape
    for first in range(0, n_slices, slab):
        block = np.empty((min(slab, n_slices - first), rows, columns), series.dtype)
        for offset in range(len(block)):
            record = series.records[first + offset]
            _rescale(read_stored(series.paths[first + offset], record), record, series.factor, out=block[offset])
        if digest is not None:
            digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False))
        yield first, block


def read_series(paths: Sequence[str | Path], records: Sequence[Record]) -> tuple[Array, Series]:
    """The whole series in memory, int16 where it fits; for series known to be small."""
    for wide in (False, True):
        series = open_series(paths, records, wide=wide)
        try:
            return np.concatenate([block for _, block in read_slabs(series)]), series
        except Int16OverflowError:
            continue
    raise AssertionError("float32 does not overflow")  # pragma: no cover


def _slope(record: Record) -> float:
    return 1.0 if record.get("slope") is None else float(record["slope"])


def _intercept(record: Record) -> float:
    return float(record.get("intercept") or 0.0)


def _factor(records: Sequence[Record]) -> float:
    """The SUV factor of a PET series, which all its slices share; 1 for other modalities."""
    if records[0].get("modality") != "PT":
        return 1.0
    units = sorted({str(record.get("units")) for record in records})
    if len(units) > 1:
        raise Rejected("NO_UNITS", f"slices of {len(units)} different units")
    # Of the slices of several beds, the first acquired marks the start of the scan.
    return suv_factor(min(records, key=lambda r: (r.get("acquisition_date") or "", r.get("acquisition_time") or "")))


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
    fits_32 = stored.itemsize < 4 and abs(slope) < 2**14 and abs(intercept) < 2**30
    wide: npt.NDArray[Any] = stored.astype(np.int32 if fits_32 else np.int64)
    wide *= int(slope)
    wide += int(intercept)
    low, high = wide.min(), wide.max()
    if low < INT16.min or high > INT16.max:
        padding = stored == record.get("pixel_padding")
        if (~padding & ((wide < INT16.min) | (wide > INT16.max))).any():
            raise Int16OverflowError(f"values from {low} to {high}")
        # Padding marks no data: it may stop at the end of the range.
        np.clip(wide, INT16.min, INT16.max, out=wide)
    out[...] = wide
