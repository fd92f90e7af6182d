"""Back to the native grid: scipy as judge, and what is held in memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from cohortseg.errors import SettingsError
from cohortseg.infer.native import axis_maps, labels_from, resample_slabs
from cohortseg.infer.sliding import slab_array
from cohortseg.volume import Grid

TILTED = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0))


def slabs_of(array, depth):
    for first in range(0, array.shape[1], depth):
        yield first, min(first + depth, array.shape[1]), array[:, first : first + depth]


def judged(array, source, target):
    """The same by world coordinates and scipy."""
    index = np.indices(target.shape).reshape(3, -1)
    world = target.affine @ np.vstack([index, np.ones(index.shape[1])])
    position = (np.linalg.inv(source.affine) @ world)[:3]
    return np.stack(
        [map_coordinates(one.astype(float), position, order=1, mode="nearest").reshape(target.shape) for one in array]
    )


grids = st.builds(
    Grid,
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing_mm=st.tuples(*[st.sampled_from([0.7, 1.0, 1.9, 5.0])] * 3),
    origin_mm=st.tuples(*[st.sampled_from([-3.25, 0.0, 1.5, 40.0])] * 3),
    axes=st.just(TILTED),
)


@given(source=grids, target=grids, depth=st.integers(1, 4), slab=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_it_equals_the_judge_whatever_the_slabs(source, target, depth, slab):
    array = np.random.default_rng(0).random((2, *source.shape)).astype(np.float32)
    result = slab_array(resample_slabs(slabs_of(array, slab), source, target, depth=depth))
    np.testing.assert_allclose(result, judged(array, source, target), atol=2e-5)


def test_the_same_grid_changes_nothing():
    grid = Grid((5, 6, 7), (3.0, 0.7, 1.1), (1.0, 2.0, 3.0), TILTED)
    array = np.random.default_rng(1).random((3, 5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(slab_array(resample_slabs(slabs_of(array, 2), grid, grid)), array)


def test_half_the_spacing_by_hand():
    source = Grid((1, 1, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
    target = Grid((1, 1, 6), (1.0, 1.0, 1.0), (-0.5, 0.0, 0.0))
    array = np.array([0.0, 4.0, 8.0], np.float32).reshape(1, 1, 1, 3)
    result = slab_array(resample_slabs([(0, 1, array)], source, target))
    np.testing.assert_allclose(result.ravel(), [0.0, 1.0, 3.0, 5.0, 7.0, 8.0])


def test_probabilities_still_sum_to_one():
    source, target = Grid((4, 5, 6), (2.0, 1.5, 1.0), (0, 0, 0)), Grid((9, 8, 5), (0.9, 1.0, 1.3), (0.3, 0.1, -1.0))
    array = np.random.default_rng(2).dirichlet(np.ones(4), (4, 5, 6)).transpose(3, 0, 1, 2).astype(np.float32)
    result = slab_array(resample_slabs(slabs_of(array, 3), source, target))
    np.testing.assert_allclose(result.sum(axis=0), 1.0, atol=1e-6)


def test_a_slab_comes_out_before_later_slices_are_asked_for():
    source, target = Grid((100, 2, 2), (1.0, 1.0, 1.0), (0, 0, 0)), Grid((50, 2, 2), (2.0, 1.0, 1.0), (0, 0, 0))
    asked = []

    def slabs():
        for index in range(100):
            asked.append(index)
            yield index, index + 1, np.full((1, 1, 2, 2), index, np.float32)

    results = resample_slabs(slabs(), source, target, depth=4)
    first = next(results)
    assert first[:2] == (0, 4)
    assert first[2][0, :, 0, 0].tolist() == [0.0, 2.0, 4.0, 6.0]
    assert max(asked) == 7


def test_slabs_that_end_early_are_an_error():
    grid = Grid((5, 2, 2), (1.0, 1.0, 1.0), (0, 0, 0))
    with pytest.raises(ValueError, match="end before"):
        list(resample_slabs(slabs_of(np.zeros((1, 3, 2, 2), np.float32), 2), grid, grid))


def test_grids_with_other_axes_are_refused():
    grid = Grid((5, 2, 2), (1.0, 1.0, 1.0), (0, 0, 0))
    with pytest.raises(ValueError, match="axes"):
        axis_maps(grid, Grid(grid.shape, grid.spacing_mm, grid.origin_mm, TILTED))


def test_the_lower_class_wins_a_tie():
    probabilities = np.array([[0.4, 0.2, 0.1], [0.4, 0.4, 0.1], [0.2, 0.4, 0.8]], np.float32)
    labels = labels_from(probabilities)
    assert labels.tolist() == [0, 1, 2]
    assert labels.dtype == np.uint8


@given(st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_labels_are_the_argmax(n_classes, seed):
    probabilities = np.random.default_rng(seed).integers(0, 4, (n_classes, 3, 4, 5)).astype(np.float32)
    before = probabilities.copy()
    np.testing.assert_array_equal(labels_from(probabilities), probabilities.argmax(axis=0))
    np.testing.assert_array_equal(probabilities, before)


def test_a_threshold_counts_for_a_single_class_only():
    probabilities = np.array([[0.7, 0.75, 0.2], [0.3, 0.25, 0.8]], np.float32)
    assert labels_from(probabilities, threshold=0.3).tolist() == [1, 0, 1]
    with pytest.raises(SettingsError, match="single"):
        labels_from(np.zeros((3, 2), np.float32), threshold=0.5)
    with pytest.raises(SettingsError, match="256"):
        labels_from(np.zeros((257, 1), np.float32))
