"""One image or label as an OME-Zarr 0.5 group: 64³ chunks in shards, Blosc zstd-3 bitshuffle, grid in the attributes.

An image of several channels is one array (channel, z, y, x), each channel in chunks of its own. A store is written
under a temporary name and moved into place when it is whole, because a half-written Zarr array opens without an error
and reads as fill value.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from cohortseg.errors import StudyError
from cohortseg.volume import Array, Grid, Shape, Volume

CHUNK = 64
"""Edge of a chunk in voxels: the fastest of those tried for random patches."""
SHARD_PLANE = 512
"""Largest edge of a shard in plane, in voxels; along z a shard is one chunk thick: slabs can be written in order."""


def shard_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a shard for an array (z, y, x): whole planes up to 512 voxels, one chunk thick; of one channel."""
    chunk = chunk_shape(shape)
    plane = (chunk[axis] * math.ceil(min(shape[axis], SHARD_PLANE) / chunk[axis]) for axis in (-2, -1))
    return (*chunk[:-2], *plane)


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a chunk for an array (z, y, x): 64³, less where the array is thinner; of one channel."""
    return (*(1 for _ in shape[:-3]), *(min(CHUNK, n) for n in shape[-3:]))


@contextmanager
def new_store(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`; moved onto it when the block ends well, removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        remove(target)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove(target: Path) -> None:
    """Remove a store in one step: it is renamed first, so that a kill leaves no half store under its name."""
    if target.exists():
        gone = target.with_name(f".{target.name}.{os.getpid()}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        target.rename(gone)
        shutil.rmtree(gone)


def create(path: Path, grid: Grid, dtype: Any, *, name: str = "image", channels: Sequence[str] = ()) -> zarr.Array[Any]:
    """An empty image group at `path` on `grid`, all 0; returns its array, to be written in whole shards.

    With two `channels` or more the array is (channel, z, y, x), in their order, and the attributes name them.
    """
    several = channels if len(channels) > 1 else ()
    group = zarr.create_group(path, zarr_format=3, attributes=_attributes(grid, name, several))
    return create_array(group, "0", (len(several), *grid.shape) if several else grid.shape, dtype)


def create_array(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: Any) -> zarr.Array[Any]:
    """An array (z, y, x) or (channel, z, y, x) of a group with the house's chunks, shards and compression."""
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunk_shape(shape),
        shards=shard_shape(shape),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
        dimension_names=["c", "z", "y", "x"][-len(shape) :],
    )


def create_scratch(path: Path, shape: Shape, dtype: Any, *, chunk: Shape) -> zarr.Array[Any]:
    """An array (z, y, x) that stands between two steps of a work: in shards as results are, compressed for speed."""
    shards = shard_shape(shape)
    return zarr.create_array(
        path,
        shape=shape,
        dtype=dtype,
        chunks=tuple(n if whole % n == 0 else whole for n, whole in zip(chunk, shards, strict=True)),
        shards=shards,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
    )


