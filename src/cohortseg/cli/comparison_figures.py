"""The figures that compare all methods of a study: what they cost, and how they look on one slice."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohortseg.errors import StudyError
from cohortseg.ignored import left_out
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, run_path, write_text
from cohortseg.layout import UNTRAINED, Layout
from cohortseg.metrics.columns import COLUMNS
from cohortseg.report.content import of_leading_split
from cohortseg.report.costs import COST_COLUMNS, KINDS, on_front, pareto
from cohortseg.report.key_slice import key_slice
from cohortseg.report.panel import Tile, panel
from cohortseg.settings import LearnedMethod, Method, NetworkMethod
from cohortseg.steps.units import all_units, split_unit
from cohortseg.steps.views import displayed, window_hu
from cohortseg.volume import Array

if TYPE_CHECKING:
    from cohortseg.cli.figure_wish import Wish

OBJECTS = "panoptic_quality"
CLASSICAL, LEARNED, NETWORK = KINDS


def kind_of(method: Method) -> str:
    """The kind of a method: a key of `report.costs.KINDS`."""
    if isinstance(method, NetworkMethod):
        return NETWORK
    return LEARNED if isinstance(method, LearnedMethod) else CLASSICAL


def costs(layout: Layout, values: pd.Series, methods: dict[str, Method]) -> pd.DataFrame:
    """What each experiment reached and took, from the run records.

    Parameters
    ----------
    layout : Layout
    values : Series
        Metric of each case, indexed by experiment.
    methods : dict
        Experiment: method.

    Returns
    -------
    DataFrame
        Columns `COST_COLUMNS`. Seconds are of the CPU (of the clock where a GPU predicted), the median of cases, and of
        one training; memory is the peak of the process that predicted, with the libraries that it loads.
    """
    rows = []
    for name, method in sorted(methods.items()):
        own = values[values.index == name].astype(float).dropna()
        cases = [_record(path) for path in sorted(layout.root.glob(f"experiments/{name}/*/cases/*/raw.json"))]
        trained = [_record(path) for path in sorted(layout.root.glob(f"experiments/{name}/*/train.json"))]
        memory = [record["memory_mb"] for record in cases]
        rows.append(
            [
                *(name, kind_of(method), len(own), float(own.mean()) if len(own) else np.nan),
                *(_median(cases), _median(trained), max(memory, default=np.nan)),
            ]
        )
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def _record(sidecar: Path) -> dict[str, float]:
    try:
        told = read_json(run_path(sidecar))
    except StudyError:
        return {"seconds": np.nan, "memory_mb": np.nan}
    on_cpu = str(told.get("device", "cpu")) == "cpu"
    return {
        "seconds": float(told["cpu_seconds"] if on_cpu and "cpu_seconds" in told else told["seconds"]),
        "memory_mb": float(told["peak_memory_mb"]),
    }


def _median(records: list[dict[str, float]]) -> float:
    return float(np.median([record["seconds"] for record in records])) if records else np.nan


def scores(wish: "Wish") -> tuple[str, pd.DataFrame]:
    """The metric that methods are compared by, with a row (experiment, case, value) for each case.

    Objects are scored as objects where the study tells them apart, else it is the primary metric of the class.
    """
    path = wish.layout.table("instances")
    is_there = wish.study.instances is not None and path.exists()
    objects = pd.read_csv(path) if is_there else pd.DataFrame()
    if len(objects):
        rows, metric = of_leading_split(objects[objects["stage"] == "post"]), OBJECTS
    else:
        rows, metric = wish.rows, wish.metric
    rows = rows[rows["label"] == wish.label]
    return metric, rows[["experiment", "case"]].assign(value=rows[metric].astype(float))


def draw_costs(wish: "Wish") -> Figure | None:
    """Metric against seconds and memory; the numbers stand in `costs.csv` beside the figure."""
    metric, rows = scores(wish)
    if rows.empty:
        return None
    higher = metric == OBJECTS or COLUMNS[metric].higher_is_better is not False
    table = costs(wish.layout, rows.set_index("experiment")["value"], dict(wish.study.experiments))
    value = table["value"].to_numpy(np.float64)
    for column in ("seconds_case", "memory_mb"):
        table[f"front_{column}"] = on_front(value, table[column].to_numpy(np.float64), higher=higher)
    table = table.sort_values(["value", "experiment"], ascending=[not higher, True])
    write_text(wish.layout.figure("costs", "csv"), table.round(4).to_csv(index=False, lineterminator="\n"))
    title = f"{wish.label}, {rows['case'].nunique()} cases"
    return pareto(table, metric=metric, title=title, higher=higher)


def draw_panel(wish: "Wish") -> Figure | None:
    """All methods on the key slice of the case in the middle of the best one's results."""
    metric, rows = scores(wish)
    higher = metric == OBJECTS or COLUMNS[metric].higher_is_better is not False
    means = rows.groupby("experiment")["value"].mean().sort_values(ascending=not higher, kind="stable")
    if means.empty:
        return None
    own = rows[rows["experiment"] == means.index[0]].dropna(subset=["value"]).sort_values(["value", "case"])
    if own.empty:
        return None
    case = str(own["case"].iloc[len(own) // 2])
    folder, is_objects = wish.layout.case(case), metric == OBJECTS
    reference = np.asarray(store.open_array(folder / ("instances.zarr" if is_objects else "label.zarr"))[:])
    if not is_objects:
        reference = left_out(reference, reference)
    place = key_slice(reference, reference)
    here = rows[rows["case"] == case].groupby("experiment")["value"].mean()
    tiles = [
        Tile(str(name), found, float(here.get(name, np.nan)))
        for name in means.index
        if (found := predicted(wish.layout, str(name), case, place, objects=is_objects)) is not None
    ]
    spacing = store.read_grid(folder / "image.zarr").spacing_mm
    image = displayed(wish.layout, case, place)
    aspect, window = spacing[1] / spacing[2], window_hu(wish.layout)
    return panel(image, reference[place], tiles, aspect=aspect, objects=is_objects, window=window)


def predicted(layout: Layout, experiment: str, case: str, place: int, *, objects: bool = False) -> Array | None:
    """A slice of the cleaned label of an experiment, or of its numbered objects; None where it refused the case."""
    models = {name: model for model, name in map(split_unit, all_units(layout, experiment, "postprocess"))}
    folder = layout.prediction(experiment, models.get(case, UNTRAINED), case)
    for name in ("instances.zarr", "post.zarr") if objects else ("post.zarr",):
        if (folder / name).exists():
            return np.asarray(store.open_array(folder / name)[place])
    return None
