"""Ranks: by hand, stable when the order is trivial, scipy's tau, failures, what is counted."""

import math

import numpy as np
import pandas as pd
import pytest
from metric_rows import table
from scipy import stats

from cohortseg.metrics import ranks
from cohortseg.metrics.ranks import RANK_COLUMNS, rank_experiments


def ranked(values: dict[str, list[float]], metric: str = "dice", **options) -> pd.DataFrame:
    rows = pd.concat([table(name, column, metric) for name, column in values.items()])
    return rank_experiments(rows, metric=metric, seed=1, **options).set_index("experiment")


def test_ranks_are_averaged_over_cases_with_ties_shared() -> None:
    found = ranked({"a": [0.9, 0.5, 0.7], "b": [0.8, 0.6, 0.7], "c": [0.1, 0.1, 0.1]})
    # a: 1, 2, 1.5; b: 2, 1, 1.5; c: 3, 3, 3
    assert found["mean_rank"].to_dict() == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert found["rank"].to_dict() == {"a": 1, "b": 1, "c": 3}
    assert (found["n_cases"] == 3).all()
    assert (found["note"] == "fewer than 10 subjects").all()


def test_lower_is_better_for_distances() -> None:
    assert ranked({"a": [9.0] * 3, "b": [2.0] * 3}, "hd95_mm")["rank"].to_dict() == {"a": 2, "b": 1}


def test_a_trivial_order_is_stable_and_a_coin_toss_is_not() -> None:
    rng = np.random.default_rng(30)
    base = rng.uniform(0.5, 0.8, 40)
    clear = ranked({"a": (base + 0.1).tolist(), "b": base.tolist(), "c": (base - 0.1).tolist()})
    assert clear["tau"].unique().tolist() == [1.0]
    assert clear["share_first"].to_dict() == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert (clear["rank_low"] == clear["rank_high"]).all()
    toss = ranked({name: rng.random(40).tolist() for name in "abc"})
    assert (toss["tau"] < 0.9).all()
    assert toss["rank_high"].max() > toss["rank_low"].min()


def test_tau_is_that_of_scipy() -> None:
    means, drawn = np.array([1.2, 2.0, 2.0, 3.1]), np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 2.0, 2.0, 1.0]])
    judged = np.mean([stats.kendalltau(means, one).statistic for one in drawn])
    assert ranks._mean_tau(means, drawn) == pytest.approx(judged)


def test_a_case_that_one_experiment_lacks_is_left_out_and_counted() -> None:
    found = ranked({"a": [0.9, 0.5, math.nan], "b": [0.8, 0.6, 0.7]})
    assert found["n_cases"].tolist() == [2, 2]
    assert found["n_incomplete"].tolist() == [1, 1]


def test_a_failure_takes_the_last_rank_instead_of_being_left_out() -> None:
    first, second = table("a", [1.0, math.nan, 1.0], "hd95_mm"), table("b", [2.0, 90.0, 2.0], "hd95_mm")
    first.loc[1, "undefined"] = "prediction_empty"
    found = rank_experiments(pd.concat([first, second]), metric="hd95_mm", seed=1).set_index("experiment")
    assert found["n_incomplete"].tolist() == [0, 0]
    assert found["mean_rank"].to_dict() == pytest.approx({"a": 4 / 3, "b": 5 / 3})


def test_one_experiment_alone_has_no_rank() -> None:
    found = rank_experiments(table("a", [0.5, 0.6]), metric="dice", seed=1)
    assert found.empty
    assert tuple(found.columns) == RANK_COLUMNS


def test_a_metric_without_a_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="no direction"):
        rank_experiments(table("a", [0.5], "reference_ml"), metric="reference_ml", seed=1)
