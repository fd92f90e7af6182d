"""The one chunked runner: a function of voxels is applied block by block by Dask, in bounded memory.

A step says with its `Scope` what a block must see so that chunked equals whole; this file does the cutting. Every
result block is written at once, so that at most one block a worker is held, and blocks cover whole shards of the
store: two writers in one shard would lose data without any error. The blocks are done by threads of this process, or
by the processes of a Dask cluster, on this machine or another; what is written is the same.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import dask
import numpy as np

from cohortseg.volume import Array, Shape

Region: TypeAlias = tuple[slice, slice, slice]
"""Half-open box of voxels: slices along z, y, x, with start and stop."""

Kind: TypeAlias = Literal["pointwise", "halo", "slice", "volume"]

DEFAULT_BLOCK: Shape = (64, 512, 512)
"""Block of arrays without chunks: the shard of our stores."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cluster(Protocol):
    """Processes that do tasks: a client of Dask's distributed scheduler. They see the same files as this process."""

    def get(self, graph: Any, keys: Any, **options: Any) -> Any:
        """Do the tasks of a graph."""


Workers: TypeAlias = int | Cluster
"""Who does the blocks: so many threads (1: the calling thread), or a cluster."""


class Readable(Protocol):
    """What blocks are read from: a numpy, zarr or dask array, axes (z, y, x)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels per axis."""

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""

    def __getitem__(self, region: Any, /) -> Any:
        """The voxels of a region."""


class Writable(Protocol):
    """What blocks are written to: a numpy or zarr array, axes (z, y, x)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels per axis."""

    def __setitem__(self, region: Any, block: Any, /) -> None:
        """Write the voxels of a region."""


@dataclass(frozen=True)
class Scope:
    """What one voxel of a result depends on.

    Parameters
    ----------
    kind : {'pointwise', 'halo', 'slice', 'volume'}
        The same voxel; a box round it; its whole (y, x) plane; everything.
    halo : (int, int, int)
        Reach of the box in voxels along z, y, x; only for kind 'halo'.

    Raises
    ------
    ValueError
        When a halo is negative or stands beside another kind.
    """

    kind: Kind
    halo: Shape = (0, 0, 0)

    def __post_init__(self) -> None:
        if min(self.halo) < 0 or (self.kind != "halo" and any(self.halo)):
            raise ValueError(f"scope {self.kind!r} cannot have the halo {self.halo}")


POINTWISE = Scope("pointwise")
SLICE = Scope("slice")
VOLUME = Scope("volume")


def run_blocks(  # noqa: PLR0913 (all but two are named options)
    source: Readable,
    function: Callable[[Array], Array],
    *,
    scope: Scope,
    dtype: Any,
    target: Writable | None = None,
    blocks: Shape | None = None,
    workers: Workers = 1,
    out_shape: Shape | None = None,
) -> Array | None:
    """Apply a function of voxels to an array of any size.

    The function sees each block with its halo (cut off at the border of the array, never padded) and returns a block of
    the same shape.

    Parameters
    ----------
    source : array-like, shape (z, y, x)
        Numpy, zarr or dask array; read block by block, as a whole only for scope 'volume'.
    function : callable
        Block in, block out. Called from `workers` threads, or pickled for the processes of a cluster.
    scope : Scope
        What the function needs to see.
    dtype : dtype
        Voxel type of the result; must be able to hold the kind of number that the function returns.
    target : array-like, optional
        Where to write; a new numpy array when left out.
    blocks : (int, int, int), optional
        Size of a block; whole planes or the volume are filled in from the scope. Default: the shards or chunks of the
        target, else of the source.
    workers : int or Cluster
        Threads, of which 1 is the calling thread; or a cluster, which needs stores to read from and to write to.
    out_shape : (int, int, int), optional
        Shape of the result where a function of the whole volume changes it.

    Returns
    -------
    array or None
        The result, or None when it was written to `target`.

    Raises
    ------
    ValueError
        When blocks do not cover whole shards of the target, `out_shape` stands beside another scope than 'volume', or
        the function returns another shape than it must.
    """
    shape = _shape3(source.shape)
    if out_shape not in (None, shape) and scope.kind != "volume":
        raise ValueError(f"only scope 'volume' may change the shape, got {scope.kind!r} with out_shape {out_shape}")
    result_shape = out_shape or shape
    wanted = blocks or write_unit(target) or write_unit(source) or DEFAULT_BLOCK

    def compute(region: Region) -> Array:
        if scope.kind == "volume":
            return function(read(source, _whole(shape)))
        seen = grow(region, scope.halo, shape)
        return function(read(source, seen))[inside(region, seen)]

    return fill_blocks(
        compute,
        shape=result_shape,
        dtype=dtype,
        target=target,
        blocks=_scoped(wanted, scope, result_shape),
        workers=workers,
    )


