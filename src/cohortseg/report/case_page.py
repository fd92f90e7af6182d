"""One case as a page: its slices with the outlines of every experiment, its metrics, and the way they came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cohortseg.report import gallery
from cohortseg.report.assets import fill
from cohortseg.report.content import Overlay, Plane
from cohortseg.report.numbers import METRICS, is_number, metric_look
from cohortseg.report.results import stage_words
from cohortseg.report.table import Column, Table, figure, headed, rows_of, words

SHOWN = ("dice", "nsd", "hd95_mm", "assd_mm", "sensitivity", "precision", "reference_ml", "prediction_ml")


@dataclass(frozen=True)
class CasePage:
    """What the page shows.

    Parameters
    ----------
    study, name, summary : str
        Study and case, and a line about the case.
    way : str
        Stage by stage what was made from what; without the source.
    planes : sequence of Plane
        The slices of the case; may be empty.
    overlays : sequence of Overlay
        One for each model that predicted it.
    rows : DataFrame
        The rows of metrics_by_case.csv; may be empty.
    quality : DataFrame
        The rows of quality.csv; may be empty.
    units : mapping
        Metric: its unit.
    """

    study: str
    name: str
    summary: str
    way: str
    planes: Sequence[Plane]
    overlays: Sequence[Overlay]
    rows: pd.DataFrame
    quality: pd.DataFrame
    units: Mapping[str, str]


def render_case(case: CasePage) -> str:
    """The page; the same content gives the same text."""
    views = {case.name: case.planes}
    walls = gallery.walls(case.overlays, views) if case.planes else []
    return fill(
        "case.html",
        case=case,
        backgrounds=gallery.backgrounds(views),
        pictures=[(wall.experiment, picture) for wall in walls for picture in wall.pictures],
        outlines=gallery.legend(case.overlays),
        metrics=_metrics(case),
        findings=_findings(case.quality),
    )


def _metrics(case: CasePage) -> Table | None:
    names = [name for name in SHOWN if name in case.rows.columns and case.rows[name].map(is_number).any()]
    if not names:
        return None
    rows = rows_of(
        [
            *(words(line[key]) for key in ("experiment", "label")),
            words(stage_words(line["stage"])),
            *(figure(line[name], metric_look(name).decimals) for name in names),
        ]
        for line in case.rows.to_dict("records")
    )
    columns = [
        *headed("Experiment", "Label", "Stage"),
        *(Column(METRICS[n].title, case.units.get(n, "")) for n in names),
    ]
    return Table(f"Metrics of {case.name}", tuple(columns), rows, note="All columns: tables/metrics_by_case.csv.")


def _findings(quality: pd.DataFrame) -> Table | None:
    lines: list[dict[Any, Any]] = quality.to_dict("records")
    rows = rows_of(
        [words(line["experiment"]), figure(line["score"], 1), words(line["findings"])]
        for line in lines
        if line["score"] > 0
    )
    columns = (*headed("Experiment"), Column("Score"), *headed("What was found"))
    return Table("What stands out", columns, rows, is_prose=True) if rows else None
