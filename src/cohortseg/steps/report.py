"""Step `report`: the tables, the stores of a few cases and the training histories -> one HTML page."""

import argparse
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cohortseg import __version__
from cohortseg.cohort import read_cases
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, read_sidecar, write_text
from cohortseg.layout import Layout
from cohortseg.metrics.case import COLUMNS
from cohortseg.preprocess.drift import drift
from cohortseg.report.content import RESOURCE_COLUMNS, ReportContent
from cohortseg.report.page import render
from cohortseg.settings import Study, load_study
from cohortseg.stages import ReportStage, stage_settings
from cohortseg.steps.pictures import pictures

SHOWN_VERSIONS = ("torch", "numpy", "dask", "zarr", "SimpleITK", "pydicom", "scikit-image", "pandas", "snakemake")
SMALL_COHORT = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study folder; the workflow names it with the settings, a person without them."""
    parser.add_argument("folder", nargs="?", type=Path, help="study folder, for example results/demo")
    parser.add_argument("--study", type=Path, metavar="DIR", help="the same, as the workflow says it")
    parser.add_argument("--settings", metavar="JSON", help="settings of this step; default: those of the last run")


def run(arguments: argparse.Namespace) -> None:
    """Write `report.html` from the tables and stores that are there.

    Raises
    ------
    StudyError
        When no study is named, or it has no tables yet.
    """
    folder = arguments.folder or arguments.study
    if folder is None:
        raise StudyError("which study? for example: cohortseg report results/demo")
    layout = Layout(folder)
    if not layout.table("metrics_by_case").exists():
        raise StudyError(f"no tables in {folder}; run `snakemake --cores all` first")
    text = arguments.settings or stage_settings(last_study(layout), "report")
    write_text(layout.report, render(gather(layout, ReportStage.model_validate_json(text))))


def last_study(layout: Layout) -> Study:
    """The settings of the last run; the source of the scans, which they do not name, is empty.

    Raises
    ------
    StudyError
        When they are missing.
    """
    if not layout.settings.exists():
        raise StudyError(f"no {layout.settings.name} in {layout.root}; run `snakemake --cores all` first")
    values = yaml.safe_load(layout.settings.read_text())
    return load_study({**values, "cohort": {"source": ".", **values["cohort"]}})


def gather(layout: Layout, settings: ReportStage) -> ReportContent:
    """Everything the page shows."""
    rows = _table(layout, "metrics_by_case")
    views, overlays = pictures(layout, rows, settings)
    return ReportContent(
        study=settings.study,
        flow=_table(layout, "cohort_flow"),
        rejected=_table(layout, "rejected"),
        rows=rows,
        summary=_table(layout, "summary"),
        comparison=_table(layout, "comparison"),
        subgroups=_table(layout, "subgroups"),
        histories=_histories(layout, settings),
        overlays=overlays,
        views=views,
        plan=read_json(layout.plan) if layout.plan.exists() else {},
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
    )


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
        *("modality", "channel", "property", "most_common", "what"),
    ]
    try:
        frame = pd.read_csv(layout.table(name), dtype=dict.fromkeys(text, str), keep_default_na=True)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    present = [column for column in text if column in frame.columns]
    return frame.fillna(dict.fromkeys(present, ""))


def _texts(layout: Layout, name: str) -> pd.DataFrame:
    """A table whose every cell is a text: `3` stays `3`, and what is unknown is empty."""
    return pd.read_csv(layout.table(name), dtype=str, keep_default_na=False)


def _histories(layout: Layout, settings: ReportStage) -> dict[str, pd.DataFrame]:
    found = {}
    for experiment in settings.experiment_names:
        for path in sorted((layout.root / "experiments" / experiment).glob("*/history.csv")):
            found[f"{experiment}/{path.parent.name}"] = pd.read_csv(path)
    return found


def resources(layout: Layout) -> pd.DataFrame:
    """What each stage took, from the run records."""
    patterns = {
        "convert": "cases/*/image.run.json",
        "fingerprint": "cases/*/fingerprint.run.json",
        "preprocess": "cases/*/prepared.run.json",
        "train": "experiments/*/*/train.run.json",
        "predict": "experiments/*/*/cases/*/raw.run.json",
        "postprocess": "experiments/*/*/cases/*/post.run.json",
        "evaluate": "experiments/*/*/cases/*/metrics.run.json",
        "export": "experiments/*/*/cases/*/export.run.json",
    }
    rows = []
    for stage, pattern in patterns.items():
        records = [read_json(path) for path in sorted(layout.root.glob(pattern))]
        if records:
            seconds = [record["seconds"] for record in records]
            peak = max(record["peak_memory_mb"] for record in records)
            rows.append([stage, len(records), sum(seconds), float(np.median(seconds)), peak])
    return pd.DataFrame(rows, columns=list(RESOURCE_COLUMNS))


def warnings(layout: Layout, rows: pd.DataFrame) -> list[str]:
    """What a reader should know before the numbers."""
    found = []
    n_subjects = rows["subject"].nunique() if len(rows) else 0
    if 0 < n_subjects < SMALL_COHORT:
        found.append(f"Only {n_subjects} subjects were evaluated: intervals are wide and tests have little power.")
    n_mended = _table(layout, "repairs")["case"].nunique()
    if n_mended:
        found.append(f"{n_mended} of the cases were mended or carry a warning: see Repairs and warnings.")
    if layout.plan.exists():
        found += _drifting(layout)
    replaced = sorted(_retrained_on_older(layout))
    if replaced:
        found.append(f"Models were trained on an older version of, or with a case now gone: {', '.join(replaced)}.")
    return found


def _drifting(layout: Layout) -> list[str]:
    """Newcomers that lie outside what the frozen plan saw."""
    plan, gathered = read_json(layout.plan), read_json(layout.cohort_fingerprint)
    newcomers = [(name, case) for name, case in sorted(gathered.items()) if case["role"] == "newcomer"]
    lines = [f"{name}: {'; '.join(drift(plan, case))}" for name, case in newcomers if drift(plan, case)]
    return [f"Outside what the plan was made for: {line}." for line in lines]


def _retrained_on_older(layout: Layout) -> set[str]:
    """Members of trained models whose image changed since, or that are gone."""
    present = {case.case for case in read_cases(layout.cases_table)}
    changed = set()
    for path in layout.root.glob("experiments/*/*/train.json"):
        record = read_json(path)
        for name, content in record["trained_on"].items():
            prepared = read_sidecar(layout.case(name) / "prepared.json")
            if name not in present or prepared is None or prepared["content"] != content:
                changed.add(name)
    return changed
