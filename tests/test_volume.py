"""Grids against positions worked out by hand and against SimpleITK."""

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.volume import Grid, Volume

# z runs along patient x, y along patient z, x along patient y: nothing is where one would guess.
TURNED = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
LOPSIDED = Grid((3, 5, 7), (4.0, 2.0, 0.5), (-10.0, 20.0, 35.0), TURNED)
COSINE, SINE = math.cos(0.3), math.sin(0.3)
OBLIQUE = Grid((4, 6, 9), (3.0, 0.8, 0.7), (11.0, -7.0, 5.0), ((0, -SINE, COSINE), (0, COSINE, SINE), (1, 0, 0)))

numbers = st.floats(-500, 500)
sizes = st.tuples(*[st.integers(1, 40)] * 3)
spacings = st.tuples(*[st.floats(0.2, 9)] * 3)


@st.composite
def grids(draw):
    turned, _ = np.linalg.qr(
        np.array(draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9))).reshape(3, 3) + np.eye(3)
    )
    axes = tuple(tuple(float(number) for number in axis) for axis in turned)
    return Grid(draw(sizes), draw(spacings), draw(st.tuples(numbers, numbers, numbers)), axes)


def test_the_first_voxel_lies_at_the_origin():
    assert LOPSIDED.world((0, 0, 0)) == (-10.0, 20.0, 35.0)


def test_each_index_moves_along_its_own_axis_by_its_own_spacing():
    assert LOPSIDED.world((1, 0, 0)) == (-6.0, 20.0, 35.0)
    assert LOPSIDED.world((0, 1, 0)) == (-10.0, 20.0, 37.0)
    assert LOPSIDED.world((0, 0, 1)) == (-10.0, 20.5, 35.0)


def test_the_affine_takes_indices_in_the_order_z_y_x():
    by_hand = [[4.0, 0, 0, -10], [0, 0, 0.5, 20], [0, 2, 0, 35], [0, 0, 0, 1]]
    np.testing.assert_array_equal(LOPSIDED.affine, by_hand)


def test_without_axes_x_y_and_z_are_the_patients():
    grid = Grid((2, 2, 2), (3.0, 2.0, 1.0), (0.0, 0.0, 0.0))
    assert grid.world((1, 1, 1)) == (1.0, 2.0, 3.0)


def test_the_volume_of_a_voxel_is_in_ml():
    assert LOPSIDED.voxel_ml == pytest.approx(0.004)


@settings(max_examples=30, deadline=None)
@given(grids(), st.tuples(numbers, numbers, numbers))
def test_world_positions_are_those_of_simpleitk(grid, index):
    image = SimpleITK.Image([1, 1, 1], SimpleITK.sitkUInt8)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(np.array(grid.axes[::-1]).T.ravel().tolist())
    np.testing.assert_allclose(
        grid.world(index), image.TransformContinuousIndexToPhysicalPoint(index[::-1]), atol=1e-6, rtol=1e-9
    )


# ---- another spacing ------------------------------------------------------------------------------------------------


def test_another_spacing_keeps_the_outer_corner_of_the_first_voxel():
    finer = LOPSIDED.with_spacing((2.0, 1.0, 0.25))
    assert finer.shape == (6, 10, 14)
    # The outer corner lies half a voxel before the centre, on either grid.
    np.testing.assert_allclose(finer.world((-0.5, -0.5, -0.5)), LOPSIDED.world((-0.5, -0.5, -0.5)))
    np.testing.assert_allclose(finer.world((5.5, 9.5, 13.5)), LOPSIDED.world((2.5, 4.5, 6.5)))


def test_a_grid_coarser_than_its_box_keeps_one_voxel():
    assert LOPSIDED.with_spacing((100.0, 100.0, 100.0)).shape == (1, 1, 1)


