import numpy as np
import pytest

from cohortseg.preprocess.harmonise import binned


def test_bins_by_hand_at_the_ends_at_edges_and_beyond():
    hu = np.array([-3000, -1000, -301, -300, 399, 400, 3000])
    np.testing.assert_array_equal(binned(hu, -1000, 400, 2), [-1000, -1000, -1000, 400, 400, 400, 400])
    edges = -1000 + 100 * np.arange(15)
    values = -1000 + np.arange(14) * 1400 / 13
    np.testing.assert_allclose(binned(edges, -1000, 400, 14), [*values, values[-1]], rtol=1e-6)
    np.testing.assert_allclose(binned(edges - 1, -1000, 400, 14), [values[0], *values], rtol=1e-6)


def test_air_stays_the_low_end_and_many_bins_change_little():
    assert binned(np.array([-1000.0]), -1000, 400, 56)[0] == -1000
    hu = np.random.default_rng(0).uniform(-1000, 400, 1000)
    assert np.abs(binned(hu, -1000, 400, 1400) - hu).max() <= 1.01
    assert len(np.unique(binned(hu, -1000, 400, 8))) == 8


def test_no_window_and_a_single_bin_are_refused():
    for low, high, n in ((5.0, 5.0, 4), (0.0, 1.0, 1)):
        with pytest.raises(ValueError, match="two bins"):
            binned(np.zeros(3), low, high, n)
