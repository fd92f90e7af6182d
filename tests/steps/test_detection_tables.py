"""Detection at an operating point: chosen by the other folds alone, applied to the fold, by volume where need be."""

import math

import pandas as pd
import pytest

from cohortseg.settings import DetectionSettings, StatisticsSettings
from cohortseg.steps.curves import Scored, froc_table
from cohortseg.steps.detection_tables import detection_results, froc_of_candidates

STATISTICS = StatisticsSettings(bootstrap=200, min_subjects=2)
ASKED = DetectionSettings(false_per_scan=0.5)


def scored(case: str, fold: str, found: list[float], false: list[float], *, split: str = "val", n: int = 1) -> Scored:
    """A case with n lesions, whose candidates have these scores."""
    head = {"study": "s", "experiment": "net", "fold": fold, "seed": "1", "split": split, "case": case, "subject": case}
    scores = {
        name: {"max_probability": values, "volume_ml": values} for name, values in (("found", found), ("false", false))
    }
    record = {"source": "label", "n_lesions": n, "n_false": len(false), **scores}
    return Scored(head, {"detection": {"lesion": record}}, {})


def cohort() -> list[Scored]:
    """Fold 0 tells lesions from false candidates at 0.5, fold 1 at 0.8."""
    first = [scored(f"a{k}", "0", [0.5], [0.4]) for k in range(3)]
    second = [scored(f"b{k}", "1", [0.8], [0.7, 0.6]) for k in range(3)]
    return [
        *first,
        *second,
        scored("t", "test", [0.6], [0.65], split="test"),
        scored("u", "0", [0.9], [], split="unseen"),
    ]


def test_a_fold_gets_the_threshold_of_the_others_the_test_set_that_of_all() -> None:
    tables = detection_results(cohort(), ["lesion"], ASKED, STATISTICS)
    by_case = tables["detections"].set_index("case")["threshold"]
    # By fold 1: 0.8. By fold 0: 0.5. By both 0.8, because 0.5 would let in six false candidates in six scans.
    assert by_case.to_dict() == {
        **{f"a{k}": 0.8 for k in range(3)},
        **{f"b{k}": 0.5 for k in range(3)},
        "u": 0.8,
        "t": 0.8,
    }
    points = tables["operating_points"].set_index("split")
    assert points.loc["val", ["n_found", "n_false", "sensitivity_per_lesion", "false_per_scan"]].tolist() == [
        3,
        6,
        0.5,
        1.0,
    ]
    assert points.loc["val", ["threshold_low", "threshold_high"]].tolist() == [0.5, 0.8]
    assert points.loc["test", ["n_found", "n_false", "sensitivity_per_scan"]].tolist() == [0, 0, 0.0]
    assert points.loc["unseen", "sensitivity_per_lesion"] == 1.0


def worse(one: Scored) -> Scored:
    """The same case with its lesion below a false candidate."""
    return scored(one.head["case"], one.head["fold"], [0.1], [0.99], split=one.head["split"])


def test_what_a_fold_finds_itself_and_what_the_test_set_finds_change_no_threshold_of_theirs() -> None:
    changed = [
        one
        if one.head["fold"] == "1"
        else scored(one.head["case"], one.head["fold"], [0.1], [0.99], split=one.head["split"])
        for one in cohort()
    ]
    before, after = (
        detection_results(cases, ["lesion"], ASKED, STATISTICS)["detections"].set_index("case")["threshold"]
        for cases in (cohort(), changed)
    )
    own = ["a0", "a1", "a2", "u"]
    assert after[own].tolist() == before[own].tolist()
    assert (after[["b0", "b1", "b2"]] == math.inf).all()  # fold 0 now has no score that is good enough: nothing counts


def test_with_too_few_subjects_or_no_lesion_every_candidate_counts_and_a_note_says_so() -> None:
    few = detection_results(cohort(), ["lesion"], ASKED, StatisticsSettings(bootstrap=200, min_subjects=7))
    assert (few["detections"]["threshold"] == 0).all()
    healthy = [scored(f"h{k}", str(k % 2), [], [0.5], n=0) for k in range(8)]
    line = detection_results(healthy, ["lesion"], ASKED, STATISTICS)["operating_points"].iloc[0]
    assert (line["specificity_per_scan"], line["false_per_scan"]) == (0.0, 1.0)
    assert math.isnan(line["sensitivity_per_lesion"])
    assert "every candidate counts" in line["note"]


def test_without_probabilities_the_volume_decides_and_the_table_says_so() -> None:
    cases = cohort()
    for one in cases:
        for side in ("found", "false"):
            del one.metrics["detection"]["lesion"][side]["max_probability"]
    assert set(detection_results(cases, ["lesion"], ASKED, STATISTICS)["detections"]["score"]) == {"volume_ml"}


def test_the_curve_of_the_candidates_stands_with_the_others_under_a_stage_of_its_own() -> None:
    rows = pd.DataFrame(columns=["experiment", "label", "stage", "split", "n_lesions_reference"])
    lesions = pd.DataFrame(columns=[*rows.columns, "n_matched", "side"])
    curve = froc_table(rows, lesions, froc_of_candidates(cohort(), ["lesion"], ASKED))
    val = curve[curve["split"] == "val"]
    assert set(curve["stage"]) == {"candidates"}
    assert val["threshold"].tolist() == [math.inf, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert val["sensitivity"].tolist() == [0, 0.5, 0.5, 0.5, 1, 1]
    assert val["false_per_case"].tolist() == pytest.approx([0, 0, 0.5, 1.0, 1.0, 1.5])


def test_a_study_that_asks_for_none_has_empty_tables_with_their_columns() -> None:
    tables = detection_results(cohort(), ["lesion"], None, STATISTICS)
    assert all(table.empty and "threshold" in " ".join(table.columns) for table in tables.values())
