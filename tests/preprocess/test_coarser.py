import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.preprocess.coarser import coarser
from cohortseg.preprocess.shares import to_shares, to_values


def test_blocks_are_averaged_and_their_middles_joined_by_lines():
    found = coarser(np.array([0, 4, 8, 12, 100, 102], np.int16).reshape(1, 6, 1), (1, 2, 1))
    # means 2, 10, 101 at 0.5, 2.5, 4.5
    np.testing.assert_allclose(found.ravel(), [2, 4, 8, 32.75, 78.25, 101], rtol=1e-6)
    assert found.dtype == np.float32


def test_a_smaller_last_block_has_its_own_middle():
    found = coarser(np.array([0.0, 2.0, 4.0, 6.0, 10.0]).reshape(5, 1, 1), (2, 1, 1))
    np.testing.assert_allclose(found.ravel(), [1, 2, 4, 20 / 3, 10], rtol=1e-6)  # means 1, 5, 10 at 0.5, 2.5, 4


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.floats(-1000, 1000))
def test_a_constant_stays_and_factors_of_one_change_nothing(z, y, x, value):
    shape = (5, 6, 7)
    np.testing.assert_allclose(coarser(np.full(shape, value), (z, y, x)), value, rtol=1e-5, atol=1e-3)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(coarser(image, (1, 1, 1)), image)


def test_axes_are_made_coarser_one_by_one():
    image = np.random.default_rng(1).normal(size=(4, 6, 9))
    found = coarser(image, (2, 1, 3))
    turned = coarser(image.transpose(2, 0, 1), (3, 2, 1)).transpose(1, 2, 0)
    np.testing.assert_allclose(found, turned, atol=1e-5)
    assert found.var() < image.var()


def test_the_error_of_interpolation_goes_with_the_detail():
    z = np.arange(32.0)[:, None, None]
    smooth, sharp = np.sin(z / 8), np.sin(z * 2)
    assert np.abs(coarser(smooth, (4, 1, 1)) - smooth).mean() < 0.1 * np.abs(coarser(sharp, (4, 1, 1)) - sharp).mean()


@pytest.mark.parametrize(("value", "share"), [(-1000, 0.0), (2000, 1.0), (500, 0.5), (5000, 1.0), (-3000, 0.0)])
def test_values_become_shares_of_their_range(value, share):
    assert to_shares(np.array([value], np.int16), -1000, 2000) == pytest.approx([share])


def test_shares_become_values_again_and_what_lies_beyond_is_clipped():
    values = np.linspace(-1000, 2000, 50, dtype=np.float32)
    np.testing.assert_allclose(to_values(to_shares(values, -1000, 2000), -1000, 2000), values, atol=1e-3)
    assert to_values(np.array([-0.5, 1.5], np.float32), -1000, 2000).tolist() == [-1000, 2000]