@dataclass(frozen=True)
class Channel:
    """One channel of an array (channel, z, y, x), read and written like an array (z, y, x) of its own."""

    whole: zarr.Array[Any]
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along z, y, x."""
        return self.whole.shape[1:]

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""
        return self.whole.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk along z, y, x."""
        return self.whole.chunks[1:]

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape of a shard along z, y, x, the smallest box that can be written alone."""
        return None if self.whole.shards is None else self.whole.shards[1:]

    def __getitem__(self, region: Any, /) -> Any:
        """The voxels of a region: slices along z, y, x."""
        return self.whole[(self.number, *region)]

    def __setitem__(self, region: Any, block: Any, /) -> None:
        """Write the voxels of a region: slices along z, y, x."""
        self.whole[(self.number, *region)] = block


def channels_of(array: zarr.Array[Any]) -> list[Any]:
    """Each channel as an array (z, y, x): of (channel, z, y, x) one `Channel` each, of (z, y, x) the array itself."""
    return [Channel(array, number) for number in range(array.shape[0])] if array.ndim == 4 else [array]


def write(target: Path, grid: Grid, dtype: Any, slabs: Iterable[tuple[int, Array]], *, name: str = "image") -> str:
    """Write slabs (z0, array) in order of z as a store; returns the content digest.

    Slabs may have any thickness; they are regrouped to whole shards.

    Raises
    ------
    StudyError
        When the slabs do not cover the grid exactly once.
    """
    digest = ContentDigest(grid, dtype)
    with new_store(target) as part:
        array = create(part, grid, dtype, name=name)
        thickness = shard_shape(grid.shape)[0]
        done = 0
        for start, slab in regroup(slabs, thickness):
            block = np.ascontiguousarray(slab, dtype=dtype)
            array[start : start + len(block)] = block
            digest.update(block)
            done = start + len(block)
        if done != grid.shape[0]:
            raise StudyError(f"slabs end at z = {done} of {grid.shape[0]}")
    return digest.hexdigest()


def regroup(slabs: Iterable[tuple[int, Array]], thickness: int) -> Iterator[tuple[int, Array]]:
    """Slabs of any thickness, joined or cut to multiples of `thickness` (the last may be thinner).

    Raises
    ------
    StudyError
        When a slab does not begin where the one before it ended.
    """
    held: list[Array] = []
    first = 0
    for start, slab in slabs:
        expected = first + sum(map(len, held))
        if start != expected:
            raise StudyError(f"slabs out of order: expected z = {expected}, got {start}")
        held.append(slab)
        if sum(map(len, held)) >= thickness:
            joined = np.concatenate(held) if len(held) > 1 else slab
            whole = len(joined) // thickness * thickness
            yield first, joined[:whole]
            held, first = ([joined[whole:]] if whole < len(joined) else []), first + whole
    if held:
        yield first, np.concatenate(held)


def write_volume(target: Path, volume: Volume, *, name: str = "image") -> str:
    """Write a whole volume as a store; returns the content digest."""
    return write(target, volume.grid, volume.array.dtype, [(0, volume.array)], name=name)


def open_array(path: Path, name: str = "0") -> zarr.Array[Any]:
    """The array (z, y, x) or (channel, z, y, x) of a store, to be sliced.

    Raises
    ------
    StudyError
        When there is no store at `path`.
    """
    try:
        return zarr.open_array(path / name, mode="r")
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise StudyError(f"no readable store: {path.parent.name}/{path.name}") from error


def read_grid(path: Path) -> Grid:
    """The grid of a store."""
    try:
        attributes = json.loads((path / "zarr.json").read_text())["attributes"]
        return Grid.from_dict(attributes["cohortseg"]["grid"])
    except (OSError, KeyError, ValueError) as error:
        raise StudyError(f"no readable store: {path.parent.name}/{path.name}") from error


def read_volume(path: Path) -> Volume:
    """A whole store of one channel in memory."""
    return Volume(np.asarray(open_array(path)[:]), read_grid(path))


def read_slabs(path: Path, name: str = "0") -> Iterator[tuple[int, Array]]:
    """The slabs (z0, array) of an array of a store, one shard thick, in order of z; one channel after the other."""
    array = open_array(path, name)
    step = (array.shards or array.chunks)[-3:][0]
    for channel in channels_of(array):
        for start in range(0, channel.shape[0], step):
            yield start, np.asarray(channel[(slice(start, start + step),)])


def content_digest(path: Path) -> str:
    """Digest of the decoded voxels and the grid, independent of chunks and compression.

    Raises
    ------
    StudyError
        When a chunk is missing, truncated or damaged.
    """
    digest = ContentDigest(read_grid(path), open_array(path).dtype)
    try:
        # The image first; further arrays (label and foreground of a model-space store) by name.
        for name in sorted(zarr.open_group(path, mode="r").array_keys()):
            for _, slab in read_slabs(path, name):
                digest.update(slab)
    except Exception as error:
        raise StudyError(f"damaged store: {path.parent.name}/{path.name} ({type(error).__name__})") from error
    return digest.hexdigest()


class ContentDigest:
    """SHA-256 of the voxels in C order, then one of grid and dtype; slabs may be fed in any thickness.

    The two stand side by side, so that the same voxels are known again under another position or spacing.
    """

    def __init__(self, grid: Grid, dtype: Any) -> None:
        head = json.dumps([grid.as_dict(), np.dtype(dtype).str], sort_keys=True)
        self._grid = hashlib.sha256(head.encode()).hexdigest()[:16]
        self._hash = hashlib.sha256()

    def update(self, slab: Array) -> None:
        """Add the next voxels."""
        self._hash.update(np.ascontiguousarray(slab).data)

    def hexdigest(self) -> str:
        """The digest so far."""
        return f"sha256:{self._hash.hexdigest()}-{self._grid}"


def voxels_part(content: str) -> str:
    """The part of a content digest that is of the voxels alone."""
    return content.partition("-")[0]


def _attributes(grid: Grid, name: str, channels: Sequence[str]) -> dict[str, Any]:
    """OME-Zarr 0.5 attributes; what 0.5 cannot say (an oblique affine, names alone) stands under `cohortseg`.

    OME's translation is along the array's own axes, so it is the origin seen in the rotated frame.
    """
    shift = np.asarray(grid.axes) @ np.asarray(grid.origin_mm)
    axes: list[dict[str, Any]] = [
        {"name": axis, "type": "space", "unit": "millimeter", **_orientation(direction)}
        for axis, direction in zip("zyx", grid.axes, strict=True)
    ]
    scale, translation = list(grid.spacing_mm), [float(number) for number in shift]
    if channels:
        axes, scale, translation = [{"name": "c", "type": "channel"}, *axes], [1.0, *scale], [0.0, *translation]
    transformations = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
    multiscale = {"name": name, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transformations}]}
    return {
        "ome": {"version": "0.5", "multiscales": [multiscale]},
        "cohortseg": {
            "grid": grid.as_dict(),
            "affine_zyx_to_lps_mm": grid.affine.tolist(),
            **({"channels": list(channels)} if channels else {}),
        },
    }


_ANATOMY = (
    ("right-to-left", "left-to-right"),
    ("anterior-to-posterior", "posterior-to-anterior"),
    ("inferior-to-superior", "superior-to-inferior"),
)


def _orientation(direction: tuple[float, float, float]) -> dict[str, Any]:
    """Anatomical orientation of one axis (RFC-4), by its largest component in LPS."""
    main = int(np.argmax(np.abs(direction)))
    return {"orientation": {"type": "anatomical", "value": _ANATOMY[main][int(direction[main] < 0)]}}
