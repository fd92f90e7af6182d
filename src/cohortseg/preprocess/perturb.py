"""Changes of an image under which a segmentation should stay the same, and the way back for its label."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from cohortseg.choose import choose
from cohortseg.preprocess.resample import resample
from cohortseg.volume import Array, Grid, Volume

IN_PLANE = (1, 2)
RANGE_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class Strength:
    """How strong the changes are that have a strength.

    Parameters
    ----------
    noise : float
        Standard deviation as a share of the range between the 1st and the 99th percentile of the image.
    coarser : float
        Factor on the smallest voxel size.
    seed : sequence of int
        Decides the noise.
    """

    noise: float = 0.05
    coarser: float = 2.0
    seed: tuple[int, ...] = (1,)


Change: TypeAlias = Callable[[Volume, Strength], Volume]
Back: TypeAlias = Callable[[Volume, Grid], Array]


@dataclass(frozen=True)
class Transformation:
    """One entry of `TRANSFORMATIONS`.

    Parameters
    ----------
    change : callable
        Volume and strength -> the changed volume, of the same type of number.
    back : callable
        A label on the changed grid, and the grid of before -> the label on that grid.
    axes : tuple of int
        Axes that must have more than one voxel, or nothing would change.
    """

    change: Change
    back: Back
    axes: tuple[int, ...] = ()


def _flip(axis: int) -> Transformation:
    return Transformation(
        lambda volume, _: Volume(np.flip(volume.array, axis), volume.grid),
        lambda label, _: np.flip(label.array, axis),
        (axis,),
    )


def _turn(quarters: int) -> Transformation:
    return Transformation(
        partial(_turned, quarters), lambda label, _: np.rot90(label.array, -quarters, IN_PLANE), IN_PLANE
    )


def _turned(quarters: int, volume: Volume, _: Strength) -> Volume:
    """The image turned in its plane; what was the size of a voxel along y is now its size along x."""
    array, grid = np.rot90(volume.array, quarters, IN_PLANE), volume.grid
    z, y, x = grid.spacing_mm
    spacing_mm = (z, x, y) if quarters % 2 else (z, y, x)
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return Volume(array, Grid(shape, spacing_mm, grid.origin_mm, grid.axes))


def _noisy(volume: Volume, strength: Strength) -> Volume:
    """Gaussian noise added; whole numbers stay whole and within their type."""
    array = volume.array
    finite = array[np.isfinite(array)]
    low, high = np.percentile(finite, RANGE_PERCENTILES) if finite.size else (0.0, 0.0)
    drawn = np.random.default_rng(strength.seed).standard_normal(array.shape, dtype=np.float32)
    found = array + drawn * np.float32(strength.noise * (high - low))
    if np.issubdtype(array.dtype, np.integer):
        limits = np.iinfo(array.dtype)
        found = np.clip(np.rint(found), limits.min, limits.max)
    return Volume(found.astype(array.dtype), volume.grid)


def _coarser(volume: Volume, strength: Strength) -> Volume:
    """Larger voxels by linear interpolation: with a factor of 2 the mean of the voxels that become one."""
    grid = volume.grid
    wide = [size for size, n in zip(grid.spacing_mm, grid.shape, strict=True) if n > 1]
    least = strength.coarser * min(wide, default=1.0)
    z, y, x = (max(size, least) if n > 1 else size for size, n in zip(grid.spacing_mm, grid.shape, strict=True))
    target = grid.with_spacing((z, y, x))
    found = resample(volume.array, grid, target, interpolation="linear")
    if np.issubdtype(volume.array.dtype, np.integer):
        found = np.rint(found)
    return Volume(found.astype(volume.array.dtype), target)


def _finer(label: Volume, grid: Grid) -> Array:
    return resample(label.array, label.grid, grid, interpolation="nearest")


TRANSFORMATIONS: dict[str, Transformation] = {
    "flip_x": _flip(2),
    "flip_y": _flip(1),
    "flip_z": _flip(0),
    "rotate_90": _turn(1),
    "rotate_180": _turn(2),
    "rotate_270": _turn(3),
    "noise": Transformation(_noisy, lambda label, _: label.array),
    "resolution": Transformation(_coarser, _finer),
}
"""By the name in the settings. Flips and turns only move voxels: a method that treats all places alike is unmoved."""


def applies(name: str, grid: Grid) -> bool:
    """Whether a change does anything on a grid: a picture of one slice cannot be mirrored along z."""
    return all(grid.shape[axis] > 1 for axis in choose("transformation", name, TRANSFORMATIONS).axes)


def transformed(name: str, volume: Volume, strength: Strength) -> Volume:
    """The changed image, T x.

    Parameters
    ----------
    name : str
        Of `TRANSFORMATIONS`.
    volume : Volume
        Any type of number; it stays the same.
    strength : Strength
        Of noise and coarsening.

    Raises
    ------
    SettingsError
        For an unknown name.
    """
    changed = choose("transformation", name, TRANSFORMATIONS).change(volume, strength)
    return Volume(np.ascontiguousarray(changed.array), changed.grid)


def taken_back(name: str, label: Volume, grid: Grid) -> Array:
    """A label of the changed image on the grid of the image of before, T⁻¹ f."""
    return np.ascontiguousarray(choose("transformation", name, TRANSFORMATIONS).back(label, grid))


def dice_of_labels(first: Array, second: Array, n_classes: int) -> list[float]:
    """Dice of each class 1 to n of two labels (z, y, x) on one grid; NaN where neither has the class."""
    found = []
    for number in range(1, n_classes + 1):
        one, other = first == number, second == number
        total = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
        found.append(2.0 * int(np.count_nonzero(one & other)) / total if total else math.nan)
    return found
