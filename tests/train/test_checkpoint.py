"""A checkpoint is read back whole, or not at all."""

import logging
import pickle

import pytest
import torch

from cohortseg.train.checkpoint import identity_of, read_checkpoint, write_checkpoint

STATE = {"network": {"a": torch.arange(6.0).view(2, 3)}, "history": [{"step": 1, "dice": float("nan")}], "best": None}


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "c.pt", STATE, identity="run")
    state = read_checkpoint(tmp_path / "c.pt", identity="run")
    assert state is not None
    assert torch.equal(state["network"]["a"], STATE["network"]["a"])
    assert state["history"][0]["step"] == 1
    assert state["best"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_no_file_is_no_state(tmp_path, caplog):
    assert read_checkpoint(tmp_path / "c.pt", identity="run") is None
    assert caplog.records == []


@pytest.mark.parametrize("keep", [0, 1, 10, 500, -1, -30])
def test_a_cut_file_is_ignored_with_a_note(tmp_path, caplog, keep):
    path = tmp_path / "c.pt"
    write_checkpoint(path, STATE, identity="run")
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert read_checkpoint(path, identity="run") is None
    assert "damaged" in caplog.text


def test_changed_bytes_are_ignored_with_a_note(tmp_path, caplog):
    path = tmp_path / "c.pt"
    write_checkpoint(path, STATE, identity="run")
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(200) + content[400:])
    assert read_checkpoint(path, identity="run") is None
    assert caplog.records


def test_a_checkpoint_of_another_run_is_ignored_with_a_note(tmp_path, caplog):
    write_checkpoint(tmp_path / "c.pt", STATE, identity="run")
    assert read_checkpoint(tmp_path / "c.pt", identity="other") is None
    assert "another training" in caplog.text


class Harm:
    """Code in a pickle."""

    def __reduce__(self):
        return print, ("harm done",)


def test_code_in_the_file_is_not_executed(tmp_path, capsys):
    torch.save({"identity": "run", "harm": Harm()}, tmp_path / "c.pt")
    assert read_checkpoint(tmp_path / "c.pt", identity="run") is None
    (tmp_path / "c.pt").write_bytes(pickle.dumps({"identity": "run", "harm": Harm()}))
    assert read_checkpoint(tmp_path / "c.pt", identity="run") is None
    assert "harm done" not in capsys.readouterr().out


def test_the_identity_tells_values_apart_and_not_their_order():
    assert identity_of({"a": 1, "b": [2.0, "x"]}) == identity_of({"b": [2.0, "x"], "a": 1})
    assert identity_of({"a": 1}) != identity_of({"a": 2})
