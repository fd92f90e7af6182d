"""Corrections of p values: by hand, by the procedure they stand for, scipy as a judge."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cohortseg.metrics.corrections import benjamini_hochberg, holm


def test_holm_by_hand() -> None:
    corrected = holm(np.array([0.01, 0.04, 0.03, math.nan, 0.005]))
    # sorted: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 1 x 0.04 raised to the one before
    np.testing.assert_allclose(corrected, [0.03, 0.06, 0.06, math.nan, 0.02])


def test_holm_never_exceeds_one_and_leaves_a_single_test_alone() -> None:
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1.0, 1.0])
    np.testing.assert_allclose(holm(np.array([0.02])), [0.02])
    assert holm(np.array([])).size == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_rejects_exactly_what_stepping_down_rejects(p_values: list[float]) -> None:
    corrected = holm(np.array(p_values))
    alpha = 0.05
    rejected = np.zeros(len(p_values), bool)
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected[index] = True
    np.testing.assert_array_equal(corrected <= alpha, rejected)


def test_benjamini_hochberg_by_hand() -> None:
    corrected = benjamini_hochberg(np.array([0.01, 0.04, 0.03, math.nan, 0.005]))
    # sorted: 4/1 x 0.005, 4/2 x 0.01, 4/3 x 0.03, 4/4 x 0.04
    np.testing.assert_allclose(corrected, [0.02, 0.04, 0.04, math.nan, 0.02])
    assert benjamini_hochberg(np.array([])).size == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_scipy_corrects_the_false_discovery_rate_alike(p_values: list[float]) -> None:
    judge = stats.false_discovery_control(p_values, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(np.array(p_values)), judge, rtol=1e-12)
