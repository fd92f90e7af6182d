"""Header and voxels of a NIfTI-1 file.

The voxels are not left to SimpleITK: it reads NaN and infinity in NIfTI as 0, and a file that ends early as if zeros
followed, without a word. Source: the NIfTI-1 header, nifti1.h (Cox et al. 2004).
"""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cohortseg.errors import Rejected
from cohortseg.volume import Array

Matrix = npt.NDArray[np.float64]

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""Type of a voxel by its code; colour, complex numbers and single bits are not among them."""
UNITS_MM = {0: ("unknown", 1.0), 1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("micron", 0.001)}
HEADER_BYTES = 348
PIECE_BYTES = 1 << 22
"""Whole voxels of any type."""
INT16 = np.iinfo(np.int16)
LARGEST_WHOLE_SCALE = 2.0**30


@dataclass(frozen=True)
class NiftiHeader:
    """Numbers of a header.

    Parameters
    ----------
    sizes : tuple of int
        Voxels along x, y, z and further axes.
    dtype : dtype or None
        Type of a stored voxel; None where it is no number.
    scale : (float, float) or None
        A voxel means factor * stored + summand; None where it means what is stored.
    first_byte : int
        Where the voxels begin.
    unit : str
        'mm', 'm', 'micron' or 'unknown' (taken as mm).
    unit_mm : float
        Length of the unit.
    pixdim_mm : (float, float, float)
        Distance of voxels along x, y, z.
    qform, sform : float array, shape (4, 4), or None
        Voxel index (x, y, z, 1) to world (LPS, mm); None where its code is 0.
    """

    sizes: tuple[int, ...]
    dtype: np.dtype[Any] | None
    scale: tuple[float, float] | None
    first_byte: int
    unit: str
    unit_mm: float
    pixdim_mm: tuple[float, float, float]
    qform: Matrix | None
    sform: Matrix | None


def read_header(path: str | Path, broken: str = "UNREADABLE") -> NiftiHeader | None:
    """The header of a NIfTI file.

    Parameters
    ----------
    path : str or Path
        Any file; packed with gzip or not.
    broken : str
        Reason code for a header that cannot be.

    Returns
    -------
    NiftiHeader or None
        None when the file is no NIfTI-1 in one piece.

    Raises
    ------
    Rejected
        `broken`: damaged gzip, sizes or scales that cannot be, NIfTI-2.
    """
    try:
        with _opened(Path(path)) as stream:
            raw = stream.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        raise Rejected(broken, "the header cannot be unpacked") from None
    if raw[4:8] == b"n+2\0":
        raise Rejected(broken, "a NIfTI-2 file; NIfTI-1 is needed")
    if len(raw) < HEADER_BYTES or raw[344:348] != b"n+1\0":
        return None
    order = "<" if raw[:4] == struct.pack("<i", HEADER_BYTES) else ">"

    def numbers(kind: str, place: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + kind, raw, place)

    n_axes, *sizes = numbers("8h", 40)
    (code,) = numbers("h", 70)
    qfac, *pixdim = numbers("8f", 76)
    first_byte, slope, inter = numbers("3f", 108)
    if not 1 <= n_axes <= 7 or min(sizes[:n_axes]) < 1 or not 0 <= first_byte < 2**31:
        raise Rejected(broken, f"{n_axes} axes of sizes {sizes}, voxels from byte {first_byte}")
    # Both NaN is how some writers say "not scaled".
    if math.isfinite(slope) != math.isfinite(inter) and inter != 0:
        raise Rejected("NOT_A_NUMBER", f"the header scales voxels by {slope:g} and {inter:g}")
    unit, unit_mm = UNITS_MM.get(raw[123] & 7, UNITS_MM[0])
    pixdim_mm = (pixdim[0] * unit_mm, pixdim[1] * unit_mm, pixdim[2] * unit_mm)
    q_code, s_code = numbers("hh", 252)
    dtype = np.dtype(order + DTYPES[code]) if code in DTYPES else None
    return NiftiHeader(
        sizes=tuple(sizes[:n_axes]),
        dtype=dtype,
        scale=(slope, inter) if math.isfinite(slope) and slope != 0 and (slope, inter) != (1, 0) else None,
        first_byte=int(first_byte),
        unit=unit,
        unit_mm=unit_mm,
        pixdim_mm=pixdim_mm,
        qform=_qform(numbers("6f", 256), pixdim_mm, qfac, unit_mm) if q_code > 0 else None,
        sform=_lps(np.reshape(numbers("12f", 280), (3, 4)) * unit_mm) if s_code > 0 else None,
    )


def read_voxels(
    path: str | Path, header: NiftiHeader, *, narrow: bool, broken: str = "UNREADABLE", volume: int = 0
) -> Array:
    """The voxels of one volume; memory holds them and one piece of the file.

    Parameters
    ----------
    path : str or Path
        A NIfTI file.
    header : NiftiHeader
        Its header.
    narrow : bool
        int16 when all voxels are integers that fit, else float32. Otherwise the stored type, float32 when scaled.
    broken : str
        Reason code for damaged gzip.
    volume : int
        Which of several, from 0.

    Returns
    -------
    array, shape (z, y, x)
        The scale of the header is applied.

    Raises
    ------
    Rejected
        TRUNCATED, `broken`, UNSUPPORTED_PIXELS (voxels that are no numbers), NOT_A_NUMBER.
    """
    if header.dtype is None:
        raise Rejected("UNSUPPORTED_PIXELS", "voxels of a type other than integers and floats of 8 to 64 bits")
    shape = (*header.sizes[:3], 1, 1)[2::-1]
    n_voxels, dtype = math.prod(shape), _first_dtype(header, narrow)
    voxels: Array = np.empty(n_voxels, dtype)
    done = lost = 0
    try:
        with _opened(Path(path)) as stream:
            _skip(stream, header.first_byte + volume * n_voxels * header.dtype.itemsize)
            while done < n_voxels and (stored := _next(stream, n_voxels - done, header.dtype)).size:
                meant = _scaled(stored, header.scale)
                if voxels.dtype == np.int16 and narrow and (meant.min() < INT16.min or meant.max() > INT16.max):
                    voxels = voxels.astype(np.float32)
                with np.errstate(over="ignore"):
                    voxels[done : done + stored.size] = meant
                if voxels.dtype.kind == "f":
                    lost += int(np.count_nonzero(~np.isfinite(voxels[done : done + stored.size])))
                done += stored.size
            n_rest = _skip(stream, None)  # the check sum of gzip stands at its end
    except EOFError:
        raise Rejected("TRUNCATED", f"packed data end after {done} of {n_voxels} voxels") from None
    except (OSError, zlib.error) as error:
        raise Rejected(broken, f"damaged packed data ({type(error).__name__})") from None
    n_later = math.prod(header.sizes) - (volume + 1) * n_voxels
    if done < n_voxels or n_rest < n_later * header.dtype.itemsize:
        raise Rejected("TRUNCATED", f"{done} of {n_voxels} voxels, {n_rest} bytes after them")
    if lost:
        raise Rejected("NOT_A_NUMBER", f"{lost} voxels are NaN, infinite or too large")
    return voxels.reshape(shape)


def corners_apart_mm(one: Matrix, other: Matrix, sizes: tuple[int, ...]) -> float:
    """Largest distance of the corner voxels of an image under two affines, in mm."""
    last = [n - 1 for n in (*sizes, 1, 1)[:3]]
    corners = np.array([[x, y, z, 1] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])], dtype=float)
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    # GzipFile is an IO[bytes] in all but name.
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _skip(stream: IO[bytes], n_bytes: int | None) -> int:
    """Read past so many bytes, or to the end; returns how many there were."""
    done = 0
    while part := stream.read(PIECE_BYTES if n_bytes is None else min(PIECE_BYTES, n_bytes - done)):
        done += len(part)
    return done


def _next(stream: IO[bytes], n_voxels: int, dtype: np.dtype[Any]) -> Array:
    """The next voxels, at most one piece; fewer only at the end of the file."""
    parts: list[bytes] = []
    missing = min(PIECE_BYTES, n_voxels * dtype.itemsize)
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    piece = b"".join(parts)
    return np.frombuffer(piece[: len(piece) // dtype.itemsize * dtype.itemsize], dtype)


def _first_dtype(header: NiftiHeader, narrow: bool) -> Any:
    """int16 for integers as long as they fit."""
    is_whole = header.dtype is not None and header.dtype.kind in "iu"
    if header.scale is not None:
        is_whole = is_whole and all(
            number.is_integer() and abs(number) < LARGEST_WHOLE_SCALE for number in header.scale
        )
    if narrow:
        return np.int16 if is_whole else np.float32
    return np.float32 if header.dtype is None or header.scale is not None else header.dtype.newbyteorder("=")


def _scaled(stored: Array, scale: tuple[float, float] | None) -> Array:
    return stored if scale is None else stored.astype(np.float64) * scale[0] + scale[1]


def _lps(rows: npt.NDArray[Any]) -> Matrix:
    """Rows of a world (x, y, z) in RAS as an affine to LPS."""
    affine = np.eye(4)
    affine[:3] = rows * np.array([[-1.0], [-1.0], [1.0]])
    return affine


def _qform(numbers: tuple[Any, ...], pixdim_mm: tuple[float, ...], qfac: float, unit_mm: float) -> Matrix:
    """The affine of quaternion, offset and sizes; nifti1.h, method 2."""
    b, c, d, *offset = numbers
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    scale = np.array(pixdim_mm) * (1, 1, -1 if qfac < 0 else 1)
    return _lps(np.column_stack([turn * scale, np.array(offset) * unit_mm]))
