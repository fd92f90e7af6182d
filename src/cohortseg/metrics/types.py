"""How well types were told: accuracy, balanced accuracy and areas under ROC curves, with intervals over subjects."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bootstrap import Floats, percentile_interval, times_drawn
from cohortseg.metrics.detection import roc_auc

Interval = tuple[float, float, float]
"""Value, and low and high end of its interval."""


def accuracies(
    truth: Sequence[str],
    told: Sequence[str],
    subjects: Sequence[str],
    *,
    seed: int,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Shares of cases whose type was told rightly.

    Parameters
    ----------
    truth, told, subjects : sequence of str
        Of each case; a case without a region has an empty type told, which is wrong.

    Returns
    -------
    dict
        `accuracy`; `balanced_accuracy`, the mean over the types of the share told rightly; and by type its
        `sensitivity` under the type's own name. Percentile intervals over resampled subjects, NaN for a single one;
        in a resample types without a case take no part.
    """
    types, names = sorted(set(truth)), sorted(set(subjects))
    right, total = np.zeros((2, len(names), len(types)))
    for own, guess, subject in zip(truth, told, subjects, strict=True):
        place = (names.index(subject), types.index(own))
        right[place] += own == guess
        total[place] += 1

    def shares(hits: Floats, all_of: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            each = hits / all_of
            mean = np.nansum(each, axis=-1) / (all_of > 0).sum(axis=-1)
            return np.concatenate(
                [(hits.sum(axis=-1) / all_of.sum(axis=-1))[..., None], mean[..., None], each], axis=-1
            )

    values = shares(right.sum(axis=0), total.sum(axis=0))
    ends = [(math.nan, math.nan)] * len(values)
    if len(names) > 1:
        drawn = times_drawn(len(names), seed=seed, n_bootstrap=n_bootstrap)
        draws = np.concatenate([shares(times @ right, times @ total) for times in drawn])
        ends = [percentile_interval(column, confidence) for column in draws.T]
    keys = ("accuracy", "balanced_accuracy", *types)
    return {key: (float(value), *end) for key, value, end in zip(keys, values, ends, strict=True)}


def area_of_type(
    scores: Floats,
    is_type: npt.NDArray[np.bool_],
    subjects: Sequence[str],
    *,
    seed: int,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Area under the ROC curve of a type against all others, by its score; NaN without cases of both kinds."""
    numbers = np.unique(np.asarray(subjects), return_inverse=True)[1].astype(np.intp)
    return roc_auc(scores, is_type, numbers, seed=seed, n_bootstrap=n_bootstrap, confidence=confidence)
