"""Detection of lesions: which candidates hit which lesions, and the scores that decide which candidates count.

A lesion is found when a candidate that counts hits it, however many do; a candidate that hits no lesion is a false one.
So several candidates on one lesion are neither rewarded nor punished (LUNA16; Setio 2017).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.metrics.bits import Indices, Mask, crop_to_union, pack_pair
from cohortseg.metrics.lesion_scores import lesion_scores
from cohortseg.metrics.lesions import Floats, Lesions, match_lesions
from cohortseg.volume import Triple

MOST_FALSE = 1000
"""Scores of false candidates that are listed, the highest; how many there are is counted."""


def hits(found: Lesions, *, rule: str, spacing_mm: Triple, min_jaccard: float = 0.1, is_plane: bool = False) -> Indices:
    """Pairs of a lesion and a candidate that hits it.

    Parameters
    ----------
    found : Lesions
        The lesions of the reference, and the candidates as the prediction.
    rule : "touch", "overlap" or "centre"
        They share a voxel; their Jaccard index is at least `min_jaccard`; their centres are nearer to each other than
        the radius of a ball of the lesion's volume (LUNA16), or of a disk of its area where `is_plane`.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.

    Returns
    -------
    int64 array, shape (pairs, 2)
        Empty without a hit.
    """
    if rule == "touch":
        return found.pairs
    if rule == "overlap":
        ours, theirs = found.reference_voxels[found.pairs[:, 0]], found.prediction_voxels[found.pairs[:, 1]]
        return found.pairs[found.shared_voxels >= min_jaccard * (ours + theirs - found.shared_voxels)]
    size = np.asarray(spacing_mm, np.float64)
    volumes = found.reference_voxels * float(np.prod(size[1:] if is_plane else size))
    radii = np.sqrt(volumes / math.pi) if is_plane else np.cbrt(volumes * 0.75 / math.pi)
    pairs = []
    for lesion, radius in enumerate(radii.tolist()):
        away = np.linalg.norm((found.prediction_centres - found.reference_centres[lesion]) * size, axis=1)
        pairs += [(lesion, candidate) for candidate in np.flatnonzero(away < radius).tolist()]
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def detection_record(
    reference: Mask,
    candidates: Mask,
    *,
    spacing_mm: Triple,
    rule: str = "touch",
    min_jaccard: float = 0.1,
    min_candidate_ml: float = 0.0,
    probability: Any = None,
) -> dict[str, Any]:
    """What of a case decides its lesions found and its false candidates, whichever score is asked for later.

    Parameters
    ----------
    reference, candidates : bool array, shape (z, y, x)
        Masks on the same grid; their 26-connected components are the lesions and the candidates.
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    rule, min_jaccard
        As in `hits`.
    min_candidate_ml : float
        Candidates that are smaller are left out.
    probability : array-like of floats, shape (z, y, x), optional
        Read some slices at a time.

    Returns
    -------
    dict
        `n_lesions`, `n_false`; `found` and `false`: by score (`volume_ml`, with probabilities also `max_probability`
        and `mean_probability`) the best of those that hit each lesion that is hit, and those of false candidates (the
        `MOST_FALSE` highest), each in falling order.

    Raises
    ------
    ValueError
        When the shapes differ, or a mask is not boolean or not (z, y, x).
    """
    ours, theirs = crop_to_union(*pack_pair(reference, candidates))
    lesions = match_lesions(ours, theirs)
    volumes = lesions.prediction_voxels * (math.prod(spacing_mm) / 1000.0)
    scores: dict[str, Floats] = {"volume_ml": np.asarray(volumes, np.float64)}
    if probability is not None:
        scores["max_probability"], scores["mean_probability"] = lesion_scores(theirs, probability)
    is_large = volumes >= min_candidate_ml
    is_plane = reference.shape[0] == 1
    pairs = hits(lesions, rule=rule, spacing_mm=spacing_mm, min_jaccard=min_jaccard, is_plane=is_plane)
    pairs = pairs[is_large[pairs[:, 1]]]
    is_false = is_large.copy()
    is_false[pairs[:, 1]] = False
    return {
        "n_lesions": lesions.n_reference,
        "n_false": int(is_false.sum()),
        "found": {name: _best(values, pairs) for name, values in scores.items()},
        "false": {name: _falling(values[is_false])[:MOST_FALSE] for name, values in scores.items()},
    }


def _best(scores: Floats, pairs: Indices) -> list[float]:
    """The highest score of those that hit each lesion."""
    lesions, place = np.unique(pairs[:, 0], return_inverse=True)
    best = np.full(lesions.size, -np.inf)
    np.maximum.at(best, place, scores[pairs[:, 1]])
    return _falling(best)


def _falling(scores: npt.NDArray[np.floating]) -> list[float]:
    return [round(float(score), 6) for score in np.sort(scores)[::-1]]


def scores_of(record: Mapping[str, Any], score: str) -> tuple[str, Floats, Floats]:
    """The score that a record has (the volume where there is no probability), of found lesions and false candidates."""
    name = score if score in record["found"] else "volume_ml"
    found, false = (np.asarray(record[part][name], np.float64) for part in ("found", "false"))
    # Those that are not listed score no higher than the last one that is.
    unlisted = record["n_false"] - false.size
    return name, found, np.append(false, np.full(unlisted, false[-1])) if unlisted else false
