"""A batch: done is skipped, bad is rejected, a fault fails the job at its end, and nothing spoils the others."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cohortseg.errors import Rejected, SettingsError, StudyError
from cohortseg.io.sidecar import read_json, run_path
from cohortseg.steps import batch
from cohortseg.steps.batch import Work, describe, run_batch, run_case


class Desk:
    """Work on cases `a`, `b`, … in a folder; remembers which were made."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, []
        self.inputs: dict[str, dict] = {}
        self.upstream: dict[str, dict] = {}
        self.guards: dict[str, str] = {}
        self.faults: dict[str, BaseException] = {}

    def store(self, case: str) -> Path:
        return self.root / case / "image.zarr"

    def sidecar(self, case: str) -> dict:
        return read_json(self.root / case / "image.json")

    def make(self, case: str) -> dict:
        self.made.append(case)
        self.store(case).mkdir(parents=True, exist_ok=True)
        (self.store(case) / "0").write_text(f"voxels of {case}")
        if case in self.faults:
            raise self.faults[case]
        return {"content": f"content of {case}", "facts": {"n": len(case)}}

    def work(self, case: str) -> Work:
        return Work(
            stage="convert",
            sidecar=self.root / case / "image.json",
            stores=(self.store(case),),
            inputs=self.inputs.get(case, {}),
            upstream=self.upstream.get(case),
            make=lambda: self.make(case),
            guard=(self.root / "private" / case, self.guards[case]) if case in self.guards else None,
        )

    @property
    def token(self) -> Path:
        return self.root / "done" / "b0001.json"

    def run(self, *cases: str, settings: str = "{}") -> list[str]:
        """Run a batch; the cases that were made in it."""
        self.made.clear()
        run_batch(list(cases), self.work, settings, self.token)
        return list(self.made)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


# ---- done -----------------------------------------------------------------------------------------------------------


def test_a_case_is_made_and_says_so(desk):
    assert desk.run("a", "b") == ["a", "b"]
    record = desk.sidecar("a")
    assert (record["status"], record["reason"], record["found"]) == ("ok", None, None)
    assert (record["stage"], record["content"], record["facts"]) == ("convert", "content of a", {"n": 1})
    assert record["key"].startswith("sha256:")
    assert read_json(desk.token) == {
        "cases": {
            case: {"status": "ok", "stage": "convert", "reason": None, "content": f"content of {case}"} for case in "ab"
        }
    }


def test_what_a_run_took_stands_apart_from_what_it_made(desk):
    desk.run("a")
    record = read_json(run_path(desk.root / "a" / "image.json"))
    assert {"seconds", "cpu_seconds", "peak_memory_mb", "host", "cohortseg", "finished"} <= set(record)
    assert not {"seconds", "host", "finished"} & set(desk.sidecar("a"))


def test_done_cases_are_not_made_again(desk):
    desk.run("a", "b")
    before = (desk.root / "a" / "image.json").read_bytes()
    assert desk.run("a", "b", "c") == ["c"]
    assert (desk.root / "a" / "image.json").read_bytes() == before
    assert set(read_json(desk.token)["cases"]) == {"a", "b", "c"}


def test_the_token_is_the_same_whether_cases_were_made_or_found_done(desk):
    desk.run("a", "b")
    first = desk.token.read_bytes()
    desk.token.unlink()
    desk.run("a", "b")
    assert desk.token.read_bytes() == first


def test_changed_settings_make_all_cases_again(desk):
    desk.run("a", "b")
    assert desk.run("a", "b", settings='{"x": 1}') == ["a", "b"]


def test_changed_inputs_make_their_own_case_again(desk):
    desk.run("a", "b")
    desk.inputs["b"] = {"image": "sha256:other"}
    assert desk.run("a", "b") == ["b"]


def test_a_raised_revision_makes_all_cases_again(desk, monkeypatch):
    desk.run("a", "b")
    raised = batch.STAGES["convert"].__class__(**{**vars(batch.STAGES["convert"]), "revision": 99})
    monkeypatch.setitem(batch.STAGES, "convert", raised)
    assert desk.run("a", "b") == ["a", "b"]


def test_a_store_that_is_gone_is_made_again(desk):
    desk.run("a", "b")
    (desk.store("a") / "0").unlink()
    desk.store("a").rmdir()
    assert desk.run("a", "b") == ["a"]


@pytest.mark.parametrize("text", ["", "{", "{}", None])
def test_a_sidecar_that_is_damaged_or_gone_is_made_again(desk, text):
    desk.run("a")
    before = desk.sidecar("a")
    if text is None:
        (desk.root / "a" / "image.json").unlink()
    else:
        (desk.root / "a" / "image.json").write_text(text)
    assert desk.run("a") == ["a"]
    assert desk.sidecar("a") == before


