"""Folds and batches: by subject, balanced, frozen; nobody ever moves."""

import copy
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.cohort import Case, assign, cases_text, members, newcomer_fold, read_cases, safe_cell, table_text
from cohortseg.errors import StudyError
from cohortseg.layout import TEST

SPLIT = {"folds": 3, "seed": 1, "test_fraction": 0.0, "stratify": ["labelled", "positive"]}


def case_of(name: str, subject: str | None = None, **facts) -> Case:
    blank = {"modality": "CT", "manufacturer": "", "model": "", "kernel": "", "slice_thickness_mm": "", "shape": ""}
    facts = {"label": "rtstruct", "positive": "yes", "source": f"sha256:{name}", "voxels": 1000, **facts}
    return Case(case=name, subject=subject or name, **(blank | facts))


def people(*numbers: int, prefix="p", **facts) -> list[Case]:
    return [case_of(f"{prefix}{number}_ct1", f"{prefix}{number}", **facts) for number in numbers]


def deal(cases, ledger=None, *, per_job=None, per_predict_job=None, **changes):
    """The cases by name and the ledger, as it would be read back from its file."""
    split = SPLIT | changes
    placed, ledger = assign(cases, ledger or {}, split=split, per_job=per_job, per_predict_job=per_predict_job)
    return {case.case: case for case in placed}, json.loads(json.dumps(ledger))


def folds_of(placed) -> dict[str, str]:
    return {name: case.fold for name, case in placed.items()}


numbers = st.lists(st.integers(0, 200), unique=True, max_size=40)
cohorts = st.builds(
    lambda chosen, labels, positives, n_scans: [
        case_of(f"p{n}_ct{scan}", f"p{n}", label=labels[n % len(labels)], positive=positives[n % len(positives)])
        for n in chosen
        for scan in range(1, 2 + n % n_scans)
    ],
    numbers,
    st.lists(st.sampled_from(["rtstruct", "none"]), min_size=1, max_size=5),
    st.lists(st.sampled_from(["yes", "no", "unknown"]), min_size=1, max_size=7),
    st.integers(1, 3),
)
splits = st.builds(
    dict,
    folds=st.integers(2, 6),
    seed=st.integers(0, 99),
    test_fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    stratify=st.sampled_from([[], ["labelled"], ["labelled", "positive"]]),
)


# ---- the first cohort -----------------------------------------------------------------------------------------------


def test_the_scans_of_a_person_stand_in_one_fold():
    cases = [case_of(f"p{n}_ct{scan}", f"p{n}") for n in range(20) for scan in (1, 2, 3)]
    placed, _ = deal(cases)
    for n in range(20):
        assert len({placed[f"p{n}_ct{scan}"].fold for scan in (1, 2, 3)}) == 1


def test_folds_are_of_one_size():
    placed, _ = deal(people(*range(11)))
    assert sorted(Counter(folds_of(placed).values()).values()) == [3, 4, 4]


def test_rare_kinds_of_people_are_spread_over_the_folds():
    rare = people(*range(3), positive="no")
    unlabelled = people(*range(4), prefix="u", label="none", positive="unknown")
    placed, _ = deal([*people(*range(10, 33)), *rare, *unlabelled])
    assert Counter(placed[case.case].fold for case in rare) == {"0": 1, "1": 1, "2": 1}
    assert sorted(Counter(placed[case.case].fold for case in unlabelled).values()) == [1, 1, 2]


def test_folds_are_spread_by_manufacturer_when_asked():
    cases = [*people(*range(6), manufacturer="A"), *people(*range(6, 9), manufacturer="B")]
    placed, _ = deal(cases, stratify=["manufacturer"])
    by_make = {make: Counter(c.fold for c in placed.values() if c.manufacturer == make) for make in "AB"}
    assert by_make == {"A": {"0": 2, "1": 2, "2": 2}, "B": {"0": 1, "1": 1, "2": 1}}


def test_another_seed_deals_otherwise():
    assert folds_of(deal(people(*range(12)))[0]) != folds_of(deal(people(*range(12)), seed=2)[0])


