"""Paired comparisons: numbers by hand, planted differences, failures, what is counted."""

import math

import numpy as np
import pandas as pd
import pytest
from metric_rows import table
from scipy import stats

from cohortseg.metrics.comparison import COMPARISON_COLUMNS, compare


def two(first: list[float], second: list[float], metric: str = "dice", subjects: list[int] | None = None) -> pd.Series:
    """The comparison of two experiments, the only row of the table."""
    rows = pd.concat([table("a", first, metric, subjects), table("b", second, metric, subjects)])
    found = compare(rows, metric=metric)
    assert len(found) == 1
    return found.iloc[0]


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
    assert tuple(found.columns) == COMPARISON_COLUMNS


def test_cases_cannot_be_paired_by_case() -> None:
    with pytest.raises(ValueError, match="case"):
        compare(table("a", [0.5]), metric="dice", by="case")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="lacks the columns hd_mm, subject"):
        compare(table("a", [0.5]).drop(columns="subject"), metric="hd_mm")


def test_the_mean_difference_has_an_interval_over_subjects() -> None:
    rng = np.random.default_rng(23)
    second = rng.uniform(0.5, 0.8, 40)
    first = second + rng.normal(0.05, 0.02, 40)
    found = two(first.tolist(), second.tolist())
    differences = first - second
    assert found["mean_difference"] == pytest.approx(differences.mean())
    half = 1.96 * differences.std(ddof=1) / math.sqrt(40)
    expected = (differences.mean() - half, differences.mean() + half)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(expected, abs=0.0015)


@pytest.mark.parametrize(
    ("metric", "first", "second", "better"),
    [("dice", 0.8, 0.7, "a"), ("hd95_mm", 8.0, 7.0, "b"), ("dice", 0.7, 0.7, ""), ("volume_difference_ml", 2, 1, "")],
)
def test_the_better_side_follows_the_direction_of_the_metric(
    metric: str, first: float, second: float, better: str
) -> None:
    assert two([first] * 7, [second] * 7, metric)["better"] == better


def test_a_failure_leaves_no_mean_but_a_signed_rank_test() -> None:
    first, second = table("a", [5.0] * 7, "hd_mm"), table("b", [6.0] * 7, "hd_mm")
    first.loc[0, ["hd_mm", "undefined"]] = [math.nan, "prediction_empty"]
    found = compare(pd.concat([first, second]), metric="hd_mm").iloc[0]
    assert found[["mean_difference", "ci_low", "ci_high", "p_permutation"]].isna().all()
    assert found["p"] > 0
