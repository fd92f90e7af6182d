"""Lesion-wise agreement: which separate lesions were found, how well, and which found ones are real.

A lesion is a connected component of a mask, with voxels that share a face, an edge or a corner (26-connectivity).
Matching rule: a reference lesion is found when at least one voxel of the prediction lies in it; a predicted lesion
is true when at least one voxel of the reference lies in it. One prediction may so find two lesions, and two
predictions the same one; no size or overlap threshold is applied.

The Dice of a lesion compares it with all predicted lesions that touch it, taken together: a part that is missing, and
a part that spills over or is merged with a neighbour, both lower it.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Bits, Indices
from cohortseg.metrics.runs import Runs, components, find_runs, meetings
from cohortseg.volume import Shape

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lesions:
    """The lesions of both masks and how they overlap; numbered from 0 in the order of their first voxels.

    Parameters
    ----------
    reference_voxels, prediction_voxels : int64 array, shape (lesions,)
        Size of each lesion.
    reference_centres, prediction_centres : float array, shape (lesions, 3)
        Mean index (z, y, x) of each lesion's voxels in the image.
    pairs : int64 array, shape (pairs, 2)
        Reference lesion and predicted lesion that share a voxel.
    shared_voxels : int64 array, shape (pairs,)
        How many they share.
    """

    reference_voxels: Indices
    prediction_voxels: Indices
    reference_centres: Floats
    prediction_centres: Floats
    pairs: Indices
    shared_voxels: Indices

    @property
    def n_reference(self) -> int:
        """Lesions of the reference."""
        return int(self.reference_voxels.size)

    @property
    def n_prediction(self) -> int:
        """Lesions of the prediction."""
        return int(self.prediction_voxels.size)

    @property
    def n_found(self) -> int:
        """Reference lesions that the prediction touches."""
        return int(np.unique(self.pairs[:, 0]).size)

    @property
    def n_true(self) -> int:
        """Predicted lesions that touch the reference."""
        return int(np.unique(self.pairs[:, 1]).size)

    @property
    def sensitivity(self) -> float:
        """Share of the reference lesions that were found; NaN without a reference lesion."""
        return self.n_found / self.n_reference if self.n_reference else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are true; NaN without a predicted lesion."""
        return self.n_true / self.n_prediction if self.n_prediction else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision; 0 when only one mask has lesions, NaN when neither has."""
        if not self.n_found:
            return 0.0 if self.n_reference or self.n_prediction else math.nan
        return 2.0 * self.sensitivity * self.precision / (self.sensitivity + self.precision)

    @property
    def reference_dice(self) -> Floats:
        """Dice of each reference lesion with all predicted lesions that touch it, together; 0 when missed."""
        lesion, touching = self.pairs[:, 0], self.prediction_voxels[self.pairs[:, 1]]
        shared, covered = (
            np.bincount(lesion, weights=weights, minlength=self.n_reference)
            for weights in (self.shared_voxels, touching)
        )
        return np.asarray(2.0 * shared / (self.reference_voxels + covered))

    @property
    def mean_dice(self) -> float:
        """Mean of the Dice of all reference lesions, a false predicted lesion counting as 0 (BraTS 2023).

        NaN when neither mask has a lesion.
        """
        n_scored = self.n_reference + self.n_prediction - self.n_true
        return float(self.reference_dice.sum()) / n_scored if n_scored else math.nan

    def shared_of(self, side: int) -> tuple[Indices, Indices]:
        """Voxels that each lesion of the reference (side 0) or prediction (1) shares, and with how many others."""
        n_lesions = (self.n_reference, self.n_prediction)[side]
        lesion = self.pairs[:, side]
        shared = np.bincount(lesion, weights=self.shared_voxels, minlength=n_lesions).astype(np.int64)
        return shared, np.bincount(lesion, minlength=n_lesions)

    def largest_match_of(self, side: int) -> Indices:
        """Voxels of the largest lesion of the other mask that each lesion of a side touches; 0 without one."""
        sizes = (self.reference_voxels, self.prediction_voxels)
        largest = np.zeros(sizes[side].size, np.int64)
        np.maximum.at(largest, self.pairs[:, side], sizes[1 - side][self.pairs[:, 1 - side]])
        return largest

    def best_match(self, scores: Floats) -> Floats:
        """The largest score of the predicted lesions that touch each reference lesion; NaN where none does."""
        best = np.full(self.n_reference, math.nan)
        np.fmax.at(best, self.pairs[:, 0], scores[self.pairs[:, 1]])
        return best


def match_lesions(reference: Bits, prediction: Bits) -> Lesions:
    """Find the lesions of both masks and match them by the rule at the top of this file.

    Parameters
    ----------
    reference, prediction : Bits
        Masks on the same grid; either may be empty.
    """
    return match_sides(side_of(reference), side_of(prediction), reference.corner)


@dataclass(frozen=True)
class Side:
    """The runs of a mask, the lesion of each run, and how many lesions there are."""

    runs: Runs
    lesion: Indices
    n_lesions: int


def side_of(mask: Bits) -> Side:
    """The lesions of a mask."""
    runs = find_runs(mask)
    return Side(runs, *components(mask, runs))


def match_sides(reference: Side, prediction: Side, corner: Shape = (0, 0, 0)) -> Lesions:
    """The same of masks whose lesions are known; `corner` is the index of their first voxel in the image."""
    first, second = meetings(reference.runs, prediction.runs)
    ours, theirs = reference.runs, prediction.runs
    shared = np.minimum(ours.stop[first], theirs.stop[second]) - np.maximum(ours.start[first], theirs.start[second])
    n_theirs = max(prediction.n_lesions, 1)
    key, inverse = np.unique(
        reference.lesion[first] * n_theirs + prediction.lesion[second],
        return_inverse=True,
    )
    return Lesions(
        _sums(reference.lesion, reference.n_lesions, ours.lengths).astype(np.int64),
        _sums(prediction.lesion, prediction.n_lesions, theirs.lengths).astype(np.int64),
        _centres(reference, corner),
        _centres(prediction, corner),
        np.stack((key // n_theirs, key % n_theirs), axis=1),
        _sums(inverse, key.size, shared).astype(np.int64),
    )


def _sums(number: Indices, n_numbers: int, values: npt.NDArray[np.float64] | Indices) -> Floats:
    return np.asarray(np.bincount(number, weights=values, minlength=n_numbers), dtype=np.float64)


def _centres(side: Side, corner: Shape) -> Floats:
    runs = side.runs
    size = _sums(side.lesion, side.n_lesions, runs.lengths)
    middles = (runs.row // runs.n_y, runs.row % runs.n_y, (runs.start + runs.stop - 1) / 2.0)
    parts = [_sums(side.lesion, side.n_lesions, middle * runs.lengths) / size for middle in middles]
    return np.asarray(np.stack(parts, axis=1) + np.asarray(corner), dtype=np.float64)
