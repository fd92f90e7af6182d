"""The size and shape of a predicted label, without any reference: what quality control compares between cases."""

import math
from dataclasses import asdict, dataclass

import cc3d
import numpy as np

from cohortseg.volume import Array, Triple


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
    counts = [np.count_nonzero(mask, axis=tuple(k for k in range(3) if k != axis)) for axis in range(3)]
    n_voxels = int(counts[0].sum())
    if not n_voxels:
        return Shape(0.0)
    ends = [(int(hit[0]), int(hit[-1]) + 1) for hit in map(np.flatnonzero, counts)]
    box = mask[tuple(slice(*pair) for pair in ends)]
    wider = np.pad(box, 1)  # cc3d fails on a single row
    sizes = np.bincount(cc3d.connected_components(wider, connectivity=26)[wider])[1:]
    centre = [float((np.arange(len(n)) + 0.5) @ n / n_voxels / len(n)) for n in counts]
    inner = mask[tuple(slice(1, -1) if length > 2 else slice(None) for length in mask.shape)]
    return Shape(
        volume_ml=n_voxels * math.prod(spacing_mm) / 1000,
        n_components=float(len(sizes)),
        largest_share=float(sizes.max()) / n_voxels,
        extent_mm=max((high - low) * step for (low, high), step in zip(ends, spacing_mm, strict=True)),
        box_share=n_voxels / box.size,
        height=centre[0],
        depth=centre[1],
        width=centre[2],
        border_share=1 - np.count_nonzero(inner) / n_voxels,
    )
