"""Proposals: what a trial tries follows from seed, number and earlier results alone, and good places are found."""

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import StudyError
from cohortseg.search.propose import Axis, Finished, propose, round_of

SPACE = {
    "rate": Axis(low=1e-4, high=1e-1, is_log=True),
    "limit": Axis(low=-50.0, high=50.0),
    "levels": Axis(low=2, high=9, is_whole=True),
    "loss": Axis(values=("dice", [16, 32], None)),
}
VALLEY = {"a": Axis(low=-100.0, high=100.0), "b": Axis(low=0.0, high=200.0)}


def ask(space, finished, number, kind="bayes", *, at_once=1, startup=4, seed=1, first=None):
    return propose(space, finished, number=number, kind=kind, at_once=at_once, startup=startup, seed=seed, first=first)


def hill(point):
    """Highest, 1, at a = -37 and b = 160."""
    return max(0.0, 1.0 - abs(point["a"] + 37) / 100 - abs(point["b"] - 160) / 200)


def search(space, score, n, kind="bayes", **options):
    done = []
    for number in range(n):
        point = ask(space, done, number, kind, **options)
        done.append(Finished(number, point, score(point)))
    return done


def best(done):
    return max(one.score for one in done)


@pytest.mark.parametrize("kind", ["random", "bayes"])
def test_every_value_lies_on_its_axis_and_keeps_its_type(kind):
    points = [one.point for one in search(SPACE, lambda point: 1 / point["levels"], 40, kind)]
    assert all(list(point) == list(SPACE) for point in points)
    assert all(1e-4 <= point["rate"] <= 1e-1 and -50 <= point["limit"] <= 50 for point in points)
    assert {type(point["levels"]) for point in points} == {int}
    assert {2, 9} >= {min(p["levels"] for p in points), max(p["levels"] for p in points)}
    assert {repr(point["loss"]) for point in points} == {"'dice'", "[16, 32]", "None"}


def test_on_a_logarithmic_axis_each_order_of_magnitude_gets_its_share():
    drawn = [ask(SPACE, [], number, "random")["rate"] for number in range(300)]
    shares = [sum(low <= rate < 10 * low for rate in drawn) / 300 for low in (1e-4, 1e-3, 1e-2)]
    assert all(share == pytest.approx(1 / 3, abs=0.1) for share in shares)


def test_a_random_draw_needs_no_result_and_depends_on_seed_and_number_alone():
    alone = ask(VALLEY, [], 17, "random")
    assert alone == search(VALLEY, hill, 18, "random")[17].point
    assert alone != ask(VALLEY, [], 18, "random")
    assert alone != ask(VALLEY, [], 17, "random", seed=2)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.integers(0, 14), st.randoms())
def test_a_proposal_is_the_same_whoever_asks_and_in_whatever_order_results_arrive(at_once, number, order):
    done = search(VALLEY, hill, 15, at_once=at_once)
    shuffled = list(done)
    order.shuffle(shuffled)
    assert ask(VALLEY, shuffled, number, at_once=at_once) == done[number].point


def test_the_trials_of_a_round_do_not_wait_for_each_other():
    done = search(VALLEY, hill, 12, at_once=4)
    assert [round_of(number, 4) for number in (0, 3, 4, 11)] == [0, 0, 4, 8]
    for number in range(8, 12):
        assert ask(VALLEY, done[:8], number, at_once=4) == done[number].point
    points = [tuple(one.point.values()) for one in done[8:]]
    assert len(set(points)) == 4, "they keep apart although none knows the result of another"


def test_one_at_a_time_learns_from_each_result_and_several_at_once_from_each_round():
    one, three = ([trial.point for trial in search(VALLEY, hill, 24, at_once=n)] for n in (1, 3))
    assert one[:4] == three[:4], "random starts are the same"
    assert one[4:] != three[4:]


def test_a_result_that_is_missing_is_told():
    done = search(VALLEY, hill, 8)
    with pytest.raises(StudyError, match="trial 8 needs the results of trials 0 to 7"):
        ask(VALLEY, done[:5] + done[6:], 8)


def test_the_settings_as_written_come_first():
    first = {"a": 12.5, "b": 0.0}
    done = search(VALLEY, hill, 6, first=first)
    assert done[0].point == first
    assert done[1].point == ask(VALLEY, [], 1, "random")
    several = search(VALLEY, hill, 6, first=first, at_once=6)
    assert several[0].point == first


def test_the_planted_top_is_found_nearer_than_by_chance_with_the_same_number_of_trials():
    seeds = range(7)
    found = [best(search(VALLEY, hill, 30, seed=seed, startup=8)) for seed in seeds]
    chance = [best(search(VALLEY, hill, 30, "random", seed=seed)) for seed in seeds]
    assert statistics.median(found) > statistics.median(chance)
    assert statistics.median(found) > 0.85


def test_a_failed_trial_counts_as_the_worst_there_is():
    def score(point):
        return None if point["a"] > 0 else hill(point)

    done = search(VALLEY, score, 30, startup=8)
    late = [one for one in done if one.number >= 15]
    assert sum(one.score is None for one in late) < len(late) / 3


def test_without_a_space_to_choose_in_the_only_value_is_tried():
    assert ask({"x": Axis(values=(3,))}, [], 0) == {"x": 3}


@pytest.mark.parametrize(
    ("axis", "value", "held"),
    [
        (Axis(low=0, high=2), 2, True),
        (Axis(low=0, high=2), 2.1, False),
        (Axis(low=0, high=2), None, False),
        (Axis(values=("a", [1])), [1], True),
        (Axis(values=("a", [1])), "b", False),
    ],
)
def test_an_axis_knows_what_lies_on_it(axis, value, held):
    assert axis.holds(value) is held
    assert not math.isnan(axis.high)
