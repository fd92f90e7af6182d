"""Sliding window over an image of any size, finished block by block; a function of a callable that knows no model."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cohortseg.errors import SettingsError
from cohortseg.infer.blend import Blend, Floats, Scratch
from cohortseg.volume import Array, Shape

READ_AHEAD = 64
"""Slices that are read from a store at a time at least, so that a chunk is not decoded again for every slice."""


class ArrayLike(Protocol):
    """What is asked of an image: numpy and zarr arrays both do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, the last three z, y, x."""

    def __getitem__(self, key: Any, /) -> Any:
        """Region given by slices."""


def tile_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of the tiles along one axis: evenly spread, overlapping by at least the share `overlap`.

    Examples
    --------
    >>> tile_starts(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> tile_starts(3, 4, 0.5)
    [0]
    """
    if size <= patch:
        return [0]
    step = max(1, int(patch * (1.0 - overlap)))
    count = math.ceil((size - patch) / step) + 1
    return [round(index * (size - patch) / (count - 1)) for index in range(count)]


@dataclass(frozen=True)
class Block:
    """Slices `first` to `stop` (exclusive) of a probability volume, read one channel at a time.

    `planes(channel, z0, z1)` gives float32 arrays (z, y, x), from one slice before `first` on, until the next block is
    asked for.
    """

    first: int
    stop: int
    planes: Callable[[int, int, int], Floats]

    def channel(self, number: int) -> Floats:
        """All slices of the block of one channel."""
        return self.planes(number, self.first, self.stop)


def read_region(image: ArrayLike, start: tuple[int, ...], shape: tuple[int, ...], *, dtype: Any = np.float32) -> Array:
    """A box of the image; where it reaches beyond the image, the border voxels are repeated.

    Parameters
    ----------
    image : array-like, shape (z, y, x) or (channel, z, y, x)
        Only the part inside the box is read.
    start : (int, int, int)
        First voxel of the box (z, y, x); may be negative.
    shape : (int, int, int)
        Size of the box.
    dtype : data type, optional
        Of the result; None leaves it as the image has it.

    Returns
    -------
    array, shape (channel, z, y, x)
        One channel when the image has no channel axis.
    """
    inside, padding = [], []
    for first, length, size in zip(start, shape, image.shape[-3:], strict=True):
        low = min(max(first, 0), size - 1)
        high = max(min(first + length, size), low + 1)
        inside.append(slice(low, high))
        before = min(max(0, low - first), length - 1)
        padding.append((before, length - before - (high - low)))
    region = np.asarray(image[(..., *inside)], dtype=dtype).reshape(-1, *(part.stop - part.start for part in inside))
    if not any(before or after for before, after in padding):
        return region
    return np.pad(region, [(0, 0), *padding], mode="edge")


