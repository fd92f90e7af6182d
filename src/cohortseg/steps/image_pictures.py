"""What the report shows of a study that makes images: its tables, and panels of the worst, median and best cases."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.methods.body import body_mask
from cohortseg.report.image_panel import Made, image_panel, png_of
from cohortseg.report.images import CasePanel, ImageResults, leader
from cohortseg.settings import ReportSettings, SynthesisSettings
from cohortseg.settings.synthesis import BODY
from cohortseg.stages import ReportStage
from cohortseg.steps.image_pairs import lacks, path_of, read_input
from cohortseg.steps.units import all_units, split_unit
from cohortseg.steps.views import display_window


def image_results(
    layout: Layout, settings: ReportStage, task: SynthesisSettings, table: Callable[[str], pd.DataFrame]
) -> ImageResults:
    """All that the page shows of the images; `table` reads a table by name."""
    found = ImageResults(
        rows=table("images"),
        summary=table("images_summary"),
        comparison=table("images_comparison"),
        target=task.target,
        unit=_unit(layout, task.target),
        inputs=task.inputs_among(settings.channels),
        low=task.range[0],
        high=task.range[1],
        bits=task.bits,
        coarser=task.coarser,
    )
    first = leader(found)
    if first is None or not settings.report.overlays:
        return found
    rows, errors = _of_leader(found, first)
    name = str(first["experiment"])
    panels = tuple(
        CasePanel(case, kind, name, float(errors[case]), png_of(panel_of(layout, settings, task, case, rows)))
        for kind, case in chosen(list(errors.index))
    )
    return ImageResults(**{**vars(found), "panels": panels})


def median_panel(
    layout: Layout, settings: ReportStage, task: SynthesisSettings, table: Callable[[str], pd.DataFrame]
) -> Figure | None:
    """The figure of the median case; None where nothing was scored."""
    found = image_results(layout, settings.model_copy(update={"report": ReportSettings(overlays=0)}), task, table)
    first = leader(found)
    if first is None:
        return None
    rows, errors = _of_leader(found, first)
    return panel_of(layout, settings, task, dict(chosen(list(errors.index))).get("median", errors.index[0]), rows)


def _of_leader(found: ImageResults, first: dict[Any, Any]) -> tuple[pd.DataFrame, "pd.Series[float]"]:
    """The rows of the body in the leading split, and the leader's error of each case, smallest first."""
    rows = found.rows[(found.rows["region"] == BODY) & (found.rows["split"] == first["split"])]
    own = rows[rows["experiment"] == first["experiment"]].groupby("case")["mae"].mean()
    return rows, own.dropna().sort_values(kind="stable")


def chosen(cases: list[str]) -> list[tuple[str, str]]:
    """Worst, median and best of cases in order of their error; each once."""
    if not cases:
        return []
    places = {"worst": len(cases) - 1, "median": (len(cases) - 1) // 2, "best": 0}
    found: dict[str, str] = {}
    for kind, place in places.items():
        if cases[place] not in found.values():
            found[kind] = cases[place]
    return list(found.items())


def panel_of(layout: Layout, settings: ReportStage, task: SynthesisSettings, case: str, rows: pd.DataFrame) -> Figure:
    """The figure of one case: the slice with the largest body, a row for each experiment."""
    real = store.read_volume(path_of(layout, case, task.target, settings.channels))
    place = int(body_mask(real.array.astype(np.float32), task.body_above).sum(axis=(1, 2)).argmax())
    spacing = real.grid.spacing_mm
    inputs = [name for name in task.inputs_among(settings.channels) if not lacks(layout, case, name)]
    source = read_input(layout, case, inputs[0], settings.channels, task).array[place]
    made = []
    for experiment in settings.experiment_names:
        models = [m for m, name in map(split_unit, all_units(layout, experiment, "evaluate")) if name == case]
        path = layout.prediction(experiment, models[0], case) / "raw.zarr" if models else None
        if path is not None and path.exists():
            errors = rows.loc[(rows["experiment"] == experiment) & (rows["case"] == case), "mae"]
            error = float(errors.iloc[0]) if len(errors) else math.nan
            made.append(Made(experiment, np.asarray(store.open_array(path)[place]), error))
    return image_panel(
        (inputs[0], source),
        (task.target, real.array[place]),
        made,
        window=display_window(real.array),
        span=task.range[1] - task.range[0],
        unit=_unit(layout, task.target),
        aspect=spacing[1] / spacing[2],
    )


def _unit(layout: Layout, target: str) -> str:
    """The unit of the target, as a converted case that has it says; empty where none does."""
    for path in sorted(layout.root.glob("cases/*/image.json")):
        facts = read_json(path).get("facts") or {}
        channel = facts.get("channels", {}).get(target) or (facts if "channels" not in facts else {})
        if channel.get("unit"):
            return str(channel["unit"])
    return ""
