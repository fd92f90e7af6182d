"""Changes of an image: where voxels go, what stays what it was, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.errors import SettingsError
from cohortseg.preprocess.perturb import (
    TRANSFORMATIONS,
    Strength,
    applies,
    dice_of_labels,
    taken_back,
    transformed,
)
from cohortseg.volume import Grid, Volume

GRID = Grid((2, 4, 6), (5.0, 1.0, 2.0), (-31.0, 12.5, 47.25))
EXACT = [name for name in TRANSFORMATIONS if name not in ("noise", "resolution")]


def volume_of(grid: Grid = GRID, dtype=np.int16) -> Volume:
    return Volume(np.arange(np.prod(grid.shape)).reshape(grid.shape).astype(dtype), grid)


@pytest.mark.parametrize("name", EXACT)
@given(shape=st.tuples(*[st.integers(1, 5)] * 3))
def test_flips_and_turns_move_voxels_and_the_way_back_is_exact(name, shape):
    volume = volume_of(Grid(shape, (5.0, 1.0, 2.0), (0.0, 0.0, 0.0)))
    changed = transformed(name, volume, Strength())
    assert sorted(changed.array.ravel()) == sorted(volume.array.ravel())
    np.testing.assert_array_equal(taken_back(name, changed, volume.grid), volume.array)


def test_a_quarter_turn_takes_the_voxel_size_along():
    changed = transformed("rotate_90", volume_of(), Strength())
    assert (changed.grid.shape, changed.grid.spacing_mm) == ((2, 6, 4), (5.0, 2.0, 1.0))
    # The last column becomes the first row.
    np.testing.assert_array_equal(changed.array[0, 0], volume_of().array[0, :, -1])
    half = transformed("rotate_180", volume_of(), Strength())
    assert half.grid == GRID
    np.testing.assert_array_equal(half.array, volume_of().array[:, ::-1, ::-1])


def test_each_axis_is_mirrored_by_its_own_name():
    array = volume_of().array
    found = [transformed(f"flip_{axis}", volume_of(), Strength()).array for axis in "zyx"]
    for axis, changed in enumerate(found):
        np.testing.assert_array_equal(changed, np.flip(array, axis))


def test_noise_has_the_share_of_the_range_it_is_told_and_is_repeatable():
    grid = Grid((10, 40, 50), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    flat = np.linspace(-1000, 1000, 20_000, dtype=np.float32).reshape(grid.shape)
    noisy = transformed("noise", Volume(flat, grid), Strength(noise=0.1, seed=(1, 2)))
    difference = noisy.array - flat
    assert difference.std() == pytest.approx(0.1 * 0.98 * 2000, rel=0.03)
    assert abs(difference.mean()) < 5
    again = transformed("noise", Volume(flat, grid), Strength(noise=0.1, seed=(1, 2))).array
    np.testing.assert_array_equal(noisy.array, again)
    other = transformed("noise", Volume(flat, grid), Strength(noise=0.1, seed=(1, 3))).array
    assert not np.array_equal(noisy.array, other)


def test_noise_keeps_whole_numbers_within_their_type():
    array = np.zeros(GRID.shape, np.uint8)
    array[..., ::2] = 255
    noisy = transformed("noise", Volume(array, GRID), Strength(noise=0.2)).array
    assert noisy.dtype == np.uint8
    assert (noisy[..., ::2] > 100).all()
    assert (noisy[..., 1::2] < 155).all()


def test_coarser_voxels_are_the_mean_of_those_that_become_one_and_thick_axes_stay():
    grid = Grid((2, 4, 6), (5.0, 1.0, 1.0), (-31.0, 12.5, 47.25))
    changed = transformed("resolution", volume_of(grid, np.float32), Strength(coarser=2.0))
    assert (changed.grid.shape, changed.grid.spacing_mm) == ((2, 2, 3), (5.0, 2.0, 2.0))
    blocks = volume_of(grid, np.float32).array.reshape(2, 2, 2, 3, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(changed.array, blocks, rtol=1e-6)
    label = Volume(np.zeros((2, 2, 3), np.uint8), changed.grid)
    label.array[0, 1, 2] = 1
    back = taken_back("resolution", label, grid)
    expected = np.zeros(grid.shape, np.uint8)
    expected[0, 2:4, 4:6] = 1
    np.testing.assert_array_equal(back, expected)


def test_what_changes_nothing_does_not_apply():
    plane = Grid((1, 4, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    assert [name for name in TRANSFORMATIONS if not applies(name, plane)] == ["flip_z"]
    assert all(applies(name, GRID) for name in TRANSFORMATIONS)


def test_an_unknown_change_is_refused_with_the_choices():
    with pytest.raises(SettingsError, match="flip_x"):
        transformed("twist", volume_of(), Strength())


def test_dice_of_labels_by_hand():
    first, second = np.array([[[1, 1, 2, 0]]]), np.array([[[1, 0, 0, 0]]])
    one, two, three = dice_of_labels(first, second, 3)
    assert (one, two) == (2 / 3, 0.0)
    assert np.isnan(three)
