"""Agreement of volumes: a published table, by hand, planted bias, coverage, degenerate volumes."""

import math

import numpy as np
import pandas as pd
import pytest

from cohortseg.metrics.agreement import (
    AGREEMENT_COLUMNS,
    bland_altman,
    concordance,
    icc_agreement,
    icc_consistency,
    volume_agreement,
)

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Six subjects rated by four judges: table 2 of Shrout and Fleiss 1979."""


def rows_of(reference: np.ndarray, prediction: np.ndarray, subjects: list[int] | None = None) -> pd.DataFrame:
    numbers = range(len(reference))
    return pd.DataFrame(
        {
            "case": [f"c{i}" for i in numbers],
            "subject": [f"s{i}" for i in (subjects or numbers)],
            "reference_ml": reference,
            "prediction_ml": prediction,
        }
    )


def test_the_published_correlations_come_back() -> None:
    icc, low, high = icc_agreement(SHROUT_FLEISS)
    assert icc == pytest.approx(0.29, abs=0.005)
    assert (low, high) == pytest.approx((0.02, 0.76), abs=0.005)
    assert icc_consistency(SHROUT_FLEISS) == pytest.approx(0.71, abs=0.006)


def test_limits_by_hand() -> None:
    found = bland_altman(np.array([10.0, 20.0, 30.0]), np.array([11.0, 23.0, 35.0]))
    assert found["bias_ml"] == 3.0
    assert found["sd_ml"] == 2.0
    assert (found["limit_low_ml"], found["limit_high_ml"]) == pytest.approx((3 - 3.92, 3 + 3.92))
    assert found["limit_error_ml"] == pytest.approx(2 * math.sqrt(1 / 3 + 1.96**2 / 4))
    assert found["slope"] == pytest.approx(2 / 11, rel=1e-9)  # means 10.5, 21.5, 32.5; differences 1, 3, 5


def test_a_constant_bias_lowers_agreement_but_not_consistency() -> None:
    volumes = np.random.default_rng(33).uniform(5, 100, 30)
    ratings = np.column_stack((volumes, volumes + 20))
    assert icc_consistency(ratings) == pytest.approx(1.0)
    assert icc_agreement(ratings)[0] < 0.9
    assert concordance(*ratings.T) < 0.9
    assert concordance(volumes, volumes) == pytest.approx(1.0)
    assert concordance(volumes, -volumes + 2 * volumes.mean()) == pytest.approx(-1.0)


def test_a_planted_bias_lies_in_its_interval_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(34), []
    for _ in range(150):
        reference = rng.uniform(10, 50, 25)
        found = volume_agreement(rows_of(reference, reference + rng.normal(2, 4, 25)), seed=1, n_bootstrap=400)
        covered.append(found["bias_low_ml"] <= 2 <= found["bias_high_ml"])
    assert 0.87 <= np.mean(covered) <= 0.99


def test_the_interval_of_the_correlation_covers_the_planted_one() -> None:
    rng, covered = np.random.default_rng(35), []
    for _ in range(300):
        truth = rng.normal(0, 2, (20, 1))
        _, low, high = icc_agreement(truth + rng.normal(0, 1, (20, 2)))
        covered.append(low <= 4 / 5 <= high)
    assert 0.91 <= np.mean(covered) <= 0.99


def test_cases_without_volume_are_left_out_and_seeds_are_averaged() -> None:
    rows = rows_of(np.array([0.0, 10, 20, 30, 30]), np.array([0.0, 12, 20, 33, 35]))
    rows.loc[4, ["case", "subject"]] = rows.loc[3, ["case", "subject"]].tolist()
    found = volume_agreement(rows, seed=1)
    assert tuple(sorted(found)) == tuple(sorted(AGREEMENT_COLUMNS))
    assert (found["n_cases"], found["n_left_out"]) == (3, 1)
    assert found["bias_ml"] == pytest.approx((2 + 0 + 4) / 3)
    assert found["note"] == "fewer than 10 subjects"


def test_too_few_cases_and_equal_volumes_are_undefined_and_perfect_ones_are_one() -> None:
    few = volume_agreement(rows_of(np.array([1.0, 2.0]), np.array([1.0, 2.0])), seed=1)
    assert (few["n_cases"], few["note"]) == (2, "fewer than 3 cases")
    assert math.isnan(few["bias_ml"])
    flat = volume_agreement(rows_of(np.full(4, 5.0), np.full(4, 5.0)), seed=1)
    assert all(math.isnan(flat[name]) for name in ("slope", "icc_agreement", "concordance"))
    perfect = volume_agreement(rows_of(np.arange(1.0, 6), np.arange(1.0, 6)), seed=1)
    assert (perfect["icc_agreement"], perfect["concordance"], perfect["bias_ml"]) == pytest.approx((1.0, 1.0, 0.0))


def test_one_subject_alone_has_no_interval_of_the_bias() -> None:
    found = volume_agreement(rows_of(np.arange(1.0, 6), np.arange(2.0, 7), subjects=[0] * 5), seed=1)
    assert math.isnan(found["bias_low_ml"])
    assert found["bias_ml"] == pytest.approx(1.0)
