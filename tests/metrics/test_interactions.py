"""Does one experiment gain more in one group? Planted interactions come back, absent ones do not; subjects count."""

import math

import numpy as np
import pandas as pd
import pytest
from metric_rows import grouped
from scipy import stats

from cohortseg.metrics.interactions import interaction_p, interactions


def p_of(groups: dict[str, list[float]] | list[np.ndarray], **options) -> float:
    parts = [np.asarray(part) for part in (groups.values() if isinstance(groups, dict) else groups)]
    values = np.concatenate(parts)
    numbers = np.repeat(np.arange(len(parts)), [part.size for part in parts])
    return interaction_p(values, numbers, np.arange(values.size), **{"seed": 1, "n_permutations": 999} | options)


def against(gain: dict[str, float], n: int = 25, metric: str = "dice") -> pd.Series:
    """The line of two experiments, of which b gains this much over a in each group."""
    rng = np.random.default_rng(42)
    base = {name: rng.uniform(0.5, 0.8, n) for name in gain}
    better = {name: (base[name] + gain[name] + rng.normal(0, 0.01, n)).tolist() for name in gain}
    plain = {name: part.tolist() for name, part in base.items()}
    rows = pd.concat([grouped(plain, "a", metric), grouped(better, "b", metric)])
    return interactions(rows, metric=metric, min_subjects=3, seed=1, n_permutations=999).iloc[0]


def test_a_gain_in_one_group_alone_comes_back_with_its_size_and_its_groups() -> None:
    found = against({"x": 0.05, "y": 0.0, "z": 0.01})
    assert found["p_interaction"] == 0.001  # the smallest that 999 draws can give
    assert (found["lowest_group"], found["highest_group"]) == ("x", "y")
    assert (found["lowest_difference"], found["highest_difference"]) == pytest.approx((-0.05, 0.0), abs=0.006)
    assert found["contrast"] == pytest.approx(found["highest_difference"] - found["lowest_difference"])
    assert found["ci_low"] < 0.05 < found["ci_high"]
    assert (found["n_groups"], found["n_subjects"], found["n_left_out"]) == (3, 75, 0)


def test_a_gain_in_all_groups_is_no_interaction() -> None:
    found = against({"x": 0.05, "y": 0.05})
    assert found["p_interaction"] > 0.05
    assert found["contrast"] < 0.01


def test_scipy_finds_the_same_p_for_two_groups_of_unequal_spread() -> None:
    # For two groups the statistic is the square of Welch's t.
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.0, 1.0, 7), rng.normal(0.9, 0.4, 5)
    every_order = stats.PermutationMethod(n_resamples=math.inf)
    judge = stats.ttest_ind(one, other, equal_var=False, method=every_order).pvalue
    assert p_of([one, other], n_permutations=40_000) == pytest.approx(judge, abs=4 * math.sqrt(judge / 40_000))


@pytest.mark.parametrize("spreads", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0)])
def test_without_an_interaction_it_rejects_as_often_as_it_says_also_when_a_small_group_varies_more(spreads) -> None:
    rng = np.random.default_rng(5)
    sizes = (12, 40, 25)
    p_values = [
        p_of([rng.normal(0, spread, n) for spread, n in zip(spreads, sizes, strict=True)], n_permutations=199)
        for _ in range(300)
    ]
    # 5 % of 300 are 15, with a standard deviation of 3.8
    assert 4 <= sum(p <= 0.05 for p in p_values) <= 27


def test_two_scans_of_one_person_in_two_groups_are_not_two_people() -> None:
    # Three people, each with a scan in both groups: only 2 of the 2^3 exchanges within people are as far apart.
    values, groups = np.array([1.0, 0.0] * 3), np.array([0, 1] * 3)
    by_person = interaction_p(values, groups, np.repeat(np.arange(3), 2), seed=1, n_permutations=4000)
    assert by_person == pytest.approx(2 / 8, abs=0.03)
    as_if_six = interaction_p(values, groups, np.arange(6), seed=1, n_permutations=4000)
    assert as_if_six == pytest.approx(2 / 20, abs=0.02)


def test_failures_are_left_out_and_counted() -> None:
    plain = grouped({"x": [3.0] * 5, "y": [4.0] * 5}, "a", "hd95_mm")
    failed = plain.assign(experiment="b", undefined=["prediction_empty"] + [""] * 9)
    failed["hd95_mm"] = [math.nan] + [2.0] * 9
    found = interactions(pd.concat([plain, failed]), metric="hd95_mm", min_subjects=3, seed=1, n_permutations=99).iloc[
        0
    ]
    assert (found["n_subjects"], found["n_left_out"]) == (9, 1)


def test_a_single_group_has_no_interaction_and_equal_differences_have_no_p_below_one() -> None:
    rows = pd.concat([grouped({"x": [0.5] * 4, "y": [0.6]}, name) for name in "ab"])
    found = interactions(rows, metric="dice", min_subjects=3, seed=1).iloc[0]
    assert math.isnan(found["p_interaction"])
    assert math.isnan(found["contrast"])
    assert found["note"] == "fewer than two groups of 3 subjects"
    assert found["n_left_out"] == 1
    assert p_of([np.ones(3), np.ones(4)]) == 1.0
