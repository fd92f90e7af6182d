"""Detection: lesions found against false alarms as the least volume of a lesion varies, and cases told apart.

No probability of single lesions is stored, so the score by which a predicted lesion is kept or dropped is its volume,
as in the cleaning step (`postprocess.min_volume_ml`). The curve answers what that setting buys: sensitivity over
lesions against false lesions for each case.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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
    """Mean sensitivity at the given numbers of false alarms for each case; the curve goes on flat at its end.

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


def area_under(curve: Floats) -> float:
    """Area under a curve of (threshold, x, y) by trapezoids; NaN for an empty one."""
    return float(np.trapezoid(curve[:, 2], curve[:, 1])) if len(curve) else math.nan
