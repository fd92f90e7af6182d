"""Spread over folds and seeds: planted components come back, by hand, a single fold or seed."""

import math

import numpy as np
import pandas as pd
import pytest

from cohortseg.metrics.variance import VARIANCE_COLUMNS, fold_variance, seed_variance


def rows_of(values: np.ndarray, factor: str) -> pd.DataFrame:
    """One row per level and case; under `fold` every level has cases of its own."""
    level, case = (axis.ravel() for axis in np.indices(values.shape))
    names = [f"{one}-{other}" if factor == "fold" else str(other) for one, other in zip(level, case, strict=True)]
    frame = pd.DataFrame({"case": names, "fold": "0", "seed": "1", "dice": values.ravel()})
    return frame.assign(**{factor: [str(one) for one in level]})


def test_two_folds_by_hand() -> None:
    found = fold_variance(rows_of(np.array([[0.5, 0.7], [0.8, 1.0]]), "fold"), metric="dice")
    assert tuple(found) == VARIANCE_COLUMNS
    assert (found["n_levels"], found["n_cases"], found["n_undefined"]) == (2, 4, 0)
    assert (found["lowest"], found["highest"]) == pytest.approx((0.6, 0.9))
    assert found["sd_of_means"] == pytest.approx(0.3 / math.sqrt(2))
    assert found["sd_within"] == pytest.approx(math.sqrt(0.02))
    # mean squares: between 2 x 0.045 = 0.09, within 0.02; two cases a fold
    assert found["sd_component"] == pytest.approx(math.sqrt((0.09 - 0.02) / 2))


def test_planted_components_come_back() -> None:
    rng = np.random.default_rng(31)
    values = 0.8 + rng.normal(0, 0.04, (60, 1)) + rng.normal(0, 0.02, (60, 30))
    found = fold_variance(rows_of(values, "fold"), metric="dice")
    assert found["sd_component"] == pytest.approx(0.04, rel=0.25)
    assert found["sd_within"] == pytest.approx(0.02, rel=0.1)


def test_folds_that_differ_by_their_cases_alone_have_a_small_component() -> None:
    values = np.random.default_rng(32).normal(0.8, 0.1, (5, 40))
    assert fold_variance(rows_of(values, "fold"), metric="dice")["sd_component"] < 0.03


def test_seeds_are_compared_on_the_same_cases() -> None:
    found = seed_variance(rows_of(np.array([[0.5, 0.7, math.nan], [0.6, 1.0, 0.3]]), "seed"), metric="dice")
    assert (found["n_levels"], found["n_cases"], found["n_undefined"]) == (2, 2, 1)
    assert (found["lowest"], found["highest"]) == pytest.approx((0.6, 0.8))
    assert found["sd_component"] == found["sd_of_means"] == pytest.approx(0.2 / math.sqrt(2))
    assert found["sd_within"] == pytest.approx(math.sqrt((0.1**2 / 2 + 0.3**2 / 2) / 2))


@pytest.mark.parametrize(("measure", "factor"), [(fold_variance, "fold"), (seed_variance, "seed")])
def test_a_single_level_has_no_spread(measure, factor: str) -> None:
    found = measure(rows_of(np.array([[0.5, 0.7]]), factor), metric="dice")
    assert found["n_levels"] == 1
    assert math.isnan(found["sd_component"])
    assert found["note"] == f"a single {factor}"


@pytest.mark.parametrize("measure", [fold_variance, seed_variance])
def test_without_a_value_nothing_is_said(measure) -> None:
    found = measure(rows_of(np.full((2, 2), math.nan), "seed"), metric="dice")
    assert found["n_cases"] == 0
    assert found["n_undefined"] > 0
    assert math.isnan(found["lowest"])
