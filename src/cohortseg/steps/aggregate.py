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

import pandas as pd

from cohortseg.cohort import read_cases, safe_cell
from cohortseg.io.sidecar import read_json, run_seconds, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.metrics.columns import COLUMNS
from cohortseg.metrics.dictionary import dictionary
from cohortseg.metrics.heterogeneity import summarise_properties
from cohortseg.stages import AggregateStage
from cohortseg.steps.arguments import add_cohort as add_arguments
from cohortseg.steps.choice_tables import choice_tables
from cohortseg.steps.comparisons import (
    agreement_table,
    compared_metrics,
    comparison_table,
    rank_table,
    summary_table,
    variance_table,
)
from cohortseg.steps.crate import crate
from cohortseg.steps.curves import (
    HEAD,
    Scored,
    calibration_table,
    class_table,
    curve_table,
    detection_table,
    froc_table,
    histograms,
    instance_table,
    lesion_table,
)
from cohortseg.steps.detection_tables import detection_results, froc_of_candidates
from cohortseg.steps.flow import cohort_flow, rejected_cases
from cohortseg.steps.groups import covariate_table, group_tables, properties_of_cases
from cohortseg.steps.heterogeneity import repairs, scans_of_cases
from cohortseg.steps.image_tables import image_tables
from cohortseg.steps.panoptic_tables import panoptic_results
from cohortseg.steps.parquet import need_pyarrow, write_parquet
from cohortseg.steps.stability_table import stability_tables
from cohortseg.steps.trial_table import trial_table
from cohortseg.steps.type_tables import type_results
from cohortseg.steps.units import all_units, head_of, split_unit, validation_cases

__all__ = ["add_arguments", "run"]

METRICS = list(COLUMNS)


def run(arguments: argparse.Namespace) -> None:
    """Write all tables."""
    settings = AggregateStage.model_validate_json(arguments.settings)
    layout: Layout = arguments.study
    if settings.report.parquet:
        need_pyarrow()
    for name, table in tables(layout, settings).items():
        write_table(layout.table(name), table)
        parquet = layout.table(name).with_suffix(".parquet")
        if settings.report.parquet:
            write_parquet(parquet, table)
        else:
            parquet.unlink(missing_ok=True)
    write_json(layout.crate, crate(layout, settings))


def tables(layout: Layout, settings: AggregateStage) -> dict[str, pd.DataFrame]:
    """All tables by name, in the order in which they are written."""
    evaluated = scored_units(layout, settings)
    scored = [] if settings.synthesis is not None else evaluated
    rows, scans = metric_rows(scored, settings), scans_of_cases(layout)
    statistics, primary = settings.statistics, settings.report.primary_metric
    properties = properties_of_cases(layout, scans)
    locations = {
        (one.head["case"], label): one.metrics["location"][label] for one in scored for label in settings.labels
    }
    groups, gaps, interactions = group_tables(
        rows, settings.report.subgroups, properties, locations, primary, statistics
    )
    labels = list(settings.labels)
    lesions, pooled = lesion_table(scored, labels), histograms(scored, settings.classes)
    return {
        "summary": summary_table(rows, statistics),
        "comparison": comparison_table(rows, primary, statistics),
        "ranks": rank_table(rows, primary, statistics),
        "variance": variance_table(rows, primary),
        "agreement": agreement_table(rows, statistics),
        "subgroups": groups,
        "gaps": gaps,
        "interactions": interactions,
        "covariates": covariate_table(rows, properties, compared_metrics(primary), statistics),
        "lesions": lesions,
        "classes": class_table(scored),
        "instances": instance_table(scored, settings.classes),
        "calibration": calibration_table(pooled),
        "curves": curve_table(pooled, rows, scored, labels),
        "froc": froc_table(rows, lesions, froc_of_candidates(scored, labels, settings.detection)),
        "detection": detection_table(rows, lesions, statistics),
        **detection_results(scored, labels, settings.detection, statistics),
        **panoptic_results(scored, settings.classes, settings.panoptic, statistics),
        **type_results(layout, scored, settings.types, statistics),
        **stability_tables(layout, settings),
        "trials": trial_table(layout, settings.n_trials),
        "cohort_flow": cohort_flow(layout, settings.experiment_names, labels=settings.synthesis is None),
        "rejected": rejected_cases(layout, settings.experiment_names),
        "heterogeneity": scans,
        "heterogeneity_summary": summarise_properties(scans),
        "repairs": repairs(layout),
        **choice_tables(layout, settings.choices),
        **(image_tables(evaluated, statistics) if settings.synthesis is not None else {}),
        "data_dictionary": dictionary(images=settings.synthesis is not None),
        # Last, because it is what the report waits for.
        "metrics_by_case": rows,
    }


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV that a spreadsheet can open safely; numbers round-trip exactly."""
    safe = frame.copy()
    for name in safe.columns:
        if safe[name].dtype == object or isinstance(safe[name].dtype, pd.StringDtype):
            safe[name] = safe[name].map(safe_cell)
    write_text(path, safe.to_csv(index=False, lineterminator="\n"))


def scored_units(layout: Layout, settings: AggregateStage) -> list[Scored]:
    """Every unit that was evaluated, by experiment, model and case."""
    cases = {case.case: case for case in read_cases(layout.cases_table)}
    kept_out = validation_cases(layout)
    found = []
    for experiment in settings.experiment_names:
        for unit in all_units(layout, experiment, "evaluate"):
            model, name = split_unit(unit)
            folder = layout.prediction(experiment, model, name)
            record = read_json(folder / "metrics.json")
            if record["status"] != "ok":
                continue
            raw = read_json(folder / "raw.json")
            kept = {key: raw[key] for key in ("probabilities", "probability_sums", "regions") if key in raw}
            kept["seconds"] = run_seconds(folder / "raw.json")
            head = {"study": settings.study, **head_of(experiment, unit, cases, kept_out)}
            found.append(Scored(head, record, kept))
    return found


def metric_rows(scored: list[Scored], settings: AggregateStage) -> pd.DataFrame:
    """`metrics_by_case.csv`: one row per experiment, model, case, label (class or region) and stage."""
    columns = [*HEAD, "label", "stage", *METRICS, "seconds_predict"]
    rows = [
        {**head, "label": label, "stage": stage, **record["metrics"][stage][label], "seconds_predict": raw["seconds"]}
        for head, record, raw in scored
        for stage in ("raw", "post")
        for label in settings.labels
    ]
    floats = [m for m in METRICS if m != "undefined" and not m.startswith("n_")]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(floats, float))