def test_the_test_set_has_its_share():
    placed, _ = deal(people(*range(20)), test_fraction=0.25)
    assert Counter(folds_of(placed).values()) == {TEST: 5, "0": 5, "1": 5, "2": 5}


def test_many_small_strata_have_their_share_of_the_test_set_together():
    cases = [case for make in "ABCDEFGHIJ" for case in people(1, 2, prefix=make.lower(), manufacturer=make)]
    placed, _ = deal(cases, test_fraction=0.2, stratify=["manufacturer"])
    assert Counter(folds_of(placed).values())[TEST] == 4


def test_an_empty_cohort_has_no_folds_and_leaves_the_first_deal_to_the_first_cases():
    placed, ledger = deal([])
    assert placed == {}
    placed, _ = deal(people(1, 2, 3), ledger)
    assert {case.role for case in placed.values()} == {"cohort"}


@settings(max_examples=50, deadline=None)
@given(cohorts, splits, st.randoms())
def test_the_order_of_the_cases_plays_no_part(cases, split, random):
    shuffled = random.sample(cases, len(cases))
    assert deal(cases, **split) == deal(shuffled, **split)


@settings(max_examples=50, deadline=None)
@given(cohorts, splits)
def test_every_fold_has_its_fair_share(cases, split):
    placed, _ = deal(cases, **split)
    subjects = {case.subject: case.fold for case in placed.values()}
    sizes = Counter(fold for fold in subjects.values() if fold != TEST)
    counts = [sizes[str(fold)] for fold in range(split["folds"])]
    assert max(counts) - min(counts) <= 1
    assert abs(Counter(subjects.values())[TEST] - split["test_fraction"] * len(subjects)) <= 0.5
    assert all(len({c.fold for c in placed.values() if c.subject == subject}) == 1 for subject in subjects)


@settings(max_examples=50, deadline=None)
@given(cohorts, splits)
def test_every_fold_has_its_fair_share_of_every_stratum(cases, split):
    placed, _ = deal(cases, **split)
    strata = {}
    for case in placed.values():
        facts = {"labelled": case.label != "none", "positive": case.positive}
        strata[case.subject] = (tuple(facts[name] for name in split["stratify"]), case.fold)
    for stratum in {stratum for stratum, _ in strata.values()}:
        own = Counter(fold for name, fold in strata.values() if name == stratum)
        dealt = [own[str(fold)] for fold in range(split["folds"])]
        assert max(dealt) - min(dealt) <= 1
        assert abs(own[TEST] - split["test_fraction"] * sum(own.values())) <= 1


# ---- later ----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(cohorts, cohorts, splits)
def test_nobody_moves_when_others_come_or_go(first, then, split):
    before, ledger = deal(first, **split)
    after, later = deal(then, ledger, **split)
    for name in before.keys() & after.keys():
        assert replace(after[name], source="") == replace(before[name], source="", **_facts(after[name]))
    # And back again: those who had gone find their old places.
    again, _ = deal(first, later, **split)
    assert again == before


def _facts(case):
    return {name: getattr(case, name) for name in ("label", "positive")}


def test_a_newcomer_goes_where_the_hash_of_its_name_says():
    _, ledger = deal(people(*range(6)))
    placed, _ = deal(people(*range(6), 50, 51), ledger)
    for name in ("p50", "p51"):
        assert placed[f"{name}_ct1"].fold == newcomer_fold(name, SPLIT)
        assert placed[f"{name}_ct1"].role == "newcomer"
    assert placed["p1_ct1"].role == "cohort"


def test_the_fold_of_a_newcomer_is_known_for_good():
    # Frozen: another value would move the newcomers of studies that exist.
    assert [newcomer_fold(f"sub-{n:04d}", {"seed": 1, "folds": 5}) for n in range(1, 7)] == list("323334")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20), st.integers(0, 99), st.integers(2, 20))
def test_a_newcomer_never_joins_the_test_set(subject, seed, folds):
    assert newcomer_fold(subject, {"seed": seed, "folds": folds}) in {str(fold) for fold in range(folds)}


