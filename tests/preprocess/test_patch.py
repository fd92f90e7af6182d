import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.preprocess.patch import equal_sides, plan_network


def test_a_patch_has_equal_edges_in_mm():
    sides = equal_sides((4.0, 1.0, 1.0), (500, 500, 500), 64 * 64 * 16)
    assert sides == pytest.approx((16, 64, 64))


def test_what_a_short_axis_cannot_use_goes_to_the_others():
    assert equal_sides((1.0, 1.0, 1.0), (4, 500, 500), 4 * 100 * 100) == pytest.approx((4, 100, 100))
    assert equal_sides((1.0, 1.0, 1.0), (4, 5, 6), 10**6) == (4, 5, 6)


def test_coarse_slices_are_halved_later():
    geometry = plan_network((4.0, 1.0, 1.0), (64, 512, 512), patch_voxels=24 * 96 * 96, base_features=32)
    assert [level.stride for level in geometry.levels] == [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]
    assert [level.kernel for level in geometry.levels] == [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert [level.features for level in geometry.levels] == [32, 64, 128, 256, 320]
    assert geometry.alignment == (4, 16, 16)


def test_an_image_that_fits_is_held_whole():
    geometry = plan_network((1.0, 1.0, 1.0), (36, 50, 36), patch_voxels=110_000, base_features=16)
    assert geometry.patch == (40, 56, 40)


@settings(max_examples=50, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    shape=st.tuples(*[st.integers(8, 700)] * 3),
    voxels=st.integers(4096, 4_000_000),
    dims=st.sampled_from([2, 3]),
)
def test_a_patch_is_aligned_and_in_the_budget(spacing, shape, voxels, dims):
    geometry = plan_network(spacing[:dims], shape[:dims], patch_voxels=voxels, base_features=16)
    assert math.prod(geometry.patch) <= voxels
    for axis, (n, step) in enumerate(zip(geometry.patch, geometry.alignment, strict=True)):
        assert n % step == 0
        assert n // step >= 3 or step == 1
        assert n < shape[axis] + step
        assert step == math.prod(level.stride[axis] for level in geometry.levels)
