"""Connected components of a mask of any size, block by block.

Each block is numbered by itself; what touches across a cut between blocks is one component (union of the pairs); then
each block is looked up once more. Memory holds one block a worker, and some bytes for each component of each block.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.blocks import Readable, Region, Workers, Writable, map_tasks, read, regions, start
from cohortseg.postprocess.components import components
from cohortseg.volume import Array, Shape

Integers = npt.NDArray[np.int64]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pieces:
    """The components of one block: sizes in voxels, flat index of the first voxel in the image, touch of its border.

    Entry 0 is what lies between them.
    """

    sizes: Integers
    firsts: Integers
    at_border: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """Two voxels on both sides of a cut between blocks along an axis, and the boxes in it with their offset."""

    region: Region
    axis: int
    parts: list[tuple[Region, int]]


@dataclass(frozen=True)
class Components:
    """All components of a mask, in (z, y, x) order of their first voxel; entry 0 is what lies between them.

    Parameters
    ----------
    sizes : int64 array
        In voxels.
    at_border : bool array
        Whether a component touches the border of the image.
    numbers : array-like of uint32
        Of each voxel the number within its block.
    tables : list of int64 array
        Of each block the component of each of its numbers.
    blocks : (int, int, int)
        Size of a block.
    """

    sizes: Integers
    at_border: npt.NDArray[np.bool_]
    numbers: Any
    tables: list[Integers]
    blocks: Shape

    def write(self, wanted: npt.NDArray[np.bool_], out: Writable, workers: Workers = 1) -> None:
        """Write the mask of some components; `wanted` has an entry for each."""

        def look_up(block: tuple[Region, npt.NDArray[np.bool_]]) -> None:
            region, kept = block
            out[region] = kept[read(self.numbers, region)]

        boxes = regions(self.numbers.shape, self.blocks)
        map_tasks(look_up, zip(boxes, (wanted[table] for table in self.tables), strict=True), workers)


def find_components(
    mask: Readable, *, connectivity: int, numbers: Any, blocks: Shape, workers: Workers = 1
) -> Components:
    """The components of a mask.

    Parameters
    ----------
    mask : array-like of bool, shape (z, y, x)
        Read block by block.
    connectivity : {6, 18, 26}
        What counts as touching.
    numbers : uint32 array on disk, same shape
        Written; read again by what is made of the result.
    blocks : (int, int, int)
        Size of a block; whole shards of `numbers`.
    workers : int or Cluster
        Who does the blocks.
    """
    shape = (int(mask.shape[0]), int(mask.shape[1]), int(mask.shape[2]))
    boxes = regions(shape, blocks)

    def number(region: Region) -> Pieces:
        found, sizes = components(read(mask, region), connectivity=connectivity)
        numbers[region] = found.astype(np.uint32, copy=False)
        firsts = _firsts(found, len(sizes), region, shape)
        return Pieces(np.array([0, *sizes[1:]], np.int64), firsts, _border(found, region, shape))

    pieces = map_tasks(number, boxes, workers)
    offsets = np.concatenate([[0], np.cumsum([len(piece.sizes) - 1 for piece in pieces])])

    def touch(cut: Cut) -> Integers:
        return _pairs(_numbers_of_image(read(numbers, cut.region), cut.parts), cut.axis, connectivity)

    pairs = map_tasks(
        touch, _cuts(shape, blocks, dict(zip(map(start, boxes), offsets.tolist(), strict=False))), workers
    )
    return _joined(pieces, offsets, pairs, numbers, blocks)


def _firsts(found: Array, n: int, region: Region, shape: Shape) -> Integers:
    """The flat index in the image of the first voxel of each number; plane by plane, so that memory stays small."""
    firsts = np.full(n, NEVER, np.int64)
    (z0, y0, x0), width = start(region), found.shape[2]
    for z in reversed(range(len(found))):
        plane = found[z].ravel()
        places = np.flatnonzero(plane)[::-1]
        # Of equal numbers the last assignment counts: the first voxel.
        firsts[plane[places]] = ((z0 + z) * shape[1] + y0 + places // width) * shape[2] + x0 + places % width
    return firsts


def _border(found: Array, region: Region, shape: Shape) -> npt.NDArray[np.bool_]:
    """Which numbers touch the border of the image; a single plane has none above and below."""
    touches = np.zeros(int(found.max(initial=0)) + 1, bool)
    for axis, (part, n) in enumerate(zip(region, shape, strict=True)):
        if n == 1 and axis == 0:
            continue
        for end, index in ((part.start == 0, 0), (part.stop == n, -1)):
            if end:
                touches[np.unique(found.take(index, axis=axis))] = True
    touches[0] = False
    return touches


def _cuts(shape: Shape, blocks: Shape, offsets: Mapping[Shape, int]) -> list[Cut]:
    """The two voxels on both sides of every cut between blocks.

    A cut along z spans the image, one along y the planes of its blocks, one along x a row of blocks: so every pair of
    neighbours in different blocks, diagonal ones too, lies in one of them.
    """
    found = []
    for axis in range(3):
        spans = [step if before < axis else n for before, (step, n) in enumerate(zip(blocks, shape, strict=True))]
        for span in regions(shape, (spans[0], spans[1], spans[2])):
            for place in range(blocks[axis], shape[axis], blocks[axis]):
                z, y, x = (slice(place - 1, place + 1) if here == axis else part for here, part in enumerate(span))
                region = (z, y, x)
                found.append(Cut(region, axis, _parts(region, blocks, offsets)))
    return found


def _parts(region: Region, blocks: Shape, offsets: Mapping[Shape, int]) -> list[tuple[Region, int]]:
    """The boxes within a region, seen from it, that lie in one block each, and the offset of the block's numbers."""
    edges = [
        sorted({part.start, part.stop, *range(-(-part.start // step) * step, part.stop, step)})
        for part, step in zip(region, blocks, strict=True)
    ]
    parts = []
    for box in itertools.product(*(itertools.pairwise(edge) for edge in edges)):
        block = tuple(first // step * step for (first, _), step in zip(box, blocks, strict=True))
        z, y, x = (slice(a - part.start, b - part.start) for (a, b), part in zip(box, region, strict=True))
        parts.append(((z, y, x), offsets[block[0], block[1], block[2]]))
    return parts


def _numbers_of_image(local: Array, parts: list[tuple[Region, int]]) -> Integers:
    """Numbers of several blocks, made unique over the image."""
    out: Integers = local.astype(np.int64)
    for where, offset in parts:
        part = out[where]
        part[part > 0] += offset
    return out


def _pairs(found: Integers, axis: int, connectivity: int) -> Integers:
    """The different pairs of numbers that touch across the middle of an array two voxels thick; shape (n, 2)."""
    one, two = np.take(found, 0, axis=axis), np.take(found, 1, axis=axis)
    reach = {6: 0, 18: 1, 26: 2}[connectivity]
    pairs = [np.empty((0, 2), np.int64)]
    for step in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if abs(a) + abs(b) <= reach):
        here = one[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, one.shape, strict=True))]
        there = two[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, two.shape, strict=True))]
        both = (here > 0) & (there > 0)
        # Most neighbours are the same pair as the one before: only changes are looked at.
        first, second = here[both], there[both]
        if len(first):
            new = np.concatenate([[True], (first[1:] != first[:-1]) | (second[1:] != second[:-1])])
            pairs.append(np.unique(np.stack([first[new], second[new]], axis=1), axis=0))
    return np.unique(np.concatenate(pairs), axis=0)


