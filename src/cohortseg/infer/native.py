"""From the model's grid back to the native grid, slab by slab, and from probabilities to labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.infer.sliding import Floats, Slab
from cohortseg.volume import Grid

SAME_AXIS = 1e-3
"""Largest difference of direction cosines between two grids that count as sharing their axes."""

SAME_PLACE = 1e-6
"""Voxels by which a position may miss a voxel centre and still be taken for it."""


@dataclass(frozen=True)
class AxisMap:
    """Linear interpolation along one axis: target voxel i is `low[i]` and `high[i]` mixed with share `weight[i]`."""

    low: npt.NDArray[np.intp]
    high: npt.NDArray[np.intp]
    weight: Floats


def axis_maps(source: Grid, target: Grid) -> tuple[AxisMap, AxisMap, AxisMap]:
    """How each target voxel is mixed from source voxels, per axis (z, y, x); clamped at the border.

    Raises
    ------
    ValueError
        When the grids do not share their axes.
    """
    if np.abs(np.asarray(source.axes) - np.asarray(target.axes)).max() > SAME_AXIS:
        raise ValueError(f"the grids must share their axes, got {source.axes} and {target.axes}")
    offset = np.asarray(source.axes) @ (np.asarray(target.origin_mm) - np.asarray(source.origin_mm))
    z, y, x = (_axis_map(source, target, axis, float(offset[axis])) for axis in range(3))
    return z, y, x


def _axis_map(source: Grid, target: Grid, axis: int, offset_mm: float) -> AxisMap:
    last = source.shape[axis] - 1
    position = (offset_mm + np.arange(target.shape[axis]) * target.spacing_mm[axis]) / source.spacing_mm[axis]
    centre = np.rint(position)
    # Rounding must not turn a voxel of the same grid into a mixture of two.
    position = np.clip(np.where(np.abs(position - centre) < SAME_PLACE, centre, position), 0.0, last)
    low = np.floor(position).astype(np.intp)
    return AxisMap(low, np.minimum(low + 1, last), (position - low).astype(np.float32))


def resample_slabs(slabs: Iterable[Slab], source: Grid, target: Grid, *, depth: int = 8) -> Iterator[Slab]:
    """Trilinear interpolation of slabs from one grid to another that shares its axes.

    Parameters
    ----------
    slabs : iterable of (z0, z1, float32 array (class, z, y, x))
        Slices in order, as `predict_slabs` yields them; read only as far as needed.
    source, target : Grid
        Where the slabs lie and where they are wanted. Beyond the source's border its last voxel is taken.
    depth : int
        Slices per slab that is yielded, which bounds the memory: this many target slices and three planes.

    Yields
    ------
    (z0, z1, probabilities)
        Target slices, in order, float32 array (class, z, y, x).

    Raises
    ------
    ValueError
        When the grids do not share their axes, or the slabs end too early.
    """
    z, y, x = axis_maps(source, target)
    fresh = _planes(slabs)
    planes: dict[int, Floats] = {}
    newest = -1
    for start in range(0, target.shape[0], depth):
        stop = min(start + depth, target.shape[0])
        rows: list[Floats] = []
        for index in range(start, stop):
            low, high = int(z.low[index]), int(z.high[index])
            planes = {number: plane for number, plane in planes.items() if number >= low}
            while newest < high:
                newest, plane = _next(fresh)
                if newest >= low:
                    planes[newest] = _mix(_mix(plane, x, axis=2), y, axis=1)
            rows.append(_between(planes[low], planes[high], z.weight[index]))
        yield start, stop, np.stack(rows, axis=1)


def _planes(slabs: Iterable[Slab]) -> Iterator[tuple[int, Floats]]:
    for first, stop, probabilities in slabs:
        for index in range(first, stop):
            yield index, probabilities[:, index - first]


def _next(planes: Iterator[tuple[int, Floats]]) -> tuple[int, Floats]:
    for found in planes:
        return found
    raise ValueError("the slabs end before the last slice of their grid")


def _mix(plane: Floats, axis_map: AxisMap, *, axis: int) -> Floats:
    weight = axis_map.weight.reshape([-1 if number == axis else 1 for number in range(3)])
    return _between(plane.take(axis_map.low, axis), plane.take(axis_map.high, axis), weight)


def _between(low: Floats, high: Floats, weight: Floats | np.float32) -> Floats:
    return low + weight * (high - low)


def labels_from(probabilities: Floats, *, threshold: float | None = None) -> npt.NDArray[np.uint8]:
    """The most probable class of each voxel; the lower class when two are equal.

    Parameters
    ----------
    probabilities : float array, shape (class, ...)
        Channel 0 is the background.
    threshold : float in (0, 1), optional
        With a single foreground class: label 1 where its probability is at least this.

    Returns
    -------
    uint8 array, shape (...)

    Raises
    ------
    SettingsError
        When a threshold is asked for with several classes, or there are more than 256.
    """
    n_classes = len(probabilities)
    if n_classes > 256:
        raise SettingsError(f"at most 256 classes fit a label, got {n_classes}")
    if threshold is not None:
        if n_classes != 2:
            raise SettingsError(f"a threshold needs a single foreground class, got {n_classes - 1}")
        return np.asarray(probabilities[1] >= threshold, dtype=np.uint8)
    labels = np.zeros(probabilities.shape[1:], np.uint8)
    best = probabilities[0].copy()
    for number in range(1, n_classes):  # several times faster than argmax along the first axis
        labels[probabilities[number] > best] = number
        np.maximum(best, probabilities[number], out=best)
    return labels
