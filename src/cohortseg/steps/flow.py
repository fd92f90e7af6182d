"""The cohort flow: what was found, what was refused where and why, what was evaluated."""

from collections import Counter
from typing import Any

import pandas as pd

from cohortseg.cohort import read_cases
from cohortseg.errors import REASONS
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.steps.units import all_units, split_unit

FLOW_COLUMNS = ["stage", "status", "reason", "meaning", "n"]
REJECTED_COLUMNS = ["case", "stage", "reason", "meaning", "found"]


def cohort_flow(layout: Layout, experiments: list[str], *, labels: bool = True) -> pd.DataFrame:
    """Numbers of scans: found, refused by stage and reason, converted, evaluated by experiment.

    Where no labels are made, none is missed.
    """
    index = pd.read_csv(layout.rejected_table, sep="\t", dtype=str, keep_default_na=False)
    cases = [case.case for case in read_cases(layout.cases_table)]
    rows = [_row("found", "ok", n=len(cases) + len(index))]
    rows += [_row("index", "rejected", reason, n) for reason, n in sorted(Counter(index["reason"]).items())]
    images = {case: read_json(layout.case(case) / "image.json") for case in cases}
    refused = Counter(record["reason"] for record in images.values() if record["status"] == "rejected")
    rows += [_row("convert", "rejected", reason, n) for reason, n in sorted(refused.items())]
    converted = [record for record in images.values() if record["status"] == "ok"]
    rows.append(_row("convert", "ok", n=len(converted)))
    unlabelled = sum(record["contents"]["label"] is None for record in converted)
    if unlabelled and labels:
        rows.append(_row("convert", "unlabelled", "NO_REFERENCE", unlabelled))
    for experiment, states in _evaluated(layout, experiments).items():
        for (status, reason), n in sorted(states.items()):
            rows.append(_row(f"evaluate {experiment}", status, reason, n))
    return pd.DataFrame(rows, columns=FLOW_COLUMNS)


def _row(stage: str, status: str, reason: str = "", n: int = 0) -> dict[str, Any]:
    return {"stage": stage, "status": status, "reason": reason, "meaning": REASONS.get(reason, ""), "n": n}


def _evaluated(layout: Layout, experiments: list[str]) -> dict[str, Counter[tuple[str, str]]]:
    """Per experiment: number of cases by status and reason of their evaluation."""
    result: dict[str, Counter[tuple[str, str]]] = {}
    for experiment in experiments:
        states: dict[str, tuple[str, str]] = {}
        for unit in all_units(layout, experiment, "evaluate"):
            model, case = split_unit(unit)
            record = read_json(layout.prediction(experiment, model, case) / "metrics.json")
            # What `convert` refused has its row already; every other case must stand here.
            if record["stage"] != "convert":
                states[case] = (record["status"], record["reason"] or "")
        result[experiment] = Counter(states.values())
    return result


def rejected_cases(layout: Layout, experiments: list[str]) -> pd.DataFrame:
    """Every refused case with stage, reason and what was found."""
    index = pd.read_csv(layout.rejected_table, sep="\t", dtype=str, keep_default_na=False)
    rows: list[Any] = index[REJECTED_COLUMNS].to_dict("records")
    for case in read_cases(layout.cases_table):
        record = read_json(layout.case(case.case) / "image.json")
        if record["status"] == "rejected":
            rows.append(_refused(case.case, record))
    seen: set[tuple[str, str]] = set()
    for experiment in experiments:
        for unit in all_units(layout, experiment, "evaluate"):
            model, name = split_unit(unit)
            record = read_json(layout.prediction(experiment, model, name) / "metrics.json")
            key = (name, str(record["reason"]))
            if record["status"] == "rejected" and record["stage"] != "convert" and key not in seen:
                seen.add(key)
                rows.append(_refused(name, record))
    return pd.DataFrame(rows, columns=REJECTED_COLUMNS)


def _refused(case: str, record: dict[str, Any]) -> dict[str, Any]:
    reason = record["reason"]
    return {
        "case": case,
        "stage": record["stage"],
        "reason": reason,
        "meaning": REASONS[reason],
        "found": record["found"],
    }
