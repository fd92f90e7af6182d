"""Forgetting a person: all that the study derived goes, nothing else, and a removal that was cut off is finished."""

import argparse
import json
import os
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from study_by_hand import case_of, sidecar_of, study_of, write_token

from cohortseg.cli.forget import add_arguments, run
from cohortseg.cohort import Case
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, write_json, write_text
from cohortseg.layout import Layout

PERSON, CASES = "sub-0002", ("sub-0002_ct1", "sub-0002_ct2")
"""The one to be forgotten: a case, and a scan that the index refused."""
OTHERS = ("sub-0001_ct1", "sub-0020_ct1", "sub-0003_ct1")
IDS = {"MRN-2": PERSON, "MRN-1": "sub-0001", "MRN-20": "sub-0020", "MRN-3": "sub-0003"}
NAMES = {"sub-0001_ct1": "1.1", CASES[0]: "1.2", CASES[1]: "1.22", "sub-0020_ct1": "1.20", "sub-0003_ct1": "1.3"}
SERIES = "case\tsubject\tmodality\tstatus\treason\n"
WORDS = re.compile(rf"(?<![\w-])({PERSON}|{'|'.join(CASES)})(?![\w-])|MRN-2(?!\d)|1\.2(?!\d)|1\.22|scan2\b")


