"""Overlap-tile: the whole image from tiles whose results are smaller than what they see; the border is mirrored.

Nothing is blended: each voxel is computed once, and is what one pass over the whole mirrored image would give.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.infer.blend import Floats, Scratch
from cohortseg.infer.extent import Extent
from cohortseg.infer.sliding import ArrayLike, Block
from cohortseg.volume import Array

Slab: TypeAlias = tuple[int, int, Floats]


@dataclass(frozen=True)
class Span:
    """A tile along one axis: sees `length` voxels from `first` (may lie outside), gives those `start` to `stop`."""

    first: int
    length: int
    start: int
    stop: int


def spans(size: int, length: int, margin: int, alignment: int) -> list[Span]:
    """The tiles along one axis: displaced by multiples of the alignment, so that all see the same grid of poolings.

    Parameters
    ----------
    size : int
        Voxels of the image.
    length : int
        Voxels that a tile sees.
    margin : int
        Voxels at each end that its result lacks.
    alignment : int
        See `Extent`.

    Raises
    ------
    SettingsError
        When a tile gives too few voxels to be displaced by the alignment.

    Examples
    --------
    >>> [(span.first, span.start, span.stop) for span in spans(10, 8, 2, 2)]
    [(-2, 0, 4), (2, 4, 8), (6, 8, 10)]
    """
    given = length - 2 * margin
    step = given // alignment * alignment
    if given < min(size, alignment):
        raise SettingsError(f"tiles of {length} voxels give {given}, fewer than the alignment of {alignment}")
    if given >= size:
        return [Span(-margin, length, 0, size)]
    return [Span(start - margin, length, start, min(start + step, size)) for start in range(0, size, step)]


def mirrored(size: int, first: int, length: int) -> Array:
    """Indices of `length` voxels from `first`, mirrored at both ends as often as needed; the end voxel is not repeated.

    Examples
    --------
    >>> mirrored(3, -2, 8).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    if size == 1:
        return np.zeros(length, np.intp)
    place = np.arange(first, first + length) % (2 * size - 2)
    return np.minimum(place, 2 * size - 2 - place)


def read_mirrored(image: ArrayLike, spans_zyx: Sequence[Span]) -> Floats:
    """A box of the image, mirrored beyond its border: float32 array (channel, z, y, x); only what it needs is read."""
    places = [mirrored(size, span.first, span.length) for size, span in zip(image.shape[-3:], spans_zyx, strict=True)]
    inside = tuple(slice(int(place.min()), int(place.max()) + 1) for place in places)
    region = np.asarray(image[(..., *inside)], np.float32).reshape(-1, *(part.stop - part.start for part in inside))
    found: Floats = region[:, *np.ix_(*(place - place.min() for place in places))]
    return found


def overlap_tile_blocks(
    image: ArrayLike,
    forward: Callable[[Any], Any],
    *,
    extent: Extent,
    patch: Sequence[int],
    n_channels_out: int,
    skip: Callable[[Floats], bool] | None = None,
    scratch: Scratch | None = None,
) -> Iterator[Block]:
    """Probabilities of an image in blocks of finished slices, as `sliding.predict_blocks` gives them.

    Parameters
    ----------
    image : array-like, shape (z, y, x) or (channel, z, y, x)
        Model-space image.
    forward : callable
        float32 array (n, channel, z, y, x), or without z for a network of planes, to probabilities of the middle.
    extent : Extent
        Of the network: two axes for planes, three for volumes.
    patch : sequence of int
        Voxels that a tile sees, of an allowed size; for planes the last two axes count.
    n_channels_out : int
        Channels that `forward` gives.
    skip : callable, optional
        Says of what a tile sees (float32, (channel, z, y, x)) that it is background: 1 in channel 0, else nothing.
    scratch : Scratch, optional
        Where a row of results lies: channels x (slices of a tile + 1) x y x x numbers.

    Yields
    ------
    Block
        They follow each other from slice 0 to the last.

    Raises
    ------
    SettingsError
        When a tile of this size does not pass, or the network enlarges.
    """
    patch = patch[-len(extent.margin) :]
    lost = extent.output_size(patch)
    if extent.scale is not None:
        raise SettingsError("a network that enlarges has no tiles of the image's size")
    flat = len(patch) == 2
    numbers = zip(patch, extent.margin, extent.alignment, strict=True)
    tiles = [(1, 0, 1), *numbers] if flat else list(numbers)
    rows, *plane = [spans(size, *tile) for size, tile in zip(image.shape[-3:], tiles, strict=True)]
    thickest = max(row.stop - row.start for row in rows)
    background = np.zeros((n_channels_out, *(1,) * (3 - len(lost)), *lost), np.float32)
    background[0] = 1.0
    held = _held((n_channels_out, thickest + 1, *image.shape[-2:]), scratch or Scratch())
    for row in rows:
        for spot in product(*plane):
            tile = read_mirrored(image, (row, *spot))
            if skip is not None and skip(tile):
                result = background
            else:
                result = _result(forward, tile[:, 0] if flat else tile, n_channels_out, lost)
                result = result[:, None] if flat else result
            # Slice 0 of what is held is the last one of the row before: the next room interpolates across rows.
            target = (slice(None), slice(1, 1 + row.stop - row.start), *(slice(s.start, s.stop) for s in spot))
            held[target] = result[(slice(None), *(slice(0, s.stop - s.start) for s in (row, *spot)))]

        def planes(channel: int, first: int, stop: int, start: int = row.start) -> Floats:
            return np.array(held[channel, first - start + 1 : stop - start + 1])

        yield Block(row.start, row.stop, planes)
        held[:, 0] = held[:, row.stop - row.start]


def overlap_tile_slabs(image: ArrayLike, forward: Callable[[Any], Any], **options: Any) -> Iterator[Slab]:
    """The blocks of `overlap_tile_blocks` as (first, stop, array (class, z, y, x)): same arguments, for few classes."""
    for block in overlap_tile_blocks(image, forward, **options):
        yield block.first, block.stop, np.stack([block.channel(n) for n in range(options["n_channels_out"])])


def _result(forward: Callable[[Any], Any], tile: Floats, n_channels: int, size: Sequence[int]) -> Floats:
    found = forward(np.ascontiguousarray(tile)[None])
    if hasattr(found, "detach"):
        found = found.detach().float().cpu().numpy()
    result = np.asarray(found, np.float32)
    if result.shape != (1, n_channels, *size):
        raise ValueError(f"forward returned shape {result.shape} for a tile of shape {tile.shape}")
    first: Floats = result[0]
    return first


def _held(shape: tuple[int, ...], scratch: Scratch) -> Floats:
    """Zeros in memory or, where they are many, in a file without a name."""
    if 4.0 * math.prod(shape) <= scratch.memory_mb * 1e6:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(dir=scratch.folder) as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
