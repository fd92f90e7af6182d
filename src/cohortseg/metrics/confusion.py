"""Voxels of all classes at once: how often each is predicted as which, and the four shares that VOC and FCN report."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Array

Counts = Mapping[str, list[int]]
"""`shared`, `reference`, `prediction`: voxels of each class, the background first."""


def count_classes(reference: Array, prediction: Array, *, n_classes: int) -> dict[str, list[int]]:
    """Voxels of each class in both labels, in the reference and in the prediction.

    These are the diagonal and the sums of the confusion matrix, which is all that the shares need.

    Parameters
    ----------
    reference, prediction : uint8 array, shape (z, y, x)
        Class numbers on the same grid, 0 is the background. Voxels of a reference beyond `n_classes` are left out.
    n_classes : int
        Number of classes without the background.

    Returns
    -------
    dict
        `shared`, `reference`, `prediction`: n_classes + 1 whole numbers each.
    """
    matrix = np.zeros((n_classes + 1) ** 2, np.int64)
    n_counted = 0
    # Slice by slice: numpy counts in 8 bytes a voxel. Background alone is not counted but follows from the rest.
    for ours, theirs in zip(reference, prediction, strict=True):
        anything = (ours | theirs) > 0
        pairs = ours[anything].astype(np.int64) * (n_classes + 1) + theirs[anything]
        matrix += np.bincount(pairs[ours[anything] <= n_classes], minlength=matrix.size)
        n_counted += int(np.count_nonzero(ours <= n_classes))
    matrix[0] = n_counted - int(matrix.sum())
    square = matrix.reshape(n_classes + 1, n_classes + 1)
    return {
        "shared": [int(number) for number in np.diag(square)],
        "reference": [int(number) for number in square.sum(axis=1)],
        "prediction": [int(number) for number in square.sum(axis=0)],
    }


def class_shares(counts: Counts) -> dict[str, float]:
    """Accuracy of voxels, of classes, and Jaccard indices over all classes with the background.

    A class that neither label holds is left out of the means, and one that the reference does not hold out of the mean
    accuracy; no voxels at all give NaN.

    Parameters
    ----------
    counts : dict
        From `count_classes`; those of several cases may be added up before, as VOC does.

    References
    ----------
    Long, Shelhamer & Darrell, CVPR 2015, section 5: pixel accuracy, mean accuracy, mean IU, frequency-weighted IU.
    """
    shared, reference, prediction = (
        np.array(counts[name], dtype=np.float64) for name in ("shared", "reference", "prediction")
    )
    united = reference + prediction - shared
    there, met = reference > 0, united > 0
    jaccard = np.divide(shared, united, out=np.zeros_like(shared), where=met)
    total = float(reference.sum())
    if total == 0:
        return dict.fromkeys(SHARES, math.nan)
    return {
        "voxel_accuracy": float(shared.sum() / total),
        "mean_accuracy": float((shared[there] / reference[there]).mean()),
        "mean_jaccard": float(jaccard[met].mean()),
        "weighted_jaccard": float((jaccard * reference).sum() / total),
    }


SHARES = ("voxel_accuracy", "mean_accuracy", "mean_jaccard", "weighted_jaccard")


def added(counts: list[Counts]) -> dict[str, list[int]]:
    """The counts of several cases together; at least one."""
    sums: dict[str, npt.NDArray[np.int64]] = {
        name: np.sum([one[name] for one in counts], axis=0, dtype=np.int64) for name in counts[0]
    }
    return {name: [int(number) for number in values] for name, values in sums.items()}
