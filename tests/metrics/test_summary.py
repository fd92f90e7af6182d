"""Statistics over rows: numbers by hand, what is counted, intervals that cover, planted differences."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cohortseg.metrics import summary
from cohortseg.metrics.summary import compare, holm, rank_biserial, summarise


def table(
    experiment: str, values: list[float], metric: str = "dice", subjects: list[int] | None = None
) -> pd.DataFrame:
    """Rows of one experiment: one case a value, one subject a case unless given."""
    numbers = range(len(values))
    return pd.DataFrame(
        {
            "experiment": experiment,
            "case": [f"c{i:03}" for i in numbers],
            "subject": [f"s{i:03}" for i in (subjects or numbers)],
            "label": "tumour",
            "stage": "post",
            metric: values,
            "undefined": ["both_empty" if math.isnan(value) else "" for value in values],
        }
    )


def two(first: list[float], second: list[float], metric: str = "dice", subjects: list[int] | None = None) -> pd.Series:
    """The comparison of two experiments, the only row of the table."""
    rows = pd.concat([table("a", first, metric, subjects), table("b", second, metric, subjects)])
    found = compare(rows, metric=metric)
    assert len(found) == 1
    return found.iloc[0]


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
    assert found[list(summary.SUMMARY_COLUMNS[4:])].isna().all()


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
    monkeypatch.setattr(summary, "DRAWS_AT_ONCE", 100)
    means = summary.bootstrap_means(np.arange(30.0)[:, None], np.ones((30, 1)), seed=1, n_bootstrap=500)
    assert means.shape == (500, 1)
    assert means.mean() == pytest.approx(14.5, abs=0.3)
    assert means.std() == pytest.approx(math.sqrt((30**2 - 1) / 12 / 30), rel=0.15)


def test_a_missing_column_is_named() -> None:
    rows = table("a", [0.5]).drop(columns="subject")
    with pytest.raises(ValueError, match="lacks the columns subject"):
        summarise(rows, by=["experiment"], metrics=["dice"], seed=1)
    with pytest.raises(ValueError, match="lacks the columns hd_mm, subject"):
        compare(rows, metric="hd_mm")


@pytest.mark.parametrize("options", [{"n_bootstrap": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="confidence"):
        only(table("a", [0.5]), **options)


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


def test_a_comparison_holds_the_numbers_worked_out_by_hand() -> None:
    second = [0.5] * 6
    first = [0.51, 0.52, 0.53, 0.46, 0.55, 0.56]  # differences 1 2 3 -4 5 6 hundredths
    found = two(first, second)
    assert (found["first"], found["second"], found["metric"]) == ("a", "b", "dice")
    assert (found["n_pairs"], found["n_subjects"], found["n_excluded"], found["n_unmatched"]) == (6, 6, 0, 0)
    assert found["median_difference"] == pytest.approx(0.025)
    assert found["rank_biserial"] == pytest.approx((17 - 4) / 21)
    assert found["p"] == pytest.approx(2 * 7 / 64)  # seven of the 64 sign patterns have a rank sum of 4 or less
    assert found["p_holm"] == found["p"]
    assert found["note"] == ""


def test_equal_differences_stay_tied_in_spite_of_rounding() -> None:
    first, second = [0.3, 0.8, 0.9, 0.7, 0.2, 0.5], [0.2, 0.7, 1.0, 0.6, 0.1, 0.4]
    assert two(first, second)["rank_biserial"] == pytest.approx(4 / 6)


def test_a_planted_difference_is_found_and_a_sham_one_is_not() -> None:
    rng = np.random.default_rng(11)
    base = rng.uniform(0.6, 0.9, 30)
    rows = pd.concat(
        [
            table("a", base.tolist()),
            table("better", (base + 0.03 + rng.normal(0, 0.01, 30)).tolist()),
            table("same", (base + rng.normal(0, 0.01, 30)).tolist()),
        ]
    )
    found = compare(rows, metric="dice").set_index(["first", "second"])
    assert found.loc[("a", "better"), "p_holm"] < 1e-5
    assert found.loc[("a", "better"), "median_difference"] == pytest.approx(-0.03, abs=0.01)
    assert found.loc[("a", "better"), "rank_biserial"] < -0.9
    assert found.loc[("better", "same"), "rank_biserial"] > 0.9
    assert found.loc[("a", "same"), "p_holm"] > 0.05
    assert found.loc[("a", "better"), "p_holm"] == pytest.approx(3 * found["p"].min())


def test_without_a_difference_p_is_uniform() -> None:
    rng = np.random.default_rng(12)
    p_values = [two(*rng.random((2, 20)).tolist())["p"] for _ in range(40)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_scipy_finds_the_same_p() -> None:
    first, second = np.random.default_rng(13).random((2, 25))
    assert two(first.tolist(), second.tolist())["p"] == pytest.approx(stats.wilcoxon(first, second).pvalue)


def test_undefined_pairs_are_excluded_and_counted() -> None:
    gap = math.nan
    found = two([0.9, gap, 0.8, 0.7, 0.6, 0.5, gap, 0.4], [0.8, 0.5, gap, 0.6, 0.5, 0.4, gap, 0.3])
    assert (found["n_pairs"], found["n_subjects"], found["n_excluded"]) == (5, 5, 3)


def test_cases_of_one_side_only_are_counted() -> None:
    rows = pd.concat([table("a", [0.5] * 9), table("b", [0.6] * 7)])
    found = compare(rows, metric="dice").iloc[0]
    assert (found["n_pairs"], found["n_unmatched"], found["n_excluded"]) == (7, 2, 0)


def test_fewer_than_six_subjects_give_no_p_but_a_note() -> None:
    found = two([0.5] * 5, [0.4] * 5)
    assert math.isnan(found["p"])
    assert math.isnan(found["p_holm"])
    assert found["note"] == "too few pairs"
    assert found["rank_biserial"] == 1.0
    assert two([0.5] * 6, [0.4] * 6)["note"] == ""


def test_a_comparison_that_was_not_made_does_not_weigh_on_the_others() -> None:
    rows = pd.concat([table("a", [0.5] * 8), table("b", [0.4] * 8), table("c", [0.4] * 3)])
    found = compare(rows, metric="dice").set_index(["first", "second"])
    assert found["note"].tolist() == ["", "too few pairs", "too few pairs"]
    assert found.loc[("a", "b"), "p_holm"] == found.loc[("a", "b"), "p"]


def test_equal_results_have_p_one_and_no_effect() -> None:
    found = two([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert (found["p"], found["rank_biserial"], found["median_difference"]) == (1.0, 0.0, 0.0)


def test_scans_of_one_subject_are_one_observation() -> None:
    subjects = [0, 0, 1, 1, 2, 2, 3, 3]
    found = two([0.6] * 8, [0.5] * 8, subjects=subjects)
    assert (found["n_pairs"], found["n_subjects"], found["note"]) == (8, 4, "too few pairs")


def test_folds_and_seeds_of_one_experiment_are_averaged() -> None:
    second = table("b", [0.5] * 6)
    first = pd.concat([table("a", [0.4] * 6), table("a", [0.8] * 6)])
    found = compare(pd.concat([first, second]), metric="dice").iloc[0]
    assert (found["n_pairs"], found["median_difference"]) == (6, pytest.approx(0.1))


def test_one_undefined_fold_makes_the_whole_pair_undefined() -> None:
    first = pd.concat([table("a", [0.4] * 6), table("a", [0.8] * 5 + [math.nan])])
    found = compare(pd.concat([first, table("b", [0.5] * 6)]), metric="dice").iloc[0]
    assert (found["n_pairs"], found["n_excluded"]) == (5, 1)


def test_labels_and_stages_are_paired_with_their_own_kind() -> None:
    raw = table("a", [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]).assign(stage="raw")
    post = raw.assign(stage="post", dice=raw["dice"] + 0.05)
    found = compare(pd.concat([raw, post]), metric="dice", by="stage").iloc[0]
    assert (found["first"], found["second"], found["n_pairs"]) == ("post", "raw", 6)
    assert found["median_difference"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("metric", "good", "sign"), [("hd_mm", 9.0, 1), ("hd95_mm", 5.0, 1), ("assd_mm", 2.0, 1), ("nsd", 0.2, -1)]
)
def test_an_empty_prediction_ranks_worse_than_every_measured_one(metric: str, good: float, sign: int) -> None:
    first, second = table("a", [good] * 7, metric), table("b", [good + sign * 0.1 * good] * 7, metric)
    first.loc[0, [metric, "undefined"]] = [math.nan, "prediction_empty"]
    found = compare(pd.concat([first, second]), metric=metric).iloc[0]
    assert (found["n_pairs"], found["n_excluded"]) == (7, 0)
    # the failure has the highest of seven ranks, the six small differences share the others and point the other way
    assert found["rank_biserial"] == pytest.approx(sign * (7 - 21) / 28)


def test_two_failures_on_one_case_tie() -> None:
    rows = pd.concat([table("a", [5.0] * 8, "hd_mm"), table("b", [6.0] * 8, "hd_mm")], ignore_index=True)
    rows.loc[[0, 8], "hd_mm"] = math.nan
    rows.loc[[0, 8], "undefined"] = "prediction_empty"
    found = compare(rows, metric="hd_mm").iloc[0]
    assert (found["n_pairs"], found["n_excluded"]) == (8, 0)
    assert found["rank_biserial"] == -1.0


def test_more_failures_than_successes_make_the_median_infinite() -> None:
    first, second = table("a", [math.nan] * 7, "hd_mm"), table("b", [6.0] * 7, "hd_mm")
    found = compare(pd.concat([first.assign(undefined="prediction_empty"), second]), metric="hd_mm").iloc[0]
    assert found["median_difference"] == math.inf
    assert found["p"] == pytest.approx(2 / 2**7)


def test_failures_within_a_subject_are_weighed_before_finite_differences() -> None:
    subjects = [0, 0, 1, 2, 3, 4, 5]
    first, second = (table(name, [5.0] * 7, "hd_mm", subjects) for name in "ab")
    first.loc[0, ["hd_mm", "undefined"]] = [math.nan, "prediction_empty"]
    second.loc[1, "hd_mm"] = 50.0
    found = compare(pd.concat([first, second]), metric="hd_mm").iloc[0]
    assert (found["n_subjects"], found["rank_biserial"]) == (6, 1.0)


def test_other_reasons_and_other_metrics_stay_excluded() -> None:
    rows = pd.concat([table("a", [5.0] * 8, "hd_mm"), table("b", [6.0] * 8, "hd_mm")], ignore_index=True)
    rows.loc[0, ["hd_mm", "undefined"]] = [math.nan, "reference_empty"]
    rows.loc[1, ["hd_mm", "undefined"]] = [math.nan, math.nan]  # as read from a file with an empty cell
    assert compare(rows, metric="hd_mm")["n_excluded"].tolist() == [2]
    shares = pd.concat([table("a", [0.5] * 8, "precision"), table("b", [0.6] * 8, "precision")], ignore_index=True)
    shares.loc[0, ["precision", "undefined"]] = [math.nan, "prediction_empty"]
    assert compare(shares, metric="precision")["n_excluded"].tolist() == [1]


def test_less_than_two_sides_give_an_empty_table_with_all_columns() -> None:
    found = compare(table("a", [0.5, 0.6]), metric="dice")
    assert found.empty
    assert tuple(found.columns) == summary.COMPARISON_COLUMNS


def test_cases_cannot_be_paired_by_case() -> None:
    with pytest.raises(ValueError, match="case"):
        compare(table("a", [0.5]), metric="dice", by="case")


def test_the_effect_without_differences_is_undefined_and_without_nonzero_ones_zero() -> None:
    assert math.isnan(rank_biserial(np.array([])))
    assert rank_biserial(np.zeros(3)) == 0.0
