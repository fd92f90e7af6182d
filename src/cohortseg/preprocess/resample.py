"""Resample an array from one grid to another, block by block of the target.

Each output block reads only the part of the source it needs and is made by SimpleITK, in index coordinates. SimpleITK
orders axes (x, y, z): besides io/itk.py, `_itk_resample` below is the only place that turns them round.

Outside the source a voxel takes the nearest edge value, unless a fill value is given: a grid made by
`Grid.with_spacing` reaches at most half a voxel over the border, where a constant would draw a rim round the image.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.blocks import DEFAULT_BLOCK, Readable, Region, Workers, Writable, fill_blocks, read, start, write_unit
from cohortseg.blocks import size as size_of
from cohortseg.choose import choose
from cohortseg.volume import Array, Grid, Shape

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interpolation:
    """How values between voxels are found.

    Parameters
    ----------
    itk : str
        Name of SimpleITK's interpolator.
    halo : int
        Voxels of the source needed round the wanted part. A cubic B-spline is prefiltered by a recursive filter whose
        memory fades by 0.27 a voxel (Unser 1999): after 12 voxels 1e-7 of it is left.
    is_label : bool
        Values are class numbers: the result keeps their type.
    """

    itk: str
    halo: int
    is_label: bool = False


INTERPOLATIONS: dict[str, Interpolation] = {
    "linear": Interpolation("sitkLinear", 1),
    "bspline": Interpolation("sitkBSpline", 12),
    "nearest": Interpolation("sitkNearestNeighbor", 1, is_label=True),
}

TIE_VOXELS = 1e-6
"""Nearest neighbour looks this far up in index: rounding noise decides no tie, all go to the higher voxel."""


def resample(
    array: Readable,
    source: Grid,
    target: Grid,
    *,
    interpolation: str,
    fill: float | None = None,
    workers: Workers = 1,
) -> Array:
    """A whole array on another grid, in memory.

    Parameters
    ----------
    array : array-like, shape (z, y, x)
        Voxels on the grid `source`; integers, floats or (nearest only) boolean.
    source, target : Grid
        Any two grids in the same world, oblique or not.
    interpolation : {'linear', 'bspline', 'nearest'}
        Nearest for labels.
    fill : float, optional
        Value outside the source; the nearest edge voxel when left out.
    workers : int or Cluster
        Threads; a cluster cannot give an array in memory.

    Returns
    -------
    array, shape of the target grid
        float32; the type of `array` for nearest.

    Raises
    ------
    SettingsError
        For an unknown interpolation.
    """
    out = np.empty(target.shape, _result_dtype(array.dtype, interpolation))
    resample_to(out, array, source, target, interpolation=interpolation, fill=fill, workers=workers)
    return out


def resample_to(  # noqa: PLR0913 (all but four are named options)
    out: Writable,
    array: Readable,
    source: Grid,
    target: Grid,
    *,
    interpolation: str,
    block: Shape | None = None,
    workers: Workers = 1,
    finish: Callable[[Array], Array] | None = None,
    fill: float | None = None,
) -> None:
    """Write an array on another grid into `out`, holding one block a worker.

    Parameters
    ----------
    out : array-like, shape of the target grid
        Numpy or zarr array; its dtype must be able to hold the kind of number that is written.
    array, source, target, interpolation, fill
        As in `resample`.
    workers : int or Cluster
        Threads, or a cluster, for which `array` and `out` must be stores.
    block : (int, int, int), optional
        Size of an output block: whole shards of `out`; one shard when left out.
    finish : callable, optional
        Pointwise function applied to each block before it is written (intensity normalisation).

    Raises
    ------
    ValueError
        When an array does not have its grid's shape or blocks do not cover whole shards.
    """
    if tuple(array.shape) != source.shape:
        raise ValueError(f"array has shape {tuple(array.shape)}, its grid {source.shape}")

    def compute(region: Region) -> Array:
        voxels = resample_block(partial(read, array), source, target, region, interpolation=interpolation, fill=fill)
        return voxels if finish is None else finish(voxels)

    fill_blocks(
        compute,
        shape=target.shape,
        dtype=_dtype(out),
        target=out,
        blocks=block or write_unit(out) or DEFAULT_BLOCK,
        workers=workers,
    )


def resample_block(
    reader: Callable[[Region], Array],
    source: Grid,
    target: Grid,
    region: Region,
    *,
    interpolation: str,
    fill: float | None = None,
) -> Array:
    """The voxels of one region of the target grid.

    Equal to resampling the whole volume with SimpleITK and cutting the region out.

    Parameters
    ----------
    reader : callable
        Gives the source's voxels of a region.
    source, target, interpolation, fill
        As in `resample`.
    region : three slices (z, y, x)
        Box of the target grid, with start and stop.

    Returns
    -------
    array, shape of the region
        float32; the source's type for nearest.
    """
    method = choose("interpolation", interpolation, INTERPOLATIONS)
    matrix, offset = index_map(source, target)
    first = matrix @ start(region) + offset
    needed = needed_region(matrix, first, size_of(region), source.shape, method.halo)
    where = first - start(needed) + (TIE_VOXELS if method.is_label else 0.0)
    voxels = reader(needed)
    out = _itk_resample(_for_itk(voxels, interpolation), matrix, where, size_of(region), method, fill)
    return out.astype(_result_dtype(voxels.dtype, interpolation), copy=False)


def index_map(source: Grid, target: Grid) -> tuple[Matrix, Matrix]:
    """Matrix and offset that lead from an index of the target to the index of the same place in the source.

    Rounded to 1e-12 voxel, so that ratios that are whole numbers are exactly that.
    """
    both = np.linalg.solve(source.affine, target.affine)
    return np.round(both[:3, :3], 12), np.round(both[:3, 3], 12)


def needed_region(matrix: Matrix, first: Matrix, size: Shape, shape: Shape, halo: int) -> Region:
    """The box of the source (at least one voxel thick) on which an output block depends.

    `first` is the source index of the block's first voxel.
    """
    ends = np.array(list(itertools.product(*((0, n - 1) for n in size))), dtype=float)
    corners = ends @ matrix.T + first
    last = np.asarray(shape) - 1
    lower = np.clip(np.floor(corners.min(axis=0)) - halo, 0, last).astype(int)
    upper = np.clip(np.ceil(corners.max(axis=0)) + halo, 0, last).astype(int) + 1
    z, y, x = (slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
    return z, y, x


def _itk_resample(
    voxels: Array, matrix: Matrix, first: Matrix, size: Shape, method: Interpolation, fill: float | None
) -> Array:
    """Resample in index coordinates; (z, y, x) outside, (x, y, z) inside."""
    import SimpleITK

    place = SimpleITK.AffineTransform(3)
    place.SetMatrix(matrix[::-1, ::-1].ravel().tolist())
    place.SetTranslation(first[::-1].tolist())
    task = SimpleITK.ResampleImageFilter()
    task.SetTransform(place)
    task.SetSize(size[::-1])
    task.SetInterpolator(getattr(SimpleITK, method.itk))
    task.SetUseNearestNeighborExtrapolator(fill is None)
    task.SetDefaultPixelValue(fill or 0.0)
    task.SetNumberOfThreads(1)
    if not method.is_label:
        task.SetOutputPixelType(SimpleITK.sitkFloat32)
    out: Array = SimpleITK.GetArrayFromImage(task.Execute(SimpleITK.GetImageFromArray(voxels, isVector=False)))
    return out


def _for_itk(voxels: Array, interpolation: str) -> Array:
    """Voxels in a type and size that SimpleITK takes."""
    if voxels.dtype == np.bool_:
        voxels = voxels.astype(np.uint8)
    elif voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    if interpolation == "bspline" and min(voxels.shape) < 4:  # its prefilter refuses shorter axes
        voxels = np.pad(voxels, [(0, max(0, 4 - n)) for n in voxels.shape], mode="edge")
    return voxels


def _result_dtype(dtype: Any, interpolation: str) -> np.dtype[Any]:
    method = choose("interpolation", interpolation, INTERPOLATIONS)
    return np.dtype(dtype) if method.is_label else np.dtype(np.float32)


def _dtype(out: Any) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(out.dtype)
    return found
