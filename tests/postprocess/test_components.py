import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.postprocess.components import components, keep_largest, keep_n, minimum_slices, minimum_volume

FOOTPRINTS = {6: 1, 18: 2, 26: 3}


def drawn(*rows):
    """One plane, drawn: # is a voxel."""
    return np.array([[[sign == "#" for sign in row] for row in rows]])


def test_the_largest_component_stays():
    mask = drawn("##..###", "#...##.", "......#")
    np.testing.assert_array_equal(keep_largest(mask), drawn("....###", "....##.", "......#"))


def test_of_two_equals_the_first_in_reading_order_stays():
    mask = drawn("...##..", "##.....", ".....##")
    np.testing.assert_array_equal(keep_largest(mask, connectivity=6), drawn("...##..", ".......", "......."))
    np.testing.assert_array_equal(keep_n(mask, 2, connectivity=6), drawn("...##..", "##.....", "......."))


def test_corners_touch_only_where_the_connectivity_says_so():
    mask = np.zeros((2, 3, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # share a corner
    mask[1, 2, 1] = True
    assert keep_largest(mask, connectivity=26).sum() == 3
    assert keep_largest(mask, connectivity=18).sum() == 2
    edge = np.zeros((2, 3, 4), bool)
    edge[0, 0, 0] = edge[1, 0, 1] = True  # share an edge
    assert keep_largest(edge, connectivity=18).sum() == 2
    assert keep_largest(edge, connectivity=6).sum() == 1


def test_clusters_of_99_100_and_101_voxels_at_a_limit_of_100():
    mask = np.zeros((3, 4, 120), bool)
    mask[0, 0, :99] = mask[2, 0, :100] = mask[0, 3, :101] = True
    voxel_ml = 0.7 / 1000
    kept = minimum_volume(mask, 0.07, voxel_ml)  # 0.07 / voxel_ml is 100 to the last bits
    sizes = sorted(ndimage.sum_labels(kept, ndimage.label(kept)[0], [1, 2]))
    assert sizes == [100, 101]
    assert kept.sum() == 201


def test_the_limit_is_a_volume_not_a_number_of_voxels():
    mask = drawn("###.#")
    assert minimum_volume(mask, 0.02, 0.01).sum() == 3
    assert minimum_volume(mask, 0.02, 0.02).sum() == 4
    assert minimum_volume(mask, 0.0, 0.02).sum() == 4


def test_a_blob_of_one_slice_goes_and_one_that_overlaps_itself_in_the_next_stays():
    mask = np.zeros((5, 4, 9), bool)
    mask[2, :2, :2] = True  # one slice
    mask[1:3, :2, 4:6] = True  # two slices
    mask[3, 3, 0] = mask[4, 3, 1] = True  # two slices that share no column
    kept = minimum_slices(mask, 2)
    assert kept.sum() == 8
    assert kept[1:3, :2, 4:6].all()
    assert not minimum_slices(mask, 3).any()


def test_a_picture_has_no_more_slices_than_one():
    mask = drawn("##.", "...", "..#")
    np.testing.assert_array_equal(minimum_slices(mask, 2), mask)


@pytest.mark.parametrize(
    "function",
    [keep_largest, lambda m: minimum_slices(m, 2), lambda m: keep_n(m, 3), lambda m: minimum_volume(m, 1.0, 0.1)],
)
def test_an_empty_mask_stays_empty(function):
    found = function(np.zeros((2, 3, 4), bool))
    assert found.shape == (2, 3, 4)
    assert found.dtype == bool
    assert not found.any()


def test_more_than_there_are_means_all():
    mask = drawn("#.#.#")
    np.testing.assert_array_equal(keep_n(mask, 9), mask)


def test_impossible_choices_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        keep_n(drawn("#"), 0)
    with pytest.raises(ValueError, match="6, 18 or 26"):
        keep_largest(drawn("#"), connectivity=8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), density=st.floats(0.05, 0.6), connectivity=st.sampled_from([6, 18, 26]))
def test_components_are_those_of_scipy_in_its_order(seed, density, connectivity):
    mask = np.random.default_rng(seed).random((5, 7, 9)) < density
    judge, n = ndimage.label(mask, ndimage.generate_binary_structure(3, FOOTPRINTS[connectivity]))
    found, sizes = components(mask, connectivity=connectivity)
    np.testing.assert_array_equal(found, judge)
    np.testing.assert_array_equal(sizes, np.bincount(judge.ravel(), minlength=n + 1))
