"""What a study can be asked beside its usual tables, as parts of the workflow: only what is asked for runs."""

import shutil
from collections import Counter

import pytest
from tiny_study import read_table, run, study_of, write_config

pytestmark = pytest.mark.workflow

TABLES = {"aggregate": 1, "report": 1}


def planned(home):
    done = run(home, "-n")
    assert done.returncode == 0, done.output
    return done.planned


@pytest.fixture(scope="module")
def asked(tmp_path_factory, finished):
    """The finished study, asked for the stability of four cases, and the run that followed."""
    home = tmp_path_factory.mktemp("asked") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_config(home, {"stability": {"transformations": ["flip_x", "noise"], "cases": 4}})
    done = run(home)
    assert done.returncode == 0, done.output
    return home, done


def test_stability_is_measured_on_request_and_makes_nothing_else_again(asked):
    home, done = asked
    # Two experiments, two folds; four cases of which each fold holds some.
    assert done.finished == Counter({"stability": 4, **TABLES})
    rows = read_table(study_of(home) / "tables" / "stability.csv")
    assert len({row["case"] for row in rows}) == 4
    assert {(row["experiment"], row["transformation"]) for row in rows} == {
        (experiment, change) for experiment in ("otsu", "unet") for change in ("flip_x", "noise")
    }
    summary = read_table(study_of(home) / "tables" / "stability_summary.csv")
    assert {row["n_cases"] for row in summary} == {"4"}
    assert "Stability under changes of the image" in (study_of(home) / "report" / "report.html").read_text()
    assert planned(home) == Counter()


def test_more_cases_measure_the_new_ones_and_none_removes_the_rows(tmp_path, asked):
    home = tmp_path / "home"
    shutil.copytree(asked[0], home, symlinks=True)
    write_config(home, {"stability": {"transformations": ["flip_x", "noise"], "cases": 4, "noise": 0.1}})
    assert planned(home) == Counter({"stability": 4, **TABLES})
    write_config(home)
    assert planned(home) == Counter(TABLES)
