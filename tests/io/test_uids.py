"""UIDs: valid, always the same for the same thing, and not to be traced back."""

import re
import stat
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.errors import StudyError
from cohortseg.io.uids import derived_uid, remapped, study_key

VALID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
UIDS = st.from_regex(r"\A1\.[1-9][0-9]{0,10}(\.[1-9][0-9]{0,10}){0,4}\Z")


def is_valid(uid: str) -> bool:
    """PS3.5 9.1: digits and dots, no leading zeros, 64 characters; B.2: a UUID under 2.25."""
    number = uuid.UUID(int=int(uid.removeprefix("2.25.")))
    return bool(VALID.fullmatch(uid)) and len(uid) <= 64 and (number.version, number.variant) == (8, uuid.RFC_4122)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_derived_uid_is_valid_and_always_the_same(parts):
    assert is_valid(derived_uid(*parts))
    assert derived_uid(*parts) == derived_uid(*parts)


@pytest.mark.parametrize("other", [("ab", "c"), ("a", "b", "c"), ("bc", "a"), ("abc",), ("a", "bc", "")])
def test_other_parts_give_another_uid(other):
    assert derived_uid("a", "bc") != derived_uid(*other)


@given(UIDS)
def test_a_remapped_uid_is_valid_and_depends_on_the_key_alone(uid):
    assert is_valid(remapped(uid, KEY))
    assert remapped(uid, KEY) == remapped(uid, KEY) != remapped(uid, OTHER)
    assert remapped(uid, KEY) != uid


@given(st.lists(UIDS, unique=True, min_size=2, max_size=20))
def test_different_uids_stay_different(uids):
    assert len({remapped(uid, KEY) for uid in uids}) == len(uids)


@pytest.mark.parametrize("padded", ["1.2.3\0", "1.2.3 ", " 1.2.3", "1.2.3"])
def test_padding_does_not_matter(padded):
    assert remapped(padded, KEY) == remapped("1.2.3", KEY)


def test_uids_of_the_standard_stay_as_they_are():
    assert remapped("1.2.840.10008.5.1.4.1.1.2", KEY) == "1.2.840.10008.5.1.4.1.1.2"
    assert remapped("1.2.840.100081.5", KEY) != "1.2.840.100081.5"


@pytest.mark.parametrize(("uid", "key"), [("", KEY), ("\0", KEY), ("1.2.3", b"")])
def test_nothing_is_not_remapped(uid, key):
    with pytest.raises(ValueError, match="needed"):
        remapped(uid, key)


def test_the_key_of_a_study_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "private" / "uid.key"
    key = study_key(path)
    assert len(key) == 32
    assert study_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["uid.key"]
    assert study_key(tmp_path / "other" / "uid.key") != key


def test_jobs_that_ask_at_the_same_moment_get_the_same_key(tmp_path):
    path = tmp_path / "uid.key"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(study_key, [path] * 32))) == 1


def test_a_damaged_key_is_no_key(tmp_path):
    (tmp_path / "uid.key").write_bytes(b"short")
    with pytest.raises(StudyError, match=r"uid\.key holds 5 of 32 bytes"):
        study_key(tmp_path / "uid.key")
