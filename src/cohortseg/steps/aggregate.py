"""Step `aggregate`: everything that was measured -> the tables of results.

No number is ever made from cases of several splits, because they answer different questions:

* `val`: a case of the frozen cohort, scored by the one model that did not train on it (cross-validation). The models
  of the folds share training cases, so intervals and p values are somewhat too narrow (Bengio & Grandvalet 2004).
* `test`: a case that no model of any fold saw, scored by the ensemble of all folds. This is the independent estimate.
* `unseen`: a case that came after the folds were frozen, scored by the model of one fold. The population may have
  shifted in the meantime, which is what this number is for.

A mean over them would mix ensembles with single models and old scans with new ones, in shares that depend on when the
study was looked at. So `split` is a key of the summary, of the comparisons and of the subgroups; Holm's correction
counts the pairs of experiments of one label, metric and split. The report draws its verdict from `test` where there is
one, else from `val` (`report.content.of_leading_split`): that choice does not look at the numbers.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from cohortseg.cohort import Case, read_cases, safe_cell
from cohortseg.io.sidecar import read_json, run_seconds, write_text
from cohortseg.layout import TEST, Layout
from cohortseg.metrics import case as case_metrics
from cohortseg.metrics.heterogeneity import summarise_properties
from cohortseg.metrics.summary import compare, summarise
from cohortseg.stages import AggregateStage
from cohortseg.steps.arguments import add_cohort as add_arguments
from cohortseg.steps.flow import cohort_flow, rejected_cases
from cohortseg.steps.heterogeneity import repairs, scans_of_cases
from cohortseg.steps.units import all_units, seed_of_model, split_unit

__all__ = ["add_arguments", "run"]

METRICS = list(case_metrics.COLUMNS)
HEAD = ["study", "experiment", "fold", "seed", "split", "case", "subject", "label", "stage"]
SUMMARISED = [
    "dice",
    "jaccard",
    "sensitivity",
    "precision",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    "nsd",
    "volume_difference_ml",
]
SUMMARISED += ["lesion_sensitivity", "lesion_precision"]
COMPARED = ["dice", "nsd", "hd95_mm", "assd_mm"]
LESION_SIZES_ML = ((0, 0, "no lesion"), (0, 5, "below 5 ml"), (5, 30, "5 to 30 ml"), (30, float("inf"), "above 30 ml"))
BOOTSTRAP_SEED = 1


def run(arguments: argparse.Namespace) -> None:
    """Write all tables."""
    settings = AggregateStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    rows = metric_rows(layout, settings)
    write_table(layout.table("summary"), _summary(rows))
    write_table(layout.table("comparison"), _comparison(rows))
    write_table(layout.table("subgroups"), _subgroups(layout, rows, settings))
    write_table(layout.table("cohort_flow"), cohort_flow(layout, settings.experiment_names))
    write_table(layout.table("rejected"), rejected_cases(layout, settings.experiment_names))
    scans = scans_of_cases(layout)
    write_table(layout.table("heterogeneity"), scans)
    write_table(layout.table("heterogeneity_summary"), summarise_properties(scans))
    write_table(layout.table("repairs"), repairs(layout))
    # Last, because it is what the report waits for.
    write_table(layout.table("metrics_by_case"), rows)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV that a spreadsheet can open safely; numbers round-trip exactly."""
    safe = frame.copy()
    for name in safe.columns:
        if safe[name].dtype == object or isinstance(safe[name].dtype, pd.StringDtype):
            safe[name] = safe[name].map(safe_cell)
    write_text(path, safe.to_csv(index=False, lineterminator="\n"))


def metric_rows(layout: Layout, settings: AggregateStage) -> pd.DataFrame:
    """One row per experiment, model, case, label and stage."""
    cases = {case.case: case for case in read_cases(layout.cases_table)}
    kept_out = _validation_cases(layout)
    rows: list[dict[str, Any]] = []
    for experiment in settings.experiment_names:
        for unit in all_units(layout, experiment, "evaluate"):
            model, name = split_unit(unit)
            folder = layout.prediction(experiment, model, name)
            record = read_json(folder / "metrics.json")
            if record["status"] != "ok":
                continue
            seconds = (run_seconds(folder / "raw.json"),)
            split = _split_of(cases[name], model, kept_out)
            head = [settings.study, experiment, cases[name].fold, seed_of_model(model), split]
            for stage in ("raw", "post"):
                for label in settings.classes:
                    values = record["metrics"][stage][label]
                    numbers = [values[metric] for metric in METRICS]
                    rows.append(
                        dict(
                            zip(
                                [*HEAD, *METRICS, "seconds_predict"],
                                [*head, name, cases[name].subject, label, stage, *numbers, *seconds],
                                strict=True,
                            )
                        )
                    )
    frame = pd.DataFrame(rows, columns=[*HEAD, *METRICS, "seconds_predict"])
    floats = [m for m in METRICS if m != "undefined" and not m.startswith("n_")]
    return frame.astype(dict.fromkeys(floats, float))


def _validation_cases(layout: Layout) -> set[str]:
    """The cases that some fold keeps out of its training on purpose; with `split.refit` newcomers are among them."""
    folds = range(read_json(layout.ledger)["split"]["folds"])
    return {name for fold in folds for name in read_json(layout.members(str(fold)))["validation"]}


def _split_of(case: Case, model: str, kept_out: set[str]) -> str:
    """`test`: kept from all models; `val`: kept from its own fold's model; `unseen`: came after the training."""
    if case.fold == TEST or model.startswith("ensemble"):
        return "test"
    return "val" if case.case in kept_out else "unseen"


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    return summarise(rows, by=["experiment", "label", "stage", "split"], metrics=SUMMARISED, seed=BOOTSTRAP_SEED)


def _comparison(rows: pd.DataFrame) -> pd.DataFrame:
    """All pairs of experiments, on the cleaned labels, per metric, label and split."""
    post = rows[rows["stage"] == "post"]
    tables = [
        compare(part, metric=metric).assign(label=str(key[0]), stage="post", split=str(key[1]))
        for key, part in post.groupby(["label", "split"], sort=True)
        for metric in COMPARED
    ]
    tables = [table for table in tables if len(table)]
    nothing = compare(post[:0], metric="dice").assign(label="", stage="", split="")
    joined = pd.concat(tables, ignore_index=True) if tables else nothing
    names = {"first": "experiment_a", "second": "experiment_b", "p": "p_value", "rank_biserial": "effect_size"}
    return joined.rename(columns=names)


def _subgroups(layout: Layout, rows: pd.DataFrame, settings: AggregateStage) -> pd.DataFrame:
    """The primary metric broken down by the properties of the settings, per split."""
    cases = {case.case: vars(case) for case in read_cases(layout.cases_table)}
    post = rows[rows["stage"] == "post"].copy()
    tables = []
    for name in settings.report.subgroups:
        post["value"] = (
            post["reference_ml"].map(_lesion_size)
            if name == "lesion_size"
            else post["case"].map(lambda case, name=name: str(cases[case][name]) or "unknown")
        )
        table = summarise(
            post,
            by=["experiment", "label", "split", "value"],
            metrics=[settings.report.primary_metric],
            seed=BOOTSTRAP_SEED,
        )
        tables.append(table.assign(property=name, stage="post"))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _lesion_size(volume_ml: float) -> str:
    for low, high, name in LESION_SIZES_ML:
        if (volume_ml == 0 and high == 0) or low < volume_ml <= high:
            return name
    return "unknown"
