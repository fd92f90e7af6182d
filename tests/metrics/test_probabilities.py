"""Calibration and curves from counts: by hand, scikit-learn as a judge, what is lost by binning, empty cases."""

import math

import numpy as np
import pytest
from sklearn import calibration, metrics

from cohortseg.metrics.columns import PROBABILITY_COLUMNS
from cohortseg.metrics.probabilities import (
    Histogram,
    ap,
    brier,
    ece,
    from_counts,
    histogram,
    pr_points,
    probability_metrics,
    reliability,
    roc_auc,
    roc_points,
)


@pytest.fixture
def voxels() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities on a fine ladder, and a truth that they overstate."""
    rng = np.random.default_rng(4)
    probabilities = rng.beta(0.4, 1.2, 20_000).astype(np.float32)
    return probabilities, rng.random(20_000) < probabilities**1.5


def test_four_voxels_by_hand() -> None:
    found = histogram(np.array([0.1, 0.3, 0.6, 1.0]), np.array([False, True, False, True]), bins=2)
    assert found.counts.tolist() == [[1, 1], [1, 1]]
    # bins: mean probability 0.2 and 0.8, observed a half each
    assert ece(found) == pytest.approx((2 * 0.3 + 2 * 0.3) / 4)
    assert brier(found) == pytest.approx((0.01 + 0.49 + 0.36 + 0.0) / 4)
    # one positive and one negative tie in each bin
    assert roc_auc(found) == 0.5
    assert ap(found) == 0.5


def test_calibration_and_brier_are_exact_whatever_the_bins(voxels) -> None:
    probabilities, inside = voxels
    found = histogram(probabilities, inside, bins=10)
    assert brier(found) == pytest.approx(metrics.brier_score_loss(inside, probabilities), rel=1e-6)
    observed, predicted = calibration.calibration_curve(inside, probabilities, n_bins=10)
    lines = [line for line in reliability(found) if line["n_voxels"]]
    assert [line["observed"] for line in lines] == pytest.approx(observed.tolist())
    assert [line["mean_probability"] for line in lines] == pytest.approx(predicted.tolist(), rel=1e-5)
    weights = np.array([line["n_voxels"] for line in lines])
    assert ece(found) == pytest.approx(np.average(np.abs(observed - predicted), weights=weights), rel=1e-4)


def test_areas_are_those_of_scikit_learn_on_binned_probabilities(voxels) -> None:
    probabilities, inside = voxels
    found = histogram(probabilities, inside)
    binned = np.minimum(np.floor(probabilities * 50), 49)
    assert roc_auc(found) == pytest.approx(metrics.roc_auc_score(inside, binned), rel=1e-9)
    assert ap(found) == pytest.approx(metrics.average_precision_score(inside, binned), rel=1e-9)
    assert roc_auc(found) == pytest.approx(metrics.roc_auc_score(inside, probabilities), abs=0.002)


def test_the_curves_are_scikit_learns_at_every_border_of_a_bin(voxels) -> None:
    probabilities, inside = voxels
    found = histogram(probabilities, inside)
    false_rate, sensitivity, _ = metrics.roc_curve(
        inside, np.minimum(np.floor(probabilities * 50), 49), drop_intermediate=False
    )
    np.testing.assert_allclose(roc_points(found)[:, 1:], np.column_stack((false_rate, sensitivity)), rtol=1e-12)
    precision, recall, _ = metrics.precision_recall_curve(inside, np.minimum(np.floor(probabilities * 50), 49))
    np.testing.assert_allclose(pr_points(found)[:, 1:], np.column_stack((recall, precision))[::-1], rtol=1e-12)


def test_counts_alone_are_off_by_at_most_half_a_bin(voxels) -> None:
    exact = histogram(*voxels)
    rough = from_counts(exact.counts)
    assert abs(ece(rough) - ece(exact)) <= 0.5 / 50
    assert abs(brier(rough) - brier(exact)) <= 1.0 / 50
    assert roc_auc(rough) == roc_auc(exact)


def test_histograms_of_parts_add_up_to_that_of_the_whole(voxels) -> None:
    probabilities, inside = voxels
    parts = [histogram(probabilities[cut], inside[cut]) for cut in (slice(0, 7000), slice(7000, None))]
    whole = histogram(probabilities, inside)
    joined = parts[0] + parts[1]
    np.testing.assert_array_equal(joined.counts, whole.counts)
    np.testing.assert_allclose(joined.squares, whole.squares)


def test_perfect_probabilities_have_no_error_and_full_areas() -> None:
    inside = np.array([True, False, False, True])
    assert probability_metrics(histogram(inside.astype(np.float32), inside)) == {
        "ece": 0.0,
        "brier": 0.0,
        "roc_auc": 1.0,
        "average_precision": 1.0,
    }
    assert list(PROBABILITY_COLUMNS) == list(probability_metrics(histogram(inside.astype(np.float32), inside)))


def test_without_voxels_or_without_the_label_the_shares_of_nothing_are_undefined() -> None:
    nothing = Histogram(np.zeros((2, 5), np.int64), np.zeros((2, 5)), np.zeros((2, 5)))
    assert all(math.isnan(value) for value in probability_metrics(nothing).values())
    absent = probability_metrics(histogram(np.array([0.1, 0.2]), np.array([False, False])))
    assert absent["brier"] == pytest.approx(0.025)
    assert absent["ece"] == pytest.approx(0.15)
    assert math.isnan(absent["roc_auc"])
    assert math.isnan(absent["average_precision"])
