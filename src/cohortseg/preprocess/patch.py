"""Patch, strides and channels of a U-Net for a voxel size and a voxel budget.

Follows the heuristics of Isensee et al. 2021 (nnU-Net): a patch of equal sides in mm, no larger than the usual image;
an axis is halved while its voxels are not much coarser than the finest and enough of them are left.
"""

import math
from dataclasses import dataclass

SMALLEST_SIDE = 4
"""Voxels an axis must keep at the deepest level."""
COARSE = 2.0
"""An axis whose voxels are at least this much coarser than the finest is not yet halved nor convolved along."""
MOST_LEVELS = 6
WIDEST = {2: 512, 3: 320}
"""Largest number of channels in 2D and 3D."""


@dataclass(frozen=True)
class Level:
    """One resolution of the network; per-axis values in the order of the network's axes."""

    features: int
    stride: tuple[int, ...]
    kernel: tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """Patch and levels of a network.

    Parameters
    ----------
    patch : tuple of int
        Voxels of a training patch, a multiple of `alignment`.
    levels : tuple of Level
        From full resolution down; the first stride is 1.
    alignment : tuple of int
        Inputs must be a multiple of this: the product of all strides.
    """

    patch: tuple[int, ...]
    levels: tuple[Level, ...]
    alignment: tuple[int, ...]


def plan_network(
    spacing_mm: tuple[float, ...], shape: tuple[int, ...], *, patch_voxels: int, base_features: int
) -> Geometry:
    """Choose patch, strides, kernels and channels.

    Parameters
    ----------
    spacing_mm, shape : tuple, length 2 (y, x) or 3 (z, y, x)
        Voxel size in model space and size of the usual image there.
    patch_voxels : int
        Upper bound of the voxels in a patch.
    base_features : int
        Channels at full resolution; doubled at each level up to `WIDEST`.
    """
    sides = equal_sides(spacing_mm, shape, patch_voxels)
    strides, kernels = _pooling(sides, spacing_mm)
    alignment = tuple(math.prod(stride[axis] for stride in strides) for axis in range(len(shape)))
    levels = tuple(
        Level(min(base_features * 2**depth, WIDEST[len(shape)]), stride, kernel)
        for depth, (stride, kernel) in enumerate(zip(strides, kernels, strict=True))
    )
    return Geometry(_aligned(sides, shape, alignment, spacing_mm, patch_voxels), levels, alignment)


def equal_sides(spacing_mm: tuple[float, ...], shape: tuple[int, ...], patch_voxels: int) -> tuple[float, ...]:
    """Sides (voxels, not yet whole) of a box with equal edges in mm and at most `patch_voxels`, cut to the image.

    What an axis cannot use because the image ends is given to the others.
    """
    cut: dict[int, float] = {}
    while len(cut) < len(shape):
        free = [axis for axis in range(len(shape)) if axis not in cut]
        volume_mm = patch_voxels / math.prod(cut.values()) * math.prod(spacing_mm[axis] for axis in free)
        edge_mm = volume_mm ** (1 / len(free))
        too_long = {axis: float(shape[axis]) for axis in free if edge_mm / spacing_mm[axis] > shape[axis]}
        if not too_long:
            return tuple(cut.get(axis, edge_mm / spacing_mm[axis]) for axis in range(len(shape)))
        cut |= too_long
    return tuple(float(n) for n in shape)


def _pooling(
    sides: tuple[float, ...], spacing_mm: tuple[float, ...]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Stride and kernel of each level."""
    left, voxel = list(sides), list(spacing_mm)
    strides: list[tuple[int, ...]] = [(1,) * len(left)]
    kernels = [_kernel(voxel)]
    while len(strides) < MOST_LEVELS:
        can = [axis for axis, n in enumerate(left) if n >= 2 * SMALLEST_SIDE]
        finest = min((voxel[axis] for axis in can), default=0.0)
        halved = [axis for axis in can if voxel[axis] < COARSE * finest]
        if not halved:
            break
        strides.append(tuple(2 if axis in halved else 1 for axis in range(len(left))))
        for axis in halved:
            left[axis], voxel[axis] = left[axis] / 2, voxel[axis] * 2
        kernels.append(_kernel(voxel))
    return strides, kernels


def _kernel(voxel: list[float]) -> tuple[int, ...]:
    return tuple(1 if size >= COARSE * min(voxel) else 3 for size in voxel)


def _aligned(
    sides: tuple[float, ...],
    shape: tuple[int, ...],
    alignment: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    patch_voxels: int,
) -> tuple[int, ...]:
    """Whole multiples of the alignment near the sides, so that an image that fits is held whole.

    Over the budget, the longest edge gives way first.
    """
    patch = [
        step * max(1, math.ceil(n / step) if n >= whole else round(n / step))
        for n, whole, step in zip(sides, shape, alignment, strict=True)
    ]
    while math.prod(patch) > patch_voxels:
        shrinkable = [axis for axis, step in enumerate(alignment) if patch[axis] > step]
        if not shrinkable:
            break
        longest = max(shrinkable, key=lambda axis: (patch[axis] * spacing_mm[axis], -axis))
        patch[longest] -= alignment[longest]
    return tuple(patch)
