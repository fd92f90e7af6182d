"""Agreement of objects: panoptic quality and average precision of two maps of ids.

Two objects match when their Jaccard index is above a threshold of at least one half; then no object can match two
(Kirillov 2019). At exactly one half they do not match.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Jaccard thresholds of the averaged precision (COCO; Lin 2014)."""


@dataclass(frozen=True)
class Overlaps:
    """Objects of two maps, the Jaccard index of each pair that shares a voxel, and the aggregated one of all."""

    n_reference: int
    n_prediction: int
    jaccards: Floats
    aggregated: float = math.nan

    def matched(self, threshold: float = 0.5) -> Floats:
        """Jaccard index of the matched pairs."""
        return self.jaccards[self.jaccards > threshold]


def objects_of(mask: npt.NDArray[np.bool_]) -> Ids:
    """Ids of the connected components of a mask (z, y, x); voxels that share a corner belong together."""
    import cc3d

    return np.asarray(cc3d.connected_components(np.pad(mask, ((0, 1),) * 3), connectivity=26)[:-1, :-1, :-1])


def overlaps(reference: Ids, prediction: Ids) -> Overlaps:
    """Jaccard index of every pair of objects that overlap.

    Parameters
    ----------
    reference, prediction : int array, same shape
        Ids of objects, 0 for the background; need not be consecutive.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}")
    sizes = [dict(zip(*(part.tolist() for part in _counted(ids)), strict=True)) for ids in (reference, prediction)]
    both = (reference > 0) & (prediction > 0)
    pairs = np.stack((reference[both], prediction[both]), axis=1).astype(np.int64)
    found, shared = np.unique(pairs, axis=0, return_counts=True)
    unions = [sizes[0][one] + sizes[1][other] for one, other in found.tolist()] - shared
    jaccards = np.asarray(shared / unions, dtype=np.float64)
    aggregated = _aggregated(sizes, found, np.asarray(shared), jaccards)
    return Overlaps(len(sizes[0]), len(sizes[1]), jaccards, aggregated)


def _aggregated(sizes: list[dict[int, int]], pairs: Ids, shared: Ids, jaccards: Floats) -> float:
    """Shared voxels over united ones, of each reference object with its best partner; strangers count as united.

    Kumar 2017: a predicted object may be the best partner of several; of equals the lower id. NaN without an object.
    """
    best: dict[int, tuple[int, int]] = {}
    for place in np.argsort(-jaccards, kind="stable").tolist():
        best.setdefault(int(pairs[place, 0]), (int(pairs[place, 1]), int(shared[place])))
    intersection = sum(n for _, n in best.values())
    united = sum(sizes[0].values()) - intersection + sum(sizes[1][partner] for partner, _ in best.values())
    partners = {partner for partner, _ in best.values()}
    united += sum(size for one, size in sizes[1].items() if one not in partners)
    return intersection / united if united else math.nan


def _counted(ids: Ids) -> tuple[Ids, npt.NDArray[np.int64]]:
    return np.unique(ids[ids > 0], return_counts=True)


def panoptic_quality(found: Overlaps) -> tuple[float, float, float]:
    """Panoptic, segmentation and recognition quality (Kirillov 2019), in [0, 1].

    Returns
    -------
    (float, float, float)
        Recognition is matches / (matches + half of all that are unmatched), segmentation the mean Jaccard index of
        the matches, panoptic their product. Without an object at all: NaN. With objects but no match: 0, NaN, 0.
    """
    matched = found.matched()
    n_objects = found.n_reference + found.n_prediction
    if not n_objects:
        return math.nan, math.nan, math.nan
    recognition = 2.0 * matched.size / n_objects
    if not matched.size:
        return 0.0, math.nan, recognition
    segmentation = float(matched.mean())
    return segmentation * recognition, segmentation, recognition


def precision_at(found: Overlaps, threshold: float) -> float:
    """TP / (TP + FP + FN) over objects at a Jaccard threshold, in [0, 1]; NaN without an object.

    The precision of the Data Science Bowl 2018 (Caicedo 2019): objects without a score have no ranking, so the area
    under a precision-recall curve, also called average precision, does not exist for them.
    """
    n_objects = found.n_reference + found.n_prediction
    n_matched = found.matched(threshold).size
    return n_matched / (n_objects - n_matched) if n_objects else math.nan


def instance_metrics(reference: Ids, prediction: Ids) -> dict[str, float | int]:
    """All metrics of objects of one case: the keys of `dictionary.INSTANCE_COLUMNS`."""
    found = overlaps(reference, prediction)
    panoptic, segmentation, recognition = panoptic_quality(found)
    return {
        "n_reference": found.n_reference,
        "n_prediction": found.n_prediction,
        "n_matched": int(found.matched().size),
        "panoptic_quality": panoptic,
        "segmentation_quality": segmentation,
        "recognition_quality": recognition,
        "aggregated_jaccard": found.aggregated,
        "precision_at_50": precision_at(found, 0.5),
        "precision_50_to_95": float(np.mean([precision_at(found, threshold) for threshold in THRESHOLDS])),
    }
