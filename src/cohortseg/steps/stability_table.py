"""The tables of stability, from the records of the step `stability`."""

from collections.abc import Mapping

import pandas as pd

from cohortseg.cohort import read_cases, some_of
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.metrics.summary import summarise
from cohortseg.metrics.tables_of_stability import STABILITY_TABLES
from cohortseg.stages import AggregateStage
from cohortseg.steps.units import all_units, head_of, split_unit, validation_cases

COLUMNS = {name: list(table.columns) for name, table in STABILITY_TABLES.items()}
BY = ["experiment", "label", "split", "transformation"]


def stability_tables(layout: Layout, settings: AggregateStage) -> dict[str, pd.DataFrame]:
    """`stability.csv` with every case and change, `stability_summary.csv` with their means; empty where not asked."""
    rows = pd.DataFrame(_rows(layout, settings), columns=COLUMNS["stability"])
    statistics = settings.statistics
    summary = summarise(
        rows,
        by=BY,
        metrics=["stability"],
        seed=statistics.seed,
        n_bootstrap=statistics.bootstrap,
        confidence=statistics.confidence,
    )
    return {"stability": rows, "stability_summary": summary.reindex(columns=COLUMNS["stability_summary"])}


def _rows(layout: Layout, settings: AggregateStage) -> list[dict[str, object]]:
    if settings.stability is None:
        return []
    cases = {case.case: case for case in read_cases(layout.cases_table)}
    wanted = set(some_of(cases.values(), settings.stability.cases, seed=settings.stability.seed))
    kept_out, found = validation_cases(layout), []
    for experiment in settings.experiment_names:
        for unit in all_units(layout, experiment, "stability"):
            if split_unit(unit)[1] in wanted:
                head = {"study": settings.study, **head_of(experiment, unit, cases, kept_out)}
                found += _rows_of(layout, experiment, unit, head, settings)
    return found


def _rows_of(
    layout: Layout, experiment: str, unit: str, head: Mapping[str, object], settings: AggregateStage
) -> list[dict[str, object]]:
    record = read_json(layout.prediction(experiment, *split_unit(unit)) / "stability.json")
    if record["status"] != "ok":
        return []
    rows: list[dict[str, object]] = []
    for name, dice in record["stability"].items():
        for label in settings.classes:
            value = dice.get(label)
            reason = dice.get("reason") or ("" if value is not None else "both_empty")
            rows.append({**head, "label": label, "transformation": name, "stability": value, "reason": reason})
    return rows