def cohort() -> list[Case]:
    """Folds 0 and 1; sub-0003 is kept for the test."""
    folds = dict.fromkeys(("0", "1"), "cohort")
    assert folds
    places = {"sub-0001_ct1": "0", CASES[0]: "1", "sub-0020_ct1": "1", "sub-0003_ct1": "test"}
    return [
        case_of(name, name.partition("_")[0], fold=fold, fold_batch=f"f{fold}-b0001") for name, fold in places.items()
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Layout:
    layout = study_of(tmp_path_factory.mktemp("home") / "study", *cohort(), rejected=())
    write_text(layout.rejected_table, f"case\tsubject\tstage\treason\n{CASES[1]}\t{PERSON}\tindex\tTOO_FEW_SLICES\n")
    rows = "".join(f"{name}\t{name.partition('_')[0]}\tCT\tcase\t\n" for name in NAMES)
    write_text(
        layout.series_table, f"{SERIES}{rows}{CASES[0]}\t{PERSON}\trtstruct\tlabel\t\n\t\tOT\tnot used\tNOT_DICOM\n"
    )
    write_text(layout.settings, "study: tiny\n")
    _private(layout)
    _cases(layout)
    for experiment in ("net", "other"):
        _model(layout, experiment)
    write_json(layout.plan, {"version": 1, "seen": {"cases": ["sub-0001_ct1", CASES[0], "sub-0020_ct1"]}})
    for name in ("summary", "metrics_by_case"):
        write_text(layout.table(name), f"case\n{CASES[0]}\n" if name == "metrics_by_case" else "mean\n0.5\n")
    write_text(layout.report, f"<p>{CASES[0]}</p>")
    return layout


def _private(layout: Layout) -> None:
    cases = {uid: name for name, uid in NAMES.items()}
    write_json(layout.identities, {"subjects": IDS, "cases": cases})
    files = "path\tkind\tcase\tfate\tproblem\n"
    with closing(sqlite3.connect(layout.headers_cache)) as database, database:
        database.execute("CREATE TABLE headers (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, record TEXT)")
        for name, uid in NAMES.items():
            path, patient = f"scan{uid.partition('.')[2]}/a.dcm", next(i for i, s in IDS.items() if name.startswith(s))
            header = {"patient_id": patient, "series_uid": uid}
            database.execute("INSERT INTO headers VALUES (?, 9, 9, ?)", (path.encode(), json.dumps([header, ""])))
            files += f"{path}\timage\t{name}\timage\t\n"
            if name != CASES[1]:
                write_json(
                    layout.source(name), {"root": "/x", "files": [{"path": path}], "label": {"path": f"{path}.nii"}}
                )
                write_text(layout.source_key(name), f"key of {uid}")
        # A label file has no header, a plan no case: the one is found by its path, the other by its patient.
        stray = ("INSERT INTO headers VALUES (?, 9, 9, ?)", (b"scan2/plan.dcm", '[{"patient_id": "MRN-2"}, ""]'))
        database.execute(*stray)
        database.execute("INSERT INTO headers VALUES (?, 9, 9, ?)", (b"scan2/a.dcm.nii", '[null, ""]'))
        database.execute("INSERT INTO headers VALUES (?, 9, 9, ?)", (b"scan1/a.dcm.nii", '[null, ""]'))
    write_text(layout.files_table, f"{files}scan2/plan.dcm\trtplan\t\tNOT_AN_IMAGE\t\n")


def _cases(layout: Layout) -> None:
    names = [case.case for case in cohort()]
    for name in names:
        for part in ("image.zarr/c/0", "image.json", "prepared.zarr/c/0", "prepared.json"):
            write_text(layout.case(name) / part, "voxels")
    for stage in ("convert", "preprocess"):
        write_token(layout, stage, "b0001", names)
    write_token(layout, "convert", "b0002", [CASES[0]])
    write_json(layout.cohort_fingerprint, {name: {"mean": 1} for name in names})
    write_json(layout.folds, {"folds": {"0": [names[0]], "1": names[1:3]}, "cases": {name: {} for name in names}})
    members = {"train": [names[0]], "validation": names[1:3]}
    write_json(layout.members("0"), {"train": members["validation"], "validation": members["train"]})
    write_json(layout.members("1"), members)
    write_text(layout.root / "logs" / "convert" / "b0001.log", f"1/4 {CASES[0]}: done")
    write_text(layout.root / "logs" / "convert" / "b0003.log", "1/1 sub-0020_ct1: done")
    write_text(layout.root / "benchmarks" / "convert" / "b0001.jsonl", f'{{"params": "{CASES[0]}"}}')


def _model(layout: Layout, experiment: str) -> None:
    """`net` is trained on both folds; `other` on a fold that has no case of the person, and half on one that has."""
    names = {"0": ["sub-0001_ct1"], "1": [CASES[0], "sub-0020_ct1"], "test": ["sub-0003_ct1"]}
    for fold in ("0", "1"):
        folder, listed = layout.model(experiment, fold, 1), read_json(layout.members(fold))
        write_text(folder / "weights.safetensors", "weights")
        if experiment == "net":
            record = sidecar_of("train", members=listed, trained_on=dict.fromkeys(listed["train"], "sha256:1"))
            write_json(folder / "train.json", record)
            write_json(folder / "done.json", record)
        else:
            write_text(folder / "resume.pt", "state")
    models = {"0": "fold-0-seed-1", "1": "fold-1-seed-1", "test": "ensemble-seed-1"}
    for fold, model in models.items():
        for name in names[fold]:
            write_text(layout.prediction(experiment, model, name) / "raw.zarr" / "c", "voxels")
            write_json(layout.prediction(experiment, model, name) / "raw.json", {"status": "ok"})
            for suffix in (".nii.gz", "-tumour.stl", "_tumour.stl"):
                write_text(layout.exported(experiment, model, name, suffix), "label")
        write_token(layout, "predict", f"f{fold}-b0001", [f"{model}/{name}" for name in names[fold]], experiment)


@pytest.fixture
def layout(template, tmp_path) -> Layout:
    return copy_of(template, tmp_path / "study")


def copy_of(template: Layout, root) -> Layout:
    shutil.copytree(template.root, root)
    return Layout(root)


def paths_of(layout: Layout) -> set[str]:
    return {str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file()}


def state_of(layout: Layout) -> dict[str, bytes]:
    """Every file, but the pages of the data base, which are compared by their rows."""
    found = {path: (layout.root / path).read_bytes() for path in paths_of(layout) if not path.endswith(".sqlite")}
    return found | {"headers": repr(header_paths(layout)).encode()}


def header_paths(layout: Layout) -> list[bytes]:
    with closing(sqlite3.connect(layout.headers_cache)) as database:
        return [path for (path,) in database.execute("SELECT path FROM headers ORDER BY path")]


def forget(layout: Layout, *words: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args([*words, "--study", str(layout.root)]))


def who_is_named(layout: Layout) -> set[str]:
    """The files that still hold pseudonym, case, id, UID or path of the person, or are called so."""
    held = {
        path for path in paths_of(layout) if WORDS.search((layout.root / path).read_bytes().decode(errors="replace"))
    }
    return held | {path for path in paths_of(layout) if WORDS.search(path)}


KEPT_WITH_MODELS = {
    *("cohort/ledger.json", "cohort/members/fold-0.json", "cohort/members/fold-1.json", "plan.json"),
    *(f"experiments/net/fold-{fold}-seed-1/{name}.json" for fold in (0, 1) for name in ("train", "done")),
    "private/identities.json",
}


def test_a_dry_run_is_the_default_and_changes_nothing(layout, capsys):
    before = state_of(layout)
    forget(layout, PERSON)
    assert state_of(layout) == before
    told = capsys.readouterr().out
    assert "Nothing was removed: add --yes" in told
    assert re.search(r"1 entry +cohort/cases\.tsv\n", told)
    assert re.search(r"2 entries +cohort/fingerprint\.json", told) is None
    assert re.search(r"3 entries +cohort/series\.tsv\n", told)
    assert re.search(r"0\.0 kB +cases/sub-0002_ct1\n", told)
    assert "MRN-2" not in told


def test_the_models_that_saw_the_person_are_named_with_what_to_do(layout, capsys):
    forget(layout, PERSON)
    told = capsys.readouterr().out
    assert "experiments/net/fold-0-seed-1 (trained on it)" in told
    assert "experiments/net/fold-1-seed-1 (validated on it)" in told
    assert "experiments/other/fold-0-seed-1 (" not in told
    assert "`split.refit: true`" in told
    assert "--models" in told


def test_after_forgetting_only_what_models_need_names_the_person(layout):
    assert len(who_is_named(layout)) > 30
    forget(layout, PERSON, "--yes")
    assert who_is_named(layout) == KEPT_WITH_MODELS
    assert not list(layout.root.rglob(".forgotten-*"))
    identities = read_json(layout.identities)
    assert identities["subjects"] == {key: name for key, name in IDS.items() if name != PERSON} | {
        f"forgotten {PERSON}": PERSON
    }
    assert set(identities["cases"].values()) == set(OTHERS)


def test_with_the_models_only_the_pseudonym_is_kept(layout):
    forget(layout, PERSON, "--models", "--yes")
    assert who_is_named(layout) == {"private/identities.json"}
    assert not list((layout.root / "experiments" / "net").glob("*"))
    assert not layout.plan.exists()
    assert set(read_json(layout.ledger)["cases"]) == set(OTHERS)
    # What was never trained on the person stays, but for half-made networks, which start again.
    assert {path.name for path in (layout.root / "experiments" / "other").glob("*")} == {
        *("done", "ensemble-seed-1", "fold-0-seed-1", "fold-1-seed-1")
    }


def test_models_can_still_be_removed_after_the_person_was_forgotten(layout, capsys):
    forget(layout, PERSON, "--yes")
    forget(layout, PERSON, "--models", "--yes")
    assert who_is_named(layout) == {"private/identities.json"}
    capsys.readouterr()
    forget(layout, PERSON, "--models", "--yes")
    told = capsys.readouterr().out
    assert told.startswith(f"nothing left of {PERSON}\n")
    assert "id is not known" not in told


def test_clinical_data_go_with_the_person(layout):
    layout.clinical.write_text(f"subject\tage\n{PERSON}\t61\nsub-0009\t47\n")
    layout.crate.write_text(f"about {PERSON}")
    forget(layout, PERSON, "--yes")
    assert layout.clinical.read_text() == "subject\tage\nsub-0009\t47\n"
    assert not layout.crate.exists()


def test_all_others_stay_as_they_are(layout):
    before = state_of(layout)
    forget(layout, PERSON, "--yes")
    after = state_of(layout)
    gone = before.keys() - after.keys()
    named = {path for path, text in before.items() if WORDS.search(path) or WORDS.search(text.decode())}
    named |= {path for path in before if path.rpartition("/")[2].startswith(CASES)}
    assert {path for path in gone - named if not path.endswith("resume.pt")} <= {"tables/summary.csv"}
    changed = {path for path in after.keys() & before.keys() if before[path] != after[path]}
    assert changed <= named
    for other in OTHERS:
        assert layout.case(other).joinpath("image.zarr/c/0").exists()
        assert layout.source(other).exists()
    assert list(layout.root.glob("export/*/*/sub-0020_ct1*"))
    assert read_json(layout.token("convert", "b0001"))["cases"].keys() == set(OTHERS)
    assert not layout.token("convert", "b0002").exists()
    assert (layout.root / "logs/convert/b0003.log").exists()
    assert header_paths(layout) == [b"scan1/a.dcm", b"scan1/a.dcm.nii", b"scan20/a.dcm", b"scan3/a.dcm"]
    assert b'MRN-2"' not in layout.headers_cache.read_bytes(), "deleted rows are overwritten"


def _search(layout: Layout) -> None:
    """Two searches of two trials: fold 0 trains on the person, fold 1 keeps it out."""
    for fold, names in (("0", [CASES[0], "sub-0020_ct1"]), ("1", ["sub-0001_ct1"])):
        write_json(layout.inner("net", fold), {"folds": [{"train": [], "validation": names}]})
        for number in (0, 1):
            record = sidecar_of("trial", number=number, score=0.5, inner=[{name: [0.5] for name in names}])
            write_json(layout.trial("net", fold, number), record)
            write_json(layout.token("trial", f"fold-{fold}-{number:03d}", "net"), {"cases": {}, "trial": number})
        write_json(layout.tuned("net", fold), {"settings": {"batch": 2}})


def test_a_search_that_saw_the_person_goes_with_the_models_and_another_one_stays(layout):
    shutil.rmtree(layout.root / "experiments" / "net" / "fold-0-seed-1")
    shutil.rmtree(layout.root / "experiments" / "net" / "fold-1-seed-1")
    _search(layout)
    forget(layout, PERSON, "--yes")
    assert who_is_named(layout) == {"private/identities.json", "plan.json"}
    assert not layout.tuned("net", "0").exists()
    assert not layout.token("trial", "fold-0-000", "net").exists()
    assert layout.tuned("net", "1").exists()
    assert layout.token("trial", "fold-1-001", "net").exists()


def test_where_models_stay_the_settings_of_their_search_stay_without_the_scores_of_the_person(layout):
    _search(layout)
    half_done = layout.trial("net", "0", 2).with_suffix(".scratch") / "inner-0" / f"{CASES[0]}.zarr"
    write_text(half_done / "c", "voxels")
    forget(layout, PERSON, "--yes")
    assert who_is_named(layout) == KEPT_WITH_MODELS | {"cohort/members/fold-0-inner-net.json"}
    assert read_json(layout.trial("net", "0", 1))["inner"] == [{"sub-0020_ct1": [0.5]}]
    assert layout.tuned("net", "0").exists()
    assert layout.token("trial", "fold-0-001", "net").exists()


def test_the_index_is_told_by_a_hash_never_to_take_the_person_in_again(layout):
    forget(layout, "--original-id", "MRN-2", "--yes")
    # printf MRN-2 | sha256sum
    digest = "1d1c2e9ecfa2b1a5"
    found = read_json(layout.private / "forgotten.json")
    assert list(found) == ["dates", "patients"]
    (patient,) = found["patients"]
    assert re.fullmatch(r"[0-9a-f]{64}", patient)
    import hashlib

    assert patient == hashlib.sha256(b"MRN-2").hexdigest()
    assert digest
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["dates"][patient])
    forget(layout, "sub-0001", "--yes")
    assert len(read_json(layout.private / "forgotten.json")["patients"]) == 2


