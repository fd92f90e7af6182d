import itertools

import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.errors import SettingsError
from cohortseg.methods import contour_regions, split_merge
from cohortseg.methods.contour_regions import contour_strength, regions_between
from cohortseg.methods.split_merge import merge, split


def quadrants(values=(0.0, 1.0, 1.0, 0.0), side=16):
    a, b, c, d = values
    return np.kron(np.array([[a, b], [c, d]]), np.ones((side // 2, side // 2)))


def test_four_quadrants_are_four_leaves_and_a_constant_image_is_one():
    assert len(np.unique(split(quadrants(), 0.5))) == 4
    assert len(np.unique(split(np.full((16, 16), 3.0), 0.5))) == 1
    assert len(np.unique(split(np.full((11, 19), 3.0), 0.5))) == 1


def test_opposite_quadrants_touch_at_a_corner_only_and_stay_apart_so_two_values_give_two_or_four_regions():
    image = quadrants((0.0, 1.0, 0.0, 1.0))  # left and right half
    assert len(np.unique(merge(image, split(image, 0.5), 0.5))) == 2
    image = quadrants()
    assert len(np.unique(merge(image, split(image, 0.5), 0.5))) == 4


def test_leaves_by_hand_on_a_plane_that_is_no_square():
    image = np.zeros((3, 6))
    image[0, 0] = 1.0
    leaves = split(image, 0.5)
    # on 8x8: the quarter with the odd pixel falls into a 2x2 square of 4 pixels and 3 squares; 3 pixels of the right
    assert len(np.unique(leaves[:2, :2])) == 4
    assert len(np.unique(leaves[:, 4:])) == 1
    coarse = split(image, 0.5, smallest=2)
    assert len(np.unique(coarse[:2, :2])) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.05, 0.9), st.integers(0, 999))
def test_every_leaf_and_region_is_even_and_regions_are_connected(rows, columns, spread, seed):
    image = ndimage.uniform_filter(np.random.default_rng(seed).random((rows, columns)), 3)
    leaves = split(image, spread)
    regions = merge(image, leaves, spread)
    for parts in (leaves, regions):
        for number in np.unique(parts):
            assert np.ptp(image[parts == number]) <= spread + 1e-12
    for number in np.unique(regions):
        assert ndimage.label(regions == number)[1] == 1
    # merging never cuts a leaf
    for number in np.unique(leaves):
        assert len(np.unique(regions[leaves == number])) == 1


def test_split_and_merge_finds_the_phantom_and_refuses_other_squares():
    volume, mask = blob(noise=5)
    assert dice(mask, split_merge.build(spread=0.6)(volume) > 0) > 0.97
    with pytest.raises(SettingsError, match="power of two"):
        split_merge.build(smallest=3)


def test_raising_the_limit_only_unites_regions():
    image = ndimage.gaussian_filter(np.random.default_rng(2).random((60, 50)), 2)
    contour = contour_strength(image, 1.0, (1.0, 1.0))
    partitions = [regions_between(contour, limit) for limit in (0, *np.quantile(contour, [0.2, 0.5, 0.8]))]
    sizes = [len(np.unique(regions)) for regions in partitions]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    for fine, coarse in itertools.pairwise(partitions):
        for number in np.unique(fine):
            assert len(np.unique(coarse[fine == number])) == 1


def test_regions_are_closed_a_gap_in_a_weak_contour_does_not_join_what_is_strong_elsewhere():
    contour = np.zeros((20, 30))
    contour[:, 14] = 1.0
    contour[9, 14] = 0.0  # a gap of one pixel
    contour += 1e-3 * np.random.default_rng(0).random(contour.shape)
    regions = regions_between(contour, 0.4)
    assert len(np.unique(regions)) == 2
    assert regions[5, 3] != regions[5, 25]


def test_with_a_huge_limit_one_region_is_left():
    contour = np.random.default_rng(3).random((25, 31))
    assert (regions_between(contour, 10.0) == 0).all()


def test_contour_regions_find_the_phantom_and_nothing_in_one_value():
    volume, mask = blob()
    assert dice(mask, contour_regions.build()(volume) > 0) > 0.98
    for method in (contour_regions, split_merge):
        assert not method.build()(volume_of(np.full((9, 8), 2))).any()
