"""NIfTI, NRRD and MetaImage files of images that are larger than the memory, written slab by slab.

The header is that of `itk.write_image`: SimpleITK writes it for an image of one voxel with the same grid, and the
sizes are put in. The voxels follow as they come, in the order in which all three formats hold them (x fastest). Read
again, the file is the same image; its bytes are others, because SimpleITK compresses with another library.
"""

import os
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from cohortseg.errors import StudyError
from cohortseg.io.itk import write_image
from cohortseg.volume import Array, Grid, Shape, Volume

LEVEL = 4
"""Of zlib: labels become hardly smaller beyond it."""
GZIP, ZLIB = 31, 15
"""Window bits that ask zlib for a gzip file (without a time), or for a plain stream."""
NIFTI_SIZES = 42
"""Where a NIfTI-1 header holds the sizes along x, y, z: three 16-bit numbers."""
NIFTI_HEADER = 352
MOST_ALONG_AXIS = 32767


def write_slabs(path: Path, grid: Grid, dtype: Any, slabs: Iterable[tuple[int, Array]]) -> None:
    """Write an image whose slabs (z0, array) come in order of z; replaced in one step when the file exists.

    Parameters
    ----------
    path : Path
        Ends in .nii.gz, .nrrd or .mha.
    grid : Grid
        Of the whole image.
    dtype : dtype
        Type of a voxel; bool is written as uint8.
    slabs : iterable of (int, array (z, y, x))

    Raises
    ------
    ValueError
        For another ending, or more voxels along an axis than NIfTI-1 can say.
    StudyError
        When the slabs do not cover the grid.
    """
    write = next((one for ending, one in WRITERS.items() if path.name.endswith(ending)), None)
    if write is None:
        raise ValueError(f"cannot write {path.suffix!r} files by slabs, only {', '.join(WRITERS)}")
    kind = np.dtype(np.uint8 if np.dtype(dtype) == bool else dtype).newbyteorder("<")
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with part.open("wb") as file:
            write(file, grid, kind, _bytes(slabs, grid.shape, kind))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _bytes(slabs: Iterable[tuple[int, Array]], shape: Shape, kind: np.dtype[Any]) -> Iterator[memoryview]:
    done = 0
    for first, slab in slabs:
        if first != done:
            raise StudyError(f"slabs out of order: expected z = {done}, got {first}")
        yield np.ascontiguousarray(slab, dtype=kind).data.cast("B")
        done += len(slab)
    if done != shape[0]:
        raise StudyError(f"slabs end at z = {done} of {shape[0]}")


def _header(ending: str, grid: Grid, kind: np.dtype[Any]) -> bytes:
    """What SimpleITK writes of one voxel on a grid."""
    voxel = Volume(np.zeros((1, 1, 1), kind.newbyteorder("=")), replace(grid, shape=(1, 1, 1)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"voxel{ending}"
        write_image(path, voxel)
        return path.read_bytes()


def _write_nifti(file: IO[bytes], grid: Grid, kind: np.dtype[Any], voxels: Iterable[memoryview]) -> None:
    if max(grid.shape) > MOST_ALONG_AXIS:
        raise ValueError(f"NIfTI-1 holds {MOST_ALONG_AXIS} voxels along an axis, not {max(grid.shape)}")
    header = bytearray(_header(".nii", grid, kind)[:NIFTI_HEADER])
    # One voxel thick along z is said to be an image of fewer axes.
    struct.pack_into("<h3h", header, NIFTI_SIZES - 2, 3, *grid.shape[::-1])
    _deflate(file, chain([header], voxels), GZIP)


def _write_nrrd(file: IO[bytes], grid: Grid, kind: np.dtype[Any], voxels: Iterable[memoryview]) -> None:
    text = _header(".nrrd", grid, kind).split(b"\n\n", 1)[0] + b"\n\n"
    file.write(_replaced(text, b"sizes: ", _sizes(grid)))
    _deflate(file, voxels, GZIP)


def _write_mha(file: IO[bytes], grid: Grid, kind: np.dtype[Any], voxels: Iterable[memoryview]) -> None:
    text = _replaced(_header(".mha", grid, kind).split(b"LOCAL\n", 1)[0] + b"LOCAL\n", b"DimSize = ", _sizes(grid))
    # The header tells the size of what follows: room for any number, filled with leading blanks afterwards.
    head = _replaced(text, b"CompressedDataSize = ", b" " * 20)
    file.write(head)
    _deflate(file, voxels, ZLIB)
    size = file.tell() - len(head)
    file.seek(0)
    file.write(_replaced(text, b"CompressedDataSize = ", b"%20d" % size))


def _sizes(grid: Grid) -> bytes:
    return b" ".join(b"%d" % n for n in grid.shape[::-1])


def _replaced(text: bytes, word: bytes, value: bytes) -> bytes:
    """A header with another value in the line that begins with a word."""
    found, n_found = re.subn(rb"(?m)^" + word + rb".*$", word + value, text)
    if n_found != 1:
        raise StudyError(f"a header without {word.decode().strip(' :=')}")
    return found


def _deflate(file: IO[bytes], parts: Iterable[bytes | bytearray | memoryview], window_bits: int) -> None:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, window_bits)
    for part in parts:
        file.write(packer.compress(part))
    file.write(packer.flush())


WRITERS: dict[str, Callable[[IO[bytes], Grid, np.dtype[Any], Iterable[memoryview]], None]] = {
    ".nii.gz": _write_nifti,
    ".nrrd": _write_nrrd,
    ".mha": _write_mha,
}
