"""Numbered objects one by one: class, volume, centre and box."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array, Grid

OBJECT_COLUMNS = (
    *("object", "class", "volume_ml", "centroid_x_mm", "centroid_y_mm", "centroid_z_mm"),
    *("z_first", "z_last", "y_first", "y_last", "x_first", "x_last", "size_z_mm", "size_y_mm", "size_x_mm"),
)
"""Columns of an objects table. Centroids are in the world of the patient (LPS: towards left, back, head); the box is in
voxels of the image, counted from 0, the last one inside, and its sizes are along the axes of the image."""


def object_rows(ids: npt.NDArray[np.integer], label: Array, grid: Grid, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each object, by number.

    Parameters
    ----------
    ids : int array, shape (z, y, x)
        1, 2, …; 0 for the background. An object has voxels of one class.
    label : uint8 array, same shape
        Class numbers.
    grid : Grid
        Of both.
    classes : sequence of str
        Names of class 1, 2, …

    Returns
    -------
    list of dict
        The keys `OBJECT_COLUMNS`; empty without an object.
    """
    places = np.nonzero(ids)
    if not places[0].size:
        return []
    numbers, first, index, n_voxels = np.unique(ids[places], return_index=True, return_inverse=True, return_counts=True)
    lows, highs = np.full((2, 3, numbers.size), 0)
    lows[:] = np.iinfo(lows.dtype).max
    for axis, at in enumerate(places):
        np.minimum.at(lows[axis], index, at)
        np.maximum.at(highs[axis], index, at)
    centres = np.stack([np.bincount(index, weights=at) / n_voxels for at in places], axis=1)
    kinds = label[places][first]
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000.0
    rows = []
    for k, number in enumerate(numbers.tolist()):
        z, y, x = centres[k].tolist()
        world = (round(value, 4) for value in grid.world((z, y, x)))
        box = [int(end) for axis in range(3) for end in (lows[axis, k], highs[axis, k])]
        sizes = [round(float(highs[axis, k] - lows[axis, k] + 1) * grid.spacing_mm[axis], 6) for axis in range(3)]
        values = [number, classes[int(kinds[k]) - 1], round(int(n_voxels[k]) * voxel_ml, 9), *world, *box, *sizes]
        rows.append(dict(zip(OBJECT_COLUMNS, values, strict=True)))
    return rows
