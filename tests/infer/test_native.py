"""Back to the native grid: scipy as judge, and what is held in memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from cohortseg.errors import SettingsError
from cohortseg.infer.native import axis_maps, labels_from, resample_blocks
from cohortseg.infer.sliding import Block
from cohortseg.volume import Grid

TILTED = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0))


def blocks_of(array, depth):
    """Blocks that refuse to be read before their first slice but one, or after the next has been asked for."""
    current = []
    for first in range(0, array.shape[1], depth):
        stop = min(first + depth, array.shape[1])

        def planes(channel, low, high, first=first, stop=stop):
            assert current[-1] == first
            assert first - 1 <= low < high <= stop
            return array[channel, low:high].copy()

        current.append(first)
        yield Block(first, stop, planes)


def resampled(array, depth, source, target, **options):
    """All classes and slices of `resample_blocks`."""
    blocks = resample_blocks(blocks_of(array, depth), source, target, **options)
    return np.concatenate([np.stack([block.channel(n) for n in range(len(array))]) for block in blocks], axis=1)


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


@given(source=grids, target=grids, work=st.integers(1, 400), depth=st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_it_equals_the_judge_whatever_the_blocks(source, target, work, depth):
    array = np.random.default_rng(0).random((2, *source.shape)).astype(np.float32)
    result = resampled(array, depth, source, target, work_voxels=work)
    np.testing.assert_allclose(result, judged(array, source, target), atol=2e-5)


def test_the_same_grid_changes_nothing():
    grid = Grid((5, 6, 7), (3.0, 0.7, 1.1), (1.0, 2.0, 3.0), TILTED)
    array = np.random.default_rng(1).random((3, 5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(resampled(array, 2, grid, grid), array)


def test_half_the_spacing_by_hand():
    source = Grid((1, 1, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
    target = Grid((1, 1, 6), (1.0, 1.0, 1.0), (-0.5, 0.0, 0.0))
    array = np.array([0.0, 4.0, 8.0], np.float32).reshape(1, 1, 1, 3)
    result = resampled(array, 1, source, target)
    np.testing.assert_allclose(result.ravel(), [0.0, 1.0, 3.0, 5.0, 7.0, 8.0])


def test_probabilities_still_sum_to_one():
    source, target = Grid((4, 5, 6), (2.0, 1.5, 1.0), (0, 0, 0)), Grid((9, 8, 5), (0.9, 1.0, 1.3), (0.3, 0.1, -1.0))
    array = np.random.default_rng(2).dirichlet(np.ones(4), (4, 5, 6)).transpose(3, 0, 1, 2).astype(np.float32)
    result = resampled(array, 3, source, target)
    np.testing.assert_allclose(result.sum(axis=0), 1.0, atol=1e-6)


def test_a_block_comes_out_before_later_slices_are_asked_for():
    source, target = Grid((100, 2, 2), (1.0, 1.0, 1.0), (0, 0, 0)), Grid((50, 2, 2), (2.0, 1.0, 1.0), (0, 0, 0))
    array = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None, None], (1, 100, 2, 2))
    asked = []

    def noted():
        for block in blocks_of(array, 1):
            asked.append(block.first)
            yield block

    results = resample_blocks(noted(), source, target)
    for number in range(4):
        block = next(results)
        assert (block.first, block.stop) == (number, number + 1)
        assert block.channel(0)[0, 0, 0] == 2.0 * number
        assert max(asked) == 2 * number


def test_no_more_voxels_than_asked_for_are_computed_at_a_time():
    grid = Grid((40, 3, 4), (1.0, 1.0, 1.0), (0, 0, 0))
    blocks = list(resample_blocks(blocks_of(np.zeros((1, 40, 3, 4), np.float32), 40), grid, grid, work_voxels=60))
    assert [block.stop - block.first for block in blocks] == [5] * 8


def test_blocks_that_end_early_are_an_error():
    grid = Grid((5, 2, 2), (1.0, 1.0, 1.0), (0, 0, 0))
    with pytest.raises(ValueError, match="end before"):
        list(resample_blocks(blocks_of(np.zeros((1, 3, 2, 2), np.float32), 2), grid, grid))


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


def test_classes_may_come_one_by_one():
    probabilities = np.random.default_rng(5).random((4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(labels_from(iter(probabilities)), labels_from(probabilities))
