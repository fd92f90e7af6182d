"""Step `report`: the tables, the stores of a few cases and the training histories -> one HTML page."""

import argparse
import csv
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cohortseg import __version__
from cohortseg.cohort import read_cases
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import digest, file_digest, read_json, read_sidecar, write_text
from cohortseg.layout import Layout
from cohortseg.methods import METHODS
from cohortseg.metrics.case import COLUMNS
from cohortseg.report.content import RESOURCE_COLUMNS, ReportContent, text_column
from cohortseg.report.curves import CURVES
from cohortseg.report.further import ANALYSES
from cohortseg.report.page import render
from cohortseg.settings import Study, UNetMethod, load_study
from cohortseg.stages import ReportStage, stage_settings
from cohortseg.steps.image_pictures import image_results
from cohortseg.steps.pictures import pictures, thumbnails
from cohortseg.steps.quality import drifting, quality, write_quality
from cohortseg.steps.records import ERROR_COLUMNS, error_rows, parts_of, records_of, shipped_for
from cohortseg.steps.views import window_hu

SHOWN_VERSIONS = ("torch", "numpy", "dask", "zarr", "SimpleITK", "pydicom", "scikit-image", "pandas", "snakemake")
SMALL_COHORT = 10
CURVE_TABLES = sorted({curve.table for curve in CURVES.values()})
SHOWN_TABLES = (*ANALYSES, *CURVE_TABLES, "trials")
TABLES: dict[str, str] = {
    "metrics_by_case": "every metric of every case",
    "summary": "statistics by experiment",
    "comparison": "experiments in pairs",
    "subgroups": "groups of cases",
    "cohort_flow": "numbers by stage",
    "rejected": "rejected scans",
    "repairs": "repairs and warnings",
    "heterogeneity": "properties of each scan",
    "heterogeneity_summary": "properties of the cohort",
    "quality": "predictions to look at",
    "stability": "each label under changes of the image",
    "stability_summary": "stability under changes of the image",
    "trials": "every trial of every search",
    "ranks": "order of the experiments, and how stable it is",
    "agreement": "predicted against reference volumes",
    "covariates": "metrics against numbers of the cases",
    "variance": "spread over folds and seeds",
    "gaps": "largest difference between groups",
    "interactions": "differences that depend on the group",
    "lesions": "each lesion",
    "classes": "all classes at once",
    "instances": "each object",
    "calibration": "predicted and observed shares",
    "curves": "points of the curves",
    "froc": "points of the free-response ROC",
    "detection": "cases with the structure told from cases without",
    "types": "types told of segmented cases",
    "types_by_case": "type of each case, and what was told",
    "region_features": "features of segmented regions",
    "panoptic": "panoptic quality of classes, things and stuff",
    "panoptic_by_case": "segments of each class in each case",
    "operating_points": "detection at an operating point",
    "detections": "detection of each case at its operating point",
    "choices": "what was chosen on validation folds",
    "candidates": "candidates of the choices",
    "images": "every made image against the real one",
    "images_summary": "errors of made images by experiment",
    "images_comparison": "experiments that make images, in pairs",
    "data_dictionary": "what each column means",
}
"""Table: what it holds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study folder; the workflow names it with the settings, a person without them."""
    parser.add_argument(
        "study", nargs="?", type=layout_of, default=argparse.SUPPRESS, help="study folder, for example results/demo"
    )
    parser.add_argument("--study", type=layout_of, metavar="DIR", help="the same, as the workflow says it")
    parser.add_argument("--settings", metavar="JSON", help="settings of this step; default: those of the last run")


def layout_of(text: str) -> Layout | str:
    """The study in a folder; the word for "not given" passes through, because argparse sends it here as well."""
    return text if text == argparse.SUPPRESS else Layout(Path(text))


def run(arguments: argparse.Namespace) -> None:
    """Write `report.html` from the tables and stores that are there.

    Raises
    ------
    StudyError
        When no study is named, or it has no tables yet.
    """
    layout: Layout | None = arguments.study
    if layout is None:
        raise StudyError("which study? for example: cohortseg report results/demo")
    if not layout.table("metrics_by_case").exists():
        raise StudyError(f"no tables in {layout.root}; run `snakemake --cores all` first")
    settings = ReportStage.model_validate_json(arguments.settings or stage_settings(last_study(layout), "report"))
    write_quality(layout, quality(layout, settings.experiment_names, settings.classes))
    write_text(layout.report, render(gather(layout, settings)))


def last_study(layout: Layout) -> Study:
    """The settings of the last run; the source of the scans, which they do not name, is empty, the clinical table ours.

    Raises
    ------
    StudyError
        When they are missing.
    """
    if not layout.settings.exists():
        raise StudyError(f"no {layout.settings.name} in {layout.root}; run `snakemake --cores all` first")
    values = yaml.safe_load(layout.settings.read_text())
    given = {"source": ".", **({"clinical": str(layout.clinical)} if layout.clinical.exists() else {})}
    return load_study({**values, "cohort": {**given, **values["cohort"]}})


