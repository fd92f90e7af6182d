"""Which slices are left out, shifted and blended, and what planes become by that."""

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.io.mend import blends, groups, may_fill, mix, shift_plane, shifts, strays

PLANE = np.array([[1.0, 2.0, 4.0, 8.0], [3.0, 5.0, 9.0, 17.0], [-4.0, 0.0, 6.0, 7.0]])
FULL = np.zeros(PLANE.shape, bool)


def record(**changes):
    plain = {"rows": 4, "columns": 6, "position": [0, 0, 0], "orientation": [1, 0, 0, 0, 1, 0]}
    return plain | {"pixel_spacing_mm": [0.7, 0.9]} | changes


@pytest.mark.parametrize(
    "odd",
    [
        {"rows": 6, "columns": 4},
        {"position": None},
        {"position": [1.0]},
        {"orientation": [1, 0, 0, 0, 0, -1]},
        {"orientation": []},
        {"pixel_spacing_mm": [0.9, 0.7]},
    ],
)
def test_a_stray_is_known_by_its_kind_and_not_by_its_place(odd):
    for place in range(5):
        records = [record()] * 4
        records.insert(place, record(**odd))
        assert strays(records, 4) == {place}
        assert strays(records, 5) == set()


def test_without_a_great_majority_nobody_is_astray():
    assert strays([record()] * 8 + [record(rows=5)] * 2, 3) == {8, 9}
    assert strays([record()] * 7 + [record(rows=5)] * 2, 3) == set()
    assert strays([record(position=None)] * 3, 1) == set()
    assert strays([], 1) == set()


def test_neighbours_are_grouped_from_the_first_one_on():
    assert groups(np.array([0.0, 0.04, 0.08, 1.0, 2.0, 2.0]), 0.05) == [[0, 1], [2], [3], [4, 5]]
    assert groups(np.array([]), 0.05) == []


@pytest.mark.parametrize(
    ("multiples", "allowed"),
    [
        ([2] + [1] * 17, True),
        ([2] + [1] * 16, False),
        ([3] + [1] * 36, True),
        ([3] + [1] * 35, False),
        ([4] + [1] * 200, False),
        ([1, 1], True),
    ],
)
def test_at_most_two_slices_in_a_row_and_one_in_twenty_may_be_made(multiples, allowed):
    assert may_fill(np.array(multiples, float)) is allowed


def test_blends_by_hand():
    assert blends(np.array([0.0, 1.0, 3.0])) == ((0, 0, 0.0), (1, 1, 0.0), (1, 2, 0.5), (2, 2, 0.0))
    assert blends(np.array([0.0, 0.8, 2.3])) == (
        (0, 0, 0.0),
        (1, 2, pytest.approx(0.2 / 1.5)),
        (1, 2, pytest.approx(0.8)),
    )
    assert blends(np.array([0.0])) == ((0, 0, 0.0),)


