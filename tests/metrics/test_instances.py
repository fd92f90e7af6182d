"""Panoptic quality and precision of objects: a published toy, by hand, brute force, empty maps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.metrics.instances import (
    Overlaps,
    instance_metrics,
    overlaps,
    panoptic_quality,
    precision_at,
)

pairs = hnp.array_shapes(min_dims=3, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.int32, shape, elements=st.integers(0, 4))] * 2)
)


def line(text: str) -> np.ndarray:
    return np.array([[[int(letter) for letter in text.replace(".", "0")]]], np.int32)


def test_two_matches_a_false_alarm_and_a_miss() -> None:
    panoptic, segmentation, recognition = panoptic_quality(Overlaps(3, 3, np.array([0.8, 0.6, 0.2])))
    assert segmentation == pytest.approx(0.7)
    assert recognition == pytest.approx(2 / 3)
    assert panoptic == pytest.approx(0.7 * 2 / 3)


def test_ids_need_not_agree_nor_be_consecutive() -> None:
    found = instance_metrics(line("777..3333..9"), line("2222.55....."))
    # object 7 with 2: 3 of 4; object 3 with 5: 1 of 5; object 9 missed
    assert (found["n_reference"], found["n_prediction"], found["n_matched"]) == (3, 2, 1)
    assert found["segmentation_quality"] == 0.75
    assert found["recognition_quality"] == pytest.approx(2 / 5)
    assert found["precision_at_50"] == 1 / 4
    # 0.75 is above 0.50, 0.55, … 0.70 only
    assert found["precision_50_to_95"] == pytest.approx(5 * (1 / 4) / 10)


def test_the_aggregated_index_by_hand() -> None:
    # 7 with 2: shared 3, united 4; 3 with 5: shared 2, united 4; 9 has no partner: 1
    assert instance_metrics(line("777..3333..9"), line("2222.55....."))["aggregated_jaccard"] == pytest.approx(5 / 9)
    # 1 and 2 share two voxels each with the same partner: 4 and 4 united; the stranger is two more
    assert instance_metrics(line("1122..."), line("1111.33"))["aggregated_jaccard"] == pytest.approx(4 / 10)
    assert math.isnan(instance_metrics(line("...."), line("...."))["aggregated_jaccard"])
    assert instance_metrics(line("11.."), line("...."))["aggregated_jaccard"] == 0.0


def test_an_overlap_of_exactly_one_half_is_no_match() -> None:
    assert instance_metrics(line("11.."), line("1111"))["n_matched"] == 0
    assert instance_metrics(line("111."), line("1111"))["n_matched"] == 1


def test_touching_objects_stay_apart() -> None:
    assert instance_metrics(line("1122"), line("1111"))["n_matched"] == 0
    assert instance_metrics(line("1122"), line("3344"))["panoptic_quality"] == 1.0


def test_maps_without_objects() -> None:
    nothing, one = line("...."), line("11..")
    assert all(math.isnan(value) for value in panoptic_quality(overlaps(nothing, nothing)))
    for found in (instance_metrics(one, nothing), instance_metrics(nothing, one)):
        assert found["panoptic_quality"] == found["recognition_quality"] == found["precision_at_50"] == 0.0
        assert math.isnan(found["segmentation_quality"])


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        overlaps(line("11"), line("111"))


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_brute_force_finds_the_same_pairs(pair) -> None:
    reference, prediction = pair
    expected = sorted(
        jaccard
        for one in set(reference[reference > 0].tolist())
        for other in set(prediction[prediction > 0].tolist())
        if (
            jaccard := ((reference == one) & (prediction == other)).sum()
            / ((reference == one) | (prediction == other)).sum()
        )
    )
    found = overlaps(reference, prediction)
    np.testing.assert_allclose(np.sort(found.jaccards), expected)
    if reference.any() or prediction.any():
        assert 0.0 <= precision_at(found, 0.9) <= precision_at(found, 0.5) <= 1.0
