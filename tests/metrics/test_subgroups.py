"""Groups of cases and covariates: sizes, gaps, tests; planted effects come back, small groups stay out."""

import math

import numpy as np
import pandas as pd
import pytest
from metric_rows import grouped, table
from scipy import stats

from cohortseg.metrics import covariates
from cohortseg.metrics.subgroups import INTERVALS, gaps, kruskal_p, subgroups, with_groups


def gap_of(rows: pd.DataFrame, metric: str = "dice", min_subjects: int = 3) -> pd.Series:
    return gaps(rows, metric=metric, name="site", min_subjects=min_subjects, seed=1).iloc[0]


def test_cases_without_the_property_are_a_group_called_unknown() -> None:
    rows = with_groups(table("a", [0.5, 0.6, 0.7]), {"c000": "x", "c001": " "})
    assert rows["value"].tolist() == ["x", "unknown", "unknown"]


def test_a_small_group_keeps_its_row_and_loses_its_interval() -> None:
    found = subgroups(
        grouped({"big": [0.5, 0.6, 0.7, 0.8], "small": [0.1, 0.2]}), metric="dice", min_subjects=3, seed=1
    ).set_index("value")
    assert found["n_subjects"].to_dict() == {"big": 4, "small": 2}
    assert found.loc["small", "median"] == pytest.approx(0.15)
    assert found.loc["small", list(INTERVALS)].isna().all()
    assert found.loc["small", "note"] == "fewer than 3 subjects"
    assert found.loc["big", list(INTERVALS)].notna().all()


def test_a_planted_gap_is_found_with_its_groups_and_interval() -> None:
    rng = np.random.default_rng(40)
    values = {name: (mean + rng.normal(0, 0.03, 30)).tolist() for name, mean in {"x": 0.8, "y": 0.7, "z": 0.78}.items()}
    found = gap_of(grouped(values))
    assert (found["best"], found["worst"], found["n_groups"], found["n_subjects"]) == ("x", "y", 3, 90)
    assert found["gap"] == pytest.approx(0.1, abs=0.025)
    assert found["ci_low"] < 0.1 < found["ci_high"]
    assert found["p_groups"] < 1e-6
    assert found["p_groups"] == pytest.approx(stats.kruskal(*values.values()).pvalue)


def test_without_a_gap_the_test_is_uniform() -> None:
    rng = np.random.default_rng(41)
    p_values = [
        gap_of(grouped({"x": rng.random(12).tolist(), "y": rng.random(12).tolist()}))["p_groups"] for _ in range(60)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_better_group_follows_the_direction_of_the_metric() -> None:
    rows = grouped({"x": [9.0, 8.0, 9.0], "y": [2.0, 3.0, 2.0]}, metric="hd95_mm")
    found = gap_of(rows, "hd95_mm")
    assert (found["best"], found["worst"]) == ("y", "x")
    assert found["gap"] == pytest.approx(26 / 3 - 7 / 3)
    assert found["ci_low"] > 0


def test_groups_that_are_too_small_take_no_part() -> None:
    found = gap_of(grouped({"x": [0.5] * 4, "y": [0.6] * 3, "z": [0.9, 0.95]}))
    assert (found["best"], found["n_too_small"]) == ("y", 1)
    alone = gap_of(grouped({"x": [0.5] * 4, "z": [0.9]}))
    assert alone["note"] == "fewer than two groups of 3 subjects"
    assert math.isnan(alone["gap"])
    assert math.isnan(alone["p_groups"])


def test_equal_values_have_no_p_below_one() -> None:
    assert kruskal_p([np.ones(3), np.ones(4)]) == 1.0
    assert math.isnan(kruskal_p([np.ones(3)]))


# ---- covariates -----------------------------------------------------------------------------------------------------


def correlated(values: list[float], numbers: list[float], **options) -> pd.Series:
    rows = table("a", values).assign(split="test")
    known = dict(zip(rows["case"], numbers, strict=True))
    return covariates.correlations(rows, known, metric="dice", name="age", min_subjects=4, **options).iloc[0]


def test_scipy_finds_the_same_correlation() -> None:
    values, numbers = np.random.default_rng(43).random((2, 40))
    found, judge = correlated(values.tolist(), numbers.tolist()), stats.spearmanr(values, numbers)
    assert (found["rho"], found["p_value"]) == pytest.approx((judge.statistic, judge.pvalue))


def test_small_samples_are_counted_over_all_orders() -> None:
    assert correlated([0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, 5])["p_value"] == 2 / 120
    values, numbers = np.random.default_rng(44).random((2, 6))
    judge = stats.permutation_test(
        (values,), lambda one: stats.spearmanr(one, numbers).statistic, permutation_type="pairings"
    )
    assert correlated(values.tolist(), numbers.tolist())["p_value"] == pytest.approx(judge.pvalue)


def test_a_perfect_order_has_a_p_above_zero_and_no_interval() -> None:
    found = correlated([i / 20 for i in range(20)], list(range(20)))
    assert found["rho"] == pytest.approx(1.0)
    assert found["p_value"] > 0
    assert math.isnan(found["ci_low"])


def test_many_subjects_are_no_burden() -> None:
    assert correlated([i / 400 for i in range(400)], list(range(400)))["rho"] == pytest.approx(1.0)


def test_the_interval_covers_a_planted_correlation() -> None:
    rng, covered, n = np.random.default_rng(45), [], 40
    planted = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's rho of a normal pair with correlation 0.6
    for _ in range(300):
        one = rng.normal(size=n)
        rho = stats.spearmanr(one, 0.6 * one + 0.8 * rng.normal(size=n)).statistic
        low, high = covariates.rank_interval(rho, n, 0.95)
        covered.append(low <= planted <= high)
    assert 0.91 <= np.mean(covered) <= 0.98


def test_unknown_numbers_are_left_out_and_what_does_not_vary_says_so() -> None:
    found = correlated([0.1, 0.3, 0.2, 0.5, 0.4, 0.6], [1, 2, 3, 4, 5, math.nan])
    assert (found["n_subjects"], found["n_left_out"]) == (5, 1)
    assert correlated([0.1, 0.2, 0.3, 0.4], [7, 7, 7, 7])["note"] == "does not vary"
    assert correlated([0.1, 0.2, 0.3], [1, 2, 3])["note"] == "too few subjects"