def gather(layout: Layout, settings: ReportStage) -> ReportContent:
    """Everything the page shows."""
    rows, rejected = _table(layout, "metrics_by_case"), _table(layout, "rejected")
    to_look_at = _table(layout, "quality")
    views, overlays = pictures(layout, rows, settings, to_look_at)
    trained = _trained(layout, settings.experiment_names)
    return ReportContent(
        study=settings.study,
        flow=_table(layout, "cohort_flow"),
        rejected=rejected,
        rows=rows,
        summary=_table(layout, "summary"),
        comparison=_table(layout, "comparison"),
        subgroups=_table(layout, "subgroups"),
        histories=_histories(layout, settings),
        overlays=overlays,
        views=views,
        thumbnails=thumbnails(layout, list(dict.fromkeys(rejected.get("case", [])))),
        plan=read_json(layout.plan) if layout.plan.exists() else {},
        window_hu=window_hu(layout),
        settings_text=layout.settings.read_text(),
        versions={"cohortseg": __version__, "python": platform.python_version()}
        | {name: version(name) for name in SHOWN_VERSIONS},
        warnings=warnings(layout, rows),
        heterogeneity=_texts(layout, "heterogeneity"),
        heterogeneity_summary=_table(layout, "heterogeneity_summary"),
        repairs=_table(layout, "repairs"),
        resources=resources(layout),
        primary_metric=settings.report.primary_metric,
        metric_info={name: (column.unit, column.definition) for name, column in COLUMNS.items()},
        quality=to_look_at,
        tables={
            name: table
            for name in (*ANALYSES, *CURVE_TABLES, "trials")
            if (table := _table_if_there(layout, name)) is not None
        }
        | {"estimates": estimates(layout)},
        dictionary=_table_if_there(layout, "data_dictionary"),
        study_settings=last_study(layout).model_dump(mode="json"),
        n_parameters={name: record["n_parameters"] for name, records in trained.items() for record in records.values()},
        method_sources={name: (method.summary, method.source) for name, method in METHODS.items()},
        digests=_digests(layout, trained),
        files=_files(layout),
        images=image_results(layout, settings, settings.synthesis, partial(_table, layout))
        if settings.synthesis
        else None,
    )


def _table_if_there(layout: Layout, name: str) -> pd.DataFrame | None:
    return _table(layout, name) if layout.table(name).exists() else None


