"""Post-processing chosen on validation folds, through Snakemake: what runs, and what a newcomer does not run again."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread
from tiny_study import (
    CONFIG,
    NEWCOMER,
    Run,
    admit,
    cohortseg,
    patient_folder,
    read_table,
    run,
    stores,
    study_of,
    write_config,
)

pytestmark = pytest.mark.workflow

CHOOSING = {
    "postprocess": "auto",
    "statistics": {"min_subjects": 2, "bootstrap": 200},
    "experiments": {"better": {"method": "best"}},
}
NAMES = ("better", "otsu", "unet")
FOLLOWING = dict.fromkeys(("postprocess", "evaluate", "export"), 6)
"""Two folds, three experiments."""


@pytest.fixture(scope="session")
def choosing(tmp_path_factory, finished) -> tuple[Path, Run]:
    """The finished study after `postprocess: auto`, and the run that followed the change."""
    home = tmp_path_factory.mktemp("choosing") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_config(home, CHOOSING)
    changed = run(home)
    assert changed.returncode == 0, changed.output
    return home, changed


@pytest.fixture
def chosen(tmp_path, choosing) -> Path:
    """A copy of it."""
    shutil.copytree(choosing[0], tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def test_choosing_predicts_nothing_again_and_stands_in_tables_and_report(choosing, finished):
    home, changed = choosing
    own = {"contest": 2, "elect": 1, "predict": 2}
    judged = {"candidates": 6, "choose": 3}
    assert changed.finished == Counter({**own, **judged, **FOLLOWING, "aggregate": 1, "report": 1})
    rows = read_table(study_of(home) / "tables" / "choices.csv")
    assert {(row["experiment"], row["applied_to"]) for row in rows if row["choice"] == "cleaning"} == {
        (experiment, fold) for experiment in NAMES for fold in ("0", "1", "test")
    }
    models = {row["applied_to"]: row["chosen"] for row in rows if row["choice"] == "model"}
    assert set(models) == {"0", "1", "test"}
    assert all(row["n_subjects"] == ("6" if row["applied_to"] == "test" else "3") for row in rows)
    page = (study_of(home) / "report" / "report.html").read_text()
    assert "Chosen on validation folds" in page
    assert "chosen for each fold by the validation cases of the other folds" in page
    scores = {
        (row["experiment"], row["case"]): row["dice"]
        for row in read_table(study_of(home) / "tables" / "metrics_by_case.csv")
        if row["stage"] == "raw"
    }
    fold_of = {row["case"]: row["fold"] for row in read_table(study_of(home) / "tables" / "metrics_by_case.csv")}
    assert all(scores["better", case] == scores[models[fold], case] for case, fold in fold_of.items())
    before = stores(finished[0])
    written = {path for path, state in stores(home).items() if before.get(path) != state and "/better/" not in path}
    assert not [path for path in written if path.startswith("cases/") or "/raw." in path or "weights" in path]


def test_the_chosen_cleaning_is_explained(choosing):
    row = next(r for r in read_table(study_of(choosing[0]) / "tables" / "metrics_by_case.csv") if r["fold"] == "0")
    told = cohortseg(choosing[0], "explain", "results/tiny", row["case"])
    assert told.returncode == 0, told.output
    kept = read_table(study_of(choosing[0]) / "tables" / "choices.csv")
    (line,) = [r for r in kept if (r["experiment"], r["applied_to"]) == ("otsu", "0")]
    (model,) = [r for r in kept if (r["choice"], r["applied_to"]) == ("model", "0")]
    assert f"chosen for fold 0 by the other folds: all classes model {model['chosen']}" in told.output
    assert f"chosen for fold 0 by the other folds: tumour cleaning {line['chosen']}" in told.output


def test_a_second_run_chooses_nothing_again(chosen):
    assert run(chosen, "-n").planned == Counter()


def test_a_newcomer_takes_no_part_in_the_choice_and_cleans_nobody_again(chosen, pool):
    admit(chosen, pool, NEWCOMER)
    planned = run(chosen, "-n").planned
    assert planned["choose"] == planned["candidates"] == planned["contest"] == planned["elect"] == 0
    assert planned["predict"] == planned["postprocess"] == planned["evaluate"] == planned["export"] == 3


def test_a_replaced_scan_is_looked_at_again_by_its_own_batch(chosen):
    for path in sorted((patient_folder(chosen, 1)).glob("CT_*/*.dcm")):
        scan = dcmread(path)
        scan.PixelData = (scan.pixel_array + 7).tobytes()
        scan.save_as(path)
    planned = run(chosen, "-n").planned
    assert planned["contest"] == planned["elect"] == 1
    assert planned["choose"] == 3
    assert planned["train"] == 0


def test_a_new_rule_looks_at_no_case_again(chosen):
    write_config(chosen, {**CHOOSING, "postprocess": {"choose": True, "keep_if": "gain"}})
    planned = run(chosen, "-n").planned
    assert planned == Counter({"choose": 3, **FOLLOWING, "aggregate": 1, "report": 1})


def test_a_chosen_threshold_is_planned_before_the_cleaning(fresh):
    network = {**CONFIG["experiments"]["unet"], "threshold": "auto"}
    write_config(fresh, {**CHOOSING, "experiments": {"unet": network, "otsu": CONFIG["experiments"]["otsu"]}})
    planned = run(fresh, "-n").planned
    assert planned["threshold"] == 1
    assert planned["candidates"] == 4
    assert planned["choose"] == 2


def test_without_the_setting_nothing_is_looked_at(fresh):
    planned = run(fresh, "-n").planned
    assert planned["threshold"] == planned["candidates"] == planned["choose"] == planned["elect"] == 0