def test_a_new_scan_of_a_known_person_joins_that_persons_fold_as_a_newcomer():
    before, ledger = deal(people(*range(6)), test_fraction=0.5)
    for subject in ("p0", "p1", "p2", "p3", "p4", "p5"):
        placed, _ = deal([*people(*range(6)), case_of(f"{subject}_ct2", subject)], ledger, test_fraction=0.5)
        assert placed[f"{subject}_ct2"].fold == before[f"{subject}_ct1"].fold
        assert placed[f"{subject}_ct2"].role == "newcomer"


def test_all_new_scans_of_one_new_person_stand_in_one_fold():
    _, ledger = deal(people(*range(6)))
    placed, _ = deal([*people(*range(6)), case_of("new_ct1", "new"), case_of("new_ct2", "new")], ledger)
    assert placed["new_ct1"].fold == placed["new_ct2"].fold


def test_who_is_gone_is_remembered():
    before, ledger = deal(people(*range(6)))
    placed, later = deal(people(0, 1), ledger)
    assert set(placed) == {"p0_ct1", "p1_ct1"}
    assert set(later["cases"]) == set(before)


@pytest.mark.parametrize(
    "change",
    [{"folds": 2}, {"seed": 2}, {"test_fraction": 0.4}, {"stratify": []}],
    ids=lambda change: next(iter(change)),
)
def test_other_split_settings_deal_anew(change):
    _, ledger = deal(people(*range(6)))
    _, ledger = deal(people(*range(12)), ledger)
    anew, later = deal(people(*range(12)), ledger, **change)
    fresh, _ = deal(people(*range(12)), **change)
    assert folds_of(anew) == folds_of(fresh)
    assert {case.role for case in anew.values()} == {"cohort"}
    assert later["split"] == SPLIT | change


def test_the_old_ledger_is_left_as_it_was():
    _, ledger = deal(people(*range(6)))
    kept = copy.deepcopy(ledger)
    deal(people(*range(9)), ledger)
    deal(people(*range(9)), ledger, seed=5)
    assert ledger == kept


# ---- batches --------------------------------------------------------------------------------------------------------


def batches_of(placed, key="batch") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, case in placed.items():
        found.setdefault(getattr(case, key), set()).add(name)
    return found


def test_small_cohorts_have_a_batch_for_each_case():
    placed, _ = deal(people(*range(5)))
    assert sorted(batches_of(placed)) == ["b0001", "b0002", "b0003", "b0004", "b0005"]


def test_large_cohorts_share_batches():
    placed, _ = deal(people(*range(401)))
    found = batches_of(placed)
    assert max(map(len, found.values())) == 3
    assert len(found) == 134


def test_a_batch_of_predictions_holds_one_fold():
    placed, _ = deal(people(*range(30)), per_predict_job=4, test_fraction=0.2)
    for batch, names in batches_of(placed, "fold_batch").items():
        assert {f"f{placed[name].fold}" for name in names} == {batch.partition("-")[0]}
        assert len(names) <= 4


@settings(max_examples=50, deadline=None)
@given(cohorts, cohorts, splits, st.integers(1, 7), st.integers(1, 7), st.integers(1, 7))
def test_batches_only_grow_in_number(first, then, split, per_job, per_predict_job, other):
    sizes = {"per_job": per_job, "per_predict_job": per_predict_job}
    before, ledger = deal(first, **sizes, **split)
    everybody = [*first, *[case for case in then if case.case not in before]]
    after, _ = deal(everybody, ledger, per_job=other, per_predict_job=other, **split)
    for key, size in (("batch", per_job), ("fold_batch", per_predict_job)):
        old, new = batches_of(before, key), batches_of(after, key)
        assert all(len(names) <= size for names in old.values())
        assert {batch: new[batch] for batch in old} == old


def test_batches_of_who_is_gone_are_not_given_to_others():
    before, ledger = deal(people(1, 2, 3), per_job=1)
    after, _ = deal(people(1, 4), ledger, per_job=1)
    assert after["p4_ct1"].batch not in {case.batch for case in before.values()}