def predict_blocks(  # noqa: PLR0913 (numbers and callables of one pass)
    image: ArrayLike,
    forward: Callable[[Any], Any],
    *,
    patch: Shape,
    n_channels_out: int,
    overlap: float = 0.5,
    mirror: bool = False,
    batch: int = 1,
    skip: Callable[[Floats], bool] | None = None,
    scratch: Scratch | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Block]:
    """Probabilities of an image, in blocks of finished slices; tiles are blended with a Gaussian weight.

    Parameters
    ----------
    image : array-like, shape (z, y, x) or (channel, z, y, x)
        Model-space image, numpy or zarr. Smaller than the patch: padded at both ends with its border voxels.
    forward : callable
        float32 array (n, channel, z, y, x) to probabilities (n, n_channels_out, z, y, x), array or tensor. With
        ``patch[0] == 1`` (a 2D network) there is no z axis.
    patch : (int, int, int)
        Size of a tile.
    n_channels_out : int
        Number of classes, background included, and of whatever else `forward` gives for each voxel.
    overlap : float in [0, 1)
        Share of a tile that its neighbour covers too, at least.
    mirror : bool
        Average over all flips of the tile (in the plane for a 2D network): 4 or 8 times the work.
    batch : int
        Tiles per call of `forward`.
    skip : callable, optional
        Says of a tile (float32, (channel, z, y, x)) that it is background; then class 0 gets probability 1 there.
    scratch : Scratch, optional
        Where the sums of tiles lie: channels x (patch[0] + 1) x y x x numbers.
    progress : callable, optional
        Called with tiles done and tiles in all.

    Yields
    ------
    Block
        They follow each other from slice 0 to the last. Beside the sums only slices of the image that are being worked
        on are held, and one tile.

    Raises
    ------
    SettingsError
        When patch, overlap or batch make no sense.
    ValueError
        When `forward` returns another shape.
    """
    if min(patch) < 1 or not 0.0 <= overlap < 1.0 or batch < 1:
        raise SettingsError(f"patch and batch must be positive, overlap in [0, 1); got {patch}, {batch}, {overlap}")
    sizes = image.shape[-3:]
    padded = [max(size, length) for size, length in zip(sizes, patch, strict=True)]
    before = [(outer - size) // 2 for outer, size in zip(padded, sizes, strict=True)]
    starts = [tile_starts(outer, length, overlap) for outer, length in zip(padded, patch, strict=True)]
    blend = Blend(padded, patch, starts, n_channels_out, scratch or Scratch())
    step = _mirrored(
        _flat(forward, n_channels_out) if patch[0] == 1 else _checked(forward, n_channels_out), patch, mirror
    )
    spots = list(itertools.product(starts[1], starts[2]))
    inside = (slice(before[1], before[1] + sizes[1]), slice(before[2], before[2] + sizes[2]))

    def planes(channel: int, first: int, stop: int) -> Floats:
        return blend.planes(channel, first + before[0], stop + before[0])[:, *inside]

    ends, kept = [*starts[0][1:], padded[0]], 0
    for row, (block, end) in enumerate(zip(_rows(image, starts[0], patch[0], padded, before), ends, strict=True)):
        start = starts[0][row]
        for number, group in enumerate(_groups(spots, batch)):
            tiles = [block[..., y : y + patch[1], x : x + patch[2]].astype(np.float32) for y, x in group]
            for (y, x), result in zip(group, _probabilities(tiles, step, skip), strict=True):
                blend.add((start, y, x), result)
            del result  # a tile of many classes is not kept while the block is worked on
            if progress is not None:
                progress(row * len(spots) + min((number + 1) * batch, len(spots)), len(starts[0]) * len(spots))
        yield Block(max(start - before[0], 0), min(end - before[0], sizes[0]), planes)
        blend.release(kept, end - 1)
        kept = end - 1


def predict_slabs(image: ArrayLike, forward: Callable[[Any], Any], **options: Any) -> Iterator[tuple[int, int, Floats]]:
    """The blocks of `predict_blocks` (same arguments) as (first, stop, array (class, z, y, x)): for few classes."""
    for block in predict_blocks(image, forward, **options):
        yield block.first, block.stop, np.stack([block.channel(n) for n in range(options["n_channels_out"])])


def _rows(image: ArrayLike, starts: list[int], depth: int, padded: list[int], before: list[int]) -> Iterator[Array]:
    """For each row of tiles its slices of the padded image: each is read once, and held as it is stored."""
    first, stop = 0, 0
    block: Array = np.empty((1, 0, padded[1], padded[2]))
    for start in starts:
        if start + depth > stop:
            end = min(padded[0], max(start + depth, stop + READ_AHEAD))
            corner = (stop - before[0], -before[1], -before[2])
            fresh = read_region(image, corner, (end - stop, padded[1], padded[2]), dtype=None)
            block = np.concatenate([block[:, start - first :], fresh], axis=1) if start < stop else fresh
            first, stop = start, end
        yield block[:, start - first : start - first + depth]


def _groups(spots: list[tuple[int, int]], batch: int) -> Iterable[list[tuple[int, int]]]:
    return (spots[first : first + batch] for first in range(0, len(spots), batch))


def _probabilities(
    tiles: list[Floats], step: Callable[[Floats], Floats], skip: Callable[[Floats], bool] | None
) -> list[Floats | None]:
    """One probability tile per tile; None for skipped ones."""
    wanted = [skip is None or not skip(tile) for tile in tiles]
    results = iter(step(np.stack(list(itertools.compress(tiles, wanted)))) if any(wanted) else ())
    return [next(results) if want else None for want in wanted]


def nothing_to_see(tile: Floats) -> bool:
    """Whether every channel of a tile is of one value, as air beyond the window or a masked background is."""
    flat = tile.reshape(len(tile), -1)
    return bool((flat == flat[:, :1]).all())


def _checked(forward: Callable[[Any], Any], n_channels: int) -> Callable[[Floats], Floats]:
    """`forward` with its result as float32 array of the expected shape."""

    def step(batch: Floats) -> Floats:
        result = forward(batch)
        if hasattr(result, "detach"):
            result = result.detach().float().cpu().numpy()
        result = np.asarray(result, dtype=np.float32)
        if result.shape != (len(batch), n_channels, *batch.shape[2:]):
            raise ValueError(f"forward returned shape {result.shape} for a batch of shape {batch.shape}")
        return result

    return step


def _flat(forward: Callable[[Any], Any], n_channels: int) -> Callable[[Floats], Floats]:
    """A 2D network behind the 3D face: tiles of one slice."""
    step = _checked(forward, n_channels)
    return lambda batch: step(np.ascontiguousarray(batch[:, :, 0]))[:, :, None]


def _mirrored(step: Callable[[Floats], Floats], patch: Shape, mirror: bool) -> Callable[[Floats], Floats]:
    """The mean over all flips of the tile; axes of one voxel are not flipped."""
    axes = [axis for axis, length in enumerate(patch, start=2) if length > 1] if mirror else []
    flips = [chosen for count in range(len(axes) + 1) for chosen in itertools.combinations(axes, count)]

    def mean(batch: Floats) -> Floats:
        total = np.zeros(1, np.float32)
        for chosen in flips:
            total = total + np.flip(step(np.ascontiguousarray(np.flip(batch, chosen))), chosen)
        return total / np.float32(len(flips))

    return mean if mirror else step


def slab_array(slabs: Iterable[tuple[int, int, Floats]]) -> Floats:
    """All slabs as one array (class, z, y, x): for small images only."""
    return np.concatenate([probabilities for _, _, probabilities in slabs], axis=1)
