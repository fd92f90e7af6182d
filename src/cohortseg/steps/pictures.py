"""Pictures for the report: the worst and the median cases of each experiment."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import UNTRAINED, Layout
from cohortseg.metrics.case import COLUMNS
from cohortseg.report.content import Overlay
from cohortseg.report.overlays import key_slice, overlay_png
from cohortseg.report.style import label_colours
from cohortseg.settings.cohort import ONE_CHANNEL, RGB
from cohortseg.stages import ReportStage
from cohortseg.steps.units import all_units, split_unit
from cohortseg.volume import Array

DISPLAY_WINDOW_PERCENTILES = (1.0, 99.0)


def overlays(layout: Layout, rows: pd.DataFrame, settings: ReportStage) -> list[Overlay]:
    """Overlays of the worst and the median cases by the primary metric, on the cleaned label."""
    found = []
    for experiment in settings.experiment_names:
        units = {split_unit(unit)[1]: split_unit(unit)[0] for unit in all_units(layout, experiment, "evaluate")}
        for kind, case, value in chosen_cases(rows, experiment, settings):
            model = units.get(case, UNTRAINED)
            found.append(_overlay(layout, settings, experiment, model, case, kind, value))
    return found


def chosen_cases(rows: pd.DataFrame, experiment: str, settings: ReportStage) -> Iterable[tuple[str, str, float]]:
    """`worst` and `median` cases with their value; an empty prediction counts as worst, an empty pair not at all."""
    metric, n_wanted = settings.report.primary_metric, settings.report.overlays
    own = rows[(rows["experiment"] == experiment) & (rows["stage"] == "post") & (rows["undefined"] != "both_empty")]
    if not len(own) or not n_wanted:
        return []
    better_high = bool(COLUMNS[metric].higher_is_better)
    values = own.groupby("case")[metric].mean().astype(float)
    order = values.sort_values(ascending=better_high, na_position="first", kind="stable")
    worst = list(order.index[:n_wanted])
    middle = len(order) // 2
    around = list(order.index[max(0, middle - n_wanted // 2) :][:n_wanted])
    picked = [("worst", case) for case in worst] + [("median", case) for case in around if case not in worst]
    return [(kind, case, float(values[case])) for kind, case in picked]


def _overlay(
    layout: Layout, settings: ReportStage, experiment: str, model: str, case: str, kind: str, value: float
) -> Overlay:
    """One picture: the slice with the largest reference area."""
    folder = layout.case(case)
    reference = np.asarray(store.open_array(folder / "label.zarr")[:])
    prediction = np.asarray(store.open_array(layout.prediction(experiment, model, case) / "post.zarr")[:])
    place = key_slice(reference, prediction)
    grid = store.read_grid(folder / "image.zarr")
    image = displayed(layout, case, place)
    png = overlay_png(
        image,
        reference[place],
        prediction[place],
        window=display_window(image),
        spacing_mm=grid.spacing_mm[1:],
        label_colours=label_colours(len(settings.classes)),
    )
    return Overlay(
        experiment=experiment,
        case=case,
        label_names=settings.classes,
        kind="worst" if kind == "worst" else "median",
        metric=settings.report.primary_metric,
        value=value,
        png=png,
        caption=f"slice {place + 1} of {grid.shape[0]}",
    )


def displayed(layout: Layout, case: str, place: int) -> Array:
    """One slice of the first channel; of a colour picture the mean of red, green and blue."""
    named = read_json(layout.case(case) / "image.json")["facts"].get("channels", {})
    channels = list(RGB) if set(named) == set(RGB) else [ONE_CHANNEL]
    found = [np.asarray(store.open_array(path)[place]) for path in layout.images(case, channels)]
    return found[0] if len(found) == 1 else np.stack(found).mean(axis=0, dtype=np.float32)


def display_window(image: Array) -> tuple[float, float]:
    """Intensities shown black and white: the middle 98 % of the slice."""
    low, high = np.percentile(image.astype(np.float32), DISPLAY_WINDOW_PERCENTILES)
    return float(low), float(high if high > low else low + 1)