# ---- rejected -------------------------------------------------------------------------------------------------------


def test_a_rejected_case_does_not_spoil_the_others(desk):
    desk.faults["b"] = Rejected("MISSING_SLICE", "1 of 9 distances")
    assert desk.run("a", "b", "c") == ["a", "b", "c"]
    assert [desk.sidecar(case)["status"] for case in "abc"] == ["ok", "rejected", "ok"]
    assert read_json(desk.token)["cases"]["b"]["reason"] == "MISSING_SLICE"


def test_a_rejected_case_says_why_and_keeps_no_store(desk):
    desk.faults["a"] = Rejected("TRUNCATED", "7 of 9 kB")
    desk.run("a")
    record = desk.sidecar("a")
    assert (record["status"], record["reason"], record["found"]) == ("rejected", "TRUNCATED", "7 of 9 kB")
    assert record["content"].startswith("sha256:")
    assert not desk.store("a").exists()


def test_a_rejected_case_is_not_tried_again_until_something_changes(desk):
    desk.faults["a"] = Rejected("TRUNCATED", "7 of 9 kB")
    desk.run("a")
    assert desk.run("a") == []
    desk.inputs["a"] = {"image": "sha256:other"}
    assert desk.run("a") == ["a"]


def test_a_case_that_is_mended_is_rejected_no_longer(desk):
    desk.faults["a"] = Rejected("TRUNCATED", "7 of 9 kB")
    desk.run("a")
    del desk.faults["a"]
    desk.run("a", settings='{"x": 1}')
    assert desk.sidecar("a")["status"] == "ok"
    assert desk.store("a").exists()


def test_another_reason_is_another_content(desk):
    contents = []
    for reason, found in (("TRUNCATED", "7 kB"), ("TRUNCATED", "8 kB"), ("MISSING_SLICE", "7 kB")):
        desk.faults["a"] = Rejected(reason, found)
        desk.run("a", settings=found + reason)
        contents.append(desk.sidecar("a")["content"])
    assert len(set(contents)) == 3


def test_a_rejection_upstream_is_handed_on_without_any_work(desk):
    desk.run("a")
    desk.upstream["a"] = {"status": "rejected", "stage": "index", "reason": "GANTRY_TILT", "found": "12 degrees"}
    desk.inputs["a"] = {"image": "sha256:rejected"}
    assert desk.run("a", "b") == ["b"]
    record = desk.sidecar("a")
    # The stage that refused it, not the one that passes it on.
    assert {key: record[key] for key in ("status", "stage", "reason", "found")} == desk.upstream["a"]
    assert not desk.store("a").exists()


def test_a_rejected_store_may_be_a_file(desk, tmp_path):
    target = tmp_path / "label.nii.gz"
    target.write_text("old")

    def make():
        raise Rejected("TRUNCATED", "7 of 9 kB")

    work = Work("export", tmp_path / "export.json", (target,), {}, None, make)
    run_case(work, "{}")
    assert not target.exists()
    run_case(work, "{}")


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_a_fault_of_one_case_lets_the_others_finish_and_fails_the_job(desk):
    desk.faults["b"] = OSError(28, "No space left on device", "/data/Doe^Jane/1.dcm")
    with pytest.raises(StudyError, match=r"^case 'b': OSError: No space left on device$"):
        desk.run("a", "b", "c")
    assert desk.made == ["a", "b", "c"]
    assert not desk.token.exists()
    assert not (desk.root / "b" / "image.json").exists()
    # The next try makes the rest only.
    del desk.faults["b"]
    assert desk.run("a", "b", "c") == ["b"]
    assert desk.token.exists()


def test_all_faults_are_told(desk):
    desk.faults |= {"a": MemoryError(), "c": ZeroDivisionError("of Doe^Jane")}
    with pytest.raises(StudyError, match=r"case 'a': MemoryError: ; case 'c': ZeroDivisionError$"):
        desk.run("a", "b", "c")


def test_a_fault_in_finding_out_what_to_do_is_a_fault_of_its_case(desk):
    def work_of(case):
        if case == "a":
            raise StudyError("missing: a/image.json")
        return desk.work(case)

    with pytest.raises(StudyError, match=r"case 'a': StudyError: missing: a/image\.json"):
        run_batch(["a", "b"], work_of, "{}", desk.token)
    assert desk.sidecar("b")["status"] == "ok"