class Killed(BaseException):
    pass


def kill_after(monkeypatch, n: int) -> list[int]:
    """Let the n-th step that removes, renames or replaces something be the last one of the process."""
    left = [n]

    def counted(step):
        def stepped(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return step(*arguments, **options)

        return stepped

    for name in ("unlink", "rmdir", "rename", "replace"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return left


@pytest.mark.parametrize("words", [(), ("--models",)], ids=["", "models"])
def test_a_removal_that_is_killed_is_finished_by_the_next_one(template, tmp_path, monkeypatch, words):
    whole = copy_of(template, tmp_path / "whole")
    with monkeypatch.context() as patch:
        left = kill_after(patch, 10_000)
        forget(whole, PERSON, "--yes", *words)
        n_steps = 10_000 - left[0]
    expected = state_of(whole)
    assert n_steps > 40
    for n in range(0, n_steps, 7):
        cut = copy_of(template, tmp_path / f"cut{n}")
        with monkeypatch.context() as patch:
            kill_after(patch, n)
            with pytest.raises(Killed):
                forget(cut, PERSON, "--yes", *words)
        if n:
            assert read_json(cut.private / "forgotten.json")["patients"], "the index must know from the first step on"
        forget(cut, PERSON, "--yes", *words)
        assert state_of(cut) == expected, f"cut off after {n} steps"
        shutil.rmtree(cut.root)


def test_an_unknown_subject_names_those_that_are_near(layout):
    before = state_of(layout)
    with pytest.raises(StudyError, match=r"no subject 'sub-002' in .*; near: .*sub-0020") as error:
        forget(layout, "sub-002", "--yes")
    assert PERSON in str(error.value)
    with pytest.raises(StudyError, match="near: sub-0002"):
        forget(layout, CASES[0])
    assert state_of(layout) == before


def test_an_unknown_original_id_tells_no_other_id(layout):
    with pytest.raises(StudyError, match=r"no subject has this original id \(4 are known\)$"):
        forget(layout, "--original-id", "MRN-99")
    with pytest.raises(StudyError, match="reads alike is 'sub-0002'"):
        forget(layout, "--original-id", "mrn2")
    forget(layout, "--original-id", "MRN-2", "--yes")
    with pytest.raises(StudyError, match="forgotten already"):
        forget(layout, "--original-id", "MRN-2")


def test_one_of_name_and_original_id_is_needed(layout, capsys):
    for words in ((), (PERSON, "--original-id", "MRN-2")):
        with pytest.raises(SystemExit):
            forget(layout, *words)
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_person_of_the_test_set_leaves_no_name_behind(layout, capsys):
    forget(layout, "sub-0003", "--yes")
    assert "keep what they learned" not in capsys.readouterr().out
    assert "sub-0003_ct1" not in read_json(layout.ledger)["cases"]
    held = {path for path in paths_of(layout) if b"sub-0003" in (layout.root / path).read_bytes()}
    assert held == {"private/identities.json"}
    assert layout.plan.exists()


def test_a_damaged_cache_of_headers_goes_as_a_whole(layout):
    layout.headers_cache.write_bytes(b"no data base, but MRN-2")
    forget(layout, PERSON, "--yes")
    assert not layout.headers_cache.exists()


def test_without_identities_what_is_known_goes_and_the_reader_is_warned(layout, capsys):
    layout.identities.unlink()
    forget(layout, PERSON, "--yes")
    assert "the next index will take its scans in again" in capsys.readouterr().out
    assert not layout.case(CASES[0]).exists()


def test_settings_that_name_a_case_are_pointed_out(layout, capsys):
    write_text(layout.settings, f"cohort:\n  exclude: [{CASES[1]}]\n")
    forget(layout, PERSON)
    assert "The config file of the study names it" in capsys.readouterr().out


def test_a_folder_that_is_no_study_is_left_alone(tmp_path):
    with pytest.raises(StudyError, match="no study at"):
        forget(Layout(tmp_path), PERSON, "--yes")
