"""Overlap and volume of two masks, from four voxel counts.

Every share is NaN when there is nothing to divide by, and every one is NaN when both masks are empty: an image
without the structure, correctly left empty, is counted apart and never scores a silent 1.0.
"""

import math
from dataclasses import dataclass

from cohortseg.metrics.bits import Bits, count
from cohortseg.volume import Triple


@dataclass(frozen=True)
class Counts:
    """Voxels by what the prediction (positive, negative) and the reference (true, false) say of them."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def reference(self) -> int:
        """Voxels of the reference."""
        return self.true_positive + self.false_negative

    @property
    def prediction(self) -> int:
        """Voxels of the prediction."""
        return self.true_positive + self.false_positive

    @property
    def union(self) -> int:
        """Voxels that lie in either mask."""
        return self.true_positive + self.false_positive + self.false_negative

    @property
    def total(self) -> int:
        """Voxels of the image."""
        return self.union + self.true_negative


def count_voxels(reference: Bits, prediction: Bits, *, n_voxels: int | None = None) -> Counts:
    """Count the four kinds of voxels.

    Parameters
    ----------
    reference, prediction : Bits
        Masks on the same grid, or the same box cut out of both.
    n_voxels : int, optional
        Voxels of the whole image, when the masks are a box that holds all of both masks.
    """
    both = count(reference.words & prediction.words)
    false_positive = prediction.count - both
    false_negative = reference.count - both
    total = reference.size if n_voxels is None else n_voxels
    return Counts(both, false_positive, false_negative, total - both - false_positive - false_negative)


def _share(counts: Counts, part: int, whole: int) -> float:
    return part / whole if whole and counts.union else math.nan


def dice(counts: Counts) -> float:
    """Twice the shared voxels over the sum of both masks, 2TP / (2TP + FP + FN), in [0, 1] (Dice 1945)."""
    return _share(counts, 2 * counts.true_positive, counts.reference + counts.prediction)


def jaccard(counts: Counts) -> float:
    """Shared voxels over those of either mask, TP / (TP + FP + FN), in [0, 1]; also called IoU (Jaccard 1912)."""
    return _share(counts, counts.true_positive, counts.union)


def sensitivity(counts: Counts) -> float:
    """Share of the reference that was found, TP / (TP + FN), in [0, 1]; also called recall. NaN: empty reference."""
    return _share(counts, counts.true_positive, counts.reference)


def precision(counts: Counts) -> float:
    """Share of the prediction that is right, TP / (TP + FP), in [0, 1]. NaN: empty prediction."""
    return _share(counts, counts.true_positive, counts.prediction)


def specificity(counts: Counts) -> float:
    """Share of the background left alone, TN / (TN + FP), in [0, 1]. Grows with the field of view."""
    return _share(counts, counts.true_negative, counts.true_negative + counts.false_positive)


def accuracy(counts: Counts) -> float:
    """Share of all voxels on which both agree, (TP + TN) / N, in [0, 1]. Grows with the field of view."""
    return _share(counts, counts.true_positive + counts.true_negative, counts.total)


def segmentation_accuracy(counts: Counts) -> float:
    """One minus the wrong voxels over those of the reference, 1 - (FP + FN) / (TP + FN), at most 1.

    The published formula 1 - abs(Rs - Ts) / Rs can be read in three ways. Here the difference is the symmetric set
    difference, that is the number of wrongly segmented voxels: it charges every error once, and a prediction larger
    than the reference can fall below 0. It is a fraction, not a percentage. NaN: empty reference.
    """
    return _share(counts, counts.true_positive - counts.false_positive, counts.reference)


def volume_ml(n_voxels: int, spacing_mm: Triple) -> float:
    """Volume in ml of a number of voxels."""
    return n_voxels * math.prod(spacing_mm) / 1000.0
