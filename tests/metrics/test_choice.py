"""Which candidate is kept: by hand, by the rules, and never by one lucky subject."""

from dataclasses import replace

import numpy as np
import pytest

from cohortseg.metrics.choice import Rules, judge, overlap_score

RULES = Rules("interval", min_subjects=3, seed=1, n_bootstrap=2000, confidence=0.95)
GAIN = Rules("gain", min_subjects=3, seed=1, n_bootstrap=2000, confidence=0.95)
SUBJECTS = [f"sub-{number}" for number in range(8)]


def judged(*rows, changed=None, subjects=SUBJECTS, rules=RULES):
    scores = np.array(rows, dtype=float)
    best, found = judge(scores, np.zeros_like(scores) if changed is None else np.array(changed), subjects, rules)
    return best, [one.verdict for one in found], found


BEFORE = [0.5] * 8


def test_what_helps_everybody_is_kept_and_its_worth_is_written_down():
    best, verdicts, found = judged(BEFORE, [0.6] * 8, [0.55] * 8, [0.5] * 8)
    assert best == 1
    assert verdicts == ["no gain", "kept", "less gain", "no gain"]
    assert (found[1].before, found[1].after, found[1].gain) == pytest.approx((0.5, 0.6, 0.1))
    assert (found[1].ci_low, found[1].ci_high) == pytest.approx((0.1, 0.1))


def test_one_lucky_subject_keeps_nothing_but_by_the_rule_of_gain():
    lucky = [0.5] * 7 + [0.99]
    assert judged(BEFORE, lucky)[:2] == (0, ["kept", "within noise"])
    assert judged(BEFORE, lucky, rules=GAIN)[:2] == (1, ["no gain", "kept"])


def test_a_certain_gain_goes_before_a_larger_one_that_is_chance():
    wild = [0.9, 0.1, 0.9, 0.9, 0.1, 0.9, 0.2, 0.9]
    assert judged(BEFORE, [0.52] * 8, wild)[:2] == (1, ["no gain", "kept", "within noise"])


def test_a_gain_that_no_table_shows_is_not_kept():
    assert judged(BEFORE, [0.5004] * 8)[:2] == (0, ["kept", "tiny gain"])


def test_of_equal_gains_the_one_that_changes_least_is_kept_then_the_first():
    better = [0.6] * 8
    changed = [[0] * 8, [9] * 8, [2] * 8, [2] * 8]
    assert judged(BEFORE, better, better, better, changed=changed)[0] == 2


def test_a_subject_with_many_scans_counts_once():
    subjects = ["a"] * 5 + ["b", "c", "d"]
    helped = [0.9] * 5 + [0.3] * 3
    _, _, found = judged(BEFORE, helped, subjects=subjects)
    assert found[1].n_subjects == 4
    assert found[1].n_predictions == 8
    assert found[1].gain == pytest.approx((0.4 - 3 * 0.2) / 4)


@pytest.mark.parametrize("subjects", [[], ["a"], ["a", "a", "b"]])
def test_with_too_few_subjects_nothing_is_kept(subjects):
    scores = np.array([[0.1] * len(subjects), [0.9] * len(subjects)]).reshape(2, -1)
    best, found = judge(scores, np.zeros_like(scores), subjects, RULES)
    assert best == 0
    assert [one.verdict for one in found] == ["kept", "too few subjects"]
    assert found[1].n_subjects == len(set(subjects))


def test_the_score_of_a_case_sees_false_findings_where_there_is_nothing():
    assert overlap_score(10, 6, 4) == 0.5
    assert overlap_score(10, 0, 0) == 0.0
    assert overlap_score(0, 0, 0) == 1.0
    assert overlap_score(0, 1, 0) == 0.0


GAINS = np.array([0.0, 0.1, 0.2, 0.3, 0.05, -0.1, 0.4, 0.15])


def test_the_interval_of_a_single_candidate_is_that_of_a_mean_of_subjects():
    _, _, found = judged(BEFORE, 0.5 + GAINS)
    reach = 1.96 * GAINS.std(ddof=1) / np.sqrt(8)
    assert found[1].ci_high - found[1].gain == pytest.approx(reach, rel=0.1)
    assert found[1].gain - found[1].ci_low == pytest.approx(reach, rel=0.1)
    assert (found[0].ci_low, found[0].ci_high) == (0.0, 0.0)


def test_the_interval_widens_with_other_candidates_but_not_with_the_same_one():
    def width(*others):
        _, _, found = judged(BEFORE, 0.5 + GAINS, *others)
        return found[1].ci_high - found[1].ci_low

    random = np.random.default_rng(3)
    assert width(0.5 + GAINS, 0.5 + GAINS) == pytest.approx(width())
    assert width(*[0.5 + random.normal(0, 0.1, 8) for _ in range(10)]) > 1.15 * width()


def test_noise_in_twelve_candidates_is_seldom_taken_for_help():
    random = np.random.default_rng(5)
    rules = replace(RULES, n_bootstrap=300)
    subjects = [f"sub-{number}" for number in range(15)]
    n_kept = 0
    for _ in range(60):
        scores = np.vstack([np.full(15, 0.5), random.normal(0.5, 0.05, (12, 15))])
        n_kept += judge(scores, np.zeros_like(scores), subjects, rules)[0] > 0
    assert n_kept <= 12  # by the interval of each alone half of them
