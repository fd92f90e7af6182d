"""Detection: lesions found against false alarms as the score varies by which they are kept, and cases told apart.

The free-response ROC needs a score for each predicted lesion. The usual one is the largest probability of its voxels;
where no probabilities were stored it is the lesion's volume, which shows what a least volume in the cleaning step
(`postprocess.min_volume_ml`) would buy. The lesions themselves are those of the label, so the curve ends at the
sensitivity and the false alarms of the label as it is.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bootstrap import percentile_interval, times_drawn

Floats = npt.NDArray[np.float64]

FALSE_ALARMS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""False alarms for each case at which sensitivity is averaged (LUNA16; Setio 2017)."""


def froc(true_scores: Floats, false_scores: Floats, *, n_lesions: int, n_cases: int) -> Floats:
    """Free-response ROC curve.

    Parameters
    ----------
    true_scores : float array, shape (found lesions,)
        For each reference lesion that is found, the highest score among the predicted lesions that touch it.
    false_scores : float array, shape (false lesions,)
        Scores of the predicted lesions that touch no reference lesion.
    n_lesions, n_cases : int
        Reference lesions and cases in all.

    Returns
    -------
    float array, shape (distinct scores + 1, 3)
        Threshold, false lesions for each case, sensitivity, from the strictest (infinity, nothing kept) on. NaN
        sensitivity without a lesion, NaN false alarms without a case.
    """
    thresholds = np.concatenate(([math.inf], np.unique(np.concatenate((true_scores, false_scores)))[::-1]))
    kept = [
        (scores.size - np.searchsorted(np.sort(scores), thresholds, side="left")) / n if n else thresholds * math.nan
        for scores, n in ((false_scores, n_cases), (true_scores, n_lesions))
    ]
    return np.column_stack((thresholds, *kept))


def froc_score(curve: Floats, false_alarms: Sequence[float] = FALSE_ALARMS) -> float:
    """Mean sensitivity at the given numbers of false alarms for each case; the curve is one of steps, flat at its end.

    NaN where the curve has no sensitivity.
    """
    order = np.lexsort((curve[:, 2], curve[:, 1]))
    places = np.searchsorted(curve[order, 1], np.asarray(false_alarms), side="right") - 1
    return float(curve[order, 2][places].mean())


def case_roc(scores: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """ROC curve over cases: does the volume that was predicted tell cases with the structure from those without?

    Parameters
    ----------
    scores : float array, shape (cases,)
    positive : bool array, shape (cases,)

    Returns
    -------
    float array, shape (distinct scores + 1, 3)
        Threshold (infinity first), 1 - specificity, sensitivity; a case is called positive when its score is at least
        the threshold. Empty unless there are cases of both kinds.
    """
    if positive.all() or not positive.any():
        return np.empty((0, 3))
    thresholds = np.concatenate(([math.inf], np.unique(scores)[::-1]))
    shares = [(scores[side][None] >= thresholds[:, None]).mean(axis=1) for side in (~positive, positive)]
    return np.column_stack((thresholds, *shares))


def roc_auc(
    scores: Floats,
    positive: npt.NDArray[np.bool_],
    subjects: npt.NDArray[np.intp],
    *,
    seed: int,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Area under the ROC curve over cases, with a percentile interval over resampled subjects.

    Parameters
    ----------
    scores, positive, subjects : arrays, shape (cases,)
        Score, whether the structure is there, and number of the subject (0 to n - 1) of each case.
    seed, n_bootstrap, confidence
        Of the interval; resamples with cases of one kind alone are left out.

    Returns
    -------
    (float, float, float)
        Area (ties count half) and the ends of its interval; NaN unless there are cases of both kinds, ends NaN for a
        single subject.
    """
    if positive.all() or not positive.any():
        return math.nan, math.nan, math.nan
    order = np.argsort(scores, kind="stable")
    first = np.flatnonzero(np.concatenate(([True], np.diff(scores[order]) > 0)))  # of each group of ties
    is_positive = positive[order]

    def areas(times: Floats) -> Floats:
        above, below = (np.add.reduceat(times * kind, first, axis=1) for kind in (is_positive, ~is_positive))
        lower = np.cumsum(below, axis=1) - 0.5 * below
        with np.errstate(invalid="ignore"):
            return np.asarray((above * lower).sum(axis=1) / (above.sum(axis=1) * below.sum(axis=1)))

    area = float(areas(np.ones((1, scores.size)))[0])
    n_subjects = int(subjects.max()) + 1
    if n_subjects < 2:
        return area, math.nan, math.nan
    drawn = times_drawn(n_subjects, seed=seed, n_bootstrap=n_bootstrap)
    draws = np.concatenate([areas(times[:, subjects[order]]) for times in drawn])
    return area, *percentile_interval(draws, confidence)
