"""FROC and the ROC of cases: by hand, scikit-learn as a judge, nothing to find."""

import math

import numpy as np
import pytest
from sklearn import metrics

from cohortseg.metrics.detection import case_roc, froc, froc_score, roc_auc


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
    found, low, high = roc_auc(scores, positive, np.arange(60), seed=1)
    assert found == pytest.approx(metrics.roc_auc_score(positive, scores))
    assert low < found < high


@pytest.mark.parametrize("positive", [True, False])
def test_cases_of_one_kind_cannot_be_told_apart(positive: bool) -> None:
    curve = case_roc(np.array([1.0, 2.0]), np.array([positive, positive]))
    assert curve.shape == (0, 3)
    assert np.isnan(roc_auc(np.array([1.0, 2.0]), np.array([positive, positive]), np.arange(2), seed=1)).all()


def test_the_interval_covers_the_planted_area_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(8), []
    planted = 0.5 * (1 + math.erf(1.0 / 2.0))  # two normal scores one deviation apart
    for seed in range(200):
        positive = np.arange(80) < 30
        _, low, high = roc_auc(rng.normal(positive, 1.0), positive, np.arange(80), seed=seed, n_bootstrap=400)
        covered.append(low <= planted <= high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_ten_scans_of_each_person_are_not_ten_people() -> None:
    rng = np.random.default_rng(9)
    positive = np.arange(20) < 10
    scores = rng.normal(positive, 1.0)
    alone = roc_auc(scores, positive, np.arange(20), seed=1)
    repeated = roc_auc(np.repeat(scores, 10), np.repeat(positive, 10), np.repeat(np.arange(20), 10), seed=1)
    assert repeated == pytest.approx(alone)