def test_other_split_settings_leave_the_batches_of_images_alone():
    before, ledger = deal(people(*range(8)), per_job=3)
    after, _ = deal(people(*range(8)), ledger, per_job=3, seed=9)
    assert batches_of(after) == batches_of(before)


# ---- members of a fold ----------------------------------------------------------------------------------------------


def test_a_model_trains_on_the_first_cohort_for_good():
    placed, ledger = deal(people(*range(9)), test_fraction=0.3)
    listed = members(ledger, list(placed.values()), "1", refit=False)
    folds = folds_of(placed)
    assert listed["validation"] == sorted(name for name, fold in folds.items() if fold == "1")
    assert listed["train"] == sorted(name for name, fold in folds.items() if fold in ("0", "2"))
    # Neither a newcomer nor a loss changes the list, so nothing is trained again.
    later, ledger = deal(people(*range(1, 9), 70, 71), ledger, test_fraction=0.3)
    assert members(ledger, list(later.values()), "1", refit=False) == listed


def test_with_refit_a_model_trains_on_who_is_there_now():
    placed, ledger = deal(people(*range(9)))
    cases = [*people(*range(1, 9)), case_of("p70_ct1", "p70")]
    later, ledger = deal(cases, ledger)
    listed = members(ledger, list(later.values()), "1", refit=True)
    assert "p0_ct1" not in {*listed["train"], *listed["validation"]}
    assert {*listed["train"], *listed["validation"]} == set(later)
    assert set(listed["validation"]) == {name for name, case in later.items() if case.fold == "1"}
    # Another scan under the same name trains again as well.
    changed = [replace(case, source="sha256:other") if case.case == "p3_ct1" else case for case in later.values()]
    assert members(ledger, changed, "1", refit=True) != listed
    assert placed["p3_ct1"].fold == later["p3_ct1"].fold


# ---- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refit", [False, True])
def test_no_model_ever_sees_the_test_set(refit):
    placed, ledger = deal(people(*range(10)), test_fraction=0.4)
    held_out = {name for name, case in placed.items() if case.fold == TEST}
    assert len(held_out) == 4
    for fold in ("0", "1", "2"):
        listed = members(ledger, list(placed.values()), fold, refit=refit)
        assert not held_out & {*listed["train"], *listed["validation"]}
        assert len({*listed["train"], *listed["validation"]}) == 6


def test_the_table_of_cases_comes_back_as_it_was(tmp_path):
    placed, _ = deal([*people(3, 1, 2, manufacturer='Q "Medical"\tInc'), case_of("z_ct1", kernel="B30s;x,y")])
    path = tmp_path / "cases.tsv"
    path.write_text(cases_text(placed.values()))
    found = read_cases(path)
    assert [case.case for case in found] == ["p1_ct1", "p2_ct1", "p3_ct1", "z_ct1"]
    assert found[0] == replace(placed["p1_ct1"], manufacturer='Q "Medical" Inc')
    assert found[3] == placed["z_ct1"]


def test_a_missing_table_names_the_command(tmp_path):
    with pytest.raises(StudyError, match="cohortseg index"):
        read_cases(tmp_path / "cases.tsv")


@pytest.mark.parametrize("text", ["case\tsubject\na\tb\n", "case\tvoxels\na\tmany\n"])
def test_a_table_of_another_version_is_refused(tmp_path, text):
    path = tmp_path / "cases.tsv"
    path.write_text(text)
    with pytest.raises(StudyError, match="another version"):
        read_cases(path)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\n@x"])
def test_no_spreadsheet_takes_a_cell_for_a_formula(cell):
    assert safe_cell(cell).startswith("'")


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_a_cell_stays_on_its_line_and_is_safe_for_good(text):
    once = safe_cell(text)
    assert len(once.splitlines()) <= 1
    assert "\t" not in once
    assert safe_cell(once) == once


def test_numbers_stay_numbers():
    assert table_text([{"n": -3, "x": 0.5}], ["n", "x"]) == "n\tx\n-3\t0.5\n"
