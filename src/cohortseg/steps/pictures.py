"""Pictures for the report: the worst, median and best cases of each experiment, and rejected ones."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import pandas as pd

from cohortseg.io import store
from cohortseg.io.sidecar import read_sidecar
from cohortseg.layout import UNTRAINED, Layout
from cohortseg.metrics.case import COLUMNS
from cohortseg.report.content import Overlay, Plane
from cohortseg.report.numbers import number
from cohortseg.stages import ReportStage
from cohortseg.steps.units import all_units, split_unit
from cohortseg.steps.views import draw_case, thumbnail

LADDER = ((12, 24, 208), (30, 16, 160), (60, 8, 128))
"""Up to so many cases: slices of each plane, pixels of the longest side. More cases are not shown."""

MOST_THUMBNAILS = 24
Kind: TypeAlias = Literal["worst", "median", "best", "unscored"]
Chosen: TypeAlias = tuple[Kind, str, float]
"""Why a case is shown, its name, its value."""


def pictures(
    layout: Layout, rows: pd.DataFrame, settings: ReportStage, quality: pd.DataFrame
) -> tuple[dict[str, list[Plane]], list[Overlay]]:
    """The planes of each case that is shown, and the outlines of each experiment on it, on the cleaned label.

    By the classes alone: a region would count the same voxels again.
    """
    rows = rows[rows["label"].isin(settings.classes)]
    chosen = {
        name: [*chosen_cases(rows, name, settings), *striking_cases(quality, name, settings)]
        for name in settings.experiment_names
    }
    cases = list(dict.fromkeys(case for found in chosen.values() for _, case, _ in found))[: LADDER[-1][0]]
    views: dict[str, list[Plane]] = {}
    outlines: dict[tuple[str, str], list[bytes]] = {}
    size = next(((n, px) for most, n, px in LADDER if len(cases) <= most), LADDER[-1][1:])
    models = {name: _models(layout, name) for name in settings.experiment_names}
    for case in cases:
        shown_by = [name for name, found in chosen.items() if case in {each for _, each, _ in found}]
        predictions = [layout.prediction(name, models[name].get(case, UNTRAINED), case) for name in shown_by]
        labels = [store.open_array(folder / "post.zarr") for folder in predictions]
        views[case], drawn = draw_case(layout, case, labels, n_labels=len(settings.classes), size=size)
        outlines |= {(name, case): strips for name, strips in zip(shown_by, drawn, strict=True)}
    volumes = _volumes(rows)
    found = [
        Overlay(
            experiment=name,
            case=case,
            label_names=settings.classes,
            kind=kind,
            metric=settings.report.primary_metric,
            value=value,
            predictions=outlines[name, case],
            caption=volumes.get((name, case), ""),
        )
        for name, listed in chosen.items()
        for kind, case, value in listed
        if case in views
    ]
    return views, found


def _volumes(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """By experiment and case what was there and what was found, over all labels, after post-processing."""
    post = rows[rows["stage"] == "post"]
    summed = post.groupby(["experiment", "case"])[["reference_ml", "prediction_ml"]].sum()
    return {
        (str(key[0]), str(key[1])): f"reference {number(reference, 1)} ml, prediction {number(prediction, 1)} ml"
        for key, reference, prediction in summed.itertuples()
    }


def _models(layout: Layout, experiment: str) -> dict[str, str]:
    return {case: model for model, case in map(split_unit, all_units(layout, experiment, "evaluate"))}


def chosen_cases(rows: pd.DataFrame, experiment: str, settings: ReportStage) -> list[Chosen]:
    """Worst, median and best cases with their value; an empty prediction counts as worst, an empty pair not at all."""
    metric, n_wanted = settings.report.primary_metric, settings.report.overlays
    own = rows[(rows["experiment"] == experiment) & (rows["stage"] == "post") & (rows["undefined"] != "both_empty")]
    if not len(own) or not n_wanted:
        return []
    better_high = bool(COLUMNS[metric].higher_is_better)
    values = own.groupby("case")[metric].mean().astype(float)
    order = list(values.sort_values(ascending=better_high, na_position="first", kind="stable").index)
    worst = order[:n_wanted]
    best = [case for case in order[::-1][:n_wanted] if case not in worst]
    rest = [case for case in order if case not in {*worst, *best}]
    around = rest[max(0, (len(rest) - n_wanted) // 2) :][:n_wanted]
    kinds: list[tuple[Kind, list[str]]] = [("worst", worst), ("median", around), ("best", best)]
    return [(kind, case, float(values[case])) for kind, cases in kinds for case in cases]


def striking_cases(quality: pd.DataFrame, experiment: str, settings: ReportStage) -> list[Chosen]:
    """The most striking predictions without a reference, as many as there are worst cases."""
    if quality.empty:
        return []
    own = quality[(quality["experiment"] == experiment) & ~quality["is_scored"] & (quality["score"] > 0)]
    return [("unscored", str(case), math.nan) for case in own["case"].unique()[: settings.report.overlays]]


def thumbnails(layout: Layout, cases: Sequence[str]) -> dict[str, bytes]:
    """A small slice of each rejected case of which an image was stored; the first 24.

    Never from the source: a scan that was not converted may show a name in its pixels.
    """
    found: dict[str, bytes] = {}
    for case in cases:
        record = read_sidecar(layout.case(case) / "image.json") if case else None
        if record is not None and record["status"] == "ok" and len(found) < MOST_THUMBNAILS:
            found[case] = thumbnail(layout, case)
    return found
