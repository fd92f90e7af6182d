"""Masks as runs: unbroken stretches of voxels along x. Components and their overlaps cost what the runs cost.

Two voxels belong to the same component when they share a face, an edge or a corner (26-connectivity).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Bits, Indices, moved_down, moved_up, positions, unpack

NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Steps (z, y) to half of the neighbouring rows; the other half sees them from the other side."""

NOISE = 48
"""From one run for this many voxels on, components of voxels take less memory than a graph of runs."""


@dataclass(frozen=True)
class Runs:
    """The runs of a mask, in index order.

    Parameters
    ----------
    row, start, stop : int64 array, shape (runs,)
        Row (z * Y + y), first x and the x after the last.
    n_y, n_x : int
        Size of the image along y and x.
    """

    row: Indices
    start: Indices
    stop: Indices
    n_y: int
    n_x: int

    @property
    def lengths(self) -> Indices:
        """Voxels of each run."""
        return self.stop - self.start


def find_runs(bits: Bits) -> Runs:
    """The runs of a mask."""
    row, start = positions(bits.words & ~moved_up(bits.words))
    _, last = positions(bits.words & ~moved_down(bits.words))
    return Runs(row, start, last + 1, bits.shape[1], bits.shape[2])


def meetings(one: Runs, other: Runs, step: int = 0, *, corners: bool = False) -> tuple[Indices, Indices]:
    """Which runs of two masks meet.

    Parameters
    ----------
    one, other : Runs
        Of images of the same shape.
    step : int
        How many rows further the other run lies.
    corners : bool
        Whether runs that end where the other begins meet, as neighbours do across a corner.

    Returns
    -------
    (int64 array, int64 array)
        Index of the run in `one` and in `other` of each meeting, ordered by the first.
    """
    stride = one.n_x + 2
    key, slack = (one.row + step) * stride, int(corners)
    low = np.searchsorted(other.row * stride + other.stop, key + one.start - slack, side="right")
    high = np.searchsorted(other.row * stride + other.start, key + one.stop + slack, side="left")
    n_met = np.maximum(high - low, 0)
    first = np.repeat(np.arange(one.row.size), n_met)
    within = np.arange(first.size) - np.repeat(np.cumsum(n_met) - n_met, n_met)
    return first, np.repeat(low, n_met) + within


def components(bits: Bits, runs: Runs) -> tuple[Indices, int]:
    """The component of each run of a mask, numbered from 0 in the order of their first voxels.

    Returns
    -------
    (int64 array of shape (runs,), int)
        Numbers, and how many components there are.
    """
    if not runs.row.size:
        return np.zeros(0, np.int64), 0
    return _numbered(_by_voxels(bits, runs) if runs.row.size * NOISE > bits.size else _by_graph(runs))


def components_of_runs(runs: Runs) -> tuple[Indices, int]:
    """The same without the mask; takes more memory than `components` for masks of noise."""
    return _numbered(_by_graph(runs)) if runs.row.size else (np.zeros(0, np.int64), 0)


def joined(parts: Sequence[Runs]) -> Runs:
    """The runs of slabs as those of the image they were cut from, which follow each other along z; at least one."""
    row, start, stop = (np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "start", "stop"))
    return Runs(row, start, stop, parts[0].n_y, parts[0].n_x)


def _numbered(label: npt.NDArray[np.integer]) -> tuple[Indices, int]:
    """Numbers from 0 in the order of their first runs, and how many there are."""
    _, first, numbers = np.unique(label, return_index=True, return_inverse=True)
    place = np.empty(first.size, np.int64)
    place[np.argsort(first)] = np.arange(first.size)
    return place[numbers], int(first.size)


def _by_graph(runs: Runs) -> npt.NDArray[np.int32]:
    """Components of the graph whose edges join runs of neighbouring rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = [_edges(runs, z, y) for z, y in NEIGHBOURS]
    start, stop = (np.concatenate([edge[side] for edge in edges]).astype(np.int32) for side in (0, 1))
    n_runs = runs.row.size
    graph = coo_array((np.ones(start.size, np.int8), (start, stop)), shape=(n_runs, n_runs))
    return np.asarray(connected_components(graph, directed=False)[1])


def _edges(runs: Runs, z: int, y: int) -> tuple[Indices, Indices]:
    first, second = meetings(runs, runs, z * runs.n_y + y, corners=True)
    if y:
        # At the rim the next row in memory lies at the other end of the next slice.
        inside = (runs.row[first] % runs.n_y + y >= 0) & (runs.row[first] % runs.n_y + y < runs.n_y)
        return first[inside], second[inside]
    return first, second


def _by_voxels(bits: Bits, runs: Runs) -> npt.NDArray[np.int64]:
    """Components of voxels, read at the first voxel of each run."""
    import cc3d

    wider = np.pad(unpack(bits), ((0, 1), (0, 1), (0, 1)))  # cc3d 4.1 raises on full rows of odd length, such as "#.#"
    numbers = cc3d.connected_components(wider, connectivity=26)
    return np.asarray(numbers[runs.row // runs.n_y, runs.row % runs.n_y, runs.start], dtype=np.int64)
