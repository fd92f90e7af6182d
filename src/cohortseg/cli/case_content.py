"""What the page of one case shows, gathered from its study."""

import math
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from cohortseg.cohort import read_cases
from cohortseg.io import store
from cohortseg.io.sidecar import read_sidecar
from cohortseg.layout import Layout
from cohortseg.metrics.case import COLUMNS
from cohortseg.report.case_page import CasePage
from cohortseg.report.content import Overlay, Plane
from cohortseg.steps.report import last_study
from cohortseg.steps.units import all_units, split_unit
from cohortseg.steps.views import draw_case

SLICES, LONGEST_PX = 40, 320
"""More and larger slices than in the report: there is only one case."""


def case_content(layout: Layout, name: str, way: Sequence[str]) -> CasePage:
    """Pictures, metrics and findings of one case.

    Raises
    ------
    StudyError
        When the settings of the study are missing.
    """
    study = last_study(layout)
    classes = list(study.cohort.labels.classes)
    case = next(case for case in read_cases(layout.cases_table) if case.case == name)
    folders = [
        (experiment, model, layout.prediction(experiment, model, name))
        for experiment in sorted(study.experiments)
        for model, found in map(split_unit, all_units(layout, experiment, "postprocess"))
        if found == name
    ]
    image = read_sidecar(layout.case(name) / "image.json")
    is_there = image is not None and image["status"] == "ok"
    shown = [each for each in folders if is_there and (each[2] / "post.zarr").exists()]
    planes: list[Plane] = []
    outlines: list[list[bytes]] = []
    if is_there:
        labels = [store.open_array(folder / "post.zarr") for _, _, folder in shown]
        planes, outlines = draw_case(layout, name, labels, n_labels=len(classes), size=(SLICES, LONGEST_PX))
    rows, metric = _rows(layout, "metrics_by_case", name), study.report.primary_metric
    return CasePage(
        study=study.study,
        name=name,
        summary=f"subject {case.subject}, {case.modality}, fold {case.fold} ({case.role}), reference: {case.label}",
        way="\n".join(way),
        planes=planes,
        overlays=[
            Overlay(experiment, name, classes, *_score(rows, experiment, metric), strips, model)
            for (experiment, model, _), strips in zip(shown, outlines, strict=True)
        ],
        rows=rows,
        quality=_rows(layout, "quality", name),
        units={metric: column.unit for metric, column in COLUMNS.items() if column.unit in ("mm", "ml")},
    )


def _rows(layout: Layout, table: str, name: str) -> pd.DataFrame:
    """The rows of a table that are about one case; none where there is no table yet."""
    path = layout.table(table)
    found = pd.read_csv(path) if path.exists() else pd.DataFrame({"case": []})
    return found[found["case"] == name]


def _score(rows: pd.DataFrame, experiment: str, metric: str) -> tuple[Literal["median", "unscored"], str, float]:
    """The mean of the primary metric over the labels of the cleaned prediction."""
    if rows.empty:
        return "unscored", metric, math.nan
    own = rows[(rows["experiment"] == experiment) & (rows["stage"] == "post")]
    return ("median", metric, float(own[metric].mean())) if len(own) else ("unscored", metric, math.nan)
