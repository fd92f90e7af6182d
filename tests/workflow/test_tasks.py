"""What a study can be asked beside its usual tables, as parts of the workflow: only what is asked for runs."""

import json
import shutil
from collections import Counter

import pytest
from tiny_study import CONFIG, read_table, run, study_of, write_config

pytestmark = pytest.mark.workflow

TABLES = {"aggregate": 1, "report": 1}
NETWORK = CONFIG["experiments"]["unet"]
ROUNDS = {"round-1": {**NETWORK, "labels_from": "otsu"}, "round-2": {**NETWORK, "labels_from": "round-1"}}
STABILITY = {"transformations": ["flip_x", "noise"], "cases": 4}


def planned(home):
    done = run(home, "-n")
    assert done.returncode == 0, done.output
    return done.planned


@pytest.fixture(scope="module")
def asked(tmp_path_factory, finished):
    """The finished study, asked for stability and for two rounds of self-training, and the run that followed."""
    home = tmp_path_factory.mktemp("asked") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_config(home, {"stability": STABILITY, "experiments": ROUNDS})
    done = run(home)
    assert done.returncode == 0, done.output
    return home, done


def test_what_is_asked_for_runs_and_makes_nothing_else_again(asked):
    home, done = asked
    of_an_experiment = dict.fromkeys(("train", "predict", "postprocess", "evaluate", "export"), 4)
    # Each of four experiments and two folds has a case whose image is changed.
    assert done.finished == Counter({"stability": 8, "pseudolabel": 4, **of_an_experiment, **TABLES})
    assert planned(home) == Counter()


def test_stability_has_a_row_for_each_change_and_a_place_in_the_report(asked):
    tables = study_of(asked[0]) / "tables"
    rows = read_table(tables / "stability.csv")
    assert len({row["case"] for row in rows}) == 4
    assert {(row["experiment"], row["transformation"]) for row in rows} == {
        (experiment, change) for experiment in ("otsu", "unet", *ROUNDS) for change in ("flip_x", "noise")
    }
    assert {row["n_cases"] for row in read_table(tables / "stability_summary.csv")} == {"4"}
    assert "Stability under changes of the image" in (study_of(asked[0]) / "report" / "report.html").read_text()


def test_each_round_learns_from_labels_of_the_round_before_on_its_own_training_cases(asked):
    study = study_of(asked[0])
    for fold in "01":
        members = json.loads((study / "cohort" / "members" / f"fold-{fold}.json").read_text())
        for name, settings in ROUNDS.items():
            record = json.loads((study / "experiments" / name / f"fold-{fold}-seed-1" / "train.json").read_text())
            assert record["labels"]["from"] == settings["labels_from"]
            assert sorted(record["labels"]["pseudo"]) == sorted(record["members"]["train"]) == members["train"]
            labelled = (study / "experiments" / name / f"pseudo-{fold}" / "cases").iterdir()
            assert sorted(path.name for path in labelled) == members["train"]
    scored = {(row["experiment"], row["split"]) for row in read_table(study / "tables" / "metrics_by_case.csv")}
    assert {(name, "val") for name in ROUNDS} < scored


def test_what_changes_for_the_source_changes_all_rounds_after_it_and_nothing_before(tmp_path, asked):
    home = tmp_path / "home"
    shutil.copytree(asked[0], home, symlinks=True)
    longer = {**ROUNDS, "round-1": {**ROUNDS["round-1"], "steps": 7}}
    write_config(home, {"stability": STABILITY, "experiments": longer})
    jobs = planned(home)
    assert (jobs["train"], jobs["pseudolabel"], jobs["convert"], jobs["preprocess"]) == (4, 2, 0, 0)
    write_config(home, {"stability": STABILITY | {"noise": 0.1}, "experiments": ROUNDS})
    assert planned(home) == Counter({"stability": 8, **TABLES})
    write_config(home, {"experiments": ROUNDS})
    assert planned(home) == Counter(TABLES)
