import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.preprocess.harmonise import fit_planes, unfit_planes, windowed


def test_levels_by_hand_at_the_ends_at_edges_and_beyond():
    hu = np.array([-3000, -1000, -301, -300, 399, 400, 3000])
    np.testing.assert_array_equal(windowed(hu, levels=2), [0, 0, 0, 1, 1, 1, 1])
    edges = -1000 + 100 * np.arange(15)
    np.testing.assert_array_equal(windowed(edges, levels=14), [*range(14), 13])
    np.testing.assert_array_equal(windowed(edges - 1, levels=14), [0, *range(14)])
    assert windowed(np.array([-1000]), levels=32)[0] == 0


def test_without_levels_the_window_is_0_to_1():
    np.testing.assert_allclose(windowed(np.array([-2000, -1000, -300, 400, 500])), [0, 0, 0.5, 1, 1])
    assert windowed(np.array([0])).dtype == np.float32


def test_windows_and_levels_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="low, high"):
        windowed(np.array([0]), (5.0, 5.0))
    with pytest.raises(ValueError, match="two levels"):
        windowed(np.array([0]), levels=1)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_planes_come_to_their_size_about_the_centre_and_back(y, x, wanted_y, wanted_x):
    image = np.arange(1.0, 2 * y * x + 1).reshape(2, y, x)
    fitted, fit = fit_planes(image, (wanted_y, wanted_x), 0.0)
    assert fitted.shape == (2, wanted_y, wanted_x)
    back = unfit_planes(fitted, fit, 0.0)
    assert back.shape == image.shape
    kept = back != 0
    np.testing.assert_array_equal(back[kept], image[kept])
    assert kept.sum() == 2 * min(y, wanted_y) * min(x, wanted_x)
    if wanted_y >= y and wanted_x >= x:
        np.testing.assert_array_equal(back, image)


def test_what_is_added_is_air_on_both_sides():
    fitted, _ = fit_planes(np.full((1, 2, 3), 7.0), (4, 6), -1.0)
    assert (fitted == 7).sum() == 6
    np.testing.assert_array_equal(fitted[0, 1], [-1, 7, 7, 7, -1, -1])
