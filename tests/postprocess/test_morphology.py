import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.postprocess.morphology import closing, dilation, erosion, fill_holes, opening, reach_voxels

SPACING_MM = (2.5, 0.7, 1.1)


def ball(radius_mm, spacing_mm):
    """The ellipsoid of voxels, by its definition."""
    axes = [
        np.arange(-n, n + 1) * size for n, size in zip(reach_voxels(radius_mm, spacing_mm), spacing_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 <= radius_mm**2 * (1 + 1e-6)


def noise(seed, density=0.3, shape=(7, 13, 10)):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 0.8)
    return field > np.quantile(field, 1 - density)


masks = st.builds(noise, st.integers(0, 9999), st.floats(0.02, 0.7))
radii = st.sampled_from([0.5, 0.7, 1.1, 1.4, 2.1, 2.5, 3.3, 5.0])


@settings(max_examples=50, deadline=None)
@given(mask=masks, radius_mm=radii)
def test_dilation_is_that_with_an_ellipsoid_of_voxels(mask, radius_mm):
    judge = ndimage.binary_dilation(mask, ball(radius_mm, SPACING_MM))
    np.testing.assert_array_equal(dilation(mask, radius_mm=radius_mm, spacing_mm=SPACING_MM), judge)


@settings(max_examples=50, deadline=None)
@given(mask=masks, radius_mm=radii)
def test_erosion_is_that_with_an_ellipsoid_and_nothing_erodes_from_outside(mask, radius_mm):
    judge = ndimage.binary_erosion(mask, ball(radius_mm, SPACING_MM), border_value=1)
    np.testing.assert_array_equal(erosion(mask, radius_mm=radius_mm, spacing_mm=SPACING_MM), judge)


@settings(max_examples=40, deadline=None)
@given(mask=masks, radius_mm=radii)
def test_opening_shrinks_closing_grows_and_both_stay(mask, radius_mm):
    options = {"radius_mm": radius_mm, "spacing_mm": SPACING_MM}
    opened, closed = opening(mask, **options), closing(mask, **options)
    assert not (opened & ~mask).any()
    assert not (mask & ~closed).any()
    np.testing.assert_array_equal(opening(opened, **options), opened)
    np.testing.assert_array_equal(closing(closed, **options), closed)


def test_one_voxel_becomes_81_with_a_radius_of_5_voxels_in_a_plane():
    mask = np.zeros((3, 15, 15), bool)
    mask[1, 7, 7] = True
    grown = dilation(mask, radius_mm=5.0, spacing_mm=(6.0, 1.0, 1.0))
    assert grown.sum() == 81
    assert grown[1].sum() == 81


def test_the_radius_is_in_mm_along_each_axis():
    mask = np.zeros((9, 21, 15), bool)
    mask[4, 10, 7] = True
    grown = dilation(mask, radius_mm=5.0, spacing_mm=(2.5, 0.5, 1.0))
    assert [np.ptp(axis) for axis in np.nonzero(grown)] == [4, 20, 10]


def test_opening_cuts_a_thin_line_and_keeps_the_block():
    mask = np.zeros((9, 20, 20), bool)
    mask[2:7, 4:12, 3:10] = True
    mask[4, 7, 10:20] = True
    opened = opening(mask, radius_mm=1.0, spacing_mm=(1.0, 1.0, 1.0))
    assert not opened[4, 7, 11:].any()
    assert opened[4, 7, 4:9].all()


@settings(max_examples=40, deadline=None)
@given(mask=masks, radius_mm=radii)
def test_closing_is_that_of_scipy_in_an_endless_image(mask, radius_mm):
    reach = reach_voxels(radius_mm, SPACING_MM)
    padded = np.pad(mask, [(2 * n, 2 * n) for n in reach])
    inner = tuple(slice(2 * n, padded.shape[axis] - 2 * n) for axis, n in enumerate(reach))
    judge = ndimage.binary_closing(padded, ball(radius_mm, SPACING_MM))[inner]
    np.testing.assert_array_equal(closing(mask, radius_mm=radius_mm, spacing_mm=SPACING_MM), judge)


def test_closing_builds_no_bridge_to_the_border():
    mask = np.zeros((3, 4, 9), bool)
    mask[1, 1, [2, 4]] = True
    closed = closing(mask, radius_mm=2.0, spacing_mm=(9.0, 9.0, 1.0))
    assert closed[1, 1].tolist() == [False, False, True, True, True, False, False, False, False]


def test_a_mask_cut_off_by_the_border_is_not_eroded_there():
    mask = np.zeros((3, 9, 9), bool)
    mask[:, :5, 2:7] = True
    eroded = erosion(mask, radius_mm=1.0, spacing_mm=(1.0, 1.0, 1.0))
    expected = np.zeros_like(mask)
    expected[:, :4, 3:6] = True
    np.testing.assert_array_equal(eroded, expected)


def test_a_tube_of_three_pixels_is_closed():
    mask = np.ones((9, 11, 12), bool)
    mask[2:7, 4:7, 5:8] = False
    assert closing(mask, radius_mm=3.0, spacing_mm=(1.0, 1.0, 1.0)).all()
    assert not closing(mask, radius_mm=1.0, spacing_mm=(1.0, 1.0, 1.0)).all()


@pytest.mark.parametrize("function", [dilation, erosion, opening, closing])
def test_extremes(function):
    options = {"radius_mm": 3.0, "spacing_mm": SPACING_MM}
    empty, full = np.zeros((4, 5, 6), bool), np.ones((4, 5, 6), bool)
    assert not function(empty, **options).any()
    assert function(full, **options).all()
    mask = noise(3)
    np.testing.assert_array_equal(function(mask, radius_mm=0.0, spacing_mm=SPACING_MM), mask)
    with pytest.raises(ValueError, match="must not be negative"):
        function(mask, radius_mm=-1.0, spacing_mm=SPACING_MM)


def test_the_argument_is_not_changed():
    mask = noise(5)
    before = mask.copy()
    for function in (dilation, erosion, opening, closing):
        function(mask, radius_mm=1.1, spacing_mm=SPACING_MM)
    fill_holes(mask)
    fill_holes(mask, per_slice=True)
    np.testing.assert_array_equal(mask, before)


@settings(max_examples=30, deadline=None)
@given(mask=masks)
def test_filled_holes_are_those_of_scipy(mask):
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    slices = np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
    np.testing.assert_array_equal(fill_holes(mask, per_slice=True), slices)


def test_background_on_an_edge_of_the_image_is_no_hole():
    mask = np.zeros((3, 4, 6), bool)
    mask[0, 0, [1, 3]] = mask[0, 1, 2] = mask[1, 0, 2] = True  # closes in (0, 0, 2), which lies on the border
    np.testing.assert_array_equal(fill_holes(mask), mask)


def test_a_tunnel_is_a_hole_of_the_slice_but_not_of_the_volume():
    mask = np.ones((5, 9, 8), bool)
    mask[:, 4, 3] = False
    np.testing.assert_array_equal(fill_holes(mask), mask)
    assert fill_holes(mask, per_slice=True).all()


def test_a_single_plane_has_holes_of_its_own():
    mask = np.ones((1, 9, 8), bool)
    mask[0, 4, 3] = False
    assert fill_holes(mask).all()


def test_reach_counts_whole_voxels():
    assert reach_voxels(2.5, SPACING_MM) == (1, 3, 2)
    assert reach_voxels(2.1, SPACING_MM) == (0, 3, 1)
    assert reach_voxels(0.3, (0.1, 0.4, 0.15)) == (3, 0, 2)  # 0.3 / 0.1 is a little less than 3


def test_a_voxel_at_exactly_the_radius_belongs_to_the_ball():
    mask = np.zeros((9, 3, 3), bool)
    mask[4, 1, 1] = True
    assert dilation(mask, radius_mm=0.3, spacing_mm=(0.1, 0.4, 0.4)).sum() == 7
