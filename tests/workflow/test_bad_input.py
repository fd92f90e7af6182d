"""A spoiled scan is turned away with its reason and stops nobody; a wrong setting stops everything before it starts."""

import re
import sys

import pytest
from bad_machine import WITHOUT_RIGHTS
from tiny_study import (
    COHORT,
    SOURCE,
    SPOILED,
    Run,
    admit,
    call,
    case_of,
    read_table,
    run,
    snakemake_command,
    stores,
    study_of,
    touched,
    write_config,
)

pytestmark = pytest.mark.workflow


def test_spoiled_scans_are_rejected_with_their_reason_and_everything_else_is_done(home, pool):
    before = stores(home)
    for number in SPOILED:
        admit(home, pool, number)
    done = run(home)
    assert done.returncode == 0, done.output
    tables = study_of(home) / "tables"
    rejected = {row["case"]: row for row in read_table(tables / "rejected.csv")}
    assert sorted(row["reason"] for row in rejected.values()) == sorted(SPOILED.values())
    assert all(row["meaning"] and row["found"] for row in rejected.values())
    # Two were found out by their pixels, one by its headers already.
    assert sorted(row["stage"] for row in rejected.values()) == ["convert", "convert", "index"]
    assert rejected[case_of(home, 9)]["reason"] == "MISSING_SLICE"
    assert rejected[case_of(home, 10)]["reason"] == "TRUNCATED"
    rows = read_table(tables / "metrics_by_case.csv")
    assert len({row["case"] for row in rows}) == len(COHORT)
    assert not {row["case"] for row in rows} & set(rejected)
    flow = [
        (row["stage"], row["status"], row["reason"], int(row["n"])) for row in read_table(tables / "cohort_flow.csv")
    ]
    assert ("found", "ok", "", len(COHORT) + len(SPOILED)) in flow
    assert ("convert", "ok", "", len(COHORT)) in flow
    assert all(("convert", "rejected", reason, 1) in flow for reason in ("MISSING_SLICE", "TRUNCATED"))
    assert ("index", "rejected", "LABEL_OTHER_PATIENT", 1) in flow
    # Nothing was written for the others.
    assert touched(before, stores(home)) <= set(rejected)
    report = (study_of(home) / "report" / "report.html").read_text()
    assert all(reason in report for reason in SPOILED.values())


# Settings, and what the one line must name.
WRONG = {
    "unknown key": ({"plan": {"window_hv": [-1000, 400]}}, "plan.window_hv"),
    "unknown group": ({"postproces": {"keep": "largest"}}, "postproces"),
    "wrong type": ({"split": {"folds": "two"}}, "split.folds"),
    "unknown method": ({"experiments": {"otsu": {"method": "thresold"}}}, "experiments.otsu.method"),
    "unknown value": ({"experiments": {"otsu": {"method": "threshold", "rule": "ostu"}}}, "experiments.otsu.rule"),
    "missing folder": ({"cohort": {"source": "no-such-folder"}}, "no-such-folder"),
    "empty folder": ({"cohort": {"source": "empty-folder"}}, "empty-folder"),
    "unreadable folder": ({}, "Permission denied"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_stops_with_one_line_before_any_job(fresh, what):
    changes, named = WRONG[what]
    write_config(fresh, changes)
    (fresh / "empty-folder").mkdir()
    if what == "unreadable folder":
        (fresh / SOURCE / "Xanthippe_1").chmod(0)
    try:
        stopped = call([sys.executable, "-c", WITHOUT_RIGHTS, *snakemake_command()], fresh)
    finally:
        (fresh / SOURCE / "Xanthippe_1").chmod(0o755)
    assert stopped.returncode != 0
    assert_one_line(stopped, named)
    assert stopped.planned == stopped.finished == {}
    assert not (study_of(fresh) / "cases").exists()


def assert_one_line(stopped: Run, named: str) -> None:
    """Exactly one line of ours says what is wrong, and there is no traceback."""
    assert "Traceback" not in stopped.output, stopped.output
    lines = [line for line in stopped.output.splitlines() if re.match(r"cohortseg\b.*: ", line)]
    telling = [line for line in lines if named in line]
    assert len(telling) == 1, stopped.output
