"""Panoptic quality of several classes: by hand, void and groups, a judge that compares sets, means over classes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cohortseg.ignored import IGNORE
from cohortseg.metrics.instances import overlaps, panoptic_quality
from cohortseg.metrics.panoptic import COUNTS, intervals, mean_qualities, panoptic_counts, qualities

TISSUE, CELL = 1, 2


def row(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int32)[None, None]


def counted(reference, ours, prediction, theirs, *, things=(CELL,)) -> list[list[float]]:
    found = panoptic_counts(reference, ours, prediction, theirs, n_classes=2, things=things)
    return [[one[name] for name in COUNTS] for one in found]


def test_things_are_matched_object_by_object_and_stuff_as_one_region() -> None:
    reference = row(1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 0, 1)
    ours = row(0, 0, 0, 0, 7, 7, 7, 9, 9, 9, 0, 0)
    prediction = row(1, 1, 0, 0, 2, 2, 2, 2, 2, 0, 2, 1)
    theirs = row(5, 6, 0, 0, 1, 1, 1, 1, 3, 0, 4, 8)  # the numbers inside tissue mean nothing
    # Tissue: 3 of 4. Object 7 with 1: 3 of 4; 9 with 3 only 1 of 3 and with 1 also; 3 and 4 are false, 9 is missed.
    assert counted(reference, ours, prediction, theirs) == [[1, 0, 0, 0.75], [1, 2, 1, 0.75]]


def test_an_object_of_another_class_matches_nothing_however_well_it_lies() -> None:
    reference, prediction, ids = row(2, 2, 2, 0), row(1, 1, 1, 0), row(1, 1, 1, 0)
    assert counted(reference, ids, prediction, ids) == [[0, 1, 0, 0.0], [0, 0, 1, 0.0]]
    assert counted(reference, ids, prediction, ids, things=(TISSUE, CELL)) == [[0, 1, 0, 0.0], [0, 0, 1, 0.0]]


def test_exactly_one_half_is_no_match() -> None:
    assert counted(row(2, 2), row(1, 1), row(2, 0), row(1, 0)) == [[0, 0, 0, 0.0], [0, 1, 1, 0.0]]


def test_void_is_no_part_of_a_union_and_what_lies_mostly_in_it_is_not_false() -> None:
    void = IGNORE
    reference = row(2, 2, 2, void, void, void, void, 0, 0)
    ours = row(1, 1, 1, 0, 0, 0, 0, 0, 0)
    prediction, theirs = row(2, 2, 0, 2, 2, 2, 0, 2, 0), row(1, 1, 0, 1, 1, 2, 0, 3, 0)
    # 1: shares 2, united 3 + 4 - 2 - 2 in void; 2 lies in void; 3 is false.
    assert counted(reference, ours, prediction, theirs)[1] == [1, 1, 0, pytest.approx(2 / 3)]
    half = counted(reference, ours, row(0, 0, 0, 0, 0, 0, 2, 2, 0), row(0, 0, 0, 0, 0, 0, 5, 5, 0))[1]
    assert half == [0, 1, 1, 0.0]  # not more than half of it


def test_a_group_of_the_class_excuses_what_lies_in_it_but_is_missed_by_nobody() -> None:
    reference, ours = row(2, 2, 2, 2, 0), row(1, 0, 0, 0, 0)  # three voxels of cells that nobody told apart
    prediction, theirs = row(2, 2, 2, 0, 2), row(1, 4, 4, 0, 6)
    assert counted(reference, ours, prediction, theirs)[1] == [1, 1, 0, 1.0]
    assert counted(reference, ours, row(0, 1, 1, 0, 0), theirs)[0] == [0, 1, 0, 0.0]  # of another class: no excuse


labels = arrays.arrays(np.uint8, (1, 5, 6), elements=st.integers(0, 2))
numbers = arrays.arrays(np.int32, (1, 5, 6), elements=st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(labels, numbers, labels, numbers)
def test_it_is_what_comparing_sets_of_voxels_gives(reference, ours, prediction, theirs) -> None:
    found = counted(reference, ours, prediction, theirs)
    for number, is_thing in ((TISSUE, False), (CELL, True)):
        sides = []
        for label, ids in ((reference, ours), (prediction, theirs)):
            wanted = np.unique(ids[label == number]) if is_thing else [None]
            parts = [(label == number) & (ids == one if one is not None else True) for one in wanted]
            sides.append([set(np.flatnonzero(part).tolist()) for part in parts if part.any()])
        jaccards = [len(a & b) / len(a | b) for a in sides[0] for b in sides[1]]
        good = [value for value in jaccards if value > 0.5]
        expected = [len(good), len(sides[1]) - len(good), len(sides[0]) - len(good), pytest.approx(sum(good))]
        assert found[number - 1] == expected
    single = overlaps(np.where(reference == CELL, ours, 0), np.where(prediction == CELL, theirs, 0))
    np.testing.assert_allclose(
        qualities(dict(zip(COUNTS, found[1], strict=True))), panoptic_quality(single), equal_nan=True
    )


def test_means_are_over_the_classes_that_are_there_as_published() -> None:
    counts = np.array([[2, 1, 1, 1.4], [0, 3, 1, 0.0], [0, 0, 0, 0.0]], float)
    pq, sq, rq = mean_qualities(counts)
    assert pq == pytest.approx((1.4 / 3) / 2)
    assert sq == pytest.approx(0.7 / 2)  # a class without a match has 0 in the mean
    assert rq == pytest.approx((2 / 3) / 2)
    assert np.isnan(mean_qualities(np.zeros((2, 4)))).all()
    assert np.isnan(qualities(dict.fromkeys(COUNTS, 0))).all()
    assert qualities({"tp": 0, "fp": 1, "fn": 0, "iou_sum": 0.0}) == (0.0, pytest.approx(math.nan, nan_ok=True), 0.0)


def test_intervals_resample_subjects_not_cases() -> None:
    rng = np.random.default_rng(5)
    tp = rng.integers(0, 5, (12, 2)).astype(float)
    by_case = np.stack((tp, 4 - tp, 4 - tp, 0.8 * tp), axis=-1)
    subjects = [f"s{k}" for k in range(12)]
    value = mean_qualities(by_case.sum(axis=0))
    once = intervals(by_case, subjects, seed=2, n_bootstrap=400)
    assert all(low - 1e-9 <= middle <= high + 1e-9 for (low, high), middle in zip(once, value, strict=True))
    assert once[0][1] - once[0][0] > 0.05
    thrice = intervals(
        np.repeat(by_case, 3, axis=0), [name for name in subjects for _ in range(3)], seed=2, n_bootstrap=400
    )
    # Three copies of the cases of each person are no more people.
    order = sorted(subjects)
    assert order != subjects
    np.testing.assert_allclose(once, thrice)
    assert np.isnan(intervals(by_case, ["one"] * 12, seed=1)).all()


def test_shapes_must_be_one() -> None:
    with pytest.raises(ValueError, match="one shape"):
        panoptic_counts(row(1), row(1), row(1, 1), row(1, 1), n_classes=1, things=[])
