"""Sidecars: equal values give equal text, and a file is there whole or not at all."""

import hashlib
import json
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import StudyError
from cohortseg.io.sidecar import (
    digest,
    dumps,
    file_digest,
    read_json,
    read_sidecar,
    run_path,
    write_if_changed,
    write_json,
    write_text,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(plain)
def test_plain_values_come_back_from_json(value):
    assert json.loads(dumps(value)) == value


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), plain, min_size=2), st.randoms())
def test_the_order_of_keys_plays_no_part(value, random):
    shuffled = dict(random.sample(list(value.items()), len(value)))
    assert digest(shuffled) == digest(value)


@settings(max_examples=50, deadline=None)
@given(plain, plain)
def test_other_values_have_other_digests(one, other):
    assert (digest(one) == digest(other)) == (dumps(one) == dumps(other))


def test_a_digest_is_the_sha_256_of_the_sorted_json():
    assert digest({"b": [1, 2.5], "a": None}) == "sha256:" + hashlib.sha256(b'{"a": null, "b": [1, 2.5]}').hexdigest()


def test_what_json_cannot_say_becomes_null():
    assert (
        dumps({"a": [math.nan, (math.inf, -math.inf)], "b": {"c": math.nan}})
        == '{"a": [null, [null, null]], "b": {"c": null}}'
    )


def test_keys_become_text_and_other_letters_are_escaped():
    assert dumps({1: "ü"}) == '{"1": "\\u00fc"}'


def test_a_file_name_that_is_no_text_survives_json(tmp_path):
    write_json(tmp_path / "source.json", {"path": "M\udcfcller.dcm"})
    assert read_json(tmp_path / "source.json") == {"path": "M\udcfcller.dcm"}


# ---- writing --------------------------------------------------------------------------------------------------------


def test_writing_makes_folders_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a" / "b" / "image.json"
    write_json(path, {"status": "ok"})
    assert [one.name for one in path.parent.iterdir()] == ["image.json"]
    assert path.read_text() == '{\n "status": "ok"\n}\n'


def test_equal_values_give_equal_bytes(tmp_path):
    write_json(tmp_path / "one.json", {"b": 1, "a": [0.1, 1e-9]})
    write_json(tmp_path / "two.json", {"a": [0.1, 1e-9], "b": 1})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_when_writing_fails_the_old_text_stays(tmp_path, monkeypatch):
    path = tmp_path / "image.json"
    write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["image.json"]


def test_values_that_cannot_be_written_leave_the_old_text(tmp_path):
    path = tmp_path / "image.json"
    write_text(path, "old")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == "old"


def test_the_time_of_a_file_tells_of_a_change(tmp_path):
    path = tmp_path / "cases.tsv"
    assert write_if_changed(path, "a\n")
    os.utime(path, ns=(10**18, 10**18))
    assert not write_if_changed(path, "a\n")
    assert path.stat().st_mtime_ns == 10**18
    assert write_if_changed(path, "b\n")
    assert path.stat().st_mtime_ns != 10**18


# ---- reading --------------------------------------------------------------------------------------------------------


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(StudyError, match=r"missing: case_1/image\.json; run the workflow again"):
        read_json(tmp_path / "case_1" / "image.json")


@pytest.mark.parametrize("content", [b"", b'{"status": "o', b"\xff\xfe\x00"])
def test_a_damaged_file_says_what_to_do(tmp_path, content):
    (tmp_path / "image.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"damaged: .*/image\.json; remove it"):
        read_json(tmp_path / "image.json")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'"ok"', b"{}", b"\xff"])
def test_what_is_no_sidecar_counts_as_none(tmp_path, content):
    if content is not None:
        (tmp_path / "image.json").write_bytes(content)
    assert read_sidecar(tmp_path / "image.json") is None


def test_a_sidecar_has_a_status(tmp_path):
    write_json(tmp_path / "image.json", {"status": "rejected"})
    assert read_sidecar(tmp_path / "image.json") == {"status": "rejected"}


def test_the_run_record_lies_beside_its_sidecar(tmp_path):
    assert run_path(tmp_path / "image.json") == tmp_path / "image.run.json"


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    # The example of FIPS 180-2.
    assert file_digest(tmp_path / "x") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
