"""Lesion-wise agreement: how many separate lesions were found, and how many found ones are real.

A lesion is a connected component of a mask, with voxels that share a face, an edge or a corner (26-connectivity).
Matching rule: a reference lesion is found when at least one voxel of the prediction lies in it; a predicted lesion
is true when at least one voxel of the reference lies in it. One prediction may so find two lesions, and two
predictions the same one; no size or overlap threshold is applied.
"""

import math
from dataclasses import dataclass

import cc3d
import numpy as np

from cohortseg.metrics.overlap import Mask, check_masks


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of both masks, and how many of each overlap the other mask."""

    n_reference: int
    n_found: int
    n_prediction: int
    n_true: int

    @property
    def sensitivity(self) -> float:
        """Share of the reference lesions that were found; NaN without a reference lesion."""
        return self.n_found / self.n_reference if self.n_reference else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are true; NaN without a predicted lesion."""
        return self.n_true / self.n_prediction if self.n_prediction else math.nan


def match_lesions(reference: Mask, prediction: Mask) -> LesionCounts:
    """Count lesions by the rule at the top of this file.

    Parameters
    ----------
    reference, prediction : bool array, shape (z, y, x)
        Masks on the same grid; either may be empty.

    Raises
    ------
    ValueError
        See `check_masks`.
    """
    check_masks(reference, prediction)
    starts = _row_starts(reference & prediction)
    return LesionCounts(*_count(reference, starts), *_count(prediction, starts))


def _row_starts(mask: Mask) -> Mask:
    """The first voxel of each unbroken row along x: it stands for the row, which lies in one lesion."""
    starts = mask.copy()
    np.greater(mask[..., 1:], mask[..., :-1], out=starts[..., 1:])
    return starts


def _count(mask: Mask, starts: Mask) -> tuple[int, int]:
    """Number of lesions of `mask`, and of those with a voxel in `starts`, which is a part of the mask."""
    if not mask.any():
        return 0, 0
    wider = np.pad(mask, ((0, 1), (0, 1), (0, 1)))  # cc3d 4.1 raises on full rows of odd length, such as "#.#"
    components, n_lesions = cc3d.connected_components(wider, connectivity=26, return_N=True)
    touched = np.zeros(n_lesions + 1, dtype=np.bool_)
    touched[components[:-1, :-1, :-1][starts]] = True
    return int(n_lesions), int(np.count_nonzero(touched))
