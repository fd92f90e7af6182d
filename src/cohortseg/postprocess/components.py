"""Connected components of a mask: keep the largest, the n largest, or those above a volume."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array

CONNECTIVITY = 26
"""Neighbours of a voxel: 6 (faces), 18 (and edges) or 26 (and corners)."""

FACES = 6
"""Neighbours across the faces of a voxel alone."""

Mask = npt.NDArray[np.bool_]


def keep_largest(mask: Array, *, connectivity: int = CONNECTIVITY) -> Mask:
    """The largest component; of equals the one whose first voxel comes first in (z, y, x) order.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
        An empty mask stays empty.
    connectivity : {6, 18, 26}
        What counts as touching.
    """
    return keep_n(mask, 1, connectivity=connectivity)


def keep_n(mask: Array, n: int, *, connectivity: int = CONNECTIVITY) -> Mask:
    """The n largest components, all of them where there are fewer; ties as in `keep_largest`.

    Raises
    ------
    ValueError
        When n is below 1.
    """
    if n < 1:
        raise ValueError(f"at least one component must be kept, got n = {n}")
    labels, sizes = components(mask, connectivity=connectivity)
    wanted = np.zeros(len(sizes), bool)
    wanted[1 + np.argsort(-sizes[1:], kind="stable")[:n]] = True
    kept: Mask = wanted[labels]
    return kept


def minimum_volume(mask: Array, min_volume_ml: float, voxel_ml: float, *, connectivity: int = CONNECTIVITY) -> Mask:
    """The components of at least a volume.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
        An empty mask stays empty.
    min_volume_ml, voxel_ml : float
        Smallest volume that is kept, and volume of one voxel, in ml. A component of exactly the volume is kept.
    connectivity : {6, 18, 26}
        What counts as touching.
    """
    labels, sizes = components(mask, connectivity=connectivity)
    wanted = sizes >= least_voxels(min_volume_ml, voxel_ml)
    wanted[0] = False
    kept: Mask = wanted[labels]
    return kept


def minimum_slices(mask: Array, n_slices: int, *, connectivity: int = FACES) -> Mask:
    """The components over several slices; where faces alone count, such a one overlaps itself from slice to slice.

    Parameters
    ----------
    mask : bool array, shape (z, y, x)
        An empty mask stays empty.
    n_slices : int
        Fewest slices of a component that is kept; no more are asked for than the image has, so pictures stay.
    connectivity : {6, 18, 26}
        What counts as touching.

    References
    ----------
    Primakov et al., Nature Communications 2022: a tumour is found in neighbouring slices.
    """
    import cc3d

    labels, _ = components(mask, connectivity=connectivity)
    found: Any = cc3d.statistics(labels)
    least = min(n_slices, mask.shape[0])
    wanted = np.array([box[0].stop - box[0].start >= least for box in found["bounding_boxes"]])
    wanted[0] = False
    kept: Mask = wanted[labels]
    return kept


def least_voxels(min_volume_ml: float, voxel_ml: float) -> int:
    """Voxels of the smallest component that is kept."""
    return math.ceil(min_volume_ml / voxel_ml * (1 - 1e-9))  # 1e-9: rounding of ml must not remove a tie


def components(mask: Array, *, connectivity: int = CONNECTIVITY) -> tuple[Array, npt.NDArray[np.int64]]:
    """Component numbers (0 is the background) in (z, y, x) order of their first voxel, and their sizes in voxels.

    Raises
    ------
    ValueError
        For another connectivity than 6, 18 or 26.
    """
    if connectivity not in (6, 18, 26):
        raise ValueError(f"connectivity must be 6, 18 or 26, got {connectivity}")
    import cc3d

    found: Any = cc3d.connected_components(np.ascontiguousarray(mask, dtype=np.uint8), connectivity=connectivity)
    sizes = np.asarray(cc3d.statistics(found)["voxel_counts"], dtype=np.int64)
    return found, sizes
