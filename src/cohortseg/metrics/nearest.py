"""Distance from each voxel of one mask to the nearest voxel of another, exactly, at a cost that follows the voxels.

Most surfaces that are compared lie a voxel or two apart. So the neighbourhood of every voxel is looked up first, in
order of distance: the first hit is the nearest. What is left, and everything once few are found that way, is searched
in a k-d tree (Bentley 1975).
"""

import itertools

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from cohortseg.metrics.bits import Bits, Indices, Mask, positions, unpack
from cohortseg.volume import Triple

Floats = npt.NDArray[np.float64]

LEAF_SIZE = 32
"""Points in a leaf of the search tree; 32 was the fastest of 8, 16, 32 on near and on far surfaces."""

REACH = 3
"""Neighbours are looked up within this many voxels along the finest axis."""

ROUND, WORTH = 8, 0.08
"""Looking goes on while so many lookups find this share of what was left: a search costs about 100 lookups."""


def nearest_mm(one: Bits, other: Bits, *, spacing_mm: Triple) -> tuple[Floats, Floats]:
    """Distance in mm from each voxel of a mask, in index order, to the nearest voxel of the other; both ways.

    Parameters
    ----------
    one, other : Bits
        Masks of the same shape, neither empty.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.

    Returns
    -------
    (float array, float array)
        From `one` to `other` and from `other` to `one`; one number for each voxel of the mask it starts from.
    """
    ours, theirs = indices_of(one), indices_of(other)
    there = _one_way(ours, other, theirs, spacing_mm)
    return there, _one_way(theirs, one, ours, spacing_mm)


def _one_way(start: Indices, end: Bits, ends: Indices, spacing_mm: Triple) -> Floats:
    distances = np.empty(len(start))
    left = look_around(start, end, spacing_mm, distances)
    if left.size:
        distances[left] = search(start[left], ends, spacing_mm)
    return distances


def search(start: Indices, ends: Indices, spacing_mm: Triple) -> Floats:
    """Distance in mm from each of some voxels (z, y, x) to the nearest of others, of which there is one at least."""
    tree = KDTree(ends * np.asarray(spacing_mm), LEAF_SIZE, compact_nodes=False, balanced_tree=False)
    return np.asarray(tree.query(start * np.asarray(spacing_mm))[0])


def indices_of(bits: Bits) -> Indices:
    """Index (z, y, x) of each voxel of a mask, shape (voxels, 3)."""
    row, x = positions(bits.words)
    return np.stack((row // bits.shape[1], row % bits.shape[1], x), axis=1)


def look_around(index: Indices, end: Bits, spacing_mm: Triple, distances: Floats) -> Indices:
    """Fill in the distances that the neighbourhood tells; returns the places of those it does not.

    Parameters
    ----------
    index : int64 array, shape (voxels, 3)
        Where distances start, in the grid of `end`.
    end : Bits
        Where they end; `reach(spacing_mm)` voxels around the start decide.
    spacing_mm : (float, float, float)
    distances : float array, shape (voxels,)
        Filled where a voxel was found.
    """
    steps, lengths = neighbourhood(spacing_mm)
    margin = reach(spacing_mm)
    flat, strides = _with_margin(end, margin)
    left, place = np.arange(len(index)), (index + margin) @ strides
    n_before = left.size
    for number, (step, length) in enumerate(zip(steps @ strides, lengths, strict=True)):
        hit = flat[place + step]
        if hit.any():
            distances[left[hit]] = length
            left, place = left[~hit], place[~hit]
            if not left.size:
                break
        if number % ROUND == ROUND - 1:
            if n_before - left.size < WORTH * n_before:
                break
            n_before = left.size
    return left


def _with_margin(bits: Bits, margin: Indices) -> tuple[Mask, Indices]:
    """The mask with background around as a flat array, and the distance of its neighbours along each axis in it."""
    n_z, n_y, n_x = (n + 2 * int(size) for size, n in zip(margin, bits.shape, strict=True))
    wider = np.zeros((n_z, n_y, n_x), np.bool_)
    z, y, x = (slice(int(size), int(size) + n) for size, n in zip(margin, bits.shape, strict=True))
    for target, words in zip(wider[z], bits.words, strict=True):  # slice by slice, or both would be in memory
        target[y, x] = unpack(Bits(words[None], (1, *bits.shape[1:])))[0]
    return wider.reshape(-1), np.array((n_y * n_x, n_x, 1))


def reach(spacing_mm: Triple) -> Indices:
    """How many voxels away along z, y, x the neighbourhood ends."""
    return np.asarray(np.abs(neighbourhood(spacing_mm)[0]).max(axis=0))


def neighbourhood(spacing_mm: Triple) -> tuple[Indices, Floats]:
    """Steps (z, y, x) to all voxels within `REACH` of the finest spacing, nearest first, and their lengths in mm."""
    radius = REACH * min(spacing_mm)
    far = [int(radius / size) for size in spacing_mm]
    steps = np.array(list(itertools.product(*(range(-n, n + 1) for n in far))))
    lengths = np.sqrt(((steps * np.asarray(spacing_mm)) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius]
    return steps[order], lengths[order]
