"""The size and shape of a predicted label, without any reference: what quality control compares between cases."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import cc3d
import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Triple

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """One class of one label. All but the volume are NaN where the class is empty.

    Parameters
    ----------
    volume_ml : float
        Voxels times their volume.
    n_components : float
        Connected components; voxels that share a face, an edge or a corner are connected.
    largest_share : float
        Share of the largest component in the volume, in (0, 1].
    extent_mm : float
        Longest side of the bounding box.
    box_share : float
        Share of the bounding box that is filled, in (0, 1]: low for scattered or thin labels.
    height, depth, width : float
        Centre of mass as a share of the image along z, y, x, in (0, 1).
    border_share : float
        Share of the voxels that lie in the outermost layer of the image.
    """

    volume_ml: float
    n_components: float = math.nan
    largest_share: float = math.nan
    extent_mm: float = math.nan
    box_share: float = math.nan
    height: float = math.nan
    depth: float = math.nan
    width: float = math.nan
    border_share: float = math.nan


def label_shapes(label: Array, *, spacing_mm: Triple, n_classes: int) -> list[dict[str, float]]:
    """The shape of class 1, 2, … of a label, as plain numbers.

    Parameters
    ----------
    label : integer array, shape (z, y, x)
        0 is the background.
    spacing_mm : (float, float, float)
        Distance of voxel centres along z, y, x.
    n_classes : int
        Number of classes.
    """
    return [asdict(mask_shape(label == number, spacing_mm=spacing_mm)) for number in range(1, n_classes + 1)]


def mask_shape(mask: Array, *, spacing_mm: Triple) -> Shape:
    """The shape of one mask.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
    spacing_mm : (float, float, float)
        Distance of voxel centres along z, y, x.
    """
    return shape_of(count(mask), sizes_of_components(mask), spacing_mm)


@dataclass(frozen=True)
class Counts:
    """Voxels of a mask by plane along z, y and x, and those that do not lie in the outermost layer of the image."""

    by_plane: tuple[Integers, Integers, Integers]
    inner: int


def count(mask: Array, first: tuple[int, int, int] = (0, 0, 0), shape: tuple[int, ...] | None = None) -> Counts:
    """The counts of a mask, or of a box of one that begins at `first` in an image of a shape."""
    z, y, x = (np.count_nonzero(mask, axis=tuple(k for k in range(3) if k != axis)) for axis in range(3))
    inner = mask[
        tuple(
            slice(1 if at == 0 else 0, -1 if at + here == n else None) if n > 2 else slice(None)
            for at, here, n in zip(first, mask.shape, shape or mask.shape, strict=True)
        )
    ]
    return Counts((z, y, x), int(np.count_nonzero(inner)))


def joined(parts: Iterable[tuple[tuple[int, int, int], Counts]], shape: tuple[int, int, int]) -> Counts:
    """The counts of an image of a shape from those of the boxes that it is cut into, with where each begins."""
    z, y, x = (np.zeros(n, np.int64) for n in shape)
    inner = 0
    for first, counts in parts:
        for whole, begin, part in zip((z, y, x), first, counts.by_plane, strict=True):
            whole[begin : begin + len(part)] += part
        inner += counts.inner
    return Counts((z, y, x), inner)


def sizes_of_components(mask: Array) -> Integers:
    """Voxels of each component of a mask."""
    if not mask.any():
        return np.empty(0, np.int64)
    ends = [_ends(np.asarray(mask.any(axis=tuple(k for k in range(3) if k != axis)))) for axis in range(3)]
    wider = np.pad(mask[tuple(slice(*pair) for pair in ends)], 1)  # cc3d fails on a single row
    return np.bincount(cc3d.connected_components(wider, connectivity=26)[wider])[1:]


def shape_of(counts: Counts, sizes: Integers, spacing_mm: Triple) -> Shape:
    """The shape of a mask from its counts and the sizes of its components."""
    n_voxels = int(counts.by_plane[0].sum())
    if not n_voxels:
        return Shape(0.0)
    ends = [_ends(n) for n in counts.by_plane]
    centre = [float((np.arange(len(n)) + 0.5) @ n / n_voxels / len(n)) for n in counts.by_plane]
    return Shape(
        volume_ml=n_voxels * math.prod(spacing_mm) / 1000,
        n_components=float(len(sizes)),
        largest_share=float(sizes.max()) / n_voxels,
        extent_mm=max((high - low) * step for (low, high), step in zip(ends, spacing_mm, strict=True)),
        box_share=n_voxels / math.prod(high - low for low, high in ends),
        height=centre[0],
        depth=centre[1],
        width=centre[2],
        border_share=1 - counts.inner / n_voxels,
    )


def _ends(hit: Array) -> tuple[int, int]:
    """The first and behind-last place that is hit."""
    places = np.flatnonzero(hit)
    return int(places[0]), int(places[-1]) + 1
