"""A plane in regions and who borders on whom: sets that unite, and edges of the region graph."""

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array

Numbers = npt.NDArray[np.int64]


class Sets:
    """Disjoint sets of 0 .. n - 1 that can be united (Tarjan 1975)."""

    def __init__(self, n: int) -> None:
        self.parents = list(range(n))

    def root(self, i: int) -> int:
        """The one that stands for the set of i."""
        parents = self.parents
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    def unite(self, i: int, j: int) -> tuple[int, int]:
        """Unite the sets of two roots; gives the root that stays and the one that goes: the smaller stays."""
        keep, gone = (i, j) if i < j else (j, i)
        self.parents[gone] = keep
        return keep, gone

    def numbers(self) -> Numbers:
        """Set number of each element, from 0, in order of their roots."""
        roots = np.array([self.root(i) for i in range(len(self.parents))])
        return np.asarray(np.unique(roots, return_inverse=True)[1], dtype=np.int64)


def borders(regions: Array) -> tuple[Numbers, Numbers, Numbers]:
    """All pairs of neighbouring pixels (4 neighbours) of different regions: flat index of both, and which edge.

    Parameters
    ----------
    regions : int array, shape (y, x)

    Returns
    -------
    first, second : int array, shape (pairs,)
        Flat pixel indices.
    edge : int array, shape (pairs, 2)
        The two regions, the smaller number first.
    """
    index = np.arange(regions.size).reshape(regions.shape)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    flat = regions.ravel()
    differ = flat[first] != flat[second]
    first, second = first[differ], second[differ]
    edge = np.sort(np.stack([flat[first], flat[second]], axis=1), axis=1)
    return first, second, edge.astype(np.int64)
