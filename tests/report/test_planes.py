"""Planes have their right names, sides and slices, on lopsided and oblique grids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.report.planes import box_around, places, sizes_px, turn_of

AXIAL = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
SAGITTAL_SERIES = ((-1, 0, 0), (0, 0, -1), (0, 1, 0))
"""Slices go from left to right, rows from head to foot, columns from front to back (LPS)."""


def test_the_head_is_on_top_and_the_patients_left_is_on_the_right():
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turn = turn_of(AXIAL)
    turned = turn(array)
    assert turned.shape == (2, 3, 4)
    np.testing.assert_array_equal(turned[0], array[1])  # z grows towards the head
    assert turn.place(0, 0, 2) == 1
    assert turn.place(1, 2, 3) == 2


def test_a_sagittal_series_is_turned_to_the_same_planes():
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turn = turn_of(SAGITTAL_SERIES)
    turned = turn(array)
    assert turned.shape == (3, 4, 2)  # head to foot, front to back, right to left
    assert turn.is_flipped == (False, False, True)
    assert turned[1, 2, 0] == array[1, 1, 2]
    assert turn.numbers((5.0, 1.0, 2.0)) == (1.0, 2.0, 5.0)


@pytest.mark.parametrize("degrees", [0, 30, -40])
def test_tilted_slices_keep_the_name_of_the_nearest_plane(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    assert turn_of(((0, -s, c), (0, c, s), (1, 0, 0))).order == (0, 1, 2)


def test_a_box_has_a_margin_stays_inside_and_is_everything_without_a_label():
    assert box_around(None, (4, 5, 6), (1, 1, 1)) == ((0, 4), (0, 5), (0, 6))
    box = box_around([(10, 19), (0, 3), (50, 249)], (40, 200, 256), (10.0, 1.0, 1.0))
    assert box == ((7, 23), (0, 42), (0, 256))  # half as much again; at least 80 mm; cut off at the border


@given(st.integers(0, 30), st.integers(1, 60), st.integers(-5, 99), st.integers(1, 24))
def test_slices_are_spread_with_the_key_among_them(low, length, key, n_wanted):
    found = places((low, low + length), key, n_wanted)
    assert found == sorted(set(found))
    assert len(found) <= max(n_wanted, 1)
    assert len(found) == min(n_wanted, length)
    assert min(max(key, low), low + length - 1) in found
    assert all(low <= place < low + length for place in found)


def test_all_planes_have_one_scale():
    assert sizes_px((100.0, 50.0, 200.0), 400) == [(100, 400), (200, 400), (200, 100)]
