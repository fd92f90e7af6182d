"""From the model's grid back to the native grid, block by block and class by class; from probabilities to labels."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.infer.blend import Floats
from cohortseg.infer.sliding import Block
from cohortseg.volume import Grid

SAME_AXIS = 1e-3
"""Largest difference of direction cosines between two grids that count as sharing their axes."""

WORK_VOXELS = 4_000_000
"""Voxels of one class that are resampled at a time."""

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
    weight = (position - low).astype(np.float32)
    return AxisMap(low, low + (weight > 0), weight)


def resample_blocks(
    blocks: Iterable[Block], source: Grid, target: Grid, *, work_voxels: int = WORK_VOXELS
) -> Iterator[Block]:
    """Trilinear interpolation of blocks from one grid to another that shares its axes.

    Parameters
    ----------
    blocks : iterable of Block
        Slices in order, as `predict_blocks` yields them; read only as far as needed.
    source, target : Grid
        Where the blocks lie and where they are wanted. Beyond the source's border its last voxel is taken.
    work_voxels : int
        Most voxels of one channel that are computed at a time (but one slice at least): the only memory this takes.

    Yields
    ------
    Block
        Target slices, in order. Nothing is computed until a channel is asked for, before the next block is.

    Raises
    ------
    ValueError
        When the grids do not share their axes, or the blocks end too early.
    """
    maps = axis_maps(source, target)
    plane = max(target.shape[1] * target.shape[2], source.shape[1] * source.shape[2])
    # Where slices become more along z, they are mixed last, else first: fewer planes to work on in between.
    thicker = max(1.0, source.shape[0] / target.shape[0])
    step = max(1, int(work_voxels / (plane * thicker)))
    start = 0
    for block in blocks:
        ready = int(np.searchsorted(maps[0].high, block.stop))
        for first in range(start, ready, step):
            stop = min(first + step, ready)
            yield Block(first, stop, _resampler(block, maps, z_first=target.shape[0] < source.shape[0]))
        start = ready
    if start < target.shape[0]:
        raise ValueError("the blocks end before the last slice of their grid")


def _resampler(
    block: Block, maps: tuple[AxisMap, AxisMap, AxisMap], *, z_first: bool
) -> Callable[[int, int, int], Floats]:
    def planes(channel: int, first: int, stop: int) -> Floats:
        z, y, x = maps
        bottom = int(z.low[first])
        values = block.planes(channel, bottom, int(z.high[stop - 1]) + 1)
        part = AxisMap(z.low[first:stop] - bottom, z.high[first:stop] - bottom, z.weight[first:stop])
        order = ((part, 0), (x, 2), (y, 1)) if z_first else ((x, 2), (y, 1), (part, 0))
        for axis_map, axis in order:
            values = _mix(values, axis_map, axis=axis)
        return values

    return planes


def _mix(values: Floats, axis_map: AxisMap, *, axis: int) -> Floats:
    if not axis_map.weight.any():  # voxels on voxels
        return (
            values if np.array_equal(axis_map.low, np.arange(values.shape[axis])) else values.take(axis_map.low, axis)
        )
    weight = axis_map.weight.reshape([-1 if number == axis else 1 for number in range(3)])
    low, mixed = values.take(axis_map.low, axis), values.take(axis_map.high, axis)
    mixed -= low
    mixed *= weight
    mixed += low
    return mixed


def labels_from(probabilities: Iterable[Floats], *, threshold: float | None = None) -> npt.NDArray[np.uint8]:
    """The most probable class of each voxel; the lower class when two are equal.

    Parameters
    ----------
    probabilities : iterable of float arrays, all of one shape
        One per class, the background first; an array (class, ...) too. Two are held at a time.
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
    classes = iter(probabilities)
    best = np.array(next(classes))
    labels = np.zeros(best.shape, np.uint8)
    for number, found in enumerate(classes, start=1):  # several times faster than argmax along the first axis
        if number > 255:
            raise SettingsError("at most 256 classes fit a label")
        if threshold is not None and number > 1:
            raise SettingsError("a threshold needs a single foreground class, there are several")
        labels[found > best if threshold is None else found >= threshold] = number
        np.maximum(best, found, out=best)
    return labels
