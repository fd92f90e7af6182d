"""One number for a label beside its reference: what a choice between settings is made by."""

import math
from typing import Literal

import numpy as np

from cohortseg.metrics.bits import crop_to_union, pack_pair
from cohortseg.metrics.overlap import count_voxels, dice, jaccard
from cohortseg.metrics.surface import nsd, surface_distances
from cohortseg.volume import Array, Triple


def label_scores(
    reference: Array,
    prediction: Array,
    *,
    n_classes: int,
    metric: Literal["dice", "jaccard", "nsd"],
    spacing_mm: Triple,
    nsd_tolerance_mm: float,
) -> list[float]:
    """A share in [0, 1] for each class, larger is better.

    Parameters
    ----------
    reference, prediction : uint8 array, shape (z, y, x)
        Class numbers on the same grid.
    n_classes : int
        Number of classes without the background.
    metric : {'dice', 'jaccard', 'nsd'}
        As in `metrics.columns`.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    nsd_tolerance_mm : float
        Only for `nsd`.

    Returns
    -------
    list of float
        NaN where neither label holds the class: nothing was asked. 0 where only one of them does, for the surface
        metric too, so that a setting that finds nothing is never left out of a mean.
    """
    found = []
    for number in range(1, n_classes + 1):
        ours, theirs = crop_to_union(*pack_pair(reference == number, prediction == number))
        counts = count_voxels(ours, theirs)
        if not counts.union:
            found.append(math.nan)
        elif not (counts.reference and counts.prediction):
            found.append(0.0)
        elif metric == "nsd":
            found.append(nsd(surface_distances(ours, theirs, spacing_mm=spacing_mm), tolerance_mm=nsd_tolerance_mm))
        else:
            found.append({"dice": dice, "jaccard": jaccard}[metric](counts))
    return found


def mean_score(scores: list[list[float]]) -> float:
    """The mean over the classes of their means over the cases; NaN values are left out, NaN where nothing is left.

    Parameters
    ----------
    scores : list of list of float
        Of each case, for each class, from `label_scores`.
    """
    table = np.array(scores, dtype=np.float64)
    means = [float(column[~np.isnan(column)].mean()) for column in table.T if not np.isnan(column).all()]
    return float(np.mean(means)) if means else math.nan
