"""A short campaign: damage never crashes, hangs or fills the memory, and never makes a wrong volume in silence."""

import re

import numpy as np
import pytest
from campaign import BASES, SHAPE, fuzz_files, fuzz_others, fuzz_series, hu_of, judged, outcomes_of, write_base
from child import Child
from mutate import ANY_FILE, EXPLICIT, SERIES, elements, undetectable, with_value
from pipeline import Outcome

from cohortseg.volume import Grid

OPEN: tuple[str, ...] = ()
"""Findings that are known and not yet mended, as regular expressions."""


@pytest.fixture(scope="module")
def child():
    one = Child()
    yield one
    one.close()


@pytest.mark.parametrize(("campaign", "n"), [(fuzz_files, 150), (fuzz_series, 40), (fuzz_others, 24)])
def test_a_short_campaign_finds_nothing(child, campaign, n):
    from campaign import Tally

    tally = Tally()
    campaign(n, 1, child, tally)
    assert [one for one in tally.findings if not any(re.search(known, one) for known in OPEN)] == []
    assert sum(tally.outcomes.values()) >= n
    assert len(tally.outcomes) >= 5


# ---- the campaign itself: it must see what is wrong -----------------------------------------------------------------

GRID = Grid(SHAPE, (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25))


def verdict(array, grid=GRID, hidden=frozenset(), lost=False) -> str:
    return judged(Outcome("a", None, array, grid), [hu_of(5)], hidden, lambda series, k, case: lost)


def test_the_judge_knows_the_truth():
    assert verdict(hu_of(5)) == "same"


def test_the_judge_sees_a_single_wrong_voxel():
    changed = hu_of(5)
    changed[3, 2, 1] += 1
    assert verdict(changed) == "WRONG VALUES: slices [3]"
    assert verdict(changed, hidden={(0, 3)}) == "other values that nobody can notice"
    assert verdict(changed, hidden={(0, 4)}) == "WRONG VALUES: slices [3]"


@pytest.mark.parametrize("origin_mm", [(-31.0, 12.5, 48.5), (-30.0, 12.5, 47.25)])
def test_the_judge_sees_a_wrong_place(origin_mm):
    assert verdict(hu_of(5), Grid(SHAPE, (2.5, 0.8, 0.7), origin_mm)).startswith("WRONG PLACE")


def test_the_judge_sees_a_lost_slice():
    shorter = Grid((8, 20, 16), (2.5, 0.8, 0.7), (-31.0, 12.5, 49.75))
    assert verdict(hu_of(5)[1:], shorter) == "SLICES GONE: [0] without a word"
    assert verdict(hu_of(5)[1:], shorter, lost=True) == "shorter, the lost slice is listed"
    assert verdict(hu_of(5)[:-1], shorter).startswith("WRONG")


def test_a_text_from_the_child_is_a_finding():
    assert outcomes_of("HANG: x", [], set(), None) == ["HANG: x"]
    assert outcomes_of("anything", [], set(), None) == ["CRASH: anything"]


def test_a_child_that_fails_says_so_and_goes_on(child, tmp_path):
    assert "SettingsError" in child.accept(tmp_path) or "empty" in child.accept(tmp_path)
    write_base(tmp_path, "explicit", 5)
    assert len(child.accept(tmp_path).outcomes) == 1


@pytest.mark.parametrize("base", sorted(set(BASES)))
def test_undamaged_files_are_the_truth(child, base, tmp_path):
    write_base(tmp_path / "source", base, 5)
    answer = child.accept(tmp_path / "source")
    assert outcomes_of(answer, [hu_of(5)], set(), lambda series, k, case: False) == ["same"]


def test_the_same_seed_gives_the_same_damage(tmp_path):
    data = write_base(tmp_path, "explicit", 5)[0].read_bytes()
    for kind in (*ANY_FILE, *EXPLICIT):
        assert kind(data, np.random.default_rng(3)) == kind(data, np.random.default_rng(3))
    assert len(SERIES) >= 10


def test_what_nobody_can_notice_is_told_from_what_one_can(tmp_path):
    data = write_base(tmp_path, "explicit", 5)[0].read_bytes()
    assert [one.keyword for one in elements(data)][-1] == "PixelData"
    assert undetectable(data, data[:-5] + b"\7" + data[-4:]) is not None
    assert undetectable(data, with_value(data, "RescaleSlope", b"2 ").data) is not None
    assert undetectable(data, with_value(data, "RescaleSlope", b"0 ").data) is None
    assert undetectable(data, with_value(data, "RescaleSlope", b"").data) is None
    assert undetectable(data, with_value(data, "Rows", b"\7\0").data) is None
    assert undetectable(data, data[:-100]) is None
