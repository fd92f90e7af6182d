"""How sure a prediction is of each of its lesions: the largest and the mean probability of its voxels."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Bits
from cohortseg.metrics.lesions import Side, side_of
from cohortseg.volume import Shape

Floats = npt.NDArray[np.float64]

SLAB = 64
"""Slices read at once: one chunk of the stores."""


def lesion_scores(prediction: Bits, probability: Any) -> tuple[Floats, Floats]:
    """Largest and mean probability of each lesion of a mask, in the order of `lesions.match_lesions`.

    Parameters
    ----------
    prediction : Bits
        The mask; it may be cut from a larger image (`Bits.corner`).
    probability : array-like of floats, shape (z, y, x)
        Probability of the label in each voxel of the whole image; read some slices at a time.

    Returns
    -------
    (float array, float array)
        Shape (lesions,); empty for an empty mask.
    """
    return scores_of(side_of(prediction), probability, prediction.shape[0], prediction.corner)


def scores_of(side: Side, probability: Any, n_z: int, corner: Shape = (0, 0, 0)) -> tuple[Floats, Floats]:
    """The same of a mask of `n_z` slices whose lesions are known."""
    runs, number, n_lesions = side.runs, side.lesion, side.n_lesions
    largest, total, voxels = np.full(n_lesions, -np.inf), np.zeros(n_lesions), np.zeros(n_lesions)
    z0, y0, x0 = corner
    rows, columns = slice(y0, y0 + runs.n_y), slice(x0, x0 + runs.n_x)
    z_of = runs.row // runs.n_y
    for first in range(0, n_z, SLAB):
        low, high = np.searchsorted(z_of, (first, first + SLAB))
        if low == high:
            continue
        slab = np.asarray(probability[z0 + first : z0 + min(first + SLAB, n_z), rows, columns])
        flat = np.append(slab.ravel(), slab.dtype.type(0))  # so that the last run may end at the last voxel
        row = (runs.row[low:high] - first * runs.n_y) * runs.n_x
        ends = np.stack((row + runs.start[low:high], row + runs.stop[low:high]), axis=1).ravel()
        np.maximum.at(largest, number[low:high], np.maximum.reduceat(flat, ends)[::2])
        np.add.at(total, number[low:high], np.add.reduceat(flat, ends, dtype=np.float64)[::2])
        np.add.at(voxels, number[low:high], runs.lengths[low:high])
    return largest, total / np.maximum(voxels, 1)
