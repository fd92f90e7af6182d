"""A search as a part of a study: what it is made of, what follows from it, and what a change makes again."""

import json
import shutil
from collections import Counter

import pytest
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
    touched,
    write_config,
)

pytestmark = pytest.mark.workflow

WINDOW = {"method": "threshold", "rule": "fixed", "low": -900, "high": 400, "inside": "lungs"}
SEARCH = {"search": "bayes", "space": {"low": {"low": -800, "high": 0}}, "trials": 3, "at_once": 2, "startup": 2}
ONE_EXPERIMENT = dict.fromkeys(("predict", "postprocess", "evaluate", "export"), 2)
TABLES = {"aggregate": 1, "report": 1}


def write_search(home, *, trials=3, **more) -> None:
    tune = {"window": SEARCH | {"trials": trials} | more}
    write_config(home, {"experiments": {"window": WINDOW}, "tune": tune})


@pytest.fixture(scope="module")
def searched(tmp_path_factory, finished):
    """The finished study with a third experiment, which is searched, and the run that added it."""
    home = tmp_path_factory.mktemp("searched") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_search(home)
    done = run(home)
    assert done.returncode == 0, done.output
    return home, done


@pytest.fixture
def own(tmp_path, searched):
    shutil.copytree(searched[0], tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def planned(home, *arguments: str) -> Run:
    done = run(home, "-n", *arguments)
    assert done.returncode == 0, done.output
    return done


def test_each_fold_is_searched_and_nothing_else_is_made_again(finished, searched):
    home, done = searched
    assert done.finished == Counter({"trial": 6, "tune": 2, **ONE_EXPERIMENT, **TABLES})
    changed = touched(stores(finished[0]), stores(home))
    assert {path for path in changed if not path.startswith(("experiments/window/tune/", "sub-", "export/"))} == set()
    assert planned(home).planned == Counter()


def test_each_fold_uses_what_was_best_on_its_training_cases(searched):
    study = study_of(searched[0])
    trials = read_table(study / "tables" / "trials.csv")
    assert [(row["fold"], row["trial"]) for row in trials] == [(k, n) for k in "01" for n in "012"]
    for fold in "01":
        own = [row for row in trials if row["fold"] == fold]
        best = max(own, key=lambda row: float(row["score"]))
        assert [row for row in own if row["is_chosen"] == "yes"] == [best]
        tuned = json.loads((study / "experiments" / "window" / "tune" / f"fold-{fold}" / "tuned.json").read_text())
        assert tuned == {"settings": json.loads(best["settings"])}
        members = json.loads((study / "cohort" / "members" / f"fold-{fold}.json").read_text())
        record = json.loads((study / "experiments/window/tune" / f"fold-{fold}" / "trial-000.json").read_text())
        assert sorted(record["inner"][0]) == members["train"]


def test_more_trials_are_added_to_those_that_are_there(own):
    write_search(own, trials=4)
    assert {rule: planned(own).planned[rule] for rule in ("trial", "tune", "train")} == {
        "trial": 2,
        "tune": 2,
        "train": 0,
    }


def test_a_newcomer_and_what_follows_the_labels_search_nothing_again(own, pool):
    admit(own, pool, NEWCOMER)
    jobs = planned(own).planned
    assert jobs["convert"] == 1
    assert jobs["trial"] == jobs["tune"] == jobs["train"] == 0


def test_a_removed_scan_searches_nothing_again(own):
    patient_folder(own, 1).rename(own / "away")
    jobs = planned(own).planned
    assert jobs["trial"] == jobs["tune"] == jobs["train"] == 0


def test_another_space_or_another_cleaning_searches_again(own):
    write_search(own, space={"low": {"low": -700, "high": 0}})
    assert planned(own).planned["trial"] == 6
    write_config(
        own,
        {"experiments": {"window": WINDOW}, "tune": {"window": SEARCH}, "postprocess": {"min_volume_ml": 0.5}},
    )
    assert planned(own).planned["trial"] == 6


def test_without_its_search_an_experiment_is_as_written_again(own):
    write_config(own, {"experiments": {"window": WINDOW}})
    jobs = planned(own).planned
    assert jobs["trial"] == jobs["tune"] == 0
    assert jobs["predict"] == 2


def test_a_lost_record_of_snakemake_searches_nothing_again(own):
    shutil.rmtree(own / ".snakemake")
    assert planned(own).planned["trial"] == 0


def test_a_network_is_trained_after_its_search(own):
    network = CONFIG["experiments"]["unet"]
    space = {"space": {"learning_rate": [1e-3, 1e-2]}, "search": "grid"}
    write_config(own, {"experiments": {"window": WINDOW, "unet": network}, "tune": {"window": SEARCH, "unet": space}})
    jobs = planned(own).planned
    assert (jobs["trial"], jobs["tune"], jobs["train"]) == (4, 2, 2)


def test_status_report_plan_and_explain_tell_of_the_search(searched):
    home = searched[0]
    told = cohortseg(home, "status", "results/tiny").output
    assert [line.split()[2] for line in told.splitlines() if line.startswith("window: trials")] == ["6"]
    assert "Search of settings" in (study_of(home) / "report" / "report.html").read_text()
    rows = cohortseg(home, "plan-study", "--configfile", "config.yaml").output
    assert [line.split()[2] for line in rows.splitlines() if line.startswith("trial window")] == ["8"]
    case = read_table(study_of(home) / "cohort" / "cases.tsv")[0]["case"]
    assert "settings of trial" in cohortseg(home, "explain", "results/tiny", case).output
