"""Figures of groups of cases for a paper: by a clinical property, by two properties, against the size of the image."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohortseg.report.paper import new_figure
from cohortseg.report.style import series

PARENCHYMA, MEDIASTINUM, CHEST_WALL = "parenchyma", "mediastinum", "chest wall"


def by_group(values: pd.Series, metric: pd.Series) -> dict[str, list[float]]:
    """The defined values of the metric in each group, in alphabetical order; cases without one are left out."""
    known = pd.DataFrame({"group": values.astype("string").str.strip(), "metric": metric}).dropna()
    known = known[known["group"] != ""]
    return {str(name): [float(x) for x in part["metric"]] for name, part in known.groupby("group", sort=True)}


def location(code: object) -> str:
    """Where a lesion lies, from a code that may name several places: one class for each lesion (Primakov 2022).

    Codes hold 0 (parenchyma), 1 (mediastinum) and 2 (chest wall), with anything between them: with a 1 it is the
    mediastinum, with a 2 and no 1 the chest wall. Words stay as they are; nothing is no place.
    """
    text = "" if code is None or code != code else str(code).strip()
    numbers = set(re.findall(r"\d+", re.sub(r"\.0\b", "", text)))
    if not numbers:
        return text
    return MEDIASTINUM if "1" in numbers else CHEST_WALL if "2" in numbers else PARENCHYMA


def time_by_size(voxels: Mapping[str, Sequence[float]], seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Seconds of a prediction against millions of voxels, each experiment in its colour."""
    figure, ((axes,),) = new_figure()
    for k, name in enumerate(sorted(voxels)):
        look = series(k)
        axes.plot(
            np.asarray(voxels[name]) / 1e6, seconds[name], look.marker, color=look.colour, markersize=3.5, label=name
        )
    axes.set(xlabel="image (million voxels)", ylabel="prediction (s)")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, linestyle=":")
    axes.legend(frameon=False)
    return figure


def lines(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, x: str, y: str) -> Figure:
    """One line for each experiment, both axes from what was measured; y is a share."""
    figure, ((axes,),) = new_figure()
    for k, (name, (xs, ys)) in enumerate(sorted(curves.items())):
        axes.plot(xs, ys, color=series(k).colour, marker=series(k).marker, markersize=3, label=name)
    axes.set(xlabel=x, ylabel=y, ylim=(-0.02, 1.02))
    axes.grid(visible=True, linestyle=":")
    axes.legend(frameon=False)
    return figure
