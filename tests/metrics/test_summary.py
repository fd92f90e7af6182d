"""Summaries of rows: numbers by hand, what is counted, intervals that cover."""

import math

import numpy as np
import pandas as pd
import pytest
from metric_rows import table
from scipy import stats

from cohortseg.metrics import bootstrap, summary
from cohortseg.metrics.summary import summarise


def only(rows: pd.DataFrame, **options: float) -> pd.Series:
    return summarise(rows, by=["experiment"], metrics=["dice"], seed=1, **options).iloc[0]


def test_a_summary_holds_the_numbers_worked_out_by_hand() -> None:
    found = only(table("a", [0.9, 0.5, math.nan, 0.7, 0.8], subjects=[0, 0, 1, 2, 3]))
    assert found[["n_cases", "n_subjects", "n_defined", "n_undefined"]].tolist() == [5, 4, 4, 1]
    assert found["mean"] == pytest.approx(0.725)
    assert found["sd"] == pytest.approx(math.sqrt((0.175**2 + 0.225**2 + 0.025**2 + 0.075**2) / 3))
    assert found[["median", "q1", "q3", "min", "max"]].tolist() == pytest.approx([0.75, 0.65, 0.825, 0.5, 0.9])
    assert found["min"] <= found["ci_low"] < found["mean"] < found["ci_high"] <= found["max"]


def test_columns_stand_in_order_and_groups_are_sorted() -> None:
    rows = pd.concat([table("b", [0.1, 0.2]), table("a", [0.3, 0.4])]).assign(hd_mm=1.0)
    found = summarise(rows, by=["experiment", "label"], metrics=["hd_mm", "dice"], seed=1)
    assert tuple(found.columns) == ("experiment", "label", "metric", *summary.SUMMARY_COLUMNS)
    assert found[["experiment", "metric"]].to_numpy().tolist() == [
        ["a", "hd_mm"],
        ["a", "dice"],
        ["b", "hd_mm"],
        ["b", "dice"],
    ]


def test_a_group_without_a_value_keeps_its_row() -> None:
    found = only(table("a", [math.nan, math.nan]))
    assert (found["n_cases"], found["n_defined"], found["n_undefined"]) == (2, 0, 2)
    assert found[list(summary.SUMMARY_COLUMNS[4:-1])].isna().all()


def test_infinite_values_count_as_undefined() -> None:
    found = only(table("a", [0.5, math.inf, 0.7]))
    assert (found["n_defined"], found["n_undefined"], found["mean"]) == (2, 1, pytest.approx(0.6))


def test_one_subject_alone_has_no_interval() -> None:
    found = only(table("a", [0.5, 0.6, 0.7], subjects=[0, 0, 0]))
    assert math.isnan(found["ci_low"])
    assert math.isnan(found["ci_high"])
    assert found["sd"] == pytest.approx(0.1)


def test_groups_with_a_missing_name_are_kept() -> None:
    rows = table("a", [0.5, 0.6]).assign(manufacturer=[None, "x"])
    found = summarise(rows, by=["manufacturer"], metrics=["dice"], seed=1)
    assert found["n_cases"].tolist() == [1, 1]


def test_no_rows_and_no_grouping_are_allowed() -> None:
    rows = table("a", [0.5, 0.6])
    assert summarise(rows[:0], by=["experiment"], metrics=["dice"], seed=1).empty
    assert summarise(rows, by=[], metrics=["dice"], seed=1)["n_cases"].tolist() == [2]


