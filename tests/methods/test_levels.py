import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.methods.kmeans import fewer_different
from cohortseg.methods.levels import (
    best_centres,
    check_objects,
    chosen,
    level_of,
    levels_of_regions,
    lloyd,
    nearest_level,
)


def test_the_brightest_is_the_object_unless_others_are_named():
    assert check_objects(None, 4) == (4,)
    levels = np.array([[0, 1, 2, 3]], np.uint8)
    np.testing.assert_array_equal(chosen(levels, (3, 1)), [[0, 2, 0, 1]])


@pytest.mark.parametrize("objects", [[], [0], [4], [2, 2]])
def test_objects_that_are_no_levels_are_refused(objects):
    with pytest.raises(SettingsError, match="different levels from 1 to 3"):
        check_objects(objects, 3)


def test_a_value_in_the_middle_goes_to_the_darker():
    np.testing.assert_array_equal(nearest_level(np.array([0.0, 5.0, 5.1, 30.0]), np.array([0.0, 10.0])), [1, 1, 2, 2])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-300, 300), min_size=1, max_size=30),
    st.lists(st.integers(-1200, 1200), min_size=1, max_size=5),
    st.sampled_from([np.int16, np.int32, np.float32, np.float64, np.int8]),
)
def test_levels_are_those_that_a_search_of_each_value_gives(values, quarters, dtype):
    values = np.clip(values, -128, 127) if dtype is np.int8 else np.array(values)
    values, limits = (values / (4 if np.dtype(dtype).kind == "f" else 1)).astype(dtype), np.sort(quarters) / 4
    np.testing.assert_array_equal(level_of(values, limits), np.searchsorted(limits, values, side="left") + 1)


def test_a_limit_that_a_short_float_cannot_hold_is_not_rounded():
    limit = np.array([0.1])  # the float32 nearest to it is larger
    assert level_of(np.array([0.1], np.float32), limit).tolist() == [2]
    assert level_of(np.array([np.nan, 0.1]), limit).tolist() == [2, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=12), st.integers(1, 6))
def test_different_rows_are_counted_without_sorting(rows, n):
    array = np.array(rows, dtype=float).reshape(-1, 2)
    assert fewer_different(array, n) == (len(set(rows)) < n)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=8, max_size=80), st.integers(2, 4), st.integers(0, 99))
def test_a_histogram_gives_the_centres_of_its_voxels(values, k, seed):
    values = np.sort(np.array(values, dtype=float))
    unique, counts = np.unique(values, return_counts=True)
    starts = np.sort(np.random.default_rng(seed).uniform(0, 60, k))
    whole = lloyd(values, np.ones(values.size), k, starts)
    np.testing.assert_allclose(lloyd(unique, counts.astype(float), k, starts), whole)
    # a fixed point: every centre is the mean of what is nearest to it
    nearest = nearest_level(values, whole)
    for number in np.unique(nearest):
        assert whole[number - 1] == pytest.approx(values[nearest == number].mean())


def test_more_starts_never_give_a_larger_sum_of_squares():
    random = np.random.default_rng(1)
    values = np.sort(np.concatenate([random.normal(m, 1, 30) for m in (0, 9, 11, 60)]))
    weights = np.ones(values.size)

    def cost(centres):
        return ((values - centres[nearest_level(values, centres) - 1]) ** 2).sum()

    costs = [cost(best_centres(values, weights, 4, seed=2, n_starts=n)) for n in (1, 2, 8, 32)]
    assert costs == sorted(costs, reverse=True)


def test_regions_are_sorted_by_their_mean_and_large_ones_count_more():
    regions = np.array([[0, 0, 1, 1, 2, 3]])
    image = np.array([[10, 12, 50, 50, 52, 11]])
    np.testing.assert_array_equal(levels_of_regions(regions, image, 2), [[1, 1, 2, 2, 2, 1]])
    assert (levels_of_regions(np.zeros((2, 3), int), np.ones((2, 3)), 2) == 1).all()
