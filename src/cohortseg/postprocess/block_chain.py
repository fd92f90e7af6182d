"""The chain that cleans a predicted label, for labels that do not fit into memory: block by block, step by step.

The result is that of `chain.postprocess_classes`, voxel by voxel. What stands between two steps goes to disk.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.blocks import Readable, Region, Scope, Workers, map_tasks, read, regions, run_blocks
from cohortseg.postprocess.block_components import Components, find_components
from cohortseg.postprocess.chain import NOTHING, POSTPROCESSES, Step, steps_of
from cohortseg.postprocess.components import CONNECTIVITY, FACES, least_voxels
from cohortseg.postprocess.morphology import reach_voxels
from cohortseg.volume import Array, Shape, Triple

NewArray = Callable[[Any], Any]
"""Makes an array of the image's shape on disk, of a type of voxel, whose shards are the blocks."""


@dataclass(frozen=True)
class ClassMask:
    """The mask of one class of a label, block by block."""

    label: Readable
    value: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along z, y, x."""
        return tuple(self.label.shape)

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""
        return np.dtype(bool)

    def __getitem__(self, region: Region, /) -> Array:
        """The voxels of a region."""
        mask: Array = read(self.label, region) == self.value
        return mask


def postprocess_by_blocks(
    label: Readable,
    out: Any,
    *,
    spacing_mm: Triple,
    options: Sequence[Mapping[str, Any]],
    blocks: Shape,
    new_array: NewArray,
    workers: Workers = 1,
) -> None:
    """Clean each class in its own way, as `chain.postprocess_classes` does.

    Parameters
    ----------
    label : array-like of uint8, shape (z, y, x)
        Class numbers; 0 is the background.
    out : uint8 array on disk, same shape
        All 0; written.
    spacing_mm, options
        As there.
    blocks : (int, int, int)
        Size of a block: whole shards of `out`. A block grows on every side by twice the radius of a morphology, which
        should be small beside it.
    new_array : callable
        Makes an array for what stands between two steps.
    workers : int or Cluster
        Who does the blocks.

    Raises
    ------
    ValueError
        For a label value beyond the options.
    """
    room = Room(blocks, new_array, workers)
    largest = max(
        map_tasks(lambda region: int(read(label, region).max(initial=0)), room.boxes(label), workers), default=0
    )
    if largest > len(options):
        raise ValueError(f"the label holds {largest}, only {len(options)} classes are named")
    for value, of_class in enumerate(options, start=1):
        mask: Readable = ClassMask(label, value)
        for selects, group in itertools.groupby(steps_of(spacing_mm, **{**NOTHING, **of_class}), _selects):
            # What chooses among components does so together, as no choice changes a component.
            for steps in [list(group)] if selects else [[step] for step in group]:
                mask = _apply(mask, steps, room)
        _merge(label, out, mask, value, room)


@dataclass(frozen=True)
class Room:
    """Where and by whom the blocks are done."""

    blocks: Shape
    new_array: NewArray
    workers: Workers

    def boxes(self, array: Readable) -> list[Region]:
        """The blocks of an array."""
        z, y, x = array.shape
        return regions((z, y, x), self.blocks)


def _selects(step: Step) -> bool:
    return step[0] in ("minimum_volume", "keep_largest", "keep_n")


def _apply(mask: Readable, steps: list[Step], room: Room) -> Readable:
    """One step of a mask, or several that choose among its components."""
    name, options = steps[0]
    out = room.new_array(np.bool_)
    if name == "fill_holes":
        _fill_holes(mask, out, room)
    elif name == "minimum_slices":
        found = _components(mask, FACES, room)
        found.write(slices_of(found, room) >= min(options["n_slices"], mask.shape[0]), out, room.workers)
    elif _selects(steps[0]):
        found = _components(mask, CONNECTIVITY, room)
        found.write(chosen_components(found, steps), out, room.workers)
    else:
        reach = reach_voxels(options["radius_mm"], options["spacing_mm"])
        entry = POSTPROCESSES[name]
        z, y, x = (entry.halo_radii * n for n in reach)
        run_blocks(
            mask,
            partial(entry.function, **options),
            scope=Scope("halo", (z, y, x)),
            dtype=bool,
            target=out,
            blocks=room.blocks,
            workers=room.workers,
        )
    made: Readable = out
    return made


def _components(mask: Readable, connectivity: int, room: Room) -> Components:
    return find_components(
        mask,
        connectivity=connectivity,
        numbers=room.new_array(np.uint32),
        blocks=room.blocks,
        workers=room.workers,
    )


def chosen_components(found: Components, steps: Sequence[Step]) -> npt.NDArray[np.bool_]:
    """Which components are left after steps that choose among them; of equals the first in (z, y, x) order is kept."""
    wanted = found.sizes > 0
    for name, options in steps:
        if name == "minimum_volume":
            wanted &= found.sizes >= least_voxels(options["min_volume_ml"], options["voxel_ml"])
            continue
        left = np.flatnonzero(wanted)
        wanted[left[np.argsort(-found.sizes[left], kind="stable")[options.get("n", 1) :]]] = False
    return wanted


def slices_of(found: Components, room: Room) -> npt.NDArray[np.int64]:
    """Slices that each component reaches over; 0 for what lies between them."""

    def ends(region: Region) -> npt.NDArray[np.int64]:
        numbers = read(found.numbers, region)
        first_last = np.zeros((2, int(numbers.max(initial=0)) + 1), np.int64)
        for z in range(region[0].start, region[0].stop):
            first_last[1, numbers[z - region[0].start]] = z + 1
        for z in reversed(range(region[0].start, region[0].stop)):
            first_last[0, numbers[z - region[0].start]] = z
        return first_last

    firsts, lasts = np.full(len(found.sizes), found.numbers.shape[0], np.int64), np.zeros(len(found.sizes), np.int64)
    parts = map_tasks(ends, regions(found.numbers.shape, room.blocks), room.workers)
    for table, (first, last) in zip(found.tables, parts, strict=True):
        np.minimum.at(firsts, table, first)
        np.maximum.at(lasts, table, last)
    reached: npt.NDArray[np.int64] = lasts - firsts
    reached[0] = 0
    return reached


def _fill_holes(mask: Readable, out: Any, room: Room) -> None:
    """Add the background that cannot reach the border of the image over faces."""
    # In an image of one plane nothing lies above and below: planes are filled as they are.
    found = _components(_Background(mask), FACES, room)
    holes = room.new_array(np.bool_)
    found.write(~found.at_border & (found.sizes > 0), holes, room.workers)

    def fill(region: Region) -> None:
        out[region] = read(mask, region) | read(holes, region)

    map_tasks(fill, room.boxes(mask), room.workers)


@dataclass(frozen=True)
class _Background:
    mask: Readable

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mask.shape)

    @property
    def dtype(self) -> Any:
        return np.dtype(bool)

    def __getitem__(self, region: Region, /) -> Array:
        background: Array = ~read(self.mask, region)
        return background


def _merge(label: Readable, out: Any, mask: Readable, value: int, room: Room) -> None:
    """Give a class what it keeps, and the background that no class before it wanted."""

    def add(region: Region) -> None:
        wanted = read(mask, region)
        if not wanted.any():
            return
        before, result = read(label, region), read(out, region)
        result[wanted & ((before == value) | ((before == 0) & (result == 0)))] = value
        out[region] = result

    map_tasks(add, room.boxes(label), room.workers)