def test_the_order_of_rows_changes_no_bit() -> None:
    rng = np.random.default_rng(5)
    rows = table("a", rng.random(40).tolist(), subjects=[i // 3 for i in range(40)])
    mixed = rows.iloc[rng.permutation(40)]
    first, second = (summarise(r, by=["experiment"], metrics=["dice"], seed=7) for r in (rows, mixed))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_new_experiment_leaves_the_interval_of_another_alone() -> None:
    rng = np.random.default_rng(6)
    one, other = (table(name, rng.random(12).tolist()) for name in "ba")
    alone = only(one)
    together = summarise(pd.concat([one, other]), by=["experiment"], metrics=["dice"], seed=1).iloc[1]
    pd.testing.assert_series_equal(alone, together, check_names=False, check_exact=True)


def test_the_seed_decides_the_interval() -> None:
    rows = table("a", np.random.default_rng(8).random(20).tolist())
    intervals = [
        tuple(summarise(rows, by=["experiment"], metrics=["dice"], seed=s)[["ci_low", "ci_high"]].iloc[0])
        for s in (1, 1, 2)
    ]
    assert intervals[0] == intervals[1] != intervals[2]


def test_copies_of_a_case_of_the_same_subject_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(9).random(15).tolist()
    single = only(table("a", values))
    fourfold = only(table("a", values * 4, subjects=list(range(15)) * 4))
    assert fourfold["n_cases"] == 60
    assert (fourfold["ci_low"], fourfold["ci_high"]) == pytest.approx((single["ci_low"], single["ci_high"]))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(10)
    n_studies, n_subjects = 300, 30
    noise = rng.normal(0.8, 0.05, (n_studies, n_subjects, 1)) + rng.normal(0, 0.05, (n_studies, n_subjects, 2))
    study, subject, scan = (axis.ravel() for axis in np.indices(noise.shape))
    rows = pd.DataFrame({"study": study, "subject": subject, "case": subject * 2 + scan, "dice": noise.ravel()})
    found = summarise(rows, by=["study"], metrics=["dice"], seed=1, n_bootstrap=500)
    covered = (found["ci_low"] <= 0.8) & (found["ci_high"] >= 0.8)
    assert 0.89 <= covered.mean() <= 0.98
    narrow = summarise(rows, by=["study"], metrics=["dice"], seed=1, n_bootstrap=500, confidence=0.5)
    assert 0.40 <= ((narrow["ci_low"] <= 0.8) & (narrow["ci_high"] >= 0.8)).mean() <= 0.58


def test_large_groups_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 100)
    means = bootstrap.bootstrap_means(np.arange(30.0)[:, None], np.ones((30, 1)), seed=1, n_bootstrap=500)
    assert means.shape == (500, 1)
    assert means.mean() == pytest.approx(14.5, abs=0.3)
    assert means.std() == pytest.approx(math.sqrt((30**2 - 1) / 12 / 30), rel=0.15)


def test_a_missing_column_is_named() -> None:
    rows = table("a", [0.5]).drop(columns="subject")
    with pytest.raises(ValueError, match="lacks the columns subject"):
        summarise(rows, by=["experiment"], metrics=["dice"], seed=1)


@pytest.mark.parametrize("options", [{"n_bootstrap": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="confidence"):
        only(table("a", [0.5]), **options)


def test_the_interval_of_the_median_covers_the_true_one_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(15)
    values = rng.exponential(1.0, (300, 25))
    study, subject = (axis.ravel() for axis in np.indices(values.shape))
    rows = pd.DataFrame({"study": study, "subject": subject, "case": subject, "dice": values.ravel()})
    found = summarise(rows, by=["study"], metrics=["dice"], seed=1, n_bootstrap=500)
    covered = (found["median_ci_low"] <= math.log(2)) & (found["median_ci_high"] >= math.log(2))
    assert 0.89 <= covered.mean() <= 0.99


def test_resampled_medians_are_those_of_the_drawn_values() -> None:
    values, subjects = np.array([3.0, 1.0, 2.0, 5.0, 4.0]), np.array([0, 0, 1, 2, 2])
    medians = bootstrap.bootstrap_medians(values, subjects, seed=3, n_bootstrap=50)
    for times, median in zip(next(bootstrap.times_drawn(3, seed=3, n_bootstrap=50)), medians, strict=True):
        drawn = np.sort(np.repeat(values, times[subjects].astype(int)))
        assert median == drawn[(drawn.size - 1) // 2]


def test_scipy_finds_the_same_interval_within_the_noise_of_resampling() -> None:
    values = np.random.default_rng(16).beta(5, 2, 40)
    found = only(table("a", values.tolist()), n_bootstrap=20_000)
    judge = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((judge.low, judge.high), abs=0.003)


@pytest.mark.parametrize(("n_subjects", "warned"), [(9, True), (10, False)])
def test_few_subjects_are_warned_of(n_subjects: int, warned: bool) -> None:
    found = only(table("a", [0.5 + 0.01 * i for i in range(n_subjects)]))
    assert (found["note"] == "fewer than 10 subjects") == warned
