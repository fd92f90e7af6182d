"""Lesion-wise counts: the matching rule by hand, connectivity, empty masks, scipy as a judge."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from cohortseg.metrics.lesions import LesionCounts, match_lesions

pairs = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(False))] * 2)
)


def row(text: str) -> np.ndarray:
    return np.array([[[letter == "#" for letter in text]]])


def test_found_missed_and_invented_lesions_are_counted_apart() -> None:
    counts = match_lesions(row("##..##..##....."), row(".#...#......#.#"))
    assert counts == LesionCounts(n_reference=3, n_found=2, n_prediction=4, n_true=2)
    assert counts.sensitivity == 2 / 3
    assert counts.precision == 2 / 4


def test_one_prediction_may_find_two_lesions() -> None:
    assert match_lesions(row("##..##"), row("######")) == LesionCounts(2, 2, 1, 1)


def test_two_predictions_in_one_lesion_are_both_true() -> None:
    assert match_lesions(row("######"), row("#.##.#")) == LesionCounts(1, 1, 3, 3)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 9])
def test_a_row_that_fills_the_image_with_single_voxels_is_counted(axis: int, length: int) -> None:
    dots = np.moveaxis(row("#." * length)[..., :length], 2, axis)
    n_dots = (length + 1) // 2
    assert match_lesions(dots, dots) == LesionCounts(n_dots, n_dots, n_dots, n_dots)


def test_neighbours_without_a_shared_voxel_do_not_match() -> None:
    assert match_lesions(row("##...."), row("..##..")) == LesionCounts(1, 0, 1, 0)


def test_voxels_that_touch_at_a_corner_are_one_lesion() -> None:
    corner = np.zeros((2, 2, 2), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert match_lesions(corner, corner) == LesionCounts(1, 1, 1, 1)


def test_rows_that_start_elsewhere_still_find_every_lesion() -> None:
    reference = np.zeros((1, 3, 6), bool)
    reference[0, 0, 1:4] = reference[0, 2, 3:6] = True
    prediction = np.zeros((1, 3, 6), bool)
    prediction[0, 0, 3] = prediction[0, 2, 4:6] = True
    assert match_lesions(reference, prediction) == LesionCounts(2, 2, 2, 2)


def test_empty_masks_leave_the_shares_undefined() -> None:
    both = match_lesions(row("...."), row("...."))
    assert both == LesionCounts(0, 0, 0, 0)
    assert math.isnan(both.sensitivity)
    assert math.isnan(both.precision)
    missed = match_lesions(row("#..#"), row("...."))
    assert missed.sensitivity == 0.0
    assert math.isnan(missed.precision)
    invented = match_lesions(row("...."), row("#..#"))
    assert math.isnan(invented.sensitivity)
    assert invented.precision == 0.0


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        match_lesions(row("..."), row("...."))


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_scipy_counts_the_same_lesions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    numbers = []
    for mask, other in (pair, pair[::-1]):
        labels, n_lesions = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        numbers += [n_lesions, len(set(labels[other]) - {0})]
    assert match_lesions(*pair) == LesionCounts(*numbers)
