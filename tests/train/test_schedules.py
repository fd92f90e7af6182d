"""Schedules in closed form."""

import itertools
import math

import pytest

from cohortseg.train.schedules import SCHEDULES, constant, cosine, exponential, poly, step_wise


def test_constant_is_one():
    assert [constant(step, 10) for step in (0, 5, 9)] == [1.0, 1.0, 1.0]


def test_cosine_rises_straight_and_falls_as_half_a_cosine():
    assert [cosine(step, 200, warm_up=0.02) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert cosine(4, 200, warm_up=0.02) == 1.0
    assert cosine(102, 200, warm_up=0.02) == pytest.approx(0.5)
    assert cosine(53, 200, warm_up=0.02) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_poly_is_the_share_left_to_the_power_nine_tenths():
    assert poly(0, 100) == 1.0
    assert poly(75, 100) == pytest.approx(0.25**0.9)


def test_step_wise_is_divided_by_ten_twice():
    assert [step_wise(step, 8) for step in range(8)] == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_exponential_keeps_its_ratio_and_ends_at_a_hundredth():
    factors = [exponential(step, 50) for step in range(51)]
    ratios = [later / sooner for sooner, later in itertools.pairwise(factors)]
    assert max(ratios) == pytest.approx(min(ratios))
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.01)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_every_factor_is_above_zero_and_at_most_one(name, steps):
    factors = [SCHEDULES[name].factor(step, steps) for step in range(steps)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert SCHEDULES[name].source
