"""Panoptic quality of several classes, some of them counted as objects (things), others as one region (stuff).

Kirillov 2019: a reference and a predicted segment of one class match when their Jaccard index is above one half, voxels
that nobody judged (void) left out. What is unmatched counts against the class, but for predicted segments of which more
than half lies in void, or in voxels of their class that the reference gives no number (a group of objects).
Matches are added up over all cases before anything is divided; the mean is that over classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.ignored import IGNORE
from cohortseg.metrics.bootstrap import Floats, percentile_interval, times_drawn
from cohortseg.volume import Array

Ids = npt.NDArray[np.integer]
COUNTS = ("tp", "fp", "fn", "iou_sum")
"""Of a class: matches, predicted segments and reference segments without one, sum of the Jaccard indices."""
QUALITIES = ("panoptic_quality", "segmentation_quality", "recognition_quality")


def panoptic_counts(
    reference: Array,
    reference_ids: Ids,
    prediction: Array,
    prediction_ids: Ids,
    *,
    n_classes: int,
    things: Sequence[int],
) -> list[dict[str, float | int]]:
    """What one case adds to each class.

    Parameters
    ----------
    reference, prediction : uint8 array, shape (z, y, x)
        Class numbers; 0 is the background, `IGNORE` in the reference is void.
    reference_ids, prediction_ids : int array, same shape
        Numbers of objects, looked at inside things alone, where an object of one class may have the number of one of
        another. 0 inside a thing: of the reference a group of objects, of the prediction no segment.
    n_classes : int
    things : sequence of int
        Class numbers of which each object counts; the voxels of any other class are one segment.

    Returns
    -------
    list of dict
        The keys `COUNTS`, for each class from 1 on; all 0 where neither label has it.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if len({part.shape for part in (reference, reference_ids, prediction, prediction_ids)}) > 1:
        raise ValueError("labels and ids must have one shape")
    void = reference == IGNORE
    return [
        _of_class(
            _segments(reference, reference_ids, number, number in things),
            _segments(prediction, prediction_ids, number, number in things),
            void | ((reference == number) & (reference_ids == 0) if number in things else False),
            void,
        )
        for number in range(1, n_classes + 1)
    ]


def _segments(label: Array, ids: Ids, number: int, is_thing: bool) -> Ids:
    """Numbers of the segments of a class; 0 elsewhere."""
    mask = label == number
    return np.where(mask, ids, 0) if is_thing else mask.astype(np.int32)


def _of_class(ours: Ids, theirs: Ids, excused: npt.NDArray[np.bool_], void: Array) -> dict[str, float | int]:
    our_size, their_size = _sizes(ours), _sizes(theirs)
    in_void, in_excused = _sizes(theirs[void]), _sizes(theirs[excused])
    both = (ours > 0) & (theirs > 0)
    pairs, shared = np.unique(np.stack((ours[both], theirs[both]), axis=1), axis=0, return_counts=True)
    matched: dict[int, float] = {}
    for (one, other), n in zip(pairs.tolist(), shared.tolist(), strict=True):
        jaccard = n / (our_size[one] + their_size[other] - n - in_void.get(other, 0))
        if jaccard > 0.5:
            matched[other] = jaccard
    left = [other for other in their_size if other not in matched]
    n_false = sum(2 * in_excused.get(other, 0) <= their_size[other] for other in left)
    values = (len(matched), n_false, len(our_size) - len(matched), float(sum(matched.values())))
    return dict(zip(COUNTS, values, strict=True))


def _sizes(ids: Ids) -> dict[int, int]:
    numbers, counts = np.unique(ids[ids > 0], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def qualities(counts: Mapping[str, float]) -> tuple[float, float, float]:
    """Panoptic, segmentation and recognition quality of a class from its added counts.

    Returns
    -------
    (float, float, float)
        NaN where no case has the class; without a match 0, NaN, 0.

    Examples
    --------
    >>> qualities({"tp": 2, "fp": 1, "fn": 1, "iou_sum": 1.4})
    (0.4666666666666666, 0.7, 0.6666666666666666)
    """
    n = counts["tp"] + 0.5 * counts["fp"] + 0.5 * counts["fn"]
    if not n:
        return math.nan, math.nan, math.nan
    segmentation = counts["iou_sum"] / counts["tp"] if counts["tp"] else math.nan
    return counts["iou_sum"] / n, segmentation, counts["tp"] / n


def mean_qualities(counts: Floats) -> Floats:
    """The three qualities, each averaged over the classes that are there.

    Parameters
    ----------
    counts : float array, shape (..., classes, 4)
        In the order of `COUNTS`; a class without any segment takes no part, one without a match has no segmentation
        quality and takes part in the mean of that with 0, so that each mean is over the same classes (as published).

    Returns
    -------
    float array, shape (..., 3)
        NaN where no class is there.
    """
    tp, fp, fn, iou = np.moveaxis(counts, -1, 0)
    n = tp + 0.5 * fp + 0.5 * fn
    is_there = n > 0
    n_there = is_there.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [np.where(is_there, iou / n, 0), np.where(tp > 0, iou / tp, 0), np.where(is_there, tp / n, 0)]
        return np.stack([part.sum(axis=-1) / np.where(n_there, n_there, math.nan) for part in parts], axis=-1)


def intervals(
    by_case: Floats, subjects: Sequence[str], *, seed: int, n_bootstrap: int = 2000, confidence: float = 0.95
) -> list[tuple[float, float]]:
    """Percentile intervals of `mean_qualities` over resampled subjects.

    Parameters
    ----------
    by_case : float array, shape (cases, classes, 4)
    subjects : sequence of str
        Of each case.

    Returns
    -------
    list of (float, float)
        Of the three qualities; NaN for a single subject.
    """
    names = sorted(set(subjects))
    if len(names) < 2:
        return [(math.nan, math.nan)] * len(QUALITIES)
    sums = np.zeros((len(names), *by_case.shape[1:]))
    np.add.at(sums, [names.index(name) for name in subjects], by_case)
    drawn = times_drawn(len(names), seed=seed, n_bootstrap=n_bootstrap)
    parts = [np.tensordot(times, sums, axes=1) for times in drawn]
    draws = np.concatenate([mean_qualities(part) for part in parts])
    if by_case.shape[1] == 1:  # a single class without a match has no segmentation quality
        draws[np.concatenate([part[:, 0, 0] for part in parts]) == 0, 1] = math.nan
    return [percentile_interval(column, confidence) for column in draws.T]


def record_of(counts: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Counts of classes as rows of numbers, in the order of `COUNTS`."""
    return [[float(one[name]) for name in COUNTS] for one in counts]