def _joined(pieces: list[Pieces], offsets: Integers, pairs: list[Integers], numbers: Any, blocks: Shape) -> Components:
    """The components that the pieces are parts of, in the order of their first voxels."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(offsets[-1])
    touching = np.concatenate([np.empty((0, 2), np.int64), *pairs]) - 1
    graph = coo_array((np.ones(len(touching), np.int8), (touching[:, 0], touching[:, 1])), shape=(n, n))
    n_found, member = connected_components(graph, directed=False) if n else (0, np.empty(0, np.int64))
    firsts = np.full(n_found, NEVER, np.int64)
    np.minimum.at(firsts, member, np.concatenate([piece.firsts[1:] for piece in pieces]))
    place = np.empty(n_found, np.int64)
    place[np.argsort(firsts)] = np.arange(1, n_found + 1)
    of_piece = np.concatenate([[0], place[member]]).astype(np.int64)
    sizes, at_border = np.zeros(n_found + 1, np.int64), np.zeros(n_found + 1, bool)
    tables = []
    for piece, offset in zip(pieces, offsets, strict=False):
        table = np.concatenate([[0], of_piece[offset + 1 : offset + len(piece.sizes)]])
        np.add.at(sizes, table, piece.sizes)
        at_border[table[piece.at_border]] = True
        tables.append(table)
    return Components(sizes, at_border, numbers, tables, blocks)