def fill_blocks(
    compute: Callable[[Region], Array],
    *,
    shape: Shape,
    dtype: Any,
    target: Writable | None,
    blocks: Shape,
    workers: Workers,
) -> Array | None:
    """Compute and write the blocks of a result, one Dask task a block.

    Parameters
    ----------
    compute : callable
        Gives the voxels of a region of the result.
    shape, dtype, target, workers
        As in `run_blocks`.
    blocks : (int, int, int)
        Size of a block; the last along an axis may be smaller.

    Raises
    ------
    ValueError
        When the target has another shape, blocks do not cover whole shards, a computed block has a wrong shape, or a
        cluster is to write into the memory of this process.
    """
    if not isinstance(workers, int) and (target is None or isinstance(target, np.ndarray)):
        raise ValueError("a cluster cannot write into the memory of this process: give a store as target")
    made = np.empty(shape, dtype) if target is None else None
    out: Any = target if made is None else made
    if tuple(out.shape) != shape:
        raise ValueError(f"the result has shape {shape}, the target {tuple(out.shape)}")
    _check_alignment(blocks, write_unit(target), shape)

    def work(region: Region) -> None:
        block = np.asarray(compute(region))
        if block.shape != size(region):
            raise ValueError(f"the block at {start(region)} must have shape {size(region)}, got {block.shape}")
        out[region] = block.astype(dtype, casting="same_kind", copy=False)

    map_tasks(work, regions(shape, blocks), workers)
    return made


def map_tasks(work: Callable[[Item], Result], items: Iterable[Item], workers: Workers) -> list[Result]:
    """The results of a function of each item, in their order, one Dask task an item."""
    tasks = [dask.delayed(work, traverse=False, pure=False)(item) for item in items]
    if isinstance(workers, int):
        return list(dask.compute(*tasks, scheduler="threads" if workers > 1 else "synchronous", num_workers=workers))
    return list(dask.compute(*tasks, scheduler=workers))


def regions(shape: Shape, blocks: Shape) -> list[Region]:
    """The boxes that cut an array of a shape into blocks, in order of z, y, x."""
    cuts = [
        [slice(first, min(first + step, n)) for first in range(0, n, step)]
        for n, step in zip(shape, blocks, strict=True)
    ]
    return [(z, y, x) for z, y, x in itertools.product(*cuts)]


def write_unit(array: Any) -> Shape | None:
    """The smallest box that can be written alone: the shard, else the chunk, else None (numpy, dask)."""
    for name in ("shards", "chunks"):
        unit = getattr(array, name, None)
        if unit is not None and all(isinstance(n, int) for n in unit):
            return _shape3(unit)
    return None


def read(source: Readable, region: Region) -> Array:
    """The voxels of a region, as a numpy array."""
    part = source[region]
    if hasattr(part, "compute"):  # a dask array; its own threads would multiply ours
        part = part.compute(scheduler="synchronous")
    return np.asarray(part)


def grow(region: Region, halo: Shape, shape: Shape) -> Region:
    """The region with a halo round it, cut off at the border of the array."""
    z, y, x = (
        slice(max(0, part.start - reach), min(n, part.stop + reach))
        for part, reach, n in zip(region, halo, shape, strict=True)
    )
    return z, y, x


def inside(region: Region, outer: Region) -> Region:
    """Where a region lies within an outer one."""
    z, y, x = (
        slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(region, outer, strict=True)
    )
    return z, y, x


def start(region: Region) -> Shape:
    """Index of the first voxel."""
    return region[0].start, region[1].start, region[2].start


def size(region: Region) -> Shape:
    """Number of voxels along z, y, x."""
    z, y, x = (part.stop - part.start for part in region)
    return z, y, x


def _scoped(blocks: Shape, scope: Scope, shape: Shape) -> Shape:
    """The block size with the axes that the scope wants whole made whole."""
    if scope.kind == "volume":
        return shape
    return (blocks[0], shape[1], shape[2]) if scope.kind == "slice" else blocks


def _check_alignment(blocks: Shape, unit: Shape | None, shape: Shape) -> None:
    if min(blocks) < 1:
        raise ValueError(f"blocks must be positive, got {blocks}")
    for n, step, whole in zip(shape, blocks, unit or (1, 1, 1), strict=True):
        if step < n and step % whole:
            raise ValueError(f"blocks {blocks} do not cover whole shards {unit}: data would be lost without an error")


def _whole(shape: Shape) -> Region:
    z, y, x = (slice(0, n) for n in shape)
    return z, y, x


def _shape3(shape: tuple[int, ...]) -> Shape:
    if len(shape) != 3:
        raise ValueError(f"an array (z, y, x) is needed, got shape {tuple(shape)}")
    z, y, x = (int(n) for n in shape)
    return z, y, x
