"""Labels of cases that are larger than the memory: read some slices at a time, wherever a step looks at them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.ignored import IGNORE, left_out
from cohortseg.io import store
from cohortseg.volume import Array, Grid, Shape, Volume


def is_oversize(path: Path, most_voxels: int) -> bool:
    """Whether a store has more voxels than are held in memory; `most_voxels` is 0 where there is no limit."""
    return bool(most_voxels) and path.exists() and math.prod(store.read_grid(path).shape) > most_voxels


@dataclass(frozen=True)
class Slabbed:
    """A stored label of which only the slices that are asked for are in memory."""

    path: Path
    grid: Grid

    @property
    def shape(self) -> Shape:
        """Voxels along z, y, x."""
        return self.grid.shape

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""
        return store.open_array(self.path).dtype

    def __getitem__(self, part: slice) -> Array:
        """Some slices."""
        return np.asarray(store.open_array(self.path)[part])

    def __iter__(self) -> Iterator[Array]:
        """Slice after slice."""
        for _, slab in self.slabs():
            yield from slab

    def slabs(self) -> Iterator[tuple[int, Array]]:
        """All slices, one shard thick: the first index and the voxels."""
        return store.read_slabs(self.path)


def open_label(path: Path) -> Any:
    """A stored label like a `Volume`, its array a `Slabbed`."""
    grid = store.read_grid(path)
    return OpenVolume(Slabbed(path, grid), grid)


@dataclass(frozen=True)
class OpenVolume:
    """What of a `Volume` is asked of a label that is not read whole."""

    array: Slabbed
    grid: Grid


def measurer(reference: Volume | OpenVolume, prediction: Volume | OpenVolume) -> Callable[..., Any]:
    """How a label of some class numbers is measured: `case.measure_case` of these, whole or by slabs.

    Voxels that the reference labels `IGNORE` are background in both, and no voxel of the image.
    """
    from cohortseg.metrics.case import measure_case
    from cohortseg.metrics.regions import holds
    from cohortseg.metrics.slabs import measure_by_slabs

    if isinstance(reference, Volume) and isinstance(prediction, Volume):
        ours, theirs = reference.array, left_out(prediction.array, reference.array)
        n_not_judged = int(np.count_nonzero(ours == IGNORE))
        return lambda numbers, **options: measure_case(
            holds(ours, numbers), holds(theirs, numbers), n_not_judged=n_not_judged, **options
        )
    n_not_judged = sum(int(np.count_nonzero(plane == IGNORE)) for plane in reference.array)

    def measure(numbers: Sequence[int], **options: Any) -> Any:
        def read(first: int, last: int) -> tuple[Array, Array]:
            ours, theirs = (one.array[slice(first, last)] for one in (reference, prediction))
            return holds(ours, numbers), holds(left_out(theirs, ours), numbers)

        return measure_by_slabs(read, reference.grid.shape, n_not_judged=n_not_judged, **options)

    return measure
