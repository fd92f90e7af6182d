"""Tests of paired differences: by hand, scipy as a judge, uniform without an effect, what cannot be tested."""

import math

import numpy as np
import pytest
from scipy import stats

from cohortseg.metrics.paired_tests import rank_biserial, sign_flip_p, signed_rank_p


def test_the_effect_without_differences_is_undefined_and_without_nonzero_ones_zero() -> None:
    assert math.isnan(rank_biserial(np.array([])))
    assert rank_biserial(np.zeros(3)) == 0.0


def flipped(differences: list[float], n_permutations: int = 10_000) -> float:
    return sign_flip_p(np.array(differences), seed=1, n_permutations=n_permutations)


def test_all_patterns_of_signs_are_taken_when_there_are_few() -> None:
    # of the eight sums only +6 and -6 are as far from zero as 6
    assert flipped([1.0, 2.0, 3.0]) == 2 / 8
    # 1 + 2 - 3 = 0 is as near as can be
    assert flipped([1.0, 2.0, -3.0]) == 1.0
    assert flipped([0.0, 0.0, 1.0, 2.0, 3.0]) == 2 / 8


def test_drawn_patterns_come_close_to_scipy() -> None:
    differences = np.random.default_rng(20).normal(0.3, 1.0, 40)
    judge = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=2, vectorized=True
    ).pvalue
    assert flipped(differences.tolist(), 20_000) == pytest.approx(judge, abs=0.012)


def test_drawn_and_counted_patterns_agree() -> None:
    differences = np.random.default_rng(21).normal(0.5, 1.0, 12).tolist()
    assert flipped(differences, 4000) == pytest.approx(flipped(differences, 2**12), abs=0.02)


def test_without_an_effect_the_p_of_flipped_signs_is_uniform() -> None:
    rng = np.random.default_rng(22)
    p_values = [flipped(rng.normal(size=10).tolist(), 1024) for _ in range(60)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_what_cannot_be_permuted_is_undefined() -> None:
    assert math.isnan(flipped([]))
    assert math.isnan(flipped([1.0, math.inf]))
    assert flipped([0.0, 0.0]) == 1.0


def test_no_p_is_zero() -> None:
    assert flipped([1.0] * 60, 1000) == 1 / 1001
    assert signed_rank_p(np.ones(8)) == pytest.approx(2 / 2**8)
