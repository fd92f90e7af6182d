"""A lopsided ellipsoid, bright on dark, with noise; spacing differs along each axis."""

import numpy as np

from cohortseg.volume import Grid, Volume

GRID = Grid((12, 62, 90), (2.5, 1.0, 0.8), (3.0, -4.0, 5.0))


def blob(noise=8.0, seed=3):
    """The volume (int16, 0 and 100) and the mask it was made of; the mask reaches all planes."""
    z, y, x = np.ogrid[: GRID.shape[0], : GRID.shape[1], : GRID.shape[2]]
    mask = ((z - 6.5) / 9) ** 2 + ((y - 29) / 20) ** 2 + ((x - 47) / 30) ** 2 <= 1
    random = np.random.default_rng(seed)
    image = 100 * mask + random.normal(0, noise, GRID.shape) if noise else 100 * mask
    return Volume(np.round(image).astype(np.int16), GRID), mask


def volume_of(array, spacing_mm=(1.0, 1.0, 1.0)):
    """An array (y, x) or (z, y, x) as a volume."""
    array = np.asarray(array)
    array = array[None] if array.ndim == 2 else array
    return Volume(array, Grid(array.shape, spacing_mm, (0.0, 0.0, 0.0)))


def dice(reference, prediction):
    """Twice the shared voxels over the sum of both masks."""
    return 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