def _trained(layout: Layout, experiments: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """By experiment and model the record of its training."""
    folders = {name: sorted((layout.root / "experiments" / name).glob("*/train.json")) for name in experiments}
    return {name: {path.parent.name: read_json(path) for path in paths} for name, paths in folders.items() if paths}


def _digests(layout: Layout, trained: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, str]:
    """What the results rest on: cohort, settings, plan, folds, weights and tables."""
    parts = {
        "cohort (cases.tsv)": layout.cases_table,
        "settings (settings.yaml)": layout.settings,
        "plan (plan.json)": layout.plan,
        "folds (ledger.json)": layout.ledger,
    }
    found = {what: file_digest(path).removeprefix("sha256:") for what, path in parts.items() if path.exists()}
    found["results (metrics_by_case.csv without seconds)"] = _results_digest(layout.table("metrics_by_case"))
    return found | {
        f"weights of {experiment}, {model}": str(record["weights"])
        for experiment, records in trained.items()
        for model, record in records.items()
    }


def _results_digest(table: Path) -> str:
    """SHA-256 of the results without what differs from run to run."""
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    kept = [place for place, name in enumerate(rows[0]) if not name.startswith("seconds_")]
    return digest([[row[place] for place in kept] for row in rows]).removeprefix("sha256:")


def _files(layout: Layout) -> dict[str, str]:
    """The tables, by their address as seen from the report."""
    found = sorted(layout.table("summary").parent.glob("*.csv"))
    return {f"../tables/{path.name}": TABLES.get(path.stem, "") for path in found}


def _table(layout: Layout, name: str) -> pd.DataFrame:
    text = [
        "case",
        "subject",
        "label",
        "stage",
        "experiment",
        "split",
        "undefined",
        "reason",
        "status",
        "value",
        "note",
        *("modality", "channel", "property", "most_common", "what", "findings", "model", "empty"),
    ]
    try:
        frame = pd.read_csv(layout.table(name), dtype=dict.fromkeys(text, str), keep_default_na=True)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    # A column of which nothing is known is read as numbers, whatever it was asked to be.
    return frame.assign(**{name: text_column(frame, name) for name in text if name in frame.columns})


def _texts(layout: Layout, name: str) -> pd.DataFrame:
    """A table whose every cell is a text: `3` stays `3`, and what is unknown is empty."""
    return pd.read_csv(layout.table(name), dtype=str, keep_default_na=False)


def _histories(layout: Layout, settings: ReportStage) -> dict[str, pd.DataFrame]:
    found = {}
    for experiment in settings.experiment_names:
        for path in sorted((layout.root / "experiments" / experiment).glob("fold-*/history.csv")):
            found[f"{experiment}/{path.parent.name}"] = pd.read_csv(path)
    return found


def resources(layout: Layout) -> pd.DataFrame:
    """What each stage took, from the run records."""
    patterns = {
        "convert": "cases/*/image.run.json",
        "fingerprint": "cases/*/fingerprint.run.json",
        "preprocess": "cases/*/prepared.run.json",
        "preprocess, low resolution": "cases/*/prepared-low.run.json",
        "pseudolabel": "experiments/*/pseudo-*/cases/*/pseudo.run.json",
        "train": "experiments/*/*/train.run.json",
        "crossfit": "experiments/*/cascade-*/cases/*/before.run.json",
        "predict": "experiments/*/*/cases/*/raw.run.json",
        "candidates": "experiments/*/*/cases/*/candidates.run.json",
        "postprocess": "experiments/*/*/cases/*/post.run.json",
        "evaluate": "experiments/*/*/cases/*/metrics.run.json",
        "stability": "experiments/*/*/cases/*/stability.run.json",
        "export": "experiments/*/*/cases/*/export.run.json",
    }
    rows = []
    for stage, pattern in patterns.items():
        records = [read_json(path) for path in sorted(layout.root.glob(pattern))]
        if records:
            seconds = [record["seconds"] for record in records]
            peak = max(record["peak_memory_mb"] for record in records)
            cpu = sum(record.get("cpu_seconds", 0.0) for record in records)
            gpu = sum(record["seconds"] for record in records if str(record.get("device", "cpu")) != "cpu")
            rows.append([stage, len(records), sum(seconds), float(np.median(seconds)), peak, cpu, gpu])
    return pd.DataFrame(rows, columns=list(RESOURCE_COLUMNS))


def estimates(layout: Layout) -> pd.DataFrame:
    """What a first run asks for and what the finished cases took, a line for each stage and experiment."""
    study = last_study(layout)
    found = records_of(layout, read_cases(layout.cases_table), *parts_of(study))
    needs = {work: shipped_for(study, work.split(" ")[0]) for work in found}
    return pd.DataFrame(error_rows(found, needs), columns=list(ERROR_COLUMNS))


def warnings(layout: Layout, rows: pd.DataFrame) -> list[str]:
    """What a reader should know before the numbers."""
    found = []
    n_subjects = rows["subject"].nunique() if len(rows) else 0
    if 0 < n_subjects < SMALL_COHORT:
        found.append(f"Only {n_subjects} subjects were evaluated: intervals are wide and tests have little power.")
    if chosen := validated_by_themselves(last_study(layout)):
        found.append(
            f"Weights of {', '.join(chosen)} were kept, or their training ended, by the held-out cases of each fold: "
            "results on these are too good. An independent test set has no part in it."
        )
    n_mended = _table(layout, "repairs")["case"].nunique()
    if n_mended:
        found.append(f"{n_mended} of the cases were mended or carry a warning: see Repairs and warnings.")
    newcomers = {case.case for case in read_cases(layout.cases_table) if case.role == "newcomer"}
    outside = {name: texts for name, texts in drifting(layout).items() if name in newcomers}
    found += [f"Outside what the plan was made for: {name}: {'; '.join(texts)}." for name, texts in outside.items()]
    replaced = sorted(_retrained_on_older(layout))
    if replaced:
        found.append(f"Models were trained on an older version of, or with a case now gone: {', '.join(replaced)}.")
    return found


def validated_by_themselves(study: Study) -> list[str]:
    """The experiments whose trainings looked at the references of the cases that they are scored on."""
    networks = {name: one for name, one in sorted(study.experiments.items()) if isinstance(one, UNetMethod)}
    return [name for name, one in networks.items() if one.keep == "best" or one.patience]


def _retrained_on_older(layout: Layout) -> set[str]:
    """Members of trained models whose image changed since, or that are gone."""
    present = {case.case for case in read_cases(layout.cases_table)}
    changed = set()
    for path in layout.root.glob("experiments/*/*/train.json"):
        record = read_json(path)
        for name, content in record["trained_on"].items():
            seen = read_sidecar(layout.case(name) / f"{record.get('trained_from', 'prepared')}.json")
            if name not in present or seen is None or seen["content"] != content:
                changed.add(name)
    return changed