@given(st.lists(st.floats(0.4, 2.9), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_blends_of_a_straight_line_lie_on_it(steps):
    places = np.concatenate([[0.0], np.cumsum(steps)])
    found = [places[lower] * (1 - weight) + places[upper] * weight for lower, upper, weight in blends(places)]
    np.testing.assert_allclose(found, np.arange(len(found)), atol=1e-3)
    assert len(found) - 1 <= places[-1] + 1e-3 < len(found) + 1e-3


def test_the_upright_matrix_holds_every_slice():
    shift_yx, first, grown = shifts(np.array([[0.0, 0.0], [-1.5, 1.0], [-3.0004, 2.0]]))
    np.testing.assert_allclose(shift_yx, [[3.0, 0.0], [1.5, 1.0], [0.0, 2.0]])
    assert (first.tolist(), grown.tolist()) == ([-3, 0], [3, 2])


def test_whole_pixels_move_exactly():
    moved, empty = shift_plane(PLANE, FULL, (2.0, 1.0), (5, 6), -9.0)
    np.testing.assert_array_equal(moved[2:5, 1:5], PLANE)
    assert empty.sum() == 5 * 6 - PLANE.size
    assert (moved[empty] == -9.0).all()


def test_parts_of_pixels_are_linear_and_the_nearer_edge_is_kept():
    moved, empty = shift_plane(PLANE, FULL, (0.0, 1.25), (3, 7), -9.0)
    # Old columns 0 to 3 now lie at 1.25 to 4.25: new column 1 lies a quarter before the first one.
    np.testing.assert_allclose(moved[0], [-9, 1, 0.25 + 1.5, 0.5 + 3, 1 + 6, -9, -9])
    np.testing.assert_array_equal(empty[0], [True, False, False, False, False, True, True])
    moved, _ = shift_plane(PLANE, FULL, (0.0, 0.75), (3, 5), -9.0)
    np.testing.assert_allclose(moved[0], [-9, 0.75 + 0.5, 1.5 + 1, 3 + 2, 8])


@given(st.floats(0, 3), st.floats(0, 2), st.integers(2, 7), st.integers(2, 7))
@settings(max_examples=50, deadline=None)
def test_a_tilted_plane_stays_that_plane_and_no_pixel_is_lost(shift_y, shift_x, rows, columns):
    y, x = np.mgrid[:rows, :columns].astype(float)
    moved, empty = shift_plane(
        2 * y - 3 * x, np.zeros((rows, columns), bool), (shift_y, shift_x), (rows + 3, columns + 2), 0
    )
    assert (~empty).sum() == rows * columns
    new_y, new_x = np.mgrid[: rows + 3, : columns + 2]
    # Beyond the outermost centres the edge value stands.
    expected = 2 * np.clip(new_y - shift_y, 0, rows - 1) - 3 * np.clip(new_x - shift_x, 0, columns - 1)
    np.testing.assert_allclose(moved[~empty], expected[~empty], atol=1e-9)


@pytest.mark.parametrize("shift_yx", [(0.3, 1.8), (2.2, 0.0), (1.0, 0.6)])
def test_simpleitk_shifts_a_plane_alike(shift_yx):
    plane = np.random.default_rng(5).normal(size=(9, 13))
    moved, _ = shift_plane(plane, np.zeros(plane.shape, bool), shift_yx, (12, 15), -50.0)
    image = SimpleITK.GetImageFromArray(plane)
    image.SetOrigin(shift_yx[::-1])
    target = SimpleITK.GetImageFromArray(np.zeros((12, 15)))
    judged = SimpleITK.Resample(image, target, SimpleITK.Transform(), SimpleITK.sitkLinear, -50.0)
    np.testing.assert_allclose(moved, SimpleITK.GetArrayFromImage(judged), atol=1e-9)


def test_padding_is_not_mixed_into_a_shifted_plane():
    plane = np.array([[1.0, 2.0, -99.0, 8.0]])
    # Beside padding the nearer value stands alone.
    moved, empty = shift_plane(plane, plane == -99, (0.0, 0.25), (1, 5), -5.0)
    np.testing.assert_allclose(moved[0], [1, 0.25 + 1.5, -99, 8, -5])
    np.testing.assert_array_equal(empty[0], [False, False, True, False, True])
    moved, empty = shift_plane(plane, plane == -99, (0.0, 0.75), (1, 5), -5.0)
    np.testing.assert_allclose(moved[0], [-5, 0.75 + 0.5, 2, -99, 8])
    np.testing.assert_array_equal(empty[0], [True, False, False, True, False])


def test_padding_is_not_mixed_into_a_blend():
    lower, upper = np.array([[10.0, -99.0, 10.0, -99.0]]), np.array([[20.0, 20.0, -99.0, -99.0]])
    for weight, expected in ((0.25, [12.5, -99, 10, -99]), (0.75, [17.5, 20, -99, -99]), (0.5, [15, -99, 10, -99])):
        blended, empty = mix(lower, lower == -99, upper, upper == -99, weight)
        np.testing.assert_allclose(blended[0], expected)
        np.testing.assert_array_equal(empty, blended == -99)
    assert lower[0, 0] == 10
