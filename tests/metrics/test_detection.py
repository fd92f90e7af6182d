"""FROC and the ROC of cases: by hand, scikit-learn as a judge, nothing to find."""

import math

import numpy as np
import pytest
from sklearn import metrics

from cohortseg.metrics.detection import area_under, case_roc, froc, froc_score


def test_a_froc_curve_by_hand() -> None:
    curve = froc(np.array([5.0, 2.0]), np.array([3.0, 1.0, 1.0]), n_lesions=4, n_cases=2)
    expected = [[math.inf, 0, 0], [5, 0, 0.25], [3, 0.5, 0.25], [2, 0.5, 0.5], [1, 1.5, 0.5]]
    np.testing.assert_array_equal(curve, expected)
    # at 1/8 and 1/4: 0.25; from 1/2 on, also beyond the end: 0.5
    assert froc_score(curve) == pytest.approx((2 * 0.25 + 5 * 0.5) / 7)


def test_without_lesions_there_is_no_sensitivity_but_there_are_false_alarms() -> None:
    curve = froc(np.array([]), np.array([3.0]), n_lesions=0, n_cases=4)
    assert curve[:, 1].tolist() == [0.0, 0.25]
    assert np.isnan(curve[:, 2]).all()
    assert math.isnan(froc_score(curve))


def test_nothing_predicted_is_one_point() -> None:
    np.testing.assert_array_equal(froc(np.array([]), np.array([]), n_lesions=3, n_cases=2), [[math.inf, 0.0, 0.0]])


def test_the_roc_of_cases_is_scikit_learns() -> None:
    rng = np.random.default_rng(6)
    positive = rng.random(60) < 0.4
    scores = np.round(rng.random(60) + 0.4 * positive, 1)
    curve = case_roc(scores, positive)
    false_rate, sensitivity, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve[:, 1:], np.column_stack((false_rate, sensitivity)))
    assert area_under(curve) == pytest.approx(metrics.roc_auc_score(positive, scores))


@pytest.mark.parametrize("positive", [True, False])
def test_cases_of_one_kind_cannot_be_told_apart(positive: bool) -> None:
    curve = case_roc(np.array([1.0, 2.0]), np.array([positive, positive]))
    assert curve.shape == (0, 3)
    assert math.isnan(area_under(curve))
