"""Low resolution and cascade through the workflow: who waits for whom, and who labels whom without having seen him."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from lint_workflow import write_study
from test_planning import made_up
from tiny_study import call, cohortseg, run, snakemake_command

from cohortseg.cohort import read_cases
from cohortseg.io.itk import write_image
from cohortseg.volume import Grid, Volume

pytestmark = pytest.mark.workflow

GRID = Grid((12, 20, 26), (2.0, 1.0, 1.1), (5.0, -20.0, 7.0))
NET = {"method": "unet", "features": [4, 8], "steps": 2, "batch": 2, "validate_every": 2, "overlap": 0.0}
STUDY = {
    "study": "tiny",
    "cohort": {
        "source": "data",
        "images": r"^(?P<subject>p\d)/image\.nii\.gz$",
        "labels": {"kind": "files", "files": r"^(?P<subject>p\d)/label\.nii\.gz$", "values": {"lesion": 1}},
        "deidentified": True,
    },
    "split": {"folds": 3, "seed": 1, "test_fraction": 0.15},
    "plan": {"dims": 3, "patch_voxels": 4096, "spacing_mm": [2, 1, 1.1], "low_spacing_mm": [3, 2, 2]},
    "experiments": {"low": {**NET, "resolution": "low"}, "cascade": {**NET, "cascade": "low"}},
    "jobs": {"cases_per_job": 8, "cases_per_predict_job": 8},
}
OF_FOLD_0 = "results/tiny/experiments/cascade/fold-0-seed-1/train.json"


def write_patient(folder: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    label = np.zeros(GRID.shape, np.uint8)
    label[3:8, 4:12, 6:17] = 1
    folder.mkdir(parents=True)
    write_image(folder / "image.nii.gz", Volume((draw.normal(0, 9, GRID.shape) + 50 * label).astype(np.float32), GRID))
    write_image(folder / "label.nii.gz", Volume(label, GRID))


@pytest.fixture(scope="module")
def predicted(tmp_path_factory) -> Path:
    """Seven patients, one of them in the test set, segmented by both experiments."""
    home = tmp_path_factory.mktemp("cascade")
    for number in range(7):
        write_patient(home / "data" / f"p{number}", number)
    (home / "config.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    done = call(snakemake_command("--", "step_4_validate", "step_5_test"), home)
    assert done.returncode == 0, done.output
    jobs = {"train": 6, "train_pair": 3, "crossfit": 9, "predict": 8, "preprocess_low": 1}
    assert {rule: done.finished[rule] for rule in jobs} == jobs
    return home


def test_the_training_of_a_cascade_waits_for_what_it_needs_of_the_other_and_for_nothing_else(tmp_path):
    cases = [made_up(n, voxels=1_000_000, batch=f"b000{n}", fold_batch=f"f{n}-b0001") for n in range(3)]
    cases = [replace(case, fold=str(n)) for n, case in enumerate(cases)]
    write_study(
        tmp_path, cases, {key: value for key, value in STUDY.items() if key != "split"} | {"split": {"folds": 3}}
    )
    planned = call(snakemake_command("-n", OF_FOLD_0), tmp_path)
    assert planned.returncode == 0, planned.output
    # Its own network and the coarse one of the same fold; one without each pair of folds that holds this one.
    ours = {rule: planned.planned[rule] for rule in ("train", "train_pair", "crossfit", "predict")}
    assert ours == {"train": 2, "train_pair": 2, "crossfit": 3, "predict": 1}
    alone = call(snakemake_command("-n", OF_FOLD_0.replace("cascade/", "low/")), tmp_path)
    assert alone.planned["train"] == 1
    assert alone.planned["train_pair"] == alone.planned["crossfit"] == 0


def test_labels_of_training_cases_come_from_networks_that_saw_neither_them_nor_those_held_out(predicted):
    study = predicted / "results" / "tiny"
    fold_of = {case.case: case.fold for case in read_cases(study / "cohort" / "cases.tsv")}
    assert sorted(fold_of.values()).count("test") == 1
    for fold in "012":
        record = json.loads((study / f"experiments/cascade/fold-{fold}-seed-1/train.json").read_text())
        assert record["cascade"] == {"from": "low"}
        for case in record["members"]["train"]:
            first, second = sorted((fold, fold_of[case]))
            pair = json.loads((study / f"experiments/low/without-{first}-{second}-seed-1/train.json").read_text())
            assert {fold_of[name] for name in pair["members"]["train"]} == {*"012"} - {first, second}
            before = json.loads((study / f"experiments/cascade/cascade-{fold}/cases/{case}/before.json").read_text())
            assert before["inputs"]["weights"] == pair["weights"]


def test_each_case_gets_what_the_other_found_by_its_own_model_or_ensemble(predicted):
    study = predicted / "results" / "tiny"
    for case in read_cases(study / "cohort" / "cases.tsv"):
        model = "ensemble-seed-1" if case.fold == "test" else f"fold-{case.fold}-seed-1"
        ours, theirs = (
            json.loads((study / f"experiments/{name}/{model}/cases/{case.case}/raw.json").read_text())
            for name in ("cascade", "low")
        )
        assert ours["status"] == "ok"
        assert ours["inputs"]["before"] == theirs["content"]


def test_nothing_is_done_twice_and_another_experiment_costs_only_itself(predicted):
    assert call(snakemake_command("-n", "step_4_validate", "step_5_test"), predicted).planned == Counter()
    more = {**STUDY, "experiments": {**STUDY["experiments"], "full": NET}}
    (predicted / "config.yaml").write_text(yaml.safe_dump(more, sort_keys=False))
    planned = call(snakemake_command("-n", "step_4_validate"), predicted).planned
    assert planned == Counter({"train": 3, "predict": 3})
    (predicted / "config.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))


def test_its_cost_is_planned(predicted):
    told = cohortseg(predicted, "plan-study", "--configfile", "config.yaml", "--no-index")
    assert told.returncode == 0, told.output
    jobs = {line[:28].strip(): line[28:].split()[0] for line in told.output.splitlines() if line[28:].split()}
    assert (jobs["preprocess_low"], jobs["train_pair low"], jobs["crossfit cascade"]) == ("1", "3", "12")


def test_new_scans_go_through_both_model_spaces_where_a_package_is_a_cascade(predicted, tmp_path):
    done = cohortseg(predicted, "package", "results/tiny", "cascade", str(tmp_path / "model"))
    assert done.returncode == 0, done.output
    (tmp_path / "home").mkdir()
    write_patient(tmp_path / "home" / "data" / "p8", 8)
    values = {key: STUDY[key] for key in ("study", "cohort")} | {
        "experiments": {"finished": {"method": "pretrained", "model": str(tmp_path / "model"), "overlap": 0.0}}
    }
    (tmp_path / "home" / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    done = run(tmp_path / "home", "--", "step_4_validate")
    assert done.returncode == 0, done.output
    assert done.finished["preprocess_low"] == done.finished["predict"] == 1
    (found,) = (tmp_path / "home/results/tiny/experiments/finished/untrained/cases").glob("*/raw.json")
    inputs = json.loads(found.read_text())["inputs"]
    assert sum(name.startswith("before weights low-fold") for name in inputs) == 3