def test_an_interruption_is_no_fault_of_a_case(desk):
    desk.faults["a"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        desk.run("a", "b")
    assert desk.made == ["a"]


def test_a_sidecar_never_vouches_for_a_store_that_was_begun_anew(desk):
    # Settings are changed, the work dies half way, the settings are changed back.
    desk.run("a")
    desk.faults["a"] = OSError(28, "No space left on device")
    with pytest.raises(StudyError):
        desk.run("a", settings='{"x": 1}')
    del desk.faults["a"]
    assert desk.run("a") == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from cohortseg.steps.batch import Work, run_batch

root = Path(sys.argv[1])

def make(case):
    (root / case).mkdir()
    if case == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"content": case}

work = lambda case: Work("convert", root / f"{case}.json", (root / case,), {}, None, lambda: make(case))
run_batch(["a", "b", "c"], work, "{}", root / "token.json")
"""


def test_after_a_kill_what_was_done_is_done_and_there_is_no_token(tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.json", "a.run.json", "b"]


# ---- a private guard ------------------------------------------------------------------------------------------------


def test_what_a_killed_writer_left_half_written_goes_when_the_case_is_made(desk):
    (desk.root / "a").mkdir()
    for name in (".image.json.77.part", ".image.run.json.77.part"):
        (desk.root / "a" / name).write_text("half")
    desk.run("a")
    assert sorted(path.name for path in (desk.root / "a").iterdir()) == ["image.json", "image.run.json", "image.zarr"]


def test_a_guard_that_changed_makes_the_case_again(desk):
    desk.guards["a"] = "paths and times"
    assert desk.run("a") == ["a"]
    assert desk.run("a") == []
    desk.guards["a"] = "other paths"
    assert desk.run("a") == ["a"]
    assert (desk.root / "private" / "a").read_text() == "other paths"
    assert desk.run("a") == []


def test_a_guard_that_is_gone_makes_the_case_again(desk):
    desk.guards["a"] = "paths and times"
    desk.run("a")
    (desk.root / "private" / "a").unlink()
    assert desk.run("a") == ["a"]


def test_a_guard_holds_for_rejected_cases_too(desk):
    desk.guards["a"] = "paths and times"
    desk.faults["a"] = Rejected("TRUNCATED", "7 of 9 kB")
    desk.run("a")
    assert desk.run("a") == []
    desk.guards["a"] = "a new copy"
    assert desk.run("a") == ["a"]


def test_a_guard_leaves_no_trace_in_what_is_shared(desk):
    desk.guards["a"] = "Doe^Jane"
    desk.run("a")
    for path in (desk.root / "a" / "image.json", desk.root / "a" / "image.run.json", desk.token):
        assert "Doe" not in path.read_text()


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StudyError("no plan"), "StudyError: no plan"),
        (SettingsError("bad"), "SettingsError: bad"),
        (MemoryError("9 GB"), "MemoryError: 9 GB"),
        (
            FileNotFoundError(2, "No such file or directory", "/x/Doe.dcm"),
            "FileNotFoundError: No such file or directory",
        ),
        (ValueError("Doe^Jane"), "ValueError"),
        (KeyError("/data/Doe"), "KeyError"),
    ],
)
def test_a_foreign_error_is_told_by_its_kind_alone(error, said):
    assert describe(error) == said


def test_the_log_names_each_case_and_the_place_of_a_fault_but_no_text_of_it(desk, capsys, monkeypatch):
    monkeypatch.delenv("COHORTSEG_DEBUG", raising=False)
    desk.faults |= {"b": Rejected("MISSING_SLICE", "one"), "c": ValueError("of Doe^Jane")}
    with pytest.raises(StudyError):
        desk.run("a", "b", "c")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/3 a: done (")
    assert lines[1].startswith("2/3 b: rejected: MISSING_SLICE: one (")
    assert lines[2] == "3/3 c: FAILED: ValueError"
    assert any("test_batch.py" in line and line.endswith(" make") for line in lines[3:])
    assert not any("Doe" in line for line in lines)
    desk.faults.clear()
    desk.run("a", "b")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/2 a: already done (")
    assert lines[1].startswith("2/2 b: rejected: MISSING_SLICE (")


def test_the_whole_text_of_a_fault_is_told_when_asked_for(desk, capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "COHORTSEG_DEBUG", "1")
    desk.faults["a"] = ValueError("of Doe^Jane")
    with pytest.raises(StudyError):
        desk.run("a")
    assert "ValueError: of Doe^Jane" in capsys.readouterr().err


def test_a_batch_of_nothing_is_done(desk):
    assert desk.run() == []
    assert json.loads(desk.token.read_text()) == {"cases": {}}