@settings(max_examples=50, deadline=None)
@given(grids(), spacings)
def test_the_box_changes_by_half_a_voxel_at_most(grid, spacing_mm):
    other = grid.with_spacing(spacing_mm)
    assert other.axes == grid.axes
    for n_old, old, n_new, new in zip(grid.shape, grid.spacing_mm, other.shape, spacing_mm, strict=True):
        assert n_new == 1 or abs(n_new * new - n_old * old) <= new / 2 + 1e-6
    np.testing.assert_allclose(other.world((-0.5, -0.5, -0.5)), grid.world((-0.5, -0.5, -0.5)), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(grids())
def test_the_same_spacing_is_the_same_grid(grid):
    assert grid.with_spacing(grid.spacing_mm).matches(grid, tolerance_mm=1e-9)


# ---- equality and JSON ----------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(grids())
def test_plain_numbers_bring_back_the_very_grid(grid):
    assert Grid.from_dict(grid.as_dict()) == grid


def test_grids_match_within_the_tolerance():
    near = Grid(LOPSIDED.shape, LOPSIDED.spacing_mm, (-10.0, 20.009, 35.0), TURNED)
    far = Grid(LOPSIDED.shape, LOPSIDED.spacing_mm, (-10.0, 20.011, 35.0), TURNED)
    assert near.matches(LOPSIDED)
    assert not far.matches(LOPSIDED)
    assert far.matches(LOPSIDED, tolerance_mm=0.02)


def test_a_small_error_of_spacing_counts_by_what_it_moves_the_last_voxel():
    # 6 steps of 0.002 mm are 0.012 mm.
    stretched = Grid(LOPSIDED.shape, (4.0, 2.0, 0.502), LOPSIDED.origin_mm, TURNED)
    assert not stretched.matches(LOPSIDED)
    assert stretched.matches(LOPSIDED, tolerance_mm=0.013)


def test_the_same_box_told_from_another_corner_does_not_match():
    flipped = Grid(LOPSIDED.shape, LOPSIDED.spacing_mm, LOPSIDED.world((2, 0, 0)), ((-1.0, 0, 0), *TURNED[1:]))
    assert not flipped.matches(LOPSIDED)


def test_grids_of_other_shapes_never_match():
    assert not Grid((3, 5, 8), *(getattr(LOPSIDED, name) for name in ("spacing_mm", "origin_mm", "axes"))).matches(
        LOPSIDED, tolerance_mm=1e9
    )


# ---- impossible grids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value", "word"),
    [
        ("shape", (3, 0, 7), "positive"),
        ("spacing_mm", (4.0, -2.0, 0.5), "positive"),
        ("spacing_mm", (0.0, 2.0, 0.5), "positive"),
        ("spacing_mm", (math.inf, 2.0, 0.5), "finite"),
        ("spacing_mm", (math.nan, 2.0, 0.5), "finite"),
        ("origin_mm", (math.nan, 0.0, 0.0), "finite"),
        ("axes", ((1.0, 0, 0), (0, 1.0, 0), (0, 0, math.nan)), "finite"),
        ("axes", ((1.0, 0, 0), (0, 1.0, 0), (0, 0.01, 1.0)), "orthonormal"),
        ("axes", ((2.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)), "orthonormal"),
        ("axes", ((1.0, 0, 0), (1.0, 0, 0), (0, 0, 1.0)), "orthonormal"),
    ],
)
def test_impossible_grids_are_refused(part, value, word):
    given_parts = {name: getattr(LOPSIDED, name) for name in ("shape", "spacing_mm", "origin_mm", "axes")}
    with pytest.raises(ValueError, match=word):
        Grid(**{**given_parts, part: value})


def test_left_handed_axes_are_a_grid_as_well():
    assert Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((0, 0, -1.0), (0, 1.0, 0), (1.0, 0, 0))).voxel_ml == 0.001


def test_an_array_must_have_the_shape_of_its_grid():
    Volume(np.zeros(OBLIQUE.shape), OBLIQUE)
    with pytest.raises(ValueError, match=r"\(4, 6, 8\)"):
        Volume(np.zeros((4, 6, 8)), OBLIQUE)
