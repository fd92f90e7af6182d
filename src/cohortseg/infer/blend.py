"""Weighted sums of overlapping tiles, for as many slices as a row of tiles is thick; in memory or, when large, on disk.

Tiles stand on a regular grid and their Gaussian weight is a product of one factor an axis, so the sum of weights is a
product too and need not be held. What is held is read one channel at a time: nothing else grows with their number.
"""

import mmap
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Shape

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scratch:
    """Where sums may lie: in memory up to `memory_mb`, beyond it in an unnamed file of `folder`, removed by itself."""

    memory_mb: float = 400.0
    folder: Path | None = None


def bell(patch: int) -> Floats:
    """Gaussian weight along one axis of a tile: sigma is an eighth of the patch, 1 in the middle."""
    distance = np.arange(patch) - (patch - 1) / 2.0
    weight: Floats = np.exp(-0.5 * (distance / (patch / 8.0)) ** 2).astype(np.float32)
    return weight


class Blend:
    """Sums of tiles along z: a ring of one slice more than a tile is thick.

    Parameters
    ----------
    shape : (int, int, int)
        Size of the (padded) image.
    patch : (int, int, int)
        Size of a tile.
    starts : three lists of int
        First voxels of the tiles along each axis.
    n_channels : int
        Channels of a tile.
    scratch : Scratch
        Where the sums lie.
    """

    def __init__(
        self, shape: Sequence[int], patch: Shape, starts: list[list[int]], n_channels: int, scratch: Scratch
    ) -> None:
        self._patch, self._depth = patch, patch[0] + 1
        totals = [_total(*numbers) for numbers in zip(shape, patch, starts, strict=True)]
        self._inverse_z, self._inverse_plane = 1.0 / totals[0], 1.0 / np.multiply.outer(totals[1], totals[2])
        self._weight: Floats = np.einsum("i,j,k->ijk", *(bell(length) for length in patch))
        held = (n_channels, self._depth, shape[1], shape[2])
        self._file: mmap.mmap | None = None
        if 4.0 * np.prod(held, dtype=float) <= scratch.memory_mb * 1e6:
            self._held = np.zeros(held, np.float32)
        else:
            self._file, self._held = _on_disk(held, scratch.folder)

    def add(self, corner: tuple[int, int, int], tile: Floats | None) -> None:
        """Add a tile (channel, z, y, x); None is background: 1 in channel 0, nothing in the others."""
        z, y, x = corner
        plane = (slice(y, y + self._patch[1]), slice(x, x + self._patch[2]))
        for channel in range(1 if tile is None else len(tile)):
            values = self._weight if tile is None else tile[channel] * self._weight
            for ring, part in self._slices(z, z + self._patch[0]):
                self._held[(channel, ring, *plane)] += values[part]
            self._let_go(channel)

    def planes(self, channel: int, first: int, stop: int) -> Floats:
        """The blended values of finished slices, float32 array (z, y, x)."""
        found = np.concatenate([self._held[channel, ring] for ring, _ in self._slices(first, stop)])
        self._let_go(channel)
        found *= self._inverse_plane
        found *= self._inverse_z[first:stop, None, None]
        return found

    def release(self, first: int, stop: int) -> None:
        """Forget slices, so that later ones may take their place."""
        for channel in range(len(self._held)):
            for ring, _ in self._slices(first, stop):
                self._held[channel, ring] = 0.0
            self._let_go(channel)

    def _slices(self, first: int, stop: int) -> list[tuple[slice, slice]]:
        """Where slices lie in the ring, and where these are among the slices asked for: in one piece or in two."""
        pieces, done = [], first
        while done < stop:
            low = done % self._depth
            length = min(stop - done, self._depth - low)
            pieces.append((slice(low, low + length), slice(done - first, done - first + length)))
            done += length
        return pieces

    def _let_go(self, channel: int) -> None:
        """Take the pages of a channel out of this process's memory; what they hold stays in the file."""
        if self._file is not None:
            size = self._held[channel].nbytes
            first = channel * size // mmap.PAGESIZE * mmap.PAGESIZE
            self._file.madvise(mmap.MADV_DONTNEED, first, (channel + 1) * size - first)


def _on_disk(shape: tuple[int, ...], folder: Path | None) -> tuple[mmap.mmap, npt.NDArray[Any]]:
    size = 4 * int(np.prod(shape, dtype=np.int64))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)  # reads as zeros, and takes space only where something is written
        mapped = mmap.mmap(file.fileno(), size)
    return mapped, np.frombuffer(mapped, np.float32).reshape(shape)


def _total(size: int, patch: int, starts: list[int]) -> Floats:
    """Sum of the tiles' weights along one axis."""
    total = np.zeros(size, np.float32)
    for start in starts:
        total[start : start + patch] += bell(patch)
    return total
