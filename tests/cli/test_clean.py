"""Cleaning removes what the workflow can make again, and nothing else."""

import argparse

import pytest
from study_by_hand import GRID, case_of, image_of, label_of, study_of, write_case, write_prediction, write_token

from cohortseg.cli.clean import CLEANABLE, run
from cohortseg.errors import SettingsError, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import write_json, write_text

MODEL = "fold-0-seed-1"


@pytest.fixture
def layout(tmp_path):
    layout = study_of(tmp_path / "study", case_of("p1_ct1"), case_of("done_ct1", "done"))
    for case in ("p1_ct1", "done_ct1"):
        write_case(layout, case, label=label_of())
        store.write_volume(layout.case(case) / "prepared.zarr", image_of())
        write_json(layout.case(case) / "prepared.json", {"status": "ok"})
        write_json(layout.case(case) / "prepared.run.json", {"seconds": 1})
        write_prediction(layout, "net", f"{MODEL}/{case}")
        write_text(layout.exported("net", MODEL, case), "label")
    for stage in ("convert", "fingerprint", "preprocess"):
        write_token(layout, stage, "b0001", ["p1_ct1", "done_ct1"])
    for stage in ("predict", "evaluate"):
        write_token(layout, stage, "f0-b0001", [f"{MODEL}/p1_ct1"], "net")
    for name in ("weights.safetensors", "history.csv", "train.json", "done.json", "resume.pt"):
        write_text(layout.model("net", "0", 1) / name, name)
    for path in (layout.plan, layout.report, layout.table("summary"), layout.identities, layout.headers_cache):
        write_text(path, path.name)
    write_text(layout.root / "logs" / "convert" / "b0001.log", "done")
    write_text(layout.root / "benchmarks" / "convert" / "b0001.jsonl", "{}")
    return layout


def paths_of(layout) -> set[str]:
    """Files outside stores, and stores, below the study folder."""
    every = {str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file()}
    return {path.partition(".zarr/")[0] + (".zarr" if ".zarr/" in path else "") for path in every}


def clean(layout, *words, dry_run=False) -> set[str]:
    """What cleaning removes."""
    before = paths_of(layout)
    run(argparse.Namespace(study=layout.root, what=list(words), dry_run=dry_run))
    assert paths_of(layout) <= before
    return before - paths_of(layout)


def test_without_a_word_only_the_states_to_resume_from_go(layout):
    assert clean(layout) == {f"experiments/net/{MODEL}/resume.pt"}


def test_prepared_images_go_with_their_tokens(layout):
    assert clean(layout, "prepared") == {
        *(f"cases/{case}/prepared{end}" for case in ("p1_ct1", "done_ct1") for end in (".zarr", ".json", ".run.json")),
        "cohort/done/preprocess/b0001.json",
    }


def test_predictions_go_with_tokens_and_exports_and_models_stay(layout):
    gone = clean(layout, "predictions")
    assert {path.split("/")[0] for path in gone} == {"experiments", "export"}
    assert {path for path in gone if "/done/" in path} == {
        "experiments/net/done/predict/f0-b0001.json",
        "experiments/net/done/evaluate/f0-b0001.json",
    }
    kept = {path for path in paths_of(layout) if path.startswith("experiments/")}
    names = ("weights.safetensors", "history.csv", "train.json", "done.json", "resume.pt")
    assert kept == {f"experiments/net/{MODEL}/{name}" for name in names}


def test_logs_go(layout):
    assert clean(layout, "logs") == {"logs/convert/b0001.log", "benchmarks/convert/b0001.jsonl"}


def test_what_cannot_be_made_again_is_never_removed(layout):
    clean(layout, *CLEANABLE)
    assert paths_of(layout) >= {
        "cohort/cases.tsv",
        "cohort/rejected.tsv",
        "cohort/ledger.json",
        "plan.json",
        "private/identities.json",
        "cases/p1_ct1/image.zarr",
        "cases/p1_ct1/label.zarr",
        "cases/p1_ct1/image.json",
        "report/report.html",
        "tables/summary.csv",
        f"experiments/net/{MODEL}/weights.safetensors",
        "cohort/done/convert/b0001.json",
    }
    assert store.read_volume(layout.case("p1_ct1") / "image.zarr").grid == GRID


def test_a_dry_run_removes_nothing_and_says_how_much(layout, capsys):
    assert clean(layout, "predictions", dry_run=True) == set()
    planned = capsys.readouterr().err
    clean(layout, "predictions")
    assert planned.replace("would free", "freed") == capsys.readouterr().err
    assert " MB in 3 places" in planned


def test_cleaning_twice_is_no_error(layout):
    clean(layout, "prepared")
    assert clean(layout, "prepared") == set()


def test_a_word_given_twice_is_no_error(layout):
    assert clean(layout, "resume", "resume") == {f"experiments/net/{MODEL}/resume.pt"}


def test_an_unknown_word_names_the_choices_and_removes_nothing(layout):
    before = paths_of(layout)
    with pytest.raises(SettingsError, match="choices: logs, predictions, prepared, resume"):
        clean(layout, "prepared", "everything")
    assert paths_of(layout) == before


def test_a_folder_that_is_no_study_is_left_alone(tmp_path):
    write_text(tmp_path / "logs" / "mine.log", "mine")
    with pytest.raises(StudyError, match="no study at"):
        run(argparse.Namespace(study=tmp_path, what=["logs"], dry_run=False))
    assert (tmp_path / "logs" / "mine.log").exists()
