"""The names of subjects and cases: safe, stable, and no identity among them."""

import re

import pytest
from catalogue_records import IMAGES, file, found, only, series
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.names import Identities, slug


def names_of(files, identities=None, /, **options) -> dict[str, str]:
    """Original id to name of the subject."""
    identities = Identities() if identities is None else identities
    found(files, identities, **options)
    return dict(identities.subjects)


def test_an_id_is_kept_only_when_the_header_says_that_identity_was_removed():
    names = names_of([*series("P1"), *series("P2", identity_removed=False)])
    assert names == {"P1": "p1", "P2": "sub-0001"}


def test_one_identified_slice_is_enough_to_give_a_number():
    files = series("P1")
    files[3].header["identity_removed"] = False
    assert names_of(files) == {"P1": "sub-0001"}


def test_one_identified_series_of_a_person_is_enough_to_give_a_number():
    assert names_of([*series("P1", "2.1"), *series("P1", "2.2", identity_removed=False)]) == {"P1": "sub-0001"}


def test_ids_are_kept_when_the_user_vouches_for_them():
    assert names_of(series("P1", identity_removed=False), deidentified=True) == {"P1": "p1"}
    assert names_of([file("images/Doe.nii")], images=IMAGES) == {"Doe": "sub-0001"}
    assert names_of([file("images/Doe.nii")], images=IMAGES, deidentified=True) == {"Doe": "doe"}


def test_no_uid_becomes_a_name():
    result = found(series(None, "2.25.1", study_uid="1.2.840.99"))
    assert (only(result).subject, only(result).case) == ("sub-0001", "sub-0001_ct1")


def test_the_order_of_the_numbers_says_nothing_about_the_ids():
    ids = [f"{n:03d}" for n in range(40)]
    names = names_of([one for patient in ids for one in series(patient, n=5, identity_removed=False)])
    assert sorted(names.values()) == [f"sub-{n:04d}" for n in range(1, 41)]
    assert [names[patient] for patient in ids] != sorted(names.values())


def test_nobody_is_renamed_when_others_arrive():
    identities = Identities()
    first = [one for n in (5, 6, 7) for one in series(f"X{n}", identity_removed=False)]
    then = [one for n in range(12) for one in series(f"X{n}", identity_removed=False)]
    before, cases = names_of(first, identities), dict(identities.cases)
    after = names_of(then, identities)
    assert {patient: after[patient] for patient in before} == before
    assert {key: identities.cases[key] for key in cases} == cases
    assert sorted(set(after.values()) - set(before.values())) == [f"sub-{n:04d}" for n in range(4, 13)]


def test_nobody_inherits_the_name_of_who_is_gone():
    identities = Identities()
    names_of(series("X1", identity_removed=False), identities)
    assert names_of(series("X2", identity_removed=False), identities)["X2"] == "sub-0002"


def test_a_second_scan_gets_the_next_number():
    identities = Identities()
    found(series("P1", "2.1"), identities)
    result = found([*series("P1", "2.0"), *series("P1", "2.1")], identities)
    assert {result.sources[case.case]["channels"][0]["key"]: case.case for case in result.cases} == {
        "2.1": "p1_ct1",
        "2.0": "p1_ct2",
    }


def test_an_id_that_looks_like_a_number_of_ours_is_not_kept():
    names = names_of([*series("SUB-0001"), *series("X", identity_removed=False)])
    assert names["SUB-0001"] != names["X"]
    assert set(names.values()) == {"sub-0001", "sub-0002"}


def test_ids_that_become_one_name_become_two_subjects():
    names = names_of([*series("P.1"), *series("P-1"), *series("p 1")])
    assert len(set(names.values())) == 3
    assert "p-1" in names.values()


@pytest.mark.parametrize(
    "patient", ["../../x", "/etc/passwd", "..", ".", "a/b", "C:\\x", "", "\0", "-rf", "*?[x]", "con\n"]
)
def test_no_id_becomes_a_path(patient):
    result = found(series(patient, "2.1"), deidentified=True)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*_ct1", only(result).case)
    assert "/" not in only(result).subject


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_a_slug_is_safe_in_paths(text):
    assert re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,39}))?", slug(text))
    assert slug(slug(text)) == slug(text)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=8), st.booleans())
def test_no_two_people_share_a_name(patients, removed):
    names = names_of([one for n, p in enumerate(patients) for one in series(p, f"2.{n}", identity_removed=removed)])
    assert len(set(names.values())) == len(names) == len(set(patients))
