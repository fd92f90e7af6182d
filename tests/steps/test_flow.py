"""The cohort flow: every scan stands in it, with the stage that refused it and why."""

import pytest
from study_by_hand import case_of, label_of, refused, sidecar_of, study_of, write_case, write_sidecar, write_token

from cohortseg.errors import REASONS
from cohortseg.steps.flow import FLOW_COLUMNS, REJECTED_COLUMNS, cohort_flow, rejected_cases

NAMES = ("p1_ct1", "p2_ct1", "p3_ct1", "p4_ct1", "p5_ct1")
EXPERIMENT = "otsu"


@pytest.fixture
def layout(tmp_path):
    """Seven scans: two refused by the index, one while converting, one without label, three good."""
    layout = study_of(
        tmp_path,
        *[case_of(name) for name in NAMES],
        rejected=(("p8_ct1", "NOT_SELECTED"), ("p9_ct1", "TOO_FEW_SLICES")),
    )
    for name in NAMES:
        write_case(layout, name, label=None if name == "p2_ct1" else label_of())
    write_sidecar(layout.case("p1_ct1") / "image.json", refused("convert", "MISSING_SLICE", "1 of 9"))
    return layout


def evaluated(layout, records: dict[str, dict], experiment=EXPERIMENT) -> None:
    """Metrics of units `model/case`, and their token."""
    for unit, record in records.items():
        model, _, name = unit.rpartition("/")
        write_sidecar(layout.prediction(experiment, model, name) / "metrics.json", record)
    write_token(layout, "evaluate", "f0-b0001", list(records), experiment)


def flow(layout, *experiments) -> set[tuple]:
    frame = cohort_flow(layout, list(experiments))
    assert list(frame.columns) == FLOW_COLUMNS
    assert all(row.meaning == REASONS.get(row.reason, "") for row in frame.itertuples())
    return set(frame[["stage", "status", "reason", "n"]].itertuples(index=False, name=None))


OK = sidecar_of("evaluate", metrics={})


def test_every_scan_stands_in_the_flow(layout):
    assert flow(layout) == {
        ("found", "ok", "", 7),
        ("index", "rejected", "NOT_SELECTED", 1),
        ("index", "rejected", "TOO_FEW_SLICES", 1),
        ("convert", "rejected", "MISSING_SLICE", 1),
        ("convert", "ok", "", 4),
        ("convert", "unlabelled", "NO_REFERENCE", 1),
    }


def test_what_was_evaluated_is_counted_by_case_for_each_experiment(layout):
    evaluated(
        layout,
        {
            "untrained/p1_ct1": refused("convert", "MISSING_SLICE", "1 of 9"),
            "untrained/p2_ct1": refused("evaluate", "NO_REFERENCE"),
            "untrained/p3_ct1": OK,
            "untrained/p4_ct1": OK,
            "untrained/p5_ct1": refused("preprocess", "NOT_A_NUMBER"),
        },
    )
    evaluated(layout, {f"fold-0-seed-{seed}/p3_ct1": OK for seed in (1, 2)}, "net")
    found = flow(layout, EXPERIMENT, "net")
    assert {row for row in found if row[0].startswith("evaluate")} == {
        ("evaluate otsu", "ok", "", 2),
        ("evaluate otsu", "rejected", "NO_REFERENCE", 1),
        # Refused after it was converted: it must not be lost between two stages.
        ("evaluate otsu", "rejected", "NOT_A_NUMBER", 1),
        ("evaluate net", "ok", "", 1),
    }


def test_converted_cases_are_all_accounted_for_in_each_experiment(layout):
    stages = ("fingerprint", "preprocess", "predict", "postprocess")
    records = dict(
        zip((f"untrained/{name}" for name in NAMES[1:]), (refused(s, "TRUNCATED") for s in stages), strict=True)
    )
    evaluated(layout, records)
    rows = {row for row in flow(layout, EXPERIMENT) if row[0] == "evaluate otsu"}
    assert rows == {("evaluate otsu", "rejected", "TRUNCATED", 4)}


def test_a_case_that_is_gone_is_counted_no_longer(layout):
    evaluated(layout, {"untrained/p3_ct1": OK, "untrained/gone_ct1": OK})
    assert ("evaluate otsu", "ok", "", 1) in flow(layout, EXPERIMENT)


def test_an_experiment_that_has_not_begun_has_no_rows(layout):
    assert not {row for row in flow(layout, "net") if row[0].startswith("evaluate")}


# ---- the list of refused cases --------------------------------------------------------------------------------------


def test_every_refused_case_stands_once_with_what_was_found(layout):
    evaluated(
        layout,
        {
            "fold-0-seed-1/p1_ct1": refused("convert", "MISSING_SLICE", "1 of 9"),
            "fold-0-seed-1/p2_ct1": refused("evaluate", "NO_REFERENCE", "no label"),
            "fold-0-seed-2/p2_ct1": refused("evaluate", "NO_REFERENCE", "no label"),
            "fold-0-seed-1/p3_ct1": OK,
        },
    )
    frame = rejected_cases(layout, [EXPERIMENT])
    assert list(frame.columns) == REJECTED_COLUMNS
    rows = list(frame[["case", "stage", "reason", "found"]].itertuples(index=False, name=None))
    assert rows == [
        ("p8_ct1", "index", "NOT_SELECTED", "found so"),
        ("p9_ct1", "index", "TOO_FEW_SLICES", "found so"),
        ("p1_ct1", "convert", "MISSING_SLICE", "1 of 9"),
        ("p2_ct1", "evaluate", "NO_REFERENCE", "no label"),
    ]
    assert list(frame["meaning"][2:]) == [REASONS["MISSING_SLICE"], REASONS["NO_REFERENCE"]]


def test_the_list_is_empty_where_nothing_was_refused(tmp_path):
    layout = study_of(tmp_path, case_of("p1_ct1"))
    write_case(layout, "p1_ct1")
    assert list(rejected_cases(layout, []).columns) == REJECTED_COLUMNS
    assert len(rejected_cases(layout, [])) == 0


def test_a_study_without_cases_has_a_flow(tmp_path):
    assert flow(study_of(tmp_path)) == {("found", "ok", "", 0), ("convert", "ok", "", 0)}
